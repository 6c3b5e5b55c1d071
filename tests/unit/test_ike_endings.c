/* SPDX-License-Identifier: GPL-3.0-or-later */
/* StopIke: what the peer hears of it, when it is answered, and what bounds that. Two ike-agents as processes on the bus. */
#include "ike_agent_pair.h"

#define ATTEMPT    1
#define LIMIT_MSEC 500 /* ENGINE_CLOSE_MSEC */
#define SLACK_MSEC 300

static bool is_up(const struct router *router)
{
	return router->status == VPNSIP__IKE_STATUS__IKE_UP && router->sa_count == 2;
}

static bool are_both_up(void *context)
{
	const struct pair *pair = context;

	return is_up(&pair->routers[0]) && is_up(&pair->routers[1]);
}

static bool has_ended(void *context)
{
	const struct router *router = context;

	return router->status == VPNSIP__IKE_STATUS__IKE_ENDED && router->sa_count == 0;
}

static bool has_no_sas(void *context)
{
	return ((const struct router *)context)->sa_count == 0;
}

static bool has_sent(void *context)
{
	return ((const struct router *)context)->packets > 0;
}

static bool has_begun(void *context)
{
	return ((const struct router *)context)->status == VPNSIP__IKE_STATUS__IKE_NEGOTIATING;
}

/** A pair with a session, and its packets counted from here. */
static struct pair *bring_up(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);

	start(pair, 1, ATTEMPT, false, NULL);
	start(pair, 0, ATTEMPT, true, NULL);
	assert_true(run_until(pair->base, 5000, are_both_up, pair));
	pair->routers[0].packets = pair->routers[1].packets = 0;
	return pair;
}

static uint64_t msec_since(uint64_t begun_usec)
{
	return (now_usec() - begun_usec) / 1000;
}

static void answered_when_the_peer_knows(void **state)
{
	struct pair *pair = bring_up(state);
	struct router *ours = &pair->routers[0], *other = &pair->routers[1];
	uint64_t begun = now_usec();

	assert_int_equal(stop(pair, 0, ATTEMPT).outcome, BUS_DONE);
	assert_in_range(msec_since(begun), 0, SLACK_MSEC);
	/* The DELETE and its answer; from the DELETE on nothing could be sent that the peer cannot open any more. */
	assert_int_equal(ours->packets, 1);
	assert_int_equal(ours->outbound_when_sent, 0);
	assert_int_equal(other->packets, 1);
	assert_true(run_until(pair->base, 1000, has_ended, other));
	assert_string_equal(other->cause, "peer ended the IKE_SA");
	assert_true(run_until(pair->base, 1000, has_no_sas, ours));
	assert_int_equal(stop(pair, 1, ATTEMPT).outcome, BUS_DONE);
}

static void silent_peer_is_told_twice_and_not_waited_for(void **state)
{
	struct pair *pair = bring_up(state);
	uint64_t begun = now_usec();

	pair->routers[1].is_deaf = true;
	assert_int_equal(stop(pair, 0, ATTEMPT).outcome, BUS_DONE);
	assert_in_range(msec_since(begun), LIMIT_MSEC, LIMIT_MSEC + SLACK_MSEC);
	assert_int_equal(pair->routers[0].packets, 2);
	assert_true(run_until(pair->base, 1000, has_no_sas, &pair->routers[0]));
	assert_true(is_up(&pair->routers[1]));
}

static void lost_delete_is_repeated(void **state)
{
	struct pair *pair = bring_up(state);
	uint64_t begun = now_usec();
	struct answer answer;

	pair->routers[1].is_deaf = true;
	order_stop(pair, 0, ATTEMPT, &answer);
	assert_true(run_until(pair->base, 1000, has_sent, &pair->routers[0]));
	pair->routers[1].is_deaf = false;
	assert_true(run_until(pair->base, 1000, is_set, &answer.is_there));
	assert_in_range(msec_since(begun), LIMIT_MSEC / 2, LIMIT_MSEC - 1);
	assert_int_equal(answer.outcome, BUS_DONE);
	assert_true(run_until(pair->base, 1000, has_ended, &pair->routers[1]));
}

static void both_stop_at_once(void **state)
{
	struct pair *pair = bring_up(state);
	uint64_t begun = now_usec();
	struct answer answers[2];

	for (int i = 0; i < 2; i++)
		order_stop(pair, i, ATTEMPT, &answers[i]);
	for (int i = 0; i < 2; i++) {
		assert_true(run_until(pair->base, 1000, is_set, &answers[i].is_there));
		assert_int_equal(answers[i].outcome, BUS_DONE);
	}
	assert_in_range(msec_since(begun), 0, SLACK_MSEC);
	for (int i = 0; i < 2; i++)
		assert_true(run_until(pair->base, 1000, has_no_sas, &pair->routers[i]));
}

/* A coordinator that was restarted orders again what it does not know of. */
static void repeated_order_takes_the_place_of_the_first(void **state)
{
	struct pair *pair = bring_up(state);
	uint64_t begun = now_usec();
	struct answer first, second;

	pair->routers[1].is_deaf = true;
	order_stop(pair, 0, ATTEMPT, &first);
	assert_true(run_until(pair->base, 1000, has_sent, &pair->routers[0]));
	order_stop(pair, 0, ATTEMPT, &second);
	assert_true(run_until(pair->base, 1000, is_set, &first.is_there));
	assert_false(second.is_there);
	assert_true(run_until(pair->base, 1000, is_set, &second.is_there));
	assert_in_range(msec_since(begun), LIMIT_MSEC, LIMIT_MSEC + SLACK_MSEC);
	assert_int_equal(first.outcome, BUS_DONE);
	assert_int_equal(second.outcome, BUS_DONE);
	begun = now_usec();
	assert_int_equal(stop(pair, 0, ATTEMPT).outcome, BUS_DONE);
	assert_in_range(msec_since(begun), 0, SLACK_MSEC);
}

/* There is nothing that a peer that is not authenticated could be told. */
static void half_open_session_ends_at_once(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	uint64_t begun;

	pair->routers[1].is_deaf = true;
	start(pair, 0, ATTEMPT, true, NULL);
	assert_true(run_until(pair->base, 1000, has_begun, &pair->routers[0]));
	assert_true(run_until(pair->base, 1000, has_sent, &pair->routers[0]));
	begun = now_usec();
	assert_int_equal(stop(pair, 0, ATTEMPT).outcome, BUS_DONE);
	assert_in_range(msec_since(begun), 0, SLACK_MSEC);
}

/* It does not stay for the peer's answer, and says so. */
static void leaving_agent_refuses_what_waits(void **state)
{
	struct pair *pair = bring_up(state);
	struct answer answer;

	pair->routers[1].is_deaf = true;
	order_stop(pair, 0, ATTEMPT, &answer);
	assert_true(run_until(pair->base, 1000, has_sent, &pair->routers[0]));
	end_agent(pair, 0, SIGTERM);
	assert_true(run_until(pair->base, 1000, is_set, &answer.is_there));
	assert_int_not_equal(answer.outcome, BUS_DONE);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(answered_when_the_peer_knows),
		CASE(silent_peer_is_told_twice_and_not_waited_for),
		CASE(lost_delete_is_repeated),
		CASE(both_stop_at_once),
		CASE(repeated_order_takes_the_place_of_the_first),
		CASE(half_open_session_ends_at_once),
		CASE(leaving_agent_refuses_what_waits),
	};
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGINT);
	sigdelset(&all, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
