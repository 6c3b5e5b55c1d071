/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Restarts of ike-agent and of its tunnel-agent within a session, as processes on the bus. */
#include "ike_agent_pair.h"

static bool are_both_up(void *context)
{
	const struct router *routers = ((struct pair *)context)->routers;

	return routers[0].status == VPNSIP__IKE_STATUS__IKE_UP &&
	       routers[1].status == VPNSIP__IKE_STATUS__IKE_UP &&
	       routers[0].initiator_spi == routers[1].initiator_spi && routers[0].sa_count >= 2 &&
	       routers[1].sa_count >= 2;
}

static void bring_up(struct pair *pair, uint64_t attempt)
{
	assert_int_equal(start(pair, 1, attempt, false, NULL).outcome, BUS_DONE);
	assert_int_equal(start(pair, 0, attempt, true, NULL).outcome, BUS_DONE);
	assert_true(run_until(pair->base, 5000, are_both_up, pair));
	run_until(pair->base, 100, NULL, NULL);
}

static bool has_second_two_sas(void *context)
{
	return ((struct pair *)context)->routers[1].sa_count == 2;
}

/** The new process begins; the peer takes its IKE_SA and is up all the while. What was under way is received for 5 s. */
static void restarted_agent_takes_over(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	struct router *routers = pair->routers;
	unsigned changes;

	bring_up(pair, 1);
	end_agent(pair, 0, SIGKILL);
	assert_int_equal(routers[0].sa_count, 2);
	changes = routers[1].changes;
	start_agent(pair, 0);
	routers[0].is_resumed = true;
	assert_int_equal(start(pair, 0, 1, true, NULL).outcome, BUS_DONE);
	assert_true(run_until(pair->base, 5000, are_both_up, pair));
	run_until(pair->base, 300, NULL, NULL);
	assert_int_equal(routers[1].status, VPNSIP__IKE_STATUS__IKE_UP);
	assert_int_equal(routers[1].changes, changes + 1);
	assert_int_equal(routers[1].sa_count, 3);
	/* What the former process had installed is not this one's to remove. */
	assert_int_equal(routers[0].removals, 0);
	assert_true(run_until(pair->base, 7000, has_second_two_sas, pair));
	assert_int_equal(routers[1].status, VPNSIP__IKE_STATUS__IKE_UP);
	/* The order comes again, as after a lost reply. */
	changes = routers[0].changes;
	assert_int_equal(start(pair, 0, 1, true, NULL).outcome, BUS_DONE);
	run_until(pair->base, 200, NULL, NULL);
	assert_int_equal(routers[0].changes, changes);
}

static void leaving_is_not_hanging_up(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);

	bring_up(pair, 1);
	end_agent(pair, 0, SIGTERM);
	run_until(pair->base, 300, NULL, NULL);
	assert_int_equal(pair->routers[0].removals, 0);
	assert_int_equal(pair->routers[1].status, VPNSIP__IKE_STATUS__IKE_UP);
}

/** end_agent() checks that it takes a second at the most, though a thread waits for tunnel-agent. */
static void leaves_in_time_with_tunnel_agent_stuck(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);

	pair->routers[0].is_stuck = true;
	start(pair, 1, 1, false, NULL);
	start(pair, 0, 1, true, NULL);
	run_until(pair->base, 200, NULL, NULL);
	assert_int_equal(pair->routers[0].stuck_count, 1);
	end_agent(pair, 0, SIGTERM);
}

static bool has_first_new_sas(void *context)
{
	const struct pair *pair = context;

	return pair->routers[0].installs >= 4 && pair->routers[1].installs >= 4 &&
	       pair->routers[0].sa_count == 2;
}

/** Its epoch tells, before the coordinator has told it of the session again; the time is part of an outage. */
static void restarted_tunnel_agent_gets_new_sas(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	uint64_t begun;

	bring_up(pair, 1);
	begun = now_usec();
	restart_tunnel_agent(pair, 0);
	assert_true(run_until(pair->base, 3000, has_first_new_sas, pair));
	print_message("tunnel-agent's bus back to new SAs: %.0f ms\n", (now_usec() - begun) / 1e3);
	run_until(pair->base, 200, NULL, NULL);
	assert_true(are_both_up(pair));
}

static bool has_sa(const struct router *router, uint32_t spi, Vpnsip__SaDirection direction)
{
	for (size_t i = 0; i < router->sa_count; i++)
		if (router->sas[i].spi == spi && router->sas[i].direction == direction)
			return true;
	return false;
}

/** What it sends with is what the other side receives with. */
static bool reaches_other(const struct router *router)
{
	for (size_t i = 0; i < router->sa_count; i++)
		if (router->sas[i].direction == VPNSIP__SA_DIRECTION__SA_OUTBOUND &&
		    has_sa(router->other, router->sas[i].spi, VPNSIP__SA_DIRECTION__SA_INBOUND))
			return true;
	return false;
}

static bool do_reach_each_other(void *context)
{
	const struct router *routers = ((struct pair *)context)->routers;

	return reaches_other(&routers[0]) && reaches_other(&routers[1]);
}

static bool have_one_child_each(void *context)
{
	const struct router *routers = ((struct pair *)context)->routers;

	return do_reach_each_other(context) && routers[0].sa_count == 2 && routers[1].sa_count == 2;
}

/** Both make a child at the same time as a rule. The redundant one goes, and is received for 5 s. */
static void both_tunnel_agents_restart(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	uint64_t begun;

	bring_up(pair, 1);
	begun = now_usec();
	restart_tunnel_agent(pair, 0);
	restart_tunnel_agent(pair, 1);
	assert_true(run_until(pair->base, 5000, do_reach_each_other, pair));
	print_message("both buses back to new SAs: %.0f ms\n", (now_usec() - begun) / 1e3);
	run_until(pair->base, 300, NULL, NULL);
	assert_true(are_both_up(pair));
	assert_true(run_until(pair->base, 7000, have_one_child_each, pair));
	assert_true(are_both_up(pair));
}

/** The control: a tunnel without attempt of a tunnel-agent that lives is a session that ends. */
static void cleared_tunnel_gets_no_sas(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);

	bring_up(pair, 1);
	pair->routers[0].sa_count = 0;
	pair->routers[0].is_peerless = true;
	publish_tunnel(&pair->routers[0]);
	run_until(pair->base, 500, NULL, NULL);
	assert_int_equal(pair->routers[0].installs, 2);
}

static bool has_second_new_sas(void *context)
{
	return ((struct pair *)context)->routers[1].installs >= 4;
}

static void lost_sas_are_replaced(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);

	bring_up(pair, 1);
	publish_tunnel(&pair->routers[1]);
	run_until(pair->base, 300, NULL, NULL);
	assert_int_equal(pair->routers[1].installs, 2);
	pair->routers[1].sa_count = 0;
	publish_tunnel(&pair->routers[1]);
	assert_true(run_until(pair->base, 3000, has_second_new_sas, pair));
	assert_true(are_both_up(pair));
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(restarted_agent_takes_over),
		CASE(leaving_is_not_hanging_up),
		CASE(leaves_in_time_with_tunnel_agent_stuck),
		CASE(restarted_tunnel_agent_gets_new_sas),
		CASE(both_tunnel_agents_restart),
		CASE(cleared_tunnel_gets_no_sas),
		CASE(lost_sas_are_replaced),
	};
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGINT);
	sigdelset(&all, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
