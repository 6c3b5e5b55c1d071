/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What survives when an IKEv2 engine dies, or tunnel-agent with the SAs: two engines against each other. */
#include "ike_engine_pair.h"

static void bring_up(void)
{
	start_pair(&plain, &plain);
	assert_true(carry(both_up, 5000));
	carry(never, 50);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].installed_count, 2);
}

static bool is_held(const struct side *side, uint32_t spi, bool is_inbound)
{
	for (size_t i = 0; i < side->installed_count; i++)
		if (side->installed[i].spi == spi && side->installed[i].is_inbound == is_inbound)
			return true;
	return false;
}

/** The newest SA of a direction: outbound the one that tunnel-agent sends with. */
static uint32_t newest_spi(const struct side *side, bool is_inbound)
{
	uint32_t spi = 0;

	for (size_t i = 0; i < side->installed_count; i++)
		if (side->installed[i].is_inbound == is_inbound)
			spi = side->installed[i].spi;
	return spi;
}

/** What each side sends with now, the other can receive. */
static bool is_joined(void)
{
	for (int i = 0; i < 2; i++) {
		uint32_t spi = newest_spi(&sides[i], false);

		if (!spi || !is_held(&sides[!i], spi, true))
			return false;
	}
	return true;
}

static uint64_t old_initiator_spi;

static bool has_new_ike(void)
{
	return both_up() && sides[0].session.initiator_spi != old_initiator_spi &&
	       sides[0].session.initiator_spi == sides[1].session.initiator_spi;
}

static bool is_alone(int index)
{
	return sides[index].session.sa_count == 1;
}

static bool are_both_alone(void)
{
	return is_alone(0) && is_alone(1);
}

/** The engine of either side dies; it begins anew whatever its role was. The other side never stops being up. */
static void one_side_restarts(int index)
{
	struct side *other = &sides[!index];
	uint32_t old_in, old_out;

	bring_up();
	old_initiator_spi = sides[0].session.initiator_spi;
	old_in = newest_spi(other, true);
	old_out = newest_spi(other, false);
	restart_side(index, &plain, true);
	initiate(index);
	assert_true(carry(has_new_ike, 5000));
	carry(never, 100);
	assert_int_equal(other->session.state, IKE_STATE_UP);
	/* The dead engine's packets may still be under way: they are received, nothing is sent to them. */
	assert_true(is_held(other, old_in, true));
	assert_false(is_held(other, old_out, false));
	assert_true(is_joined());
	carry(never, 3000);
	assert_true(is_held(other, old_in, true));
	assert_true(carry(are_both_alone, 4000));
	carry(never, 100);
	assert_false(is_held(other, old_in, true));
	assert_int_equal(other->installed_count, 2);
	assert_true(both_up());
	assert_true(is_joined());
}

static void initiator_restarts(void **state)
{
	(void)state;
	one_side_restarts(0);
}

static void responder_restarts(void **state)
{
	(void)state;
	one_side_restarts(1);
}

static void both_restart(void **state)
{
	(void)state;
	bring_up();
	old_initiator_spi = sides[0].session.initiator_spi;
	restart_side(0, &plain, true);
	restart_side(1, &plain, true);
	initiate(0);
	initiate(1);
	assert_true(carry(has_new_ike, 5000));
	carry(never, 300);
	assert_true(is_joined());
	assert_true(carry(are_both_alone, 7000));
	carry(never, 100);
	assert_true(both_up());
	assert_true(is_joined());
	assert_int_equal(sides[0].session.initiator_spi, sides[1].session.initiator_spi);
}

/** Again before the first IKE_SA has gone: each takes the place of the one before. */
static void restarts_in_a_row(void **state)
{
	(void)state;
	bring_up();
	for (int i = 0; i < 3; i++) {
		old_initiator_spi = sides[0].session.initiator_spi;
		restart_side(0, &plain, true);
		sides[0].installed_count = 0; /* it retires what its former lives left */
		initiate(0);
		assert_true(carry(has_new_ike, 5000));
	}
	carry(never, 100);
	assert_true(is_joined());
	assert_true(carry(are_both_alone, 7000));
	carry(never, 100);
	assert_true(both_up());
	assert_int_equal(sides[1].installed_count, 2);
	assert_true(is_joined());
}

/** Killed in the middle of the negotiation, on either side: the same attempt once more, with a fresh engine. */
static void restart_while_negotiating(void **state)
{
	(void)state;
	for (int index = 0; index < 2; index++) {
		start_side(0, &plain, true);
		start_side(1, &plain, false);
		assert_true(carry(both_ready, 5000));
		sides[0].is_deaf = true; /* the response to IKE_SA_INIT is lost with it */
		initiate(0);
		carry(never, 100);
		sides[0].is_deaf = false;
		restart_side(index, &plain, true);
		initiate(index);
		assert_true(carry(both_up, 5000));
		carry(never, 100);
		assert_true(is_joined());
		leave(NULL);
	}
}

/** The control: who comes back with another key gets nothing, and the session stands on what it has. */
static void impostor_takes_nothing_over(void **state)
{
	const struct variant impostor = {.key = "another-psk-of-22-byte"};
	uint32_t in;

	(void)state;
	bring_up();
	in = newest_spi(&sides[1], true);
	restart_side(0, &impostor, true);
	initiate(0);
	assert_true(carry(first_final, 5000));
	assert_int_equal(sides[0].session.state, IKE_STATE_FAILED);
	carry(never, 100);
	assert_int_equal(sides[1].session.state, IKE_STATE_UP);
	assert_true(is_held(&sides[1], in, true));
	assert_int_equal(sides[1].installs, 2);
}

/** As above for the fingerprint: the pins of the session hold for each IKE_SA that comes later. */
static void pins_hold_for_successors(void **state)
{
	const struct variant pinned = {.pinned_key = good_key},
			     wrong = {.key = "another-psk-of-22-byte", .pinned_key = good_key};

	(void)state;
	start_pair(&pinned, &pinned);
	assert_true(carry(both_up, 5000));
	restart_side(0, &wrong, true);
	initiate(0);
	assert_true(carry(first_final, 5000));
	assert_string_equal(sides[0].session.cause,
	                    "peer's key does not match the pinned fingerprint");
	assert_int_equal(sides[1].session.state, IKE_STATE_UP);
}

/** tunnel-agent of this side died: what it held is gone, and a report says so. */
static void lose_sas(int index)
{
	struct message message = {.kind = USAGE, .now_usec = now_usec()};

	sides[index].installed_count = 0;
	order(&sides[index], &message);
}

static unsigned installs_before[2];

static bool have_both_replaced(void)
{
	return sides[0].installs >= installs_before[0] + 2 &&
	       sides[1].installs >= installs_before[1] + 2 && is_joined();
}

static void note_installs(void)
{
	for (int i = 0; i < 2; i++)
		installs_before[i] = sides[i].installs;
}

static void one_tunnel_agent_restarts(void **state)
{
	(void)state;
	bring_up();
	for (int i = 0; i < 4; i++) {
		note_installs();
		lose_sas(i % 2);
		assert_true(carry(have_both_replaced, 2000));
		assert_true(both_up());
	}
	/* The child that was replaced is deleted; the side that kept its SAs has no more than the peer. */
	carry(never, 6000);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].installed_count, 2);
}

static void both_tunnel_agents_restart(void **state)
{
	(void)state;
	bring_up();
	for (int round = 0; round < 5; round++) {
		note_installs();
		lose_sas(0);
		lose_sas(1);
		assert_true(carry(have_both_replaced, 3000));
		carry(never, 200);
		assert_true(both_up());
		assert_true(is_joined());
	}
	carry(never, 6000);
	assert_true(is_joined());
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].installed_count, 2);
}

/** An IKE_SA that has its child makes no other: a tunnel that wants an SA may be early. */
static void makes_no_second_child(void **state)
{
	struct message message = {.kind = MAKE_CHILD};

	(void)state;
	bring_up();
	message.number = sides[0].session.sas[0].sa;
	order(&sides[0], &message);
	carry(never, 300);
	assert_int_equal(sides[0].installs, 2);
	assert_int_equal(sides[1].installs, 2);
}

static bool is_first_empty(void)
{
	return sides[0].installed_count == 0;
}

/** The child ended and no other came up: one is made when packets want it, before the IKE_SA is given up for it. */
static void makes_a_child_when_wanted(void **state)
{
	struct message message = {.kind = REFUSE};

	(void)state;
	bring_up();
	order(&sides[1], &message);
	message = (struct message){
		.kind = EXPIRE, .flag = true, .number = newest_spi(&sides[0], true)};
	order(&sides[0], &message);
	assert_true(carry(is_first_empty, 2000));
	carry(never, 300);
	message = (struct message){.kind = REFUSE, .flag = true};
	order(&sides[1], &message);
	note_installs();
	message = (struct message){.kind = MAKE_CHILD, .number = sides[0].session.sas[0].sa};
	order(&sides[0], &message);
	assert_true(carry(have_both_replaced, 2000));
	carry(never, 4000);
	assert_true(both_up());
	assert_true(is_joined());
}

#define CASE(function) cmocka_unit_test_teardown(function, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(initiator_restarts),
		CASE(responder_restarts),
		CASE(both_restart),
		CASE(restarts_in_a_row),
		CASE(restart_while_negotiating),
		CASE(impostor_takes_nothing_over),
		CASE(pins_hold_for_successors),
		CASE(one_tunnel_agent_restarts),
		CASE(both_tunnel_agents_restart),
		CASE(makes_no_second_child),
		CASE(makes_a_child_when_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
