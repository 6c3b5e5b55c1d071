/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Faults on order that stop or kill a process. That process is this program started again, with the run directory as its
 * argument.
 */
#include "bus_inject_scene.h"

/* The process that is stopped and killed: a tunnel-agent that does all there is to do. */

struct victim {
	struct bus *bus;
	char effect[128]; /* a file: an order was carried out */
	char permit[128]; /* a file: it may begin, by itself */
};

static void create(const char *path)
{
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static void on_victims_order(void *context, struct bus_request *request,
                             const Vpnsip__Envelope *order)
{
	struct victim *victim = context;

	(void)order;
	create(victim->effect);
	bus_done(request);
}

static void on_victims_turn(evutil_socket_t fd, short what, void *context)
{
	struct victim *victim = context;
	Vpnsip__TunnelChanged fact = VPNSIP__TUNNEL_CHANGED__INIT;
	Vpnsip__ReportSaLimit report = VPNSIP__REPORT_SA_LIMIT__INIT;

	(void)fd;
	(void)what;
	if (access(victim->permit, F_OK) != 0)
		return;
	bus_fault_point(victim->bus, "victim.turn");
	bus_publish(victim->bus, NULL, &fact.base);
	bus_call(victim->bus, IKE_AGENT, NULL, &report.base, 1000, NULL, NULL);
}

static void victims_log(int level, const char *format, ...)
{
	va_list arguments;

	(void)level;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

static int be_the_victim(const char *run_directory)
{
	const struct timeval turn = {.tv_usec = 50000};
	static const struct bus_handlers handlers = {.request = on_victims_order};
	struct victim victim = {0};
	struct event_base *base = event_base_new();
	char why[256];

	snprintf(victim.effect, sizeof(victim.effect), "%s/effect", run_directory);
	snprintf(victim.permit, sizeof(victim.permit), "%s/permit", run_directory);
	victim.bus = bus_open(&(struct bus_options){.self = TUNNEL_AGENT,
	                                            .run_directory = run_directory,
	                                            .base = base,
	                                            .environment = &bus_system_environment,
	                                            .is_listening = true,
	                                            .allows_faults = true,
	                                            .subscribes = BUS_SERVICE(IKE_AGENT),
	                                            .handlers = &handlers,
	                                            .log = victims_log,
	                                            .context = &victim},
	                      why, sizeof(why));
	if (victim.bus == NULL)
		return 1;
	event_add(event_new(base, -1, EV_PERSIST, on_victims_turn, &victim), &turn);
	return event_base_dispatch(base);
}

struct attack {
	struct scene scene;
	struct bus *ike;
	char effect[128], permit[128]; /* as struct victim's */
	pid_t victim;
	bool has_fallen;
	int status;
};

static bool has_fallen(void *context)
{
	struct attack *attack = context;

	if (!attack->has_fallen)
		attack->has_fallen = waitpid(attack->victim, &attack->status,
		                             WNOHANG | WUNTRACED) == attack->victim;
	return attack->has_fallen;
}

static void on_ikes_order(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	(void)context;
	(void)order;
	bus_done(request);
}

static void begin_attack(struct attack *attack, struct fixture *fixture)
{
	static const struct bus_handlers ike_handlers = {.request = on_ikes_order};
	char *arguments[] = {"victim", fixture->run_directory, NULL};
	struct scene *scene = &attack->scene;

	scene->fixture = fixture;
	snprintf(attack->effect, sizeof(attack->effect), "%s/effect", fixture->run_directory);
	snprintf(attack->permit, sizeof(attack->permit), "%s/permit", fixture->run_directory);
	assert_int_equal(
		posix_spawn(&attack->victim, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
	attack->ike = open_bus_with(
		fixture, (struct bus_options){.self = IKE_AGENT, .handlers = &ike_handlers});
	scene->coordinator = open_bus_with(fixture,
	                                   (struct bus_options){.self = COORDINATOR,
	                                                        .handlers = &coordinator_handlers,
	                                                        .calls = BUS_SERVICE(TUNNEL_AGENT),
	                                                        .context = scene});
	scene->cli = open_bus_with(fixture, (struct bus_options){.self = CLI,
	                                                         .calls = BUS_SERVICE(TUNNEL_AGENT),
	                                                         .handlers = &no_handlers});
}

static void end_attack(struct attack *attack)
{
	bus_close(attack->scene.cli);
	bus_close(attack->scene.coordinator);
	bus_close(attack->ike);
	unlink(attack->effect);
	unlink(attack->permit);
}

/** Gives the victim occasion until it falls: what is sent before its connections are up may be lost. */
static void await_fall(struct attack *attack, Vpnsip__FaultPoint point)
{
	const bool is_of_orders = point == POINT(BEFORE_HANDLER) || point == POINT(AFTER_EFFECT) ||
	                          point == POINT(SEND_REPLY);
	Vpnsip__IkeChanged fact = VPNSIP__IKE_CHANGED__INIT;

	for (unsigned msec = 0; msec < LIMIT_MSEC && !attack->has_fallen; msec += LOST_MSEC) {
		if (is_of_orders)
			order(&attack->scene, 'a', LOST_MSEC);
		bus_publish(attack->ike, NULL, &fact.base);
		run_until(attack->scene.fixture->base, LOST_MSEC, has_fallen, attack);
	}
	assert_true(attack->has_fallen);
}

static void attack(struct fixture *fixture, Vpnsip__FaultPoint point, Vpnsip__FaultAction action)
{
	struct attack attack = {0};
	struct scene *scene = &attack.scene;

	begin_attack(&attack, fixture);
	set_fault(scene, TUNNEL_AGENT,
	          fault_of(point, action, point == POINT(NAMED_POINT) ? "victim.turn" : ""));
	create(attack.permit);
	await_fall(&attack, point);
	if (action == ACTION(KILL)) {
		assert_true(WIFSIGNALED(attack.status) && WTERMSIG(attack.status) == SIGKILL);
	} else {
		assert_true(WIFSTOPPED(attack.status));
		kill(attack.victim, SIGCONT);
		clear_faults(scene, TUNNEL_AGENT);
		kill(attack.victim, SIGKILL);
		waitpid(attack.victim, NULL, 0);
	}
	if (point == POINT(AFTER_EFFECT) || point == POINT(SEND_REPLY))
		assert_int_equal(access(attack.effect, F_OK), 0);
	else if (action == ACTION(KILL))
		assert_int_not_equal(access(attack.effect, F_OK), 0);
	run_until(fixture->base, QUIET_MSEC, NULL, NULL);
	end_attack(&attack);
}

static void a_process_is_stopped_and_killed_at_each_point(void **state)
{
	for (Vpnsip__FaultPoint point = POINT(SEND_EVENT); point <= POINT(NAMED_POINT); point++) {
		print_message("point %d\n", point);
		attack(*state, point, ACTION(STALL));
		attack(*state, point, ACTION(KILL));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BUS_TEST(a_process_is_stopped_and_killed_at_each_point),
	};

	if (argc == 2)
		return be_the_victim(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
