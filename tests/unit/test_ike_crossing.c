/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Both sides begin an IKE_SA of one attempt: in whatever order each hears of the two, both keep the same one. */
#include "ike_engine_pair.h"

/* --- the rule alone: two cores, all orders --- */

/** What a side learns of an IKE_SA, in this order; the last two come in any. */
enum moment { BEGUN_BY_INITIATOR, BEGUN_BY_RESPONDER, UP_FIRST, UP_SECOND, MOMENTS };

struct ends {
	struct ike_session session;
	uint32_t superseded;
	unsigned times_superseded;
	bool is_over;
};

/** IKE_SA 1 is begun by side 0, IKE_SA 2 by side 1. */
static struct engine_fact fact_of(enum engine_fact_kind kind, int side, uint32_t sa,
                                  const uint32_t lives[2])
{
	bool is_ours = (int)sa == side + 1;
	int initiator = sa - 1;

	return (struct engine_fact){
		.kind = kind,
		.if_id = IF_ID,
		.attempt = ATTEMPT,
		.sa = sa,
		.is_initiator = is_ours,
		.initiator_spi = (0x1000ull + sa) << 32 | lives[initiator],
		.responder_spi = (0x2000ull + sa) << 32 | lives[!initiator],
	};
}

static void learn(struct ends *ends, const struct engine_fact *fact, uint64_t now)
{
	struct ike_outcome outcome;

	ike_session_apply(&ends->session, fact, now, &outcome);
	ends->is_over |= outcome.is_over;
	assert_int_equal(outcome.unwanted, 0);
	if (!outcome.superseded)
		return;
	ends->superseded = outcome.superseded;
	ends->times_superseded++;
}

/** The next moment of this IKE_SA at the side where it happens. */
static void happen(struct ends ends[2], uint32_t sa, enum moment moment, bool is_responder_up_first,
                   uint64_t now)
{
	static const uint32_t lives[2] = {0xAAAA0001, 0xBBBB0002};
	int initiator = sa - 1;
	bool is_at_responder = moment == BEGUN_BY_RESPONDER ||
	                       (moment == UP_FIRST && is_responder_up_first) ||
	                       (moment == UP_SECOND && !is_responder_up_first);
	int side = is_at_responder ? !initiator : initiator;
	struct engine_fact fact = fact_of(
		moment <= BEGUN_BY_RESPONDER ? ENGINE_SA_BEGUN : ENGINE_CHILD_UP, side, sa, lives);

	learn(&ends[side], &fact, now);
}

static void assert_one_survives(const struct ends ends[2], uint32_t loser)
{
	for (int side = 0; side < 2; side++) {
		assert_int_equal(ends[side].session.state, IKE_STATE_UP);
		assert_false(ends[side].is_over);
		assert_int_equal(ends[side].times_superseded, 1);
		assert_int_equal(ends[side].superseded, loser);
		assert_int_equal(ends[side].session.is_initiator, (int)(3 - loser) == side + 1);
	}
	assert_true(ends[0].session.initiator_spi == ends[1].session.initiator_spi);
	assert_int_equal(ends[0].session.initiator_spi >> 32, 0x1000 + 3 - loser);
}

/** `order` has a bit for each of the eight moments: whose IKE_SA it is of. */
static void play(unsigned order, unsigned first_up, bool is_first_lower)
{
	struct ends ends[2] = {0};
	enum moment moments[2] = {BEGUN_BY_INITIATOR, BEGUN_BY_INITIATOR};

	for (int side = 0; side < 2; side++)
		ike_session_init(&ends[side].session, "vsip7", ATTEMPT, IF_ID,
		                 numbers[side ^ !is_first_lower], numbers[!side ^ !is_first_lower],
		                 true);
	for (int i = 0; i < 2 * MOMENTS; i++) {
		int which = order >> i & 1;

		happen(ends, which + 1, moments[which]++, first_up >> which & 1, 1000 + i);
	}
	assert_one_survives(ends, is_first_lower ? 2 : 1);
	for (int side = 0; side < 2; side++)
		ike_session_clear(&ends[side].session);
}

static void every_order_has_one_winner(void **state)
{
	unsigned orders = 0;

	(void)state;
	for (unsigned order = 0; order < 1u << 2 * MOMENTS; order++) {
		if (__builtin_popcount(order) != MOMENTS)
			continue;
		orders++;
		for (unsigned first_up = 0; first_up < 4; first_up++)
			for (int is_first_lower = 0; is_first_lower < 2; is_first_lower++)
				play(order, first_up, is_first_lower);
	}
	assert_int_equal(orders, 70);
}

/** The peer that begins in another life knows nothing of the older one: whoever began that, the newer stays. */
static void newer_life_wins(void **state)
{
	static const uint32_t before[2] = {0xAAAA0001, 0xBBBB0002},
			      after[2] = {0xAAAA0001, 0xBBBB0003};

	(void)state;
	for (int is_lower = 0; is_lower < 2; is_lower++) {
		for (uint32_t old = 1; old <= 2; old++) {
			struct ends ends = {0};
			struct engine_fact fact = fact_of(ENGINE_SA_BEGUN, 0, old, before);

			ike_session_init(&ends.session, "vsip7", ATTEMPT, IF_ID, numbers[!is_lower],
			                 numbers[is_lower], true);
			learn(&ends, &fact, 1);
			fact.kind = ENGINE_CHILD_UP;
			learn(&ends, &fact, 2);
			fact = fact_of(ENGINE_SA_BEGUN, 0, 2, after);
			fact.sa = 3;
			learn(&ends, &fact, 3);
			fact.kind = ENGINE_CHILD_UP;
			learn(&ends, &fact, 4);
			assert_int_equal(ends.superseded, old);
			ike_session_clear(&ends.session);
		}
	}
}

/** A rekeying of the one that is up has no part in it: its successor stands for it. */
static void rekeyed_one_crosses_too(void **state)
{
	static const uint32_t lives[2] = {0xAAAA0001, 0xBBBB0002};

	(void)state;
	for (int is_lower = 0; is_lower < 2; is_lower++) {
		struct ends ends = {0};
		struct engine_fact fact = fact_of(ENGINE_SA_BEGUN, 0, 1, lives);

		ike_session_init(&ends.session, "vsip7", ATTEMPT, IF_ID, numbers[!is_lower],
		                 numbers[is_lower], true);
		learn(&ends, &fact, 1);
		fact.kind = ENGINE_CHILD_UP;
		learn(&ends, &fact, 2);
		/* By the other side: its SPI is the initiator's now. */
		fact = fact_of(ENGINE_SA_REPLACED, 0, 2, lives);
		fact.sa = 1;
		fact.successor = 5;
		learn(&ends, &fact, 3);
		fact = fact_of(ENGINE_SA_BEGUN, 0, 2, lives);
		learn(&ends, &fact, 4);
		fact.kind = ENGINE_CHILD_UP;
		learn(&ends, &fact, 5);
		assert_int_equal(ends.superseded, is_lower ? 2 : 5);
		ike_session_clear(&ends.session);
	}
}

/* --- engines --- */

static bool is_first_up(void)
{
	return both_up() && sides[0].session.initiator_spi == sides[1].session.initiator_spi;
}

static bool have_both(void)
{
	return sides[0].installs >= 4 && sides[1].installs >= 4;
}

static bool are_both_alone(void)
{
	return sides[0].session.sa_count == 1 && sides[1].session.sa_count == 1;
}

/** The SPI that the side chose. */
static uint64_t spi_of(int side)
{
	const struct ike_session *session = &sides[side].session;

	return session->is_initiator ? session->initiator_spi : session->responder_spi;
}

/**
 * The first packet of `late` is lost and comes again when the other's IKE_SA is up already: to the other that is one after the
 * other, to `late` its own was under way all the while.
 */
static void first_packet_is_late(int late)
{
	start_side(0, &plain, true);
	start_side(1, &plain, true);
	assert_true(carry(both_ready, 5000));
	sides[!late].is_deaf = true;
	initiate(late);
	carry(never, 300);
	sides[!late].is_deaf = false;
	initiate(!late);
	assert_true(carry(is_first_up, 5000));
	assert_int_equal(sides[late].session.is_initiator, false);
	assert_int_equal(sides[0].installs, 2);
	assert_true(carry(have_both, 5000));
	carry(never, 300);
	assert_true(both_up());
	assert_true(sides[0].session.initiator_spi == sides[1].session.initiator_spi);
	/* The lower number is side 0's. */
	assert_true(sides[0].session.is_initiator);
	assert_true(carry(are_both_alone, 7000));
	carry(never, 100);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].installed_count, 2);
	assert_true(both_up());
}

static void late_one_wins_by_its_number(void **state)
{
	(void)state;
	first_packet_is_late(0);
}

static void late_one_loses_by_its_number(void **state)
{
	(void)state;
	first_packet_is_late(1);
}

/** An engine's SPIs share their lower half for as long as it lives, and no longer. By the other half its table tells them apart. */
static void spis_tell_a_life(void **state)
{
	uint64_t first[2];

	(void)state;
	start_pair(&plain, &plain);
	assert_true(carry(is_first_up, 5000));
	first[0] = spi_of(0);
	first[1] = spi_of(1);
	assert_int_not_equal(ENGINE_LIFE_OF(first[0]), ENGINE_LIFE_OF(first[1]));
	restart_side(1, &plain, true);
	initiate(1);
	assert_true(carry(have_both, 5000));
	carry(never, 100);
	assert_int_equal(ENGINE_LIFE_OF(spi_of(0)), ENGINE_LIFE_OF(first[0]));
	assert_int_not_equal(ENGINE_LIFE_OF(spi_of(1)), ENGINE_LIFE_OF(first[1]));
	assert_int_not_equal(spi_of(0) >> 32, first[0] >> 32);
}

#define ENGINES(function) cmocka_unit_test_teardown(function, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_order_has_one_winner), cmocka_unit_test(newer_life_wins),
		cmocka_unit_test(rekeyed_one_crosses_too),    ENGINES(spis_tell_a_life),
		ENGINES(late_one_wins_by_its_number),         ENGINES(late_one_loses_by_its_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
