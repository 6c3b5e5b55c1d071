/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The pure parts of ike-agent: the session's state machine, the table of sessions, the fingerprint of a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "services/ike-agent/fingerprint.h"
#include "services/ike-agent/session_table.h"

#define IF_ID   7
#define ATTEMPT 12

/* Written down a second time, as what an operator is promised: final states stay, a stranger ends nothing. */
static void every_state_and_event(void **state)
{
	static const enum ike_state none = IKE_STATE_COUNT;
	static const enum ike_state expected[IKE_STATE_COUNT][IKE_EVENT_COUNT] = {
		/* BEGUN, CHILD_UP, REFUSED, LOST */
		{IKE_STATE_NEGOTIATING, none, IKE_STATE_FAILED, none},
		{IKE_STATE_NEGOTIATING, IKE_STATE_UP, IKE_STATE_FAILED, IKE_STATE_WAITING},
		{IKE_STATE_UP, IKE_STATE_UP, IKE_STATE_ENDED, IKE_STATE_ENDED},
		{none, none, none, none},
		{none, none, none, none},
	};

	(void)state;
	for (int from = 0; from < IKE_STATE_COUNT; from++)
		for (int event = 0; event < IKE_EVENT_COUNT; event++)
			assert_int_equal(ike_next_state(from, event), expected[from][event]);
}

/* Over all that the configuration accepts no request of ours gives a peer up before dead peer detection does. */
static void patience_outlasts_dead_peer_detection(void **state)
{
	struct config_ike_profile profile = {0};

	(void)state;
	assert_int_equal(ike_patience_sec(&profile), IKE_NEGOTIATION_SEC);
	for (profile.dpd_interval_sec = 1; profile.dpd_interval_sec <= 3600;
	     profile.dpd_interval_sec++)
		for (profile.dpd_retry_sec = 1; profile.dpd_retry_sec <= 600;
		     profile.dpd_retry_sec++) {
			const unsigned dead_sec = config_dead_peer_sec(&profile);

			assert_true(dead_sec ==
			            profile.dpd_interval_sec + 5 * profile.dpd_retry_sec);
			assert_true(ike_patience_sec(&profile) >= dead_sec);
			assert_true(ike_patience_sec(&profile) >= IKE_NEGOTIATION_SEC);
		}
}

struct script {
	struct ike_session session;
	struct ike_outcome outcome;
	uint64_t now_usec;
};

static void end_script(struct script *script)
{
	ike_session_clear(&script->session);
}

/** A script of a test, ended with it. */
#define SCRIPT __attribute__((cleanup(end_script))) struct script

static void begin_script(struct script *script, bool is_initiator)
{
	end_script(script);
	memset(script, 0, sizeof(*script));
	ike_session_init(&script->session, "vsip7", ATTEMPT, IF_ID, "0388881001", "0388882001",
	                 is_initiator);
	script->now_usec = 1000000;
}

/* The peer's process, as its SPIs tell; each IKE_SA of these scripts has one of its own. */
#define PEER_LIFE 0x5EED0000ull

/** Applies a fact about an IKE_SA of a peer in its `life`th life, one millisecond after the last. */
static void feed_of_life(struct script *script, enum engine_fact_kind kind, uint32_t sa,
                         bool is_ours, uint32_t life)
{
	uint64_t peer_spi = PEER_LIFE + life;

	struct engine_fact fact = {
		.kind = kind,
		.if_id = IF_ID,
		.attempt = ATTEMPT,
		.sa = sa,
		.is_initiator = is_ours,
		.initiator_spi = (0x1000ull + sa) << 32 | (is_ours ? 0 : peer_spi),
		.responder_spi = is_ours ? peer_spi : 0,
		.ike_proposal = "ike",
		.esp_proposal = "esp",
		.remote_identity = "0388882001",
	};

	script->now_usec += 1000;
	ike_session_apply(&script->session, &fact, script->now_usec, &script->outcome);
}

static void feed(struct script *script, enum engine_fact_kind kind, uint32_t sa, bool is_ours)
{
	feed_of_life(script, kind, sa, is_ours, sa);
}

static void feed_cause(struct script *script, uint32_t sa, enum engine_cause_rank rank,
                       bool is_proven, const char *cause)
{
	struct engine_fact fact = {
		.kind = ENGINE_CAUSE, .sa = sa, .rank = rank, .is_proven = is_proven};

	snprintf(fact.cause, sizeof(fact.cause), "%s", cause);
	ike_session_apply(&script->session, &fact, ++script->now_usec, &script->outcome);
	assert_false(script->outcome.is_changed);
}

static void comes_up_and_ends(void **state)
{
	SCRIPT script = {0};

	(void)state;
	begin_script(&script, true);
	assert_int_equal(script.session.state, IKE_STATE_NEGOTIATING);
	feed(&script, ENGINE_SA_BEGUN, 1, true);
	assert_false(script.outcome.is_changed);
	feed(&script, ENGINE_CHILD_UP, 1, true);
	assert_true(script.outcome.is_changed);
	assert_int_equal(script.session.state, IKE_STATE_UP);
	assert_int_equal(script.session.up_since_usec, script.now_usec);
	assert_string_equal(script.session.remote_identity, "0388882001");
	feed_cause(&script, 1, ENGINE_CAUSE_CLOSED, true, "peer ended the IKE_SA");
	feed(&script, ENGINE_SA_GONE, 1, true);
	assert_true(script.outcome.is_over);
	assert_int_equal(script.session.state, IKE_STATE_ENDED);
	assert_string_equal(script.session.cause, "peer ended the IKE_SA");
	/* Final: whatever begins now is not wanted. */
	feed(&script, ENGINE_SA_BEGUN, 2, false);
	assert_int_equal(script.outcome.unwanted, 2);
	assert_int_equal(script.session.state, IKE_STATE_ENDED);
}

static void highest_cause_is_told(void **state)
{
	SCRIPT script = {0};

	(void)state;
	begin_script(&script, false);
	feed(&script, ENGINE_SA_BEGUN, 1, false);
	feed_cause(&script, 1, ENGINE_CAUSE_REFUSED, true, "refused");
	feed_cause(&script, 1, ENGINE_CAUSE_VERDICT, true, "verdict");
	feed_cause(&script, 1, ENGINE_CAUSE_FAULT, true, "fault");
	feed_cause(&script, 1, ENGINE_CAUSE_VERDICT, true, "second verdict");
	feed(&script, ENGINE_SA_GONE, 1, false);
	assert_int_equal(script.session.state, IKE_STATE_FAILED);
	assert_string_equal(script.session.cause, "verdict");
}

/* One event for an IKE_SA that was refused, of the class that explains most, with the source; none for one that just ended. */
static void refusal_is_told_once(void **state)
{
	struct engine_fact fault = {.kind = ENGINE_CAUSE,
	                            .sa = 1,
	                            .rank = ENGINE_CAUSE_FAULT,
	                            .guard_class = IKE_GUARD_SIGNATURE};
	struct engine_fact verdict = fault;
	SCRIPT script = {0};

	(void)state;
	verdict.rank = ENGINE_CAUSE_VERDICT;
	verdict.guard_class = IKE_GUARD_REVOKED;
	verdict.ike.remote.ss_family = AF_INET;
	begin_script(&script, false);
	feed(&script, ENGINE_SA_BEGUN, 1, false);
	feed(&script, ENGINE_SA_BEGUN, 2, false);
	ike_session_apply(&script.session, &verdict, ++script.now_usec, &script.outcome);
	ike_session_apply(&script.session, &fault, ++script.now_usec, &script.outcome);
	assert_int_equal(script.outcome.guard_class, IKE_GUARD_NONE);
	feed(&script, ENGINE_SA_GONE, 1, false);
	assert_int_equal(script.outcome.guard_class, IKE_GUARD_REVOKED);
	assert_int_equal(script.outcome.refused.ss_family, AF_INET);
	feed_cause(&script, 2, ENGINE_CAUSE_SILENCE, false, "no answer");
	feed(&script, ENGINE_SA_GONE, 2, false);
	assert_int_equal(script.outcome.guard_class, IKE_GUARD_NONE);
	for (int class = 0; class < IKE_GUARD_CLASS_COUNT; class ++)
		assert_non_null(ike_guard_class_name(class));
}

static void stranger_is_waited_out(void **state)
{
	SCRIPT script = {0};

	(void)state;
	begin_script(&script, false);
	feed(&script, ENGINE_SA_BEGUN, 1, false);
	assert_int_equal(script.session.state, IKE_STATE_NEGOTIATING);
	feed_cause(&script, 1, ENGINE_CAUSE_FAULT, false, "no IKE proposal chosen");
	feed(&script, ENGINE_SA_GONE, 1, false);
	assert_int_equal(script.session.state, IKE_STATE_WAITING);
	assert_true(script.outcome.is_changed);
	assert_false(script.outcome.is_over);
	assert_string_equal(script.session.cause, "no IKE proposal chosen");
	/* The right one comes up, and nothing is left of the stranger's cause. */
	feed(&script, ENGINE_SA_BEGUN, 2, false);
	feed(&script, ENGINE_CHILD_UP, 2, false);
	assert_string_equal(script.session.cause, "");
}

static void stranger_does_not_end_what_is_up(void **state)
{
	SCRIPT script = {0};

	(void)state;
	begin_script(&script, false);
	feed(&script, ENGINE_SA_BEGUN, 1, false);
	feed(&script, ENGINE_CHILD_UP, 1, false);
	feed(&script, ENGINE_SA_BEGUN, 2, false);
	feed_cause(&script, 2, ENGINE_CAUSE_FAULT, true, "wrong pre-shared key");
	feed(&script, ENGINE_SA_GONE, 2, false);
	assert_int_equal(script.session.state, IKE_STATE_UP);
	assert_string_equal(script.outcome.stray, "wrong pre-shared key");
	assert_string_equal(script.session.cause, "");
}

static void newer_takes_the_place_of_older(void **state)
{
	SCRIPT script = {0};

	(void)state;
	begin_script(&script, false);
	feed(&script, ENGINE_SA_BEGUN, 1, false);
	feed(&script, ENGINE_CHILD_UP, 1, false);
	feed(&script, ENGINE_SA_BEGUN, 2, false);
	feed(&script, ENGINE_CHILD_UP, 2, false);
	assert_int_equal(script.outcome.superseded, 1);
	assert_int_equal(script.session.initiator_spi >> 32, 0x1002);
	feed(&script, ENGINE_SA_GONE, 1, false);
	assert_int_equal(script.session.state, IKE_STATE_UP);
	assert_false(script.outcome.is_changed);
	/* Down only when the last is gone and none is pending. */
	feed(&script, ENGINE_SA_BEGUN, 3, false);
	feed_cause(&script, 2, ENGINE_CAUSE_CLOSED, true, "peer ended the IKE_SA");
	feed(&script, ENGINE_SA_GONE, 2, false);
	assert_int_equal(script.session.state, IKE_STATE_UP);
	feed_cause(&script, 3, ENGINE_CAUSE_SILENCE, false, "no answer");
	feed(&script, ENGINE_SA_GONE, 3, false);
	assert_int_equal(script.session.state, IKE_STATE_ENDED);
	assert_string_equal(script.session.cause, "peer ended the IKE_SA");
}

static void rekey_is_no_end(void **state)
{
	SCRIPT script = {0};
	struct engine_fact fact = {
		.kind = ENGINE_SA_REPLACED, .sa = 1, .successor = 2, .initiator_spi = 0x2222};

	(void)state;
	for (int successor_began = 0; successor_began < 2; successor_began++) {
		begin_script(&script, true);
		feed(&script, ENGINE_SA_BEGUN, 1, true);
		feed(&script, ENGINE_CHILD_UP, 1, true);
		if (successor_began)
			feed(&script, ENGINE_SA_BEGUN, 2, true);
		ike_session_apply(&script.session, &fact, ++script.now_usec, &script.outcome);
		assert_true(script.outcome.is_changed);
		assert_int_equal(script.session.initiator_spi, 0x2222);
		assert_int_equal(script.session.sa_count, 1);
		feed(&script, ENGINE_SA_GONE, 1, true);
		assert_int_equal(script.session.state, IKE_STATE_UP);
		feed(&script, ENGINE_SA_GONE, 2, true);
		assert_int_equal(script.session.state, IKE_STATE_ENDED);
	}
}

/** Half-open IKE_SAs are bounded, the newest stay, and one that is up is never among the victims. */
static void flood_is_bounded(void **state)
{
	SCRIPT script = {0};

	(void)state;
	begin_script(&script, false);
	feed(&script, ENGINE_SA_BEGUN, 1, false);
	feed(&script, ENGINE_CHILD_UP, 1, false);
	for (uint32_t sa = 2; sa <= IKE_SAS_MAX; sa++) {
		feed(&script, ENGINE_SA_BEGUN, sa, false);
		assert_int_equal(script.outcome.unwanted, 0);
	}
	for (uint32_t sa = IKE_SAS_MAX + 1; sa <= 100; sa++) {
		feed(&script, ENGINE_SA_BEGUN, sa, false);
		assert_int_equal(script.outcome.unwanted, sa - IKE_SAS_MAX + 1);
	}
	feed(&script, ENGINE_SA_GONE, 1, false);
	assert_int_equal(script.session.state, IKE_STATE_UP);
	assert_int_equal(script.session.sa_count, IKE_SAS_MAX - 1);
}

/** An IKE_SA of the peer comes up so long after ours, which the lower number began. */
static void bring_up_peers(struct script *script, uint64_t later_usec)
{
	begin_script(script, true);
	feed_of_life(script, ENGINE_SA_BEGUN, 1, true, 1);
	feed_of_life(script, ENGINE_CHILD_UP, 1, true, 1);
	assert_true(script->outcome.is_authenticated);
	script->now_usec += later_usec;
	feed_of_life(script, ENGINE_SA_BEGUN, 2, false, 1);
	feed_of_life(script, ENGINE_CHILD_UP, 2, false, 1);
}

static void responder_may_authenticate_anew(void **state)
{
	SCRIPT script = {0};

	(void)state;
	bring_up_peers(&script, 100 * 1000000ull);
	assert_int_equal(script.outcome.superseded, 1);
	assert_false(script.outcome.tells_superseded);
	assert_true(script.outcome.is_authenticated);
	/* The control: begun at the same time as ours it crosses it, and ours stays. */
	bring_up_peers(&script, 20 * 1000000ull);
	assert_int_equal(script.outcome.superseded, 2);
	assert_false(script.outcome.is_authenticated);
}

static void we_authenticate_anew(void **state)
{
	SCRIPT script = {0};

	(void)state;
	begin_script(&script, true);
	feed(&script, ENGINE_REAUTHENTICATION_DUE, 0, false);
	assert_false(script.outcome.wants_initiation);
	feed(&script, ENGINE_SA_BEGUN, 1, true);
	feed(&script, ENGINE_CHILD_UP, 1, true);
	feed(&script, ENGINE_REAUTHENTICATION_DUE, 0, false);
	assert_true(script.outcome.wants_initiation);
	feed(&script, ENGINE_SA_BEGUN, 2, true);
	feed(&script, ENGINE_SA_GONE, 2, true);
	assert_true(script.outcome.wants_retry);
	assert_int_equal(script.session.state, IKE_STATE_UP);
	feed(&script, ENGINE_REAUTHENTICATION_DUE, 0, false);
	feed(&script, ENGINE_SA_BEGUN, 3, true);
	feed(&script, ENGINE_CHILD_UP, 3, true);
	assert_int_equal(script.outcome.superseded, 1);
	assert_true(script.outcome.tells_superseded);
	assert_int_equal(script.session.reauthentications, 1);
	assert_int_equal(script.session.sa_in_force, 3);
}

static void nobody_authenticates_anew(void **state)
{
	SCRIPT script = {0};

	(void)state;
	begin_script(&script, true);
	feed(&script, ENGINE_SA_BEGUN, 1, true);
	feed(&script, ENGINE_CHILD_UP, 1, true);
	feed(&script, ENGINE_REAUTHENTICATION_MISSED, 0, false);
	assert_int_equal(script.outcome.unwanted, 1);
	feed(&script, ENGINE_SA_GONE, 1, true);
	assert_int_equal(script.session.state, IKE_STATE_ENDED);
	assert_string_equal(script.session.cause, "neither side authenticated anew within the "
	                                          "time of reauthentication");
}

static void initiation_fails(void **state)
{
	SCRIPT script = {0};
	struct engine_fact fact = {.kind = ENGINE_INITIATION_FAILED, .cause = "no"};

	(void)state;
	begin_script(&script, true);
	ike_session_apply(&script.session, &fact, 1, &script.outcome);
	assert_int_equal(script.session.state, IKE_STATE_FAILED);
	assert_true(script.outcome.is_over);
	assert_string_equal(script.session.cause, "no");
}

static void an_end_that_overtakes_its_beginning_wins(void **state)
{
	struct session_table *table = session_table_new();
	struct ike_session *session;

	(void)state;
	assert_non_null(table);
	session_table_end_attempt(table, 7, 12);
	assert_int_equal(session_table_admit(table, 7, 12, &session), SESSION_STALE);
	assert_int_equal(session_table_admit(table, 7, 13, &session), SESSION_NEW);
	assert_non_null(session);
	session_table_free(table);
}

static void count_session(void *context, struct ike_session *session)
{
	assert_true(session->attempt > 0);
	(*(size_t *)context)++;
}

static void table_orders_attempts(void **state)
{
	struct session_table *table = session_table_new();
	struct ike_session *session;
	size_t visited = 0;

	(void)state;
	assert_non_null(table);
	assert_int_equal(session_table_admit(table, 7, 5, &session), SESSION_NEW);
	assert_non_null(session);
	ike_session_init(session, "vsip7", 5, 7, "1", "2", true);
	assert_int_equal(session_table_admit(table, 7, 5, &session), SESSION_SAME);
	assert_int_equal(session_table_admit(table, 7, 4, &session), SESSION_STALE);
	assert_null(session);
	assert_int_equal(session_table_admit(table, 7, 6, &session), SESSION_REPLACES);
	assert_int_equal(session->attempt, 5);
	/* Shares a bucket, is another tunnel. */
	assert_int_equal(session_table_admit(table, 7 + 256, 1, &session), SESSION_NEW);
	assert_non_null(session);
	ike_session_init(session, "vsip263", 1, 263, "1", "3", true);
	assert_int_equal(session_table_count(table), 2);
	session_table_remove(table, 7);
	session_table_remove(table, 7);
	assert_null(session_table_find(table, 7));
	assert_int_equal(session_table_admit(table, 7, 4, &session), SESSION_STALE);
	/* The same attempt may begin again: the coordinator restores a session after our restart. */
	assert_int_equal(session_table_admit(table, 7, 5, &session), SESSION_NEW);
	assert_non_null(session);
	ike_session_init(session, "vsip7", 5, 7, "1", "2", true);
	session_table_each(table, count_session, &visited);
	assert_int_equal(visited, 2);
	session_table_free(table);
}

static void fingerprint_of_the_check_vector(void **state)
{
	static const char key[] = "example-psk-0388881001";
	static const uint8_t expected[32] = {0xC6, 0x4C, 0x89, 0xE1, 0x68, 0x85, 0x7A, 0x9C,
	                                     0xB2, 0x28, 0x9E, 0x46, 0x93, 0x9B, 0x78, 0xE1,
	                                     0x8C, 0x7A, 0x8D, 0x63, 0x6B, 0x0D, 0x77, 0xB9,
	                                     0x9D, 0x0B, 0x1D, 0xE9, 0x23, 0x66, 0xCC, 0x5A};
	const uint8_t *octets = (const uint8_t *)key;
	uint8_t value[FINGERPRINT_MAX];

	(void)state;
	assert_int_equal(fingerprint_compute("sha-256", octets, 22, value), 32);
	assert_memory_equal(value, expected, 32);
	assert_int_equal(fingerprint_compute("SHA-384", octets, 22, value), 48);
	assert_int_equal(fingerprint_compute("SHA-512", octets, 22, value), 64);
	assert_int_equal(fingerprint_compute("SHA-1", octets, 22, value), 20);
	assert_int_equal(fingerprint_compute("MD5", octets, 22, value), 0);
	assert_true(fingerprint_fits(octets, 22, "SHA-256", expected, 32));
	assert_false(fingerprint_fits(octets, 21, "SHA-256", expected, 32));
	assert_false(fingerprint_fits(octets, 22, "SHA-256", expected, 31));
	assert_false(fingerprint_fits(octets, 22, "SHA-256", expected, 0));
	assert_false(fingerprint_fits(octets, 22, "SHA-1", expected, 0));
}

static size_t compared_size; /* by OpenSSL's comparison, whose time does not tell where two differ */

int __real_CRYPTO_memcmp(const void *a, const void *b, size_t size);

int __wrap_CRYPTO_memcmp(const void *a, const void *b, size_t size)
{
	compared_size += size;
	return __real_CRYPTO_memcmp(a, b, size);
}

static void fingerprints_are_compared_in_constant_time(void **state)
{
	static const struct {
		const char *hash;
		size_t size;
	} rows[] = {{"SHA-1", 20}, {"SHA-256", 32}, {"SHA-384", 48}, {"SHA-512", 64}};
	const uint8_t *octets = (const uint8_t *)"example-psk-0388881001";

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t value[FINGERPRINT_MAX];

		fingerprint_compute(rows[i].hash, octets, 22, value);
		for (size_t wrong = 0; wrong < rows[i].size; wrong++) {
			value[wrong] ^= 1;
			compared_size = 0;
			assert_false(
				fingerprint_fits(octets, 22, rows[i].hash, value, rows[i].size));
			assert_int_equal(compared_size, rows[i].size);
			value[wrong] ^= 1;
		}
		assert_true(fingerprint_fits(octets, 22, rows[i].hash, value, rows[i].size));
	}
}

static void who_is_in_force_is_heard(void **state)
{
	SCRIPT script = {0};

	(void)state;
	begin_script(&script, true);
	feed(&script, ENGINE_SA_BEGUN, 1, true);
	feed(&script, ENGINE_PEER_HEARD, 1, true);
	assert_false(script.outcome.is_heard);
	feed(&script, ENGINE_CHILD_UP, 1, true);
	feed(&script, ENGINE_PEER_HEARD, 1, true);
	assert_true(script.outcome.is_heard);
	assert_false(script.outcome.is_changed);
	feed(&script, ENGINE_SA_BEGUN, 2, false);
	feed(&script, ENGINE_PEER_HEARD, 2, false);
	assert_false(script.outcome.is_heard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_in_force_is_heard),
		cmocka_unit_test(an_end_that_overtakes_its_beginning_wins),
		cmocka_unit_test(every_state_and_event),
		cmocka_unit_test(patience_outlasts_dead_peer_detection),
		cmocka_unit_test(comes_up_and_ends),
		cmocka_unit_test(highest_cause_is_told),
		cmocka_unit_test(refusal_is_told_once),
		cmocka_unit_test(stranger_is_waited_out),
		cmocka_unit_test(stranger_does_not_end_what_is_up),
		cmocka_unit_test(newer_takes_the_place_of_older),
		cmocka_unit_test(rekey_is_no_end),
		cmocka_unit_test(flood_is_bounded),
		cmocka_unit_test(responder_may_authenticate_anew),
		cmocka_unit_test(we_authenticate_anew),
		cmocka_unit_test(nobody_authenticates_anew),
		cmocka_unit_test(initiation_fails),
		cmocka_unit_test(table_orders_attempts),
		cmocka_unit_test(fingerprint_of_the_check_vector),
		cmocka_unit_test(fingerprints_are_compared_in_constant_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
