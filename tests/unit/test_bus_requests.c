/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Orders between services: replies, parallel calls, deadlines, permissions, sizes. */
#include "bus_fixture.h"

struct agent {
	struct bus *bus;
	int orders;      /* received */
	bool is_holding; /* keeps requests instead of answering */
	struct bus_request *held[64];
	int held_count;
	uint64_t trace_id; /* of the last order */
	char session[64];
	uint64_t deadline_usec;
};

struct outcome {
	int is_there;
	enum bus_outcome outcome;
	char cause[256];
	uint32_t port;
	Vpnsip__Envelope__BodyCase body;
};

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct outcome *result = context;

	assert_false(result->is_there);
	assert_non_null(reply);
	result->is_there = 1;
	result->outcome = outcome;
	result->body = reply->body_case;
	snprintf(result->cause, sizeof(result->cause), "%s", bus_cause(reply));
	if (reply->body_case == VPNSIP__ENVELOPE__BODY_PORT_RESERVED)
		result->port = reply->port_reserved->port;
}

static void on_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct agent *agent = context;

	agent->orders++;
	agent->trace_id = order->trace_id;
	agent->deadline_usec = order->deadline_mono_usec;
	snprintf(agent->session, sizeof(agent->session), "%s", order->session);
	assert_int_equal(bus_request_uid(request), getuid());
	if (agent->is_holding) {
		agent->held[agent->held_count++] = request;
		return;
	}
	if (order->body_case == VPNSIP__ENVELOPE__BODY_SET_PEER)
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "tunnel %s is missing",
		         order->set_peer->tunnel);
	else
		bus_done(request);
}

static const struct bus_handlers agent_handlers = {.request = on_request};
static const struct bus_handlers no_handlers;

static void open_pair(struct fixture *fixture, struct agent *tunnel, struct bus **coordinator)
{
	tunnel->bus = open_bus_with(fixture, (struct bus_options){.self = TUNNEL_AGENT,
	                                                          .handlers = &agent_handlers,
	                                                          .context = tunnel});
	*coordinator = open_bus_with(fixture,
	                             (struct bus_options){.self = COORDINATOR,
	                                                  .handlers = &no_handlers,
	                                                  .calls = BUS_SERVICE(TUNNEL_AGENT)});
}

static uint64_t check_tunnel(struct bus *bus, unsigned timeout_msec, struct outcome *result)
{
	Vpnsip__CheckTunnel order = VPNSIP__CHECK_TUNNEL__INIT;

	order.tunnel = "vsip7";
	return bus_call(bus, TUNNEL_AGENT, "vsip7", &order.base, timeout_msec, on_reply, result);
}

static void an_order_is_answered(void **state)
{
	struct fixture *fixture = *state;
	struct agent tunnel = {0};
	struct outcome done = {0}, refused = {0};
	Vpnsip__SetPeer order = VPNSIP__SET_PEER__INIT;
	struct bus *coordinator;

	open_pair(fixture, &tunnel, &coordinator);
	check_tunnel(coordinator, 1000, &done);
	assert_false(done.is_there);
	assert_true(run_until(fixture->base, 1500, is_set, &done.is_there));
	assert_int_equal(done.outcome, BUS_DONE);
	assert_int_equal(done.body, VPNSIP__ENVELOPE__BODY_DONE);
	assert_string_equal(tunnel.session, "vsip7");
	assert_true(tunnel.trace_id != 0);
	assert_true(tunnel.deadline_usec > bus_mono_usec(coordinator));

	order.tunnel = "vsip9";
	bus_call(coordinator, TUNNEL_AGENT, NULL, &order.base, 1000, on_reply, &refused);
	assert_true(run_until(fixture->base, 1500, is_set, &refused.is_there));
	assert_int_equal(refused.outcome, BUS_FAILED);
	assert_string_equal(refused.cause, "tunnel vsip9 is missing");
	bus_close(coordinator);
	bus_close(tunnel.bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_order_is_answered, fixture_set_up,
	                                        fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
