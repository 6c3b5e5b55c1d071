/* SPDX-License-Identifier: GPL-3.0-or-later */
/* libcharon as ike-agent uses it, and the session core on its facts: two engines against each other. */
#include "ike_engine_pair.h"

static void bring_up(const struct variant *a, const struct variant *b)
{
	start_pair(a, b);
	assert_true(carry(both_up, 5000));
	/* The last facts and SAs of the responder may still be on their way. */
	carry(never, 50);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].installed_count, 2);
}

static void test_up(void **state)
{
	uint64_t begun;

	(void)state;
	start_side(0, &plain, true);
	start_side(1, &plain, false);
	assert_true(carry(both_ready, 5000));
	begun = now_usec();
	initiate(0);
	assert_true(carry(both_up, 5000));
	print_message("handshake: %.1f ms (first of both engines)\n", (now_usec() - begun) / 1e3);
	carry(never, 50);
	assert_true(sides[0].session.is_initiator);
	assert_false(sides[1].session.is_initiator);
	assert_string_equal(sides[0].session.remote_identity, numbers[1]);
	assert_string_equal(sides[1].session.remote_identity, numbers[0]);
	assert_int_equal(sides[0].session.initiator_spi, sides[1].session.initiator_spi);
	assert_int_equal(sides[0].session.responder_spi, sides[1].session.responder_spi);
	assert_true(sides[0].session.responder_spi != 0);
	assert_string_equal(sides[0].session.ike_proposal,
	                    "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256");
	assert_string_equal(sides[0].session.esp_proposal, "AES_GCM_16_128/EXT_SEQ");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sides[i].installed_count, 2);
		for (int j = 0; j < 2; j++) {
			assert_int_equal(sides[i].installed[j].encryption, ENGINE_AES_GCM_16);
			assert_int_equal(sides[i].installed[j].encryption_key_size, 20);
			assert_true(sides[i].installed[j].has_extended_sequence);
			assert_int_equal(sides[i].installed[j].replay_window, 64);
			assert_int_equal(sides[i].installed[j].hard_lifetime_sec, 3600);
		}
		assert_true(sides[i].installed[0].is_inbound != sides[i].installed[1].is_inbound);
	}
}

static void test_stop_tells_peer(void **state)
{
	struct message message = {.kind = END_SA, .flag = true};

	(void)state;
	bring_up(&plain, &plain);
	message.number = sides[0].session.sas[0].sa;
	order(&sides[0], &message);
	assert_true(carry(both_final, 3000));
	assert_int_equal(sides[1].session.state, IKE_STATE_ENDED);
	assert_string_equal(sides[1].session.cause, "peer ended the IKE_SA");
	carry(never, 50);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].installed_count, 0);
}

static void test_leaving_tells_nobody(void **state)
{
	struct message message = {.kind = LEAVE};

	(void)state;
	bring_up(&plain, &plain);
	order(&sides[0], &message);
	carry(never, 300);
	assert_int_equal(sides[1].session.state, IKE_STATE_UP);
	assert_int_equal(sides[0].removals, 0);
	assert_int_equal(sides[0].installed_count, 2);
}

/** The side refused the other's IKE_SA for this, and knows from where it came. */
static void assert_refused(int side, enum ike_guard_class class)
{
	const struct sockaddr_in *source = (struct sockaddr_in *)&sides[side].refused;
	char text[INET_ADDRSTRLEN] = "";

	inet_ntop(AF_INET, &source->sin_addr, text, sizeof(text));
	assert_int_equal(sides[side].refused_for, class);
	assert_string_equal(text, addresses[!side]);
}

static void test_wrong_key(void **state)
{
	const struct variant wrong = {.key = "another-psk-of-22-byte"};

	(void)state;
	start_pair(&wrong, &plain);
	assert_true(carry(both_final, 5000));
	assert_int_equal(sides[0].session.state, IKE_STATE_FAILED);
	assert_string_equal(sides[0].session.cause,
	                    "peer refused our key or identity (AUTHENTICATION_FAILED)");
	assert_int_equal(sides[1].session.state, IKE_STATE_FAILED);
	assert_string_equal(sides[1].session.cause, "wrong pre-shared key (authentication failed)");
	assert_refused(1, IKE_GUARD_KEY);
	assert_int_equal(sides[0].installs + sides[1].installs, 0);
}

static void test_unknown_key_id(void **state)
{
	const struct variant unknown = {.own_number = "0312341111"};

	(void)state;
	start_pair(&unknown, &plain);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer key-id 0312341111 matches no keyring entry");
	assert_refused(1, IKE_GUARD_IDENTITY);
}

/** The identity of another peer, whose key is known too, does not open this session. */
static void test_other_peers_key_id(void **state)
{
	const struct variant other = {.own_number = "0388889999"};

	(void)state;
	start_pair(&other, &plain);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer key-id 0388889999 is not the number of the call, 0388881001");
	assert_refused(1, IKE_GUARD_IDENTITY);
}

static void test_responder_with_wrong_key_id(void **state)
{
	const struct variant other = {.own_number = "0388889999", .matches_any = true};

	(void)state;
	/* The initiator names whom it wants; a responder that answers as somebody else is refused. */
	start_pair(&plain, &other);
	assert_true(carry(first_final, 5000));
	assert_int_equal(sides[0].session.state, IKE_STATE_FAILED);
}

static void test_match_any(void **state)
{
	const struct variant stranger = {.own_number = "0312341111"}, any = {.matches_any = true};

	(void)state;
	bring_up(&stranger, &any);
	assert_string_equal(sides[1].session.remote_identity, "0312341111");
}

static void test_pin_matches(void **state)
{
	const struct variant pinned = {.pinned_key = good_key};

	(void)state;
	bring_up(&pinned, &pinned);
}

static void test_pin_differs_at_responder(void **state)
{
	const struct variant pinned = {.pinned_key = "another-psk-of-22-byte"};

	(void)state;
	start_pair(&plain, &pinned);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer's key does not match the pinned fingerprint");
	assert_refused(1, IKE_GUARD_FINGERPRINT);
	assert_int_equal(sides[1].installs, 0);
}

static void test_pin_differs_at_initiator(void **state)
{
	const struct variant pinned = {.pinned_key = "another-psk-of-22-byte"};

	(void)state;
	start_pair(&pinned, &plain);
	assert_true(carry(first_final, 5000));
	assert_string_equal(sides[0].session.cause,
	                    "peer's key does not match the pinned fingerprint");
	assert_refused(0, IKE_GUARD_FINGERPRINT);
	assert_int_equal(sides[0].installs, 0);
}

/** A certificate's fingerprint is no fingerprint of a key, even of equal value. */
static void test_certificate_pin_bars_keys(void **state)
{
	const struct variant pinned = {.pinned_key = good_key, .has_certificate_pin_only = true};

	(void)state;
	start_pair(&plain, &pinned);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer's key does not match the pinned fingerprint");
}

static void test_no_ike_proposal(void **state)
{
	const struct variant strong = {.ike_proposals = "aes256-sha384-ecp384"};

	(void)state;
	start_pair(&strong, &plain);
	assert_true(carry(first_final, 5000));
	assert_string_equal(sides[0].session.cause, "no IKE proposal chosen");
	carry(never, 50);
	/* Nothing was proven about who sent that: the responder waits on, and knows why. */
	assert_int_equal(sides[1].session.state, IKE_STATE_WAITING);
	assert_string_equal(sides[1].session.cause, "no IKE proposal chosen");
	assert_refused(1, IKE_GUARD_NO_PROPOSAL);
}

static void test_no_esp_proposal(void **state)
{
	const struct variant strong = {.esp_proposals = "aes256gcm16"};

	(void)state;
	start_pair(&strong, &plain);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[0].session.cause, "no ESP proposal chosen");
	assert_string_equal(sides[1].session.cause, "no ESP proposal chosen");
	assert_refused(1, IKE_GUARD_NO_PROPOSAL);
}

static void test_cbc_without_esn(void **state)
{
	const struct variant cbc = {.esp_proposals = "aes256-sha384-noesn"};

	(void)state;
	bring_up(&cbc, &cbc);
	assert_int_equal(sides[0].installed[0].encryption, ENGINE_AES_CBC);
	assert_int_equal(sides[0].installed[0].encryption_key_size, 32);
	assert_int_equal(sides[0].installed[0].integrity, ENGINE_HMAC_SHA2_384_192);
	assert_int_equal(sides[0].installed[0].integrity_key_size, 48);
	assert_false(sides[0].installed[0].has_extended_sequence);
}

static void test_sa_refused_by_tunnel_agent(void **state)
{
	const struct variant refusing = {.refuses_sa = true};

	(void)state;
	start_pair(&plain, &refusing);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "the SA could not be installed: refused by the test");
}

static unsigned installs_wanted;

static bool has_installs(void)
{
	return sides[0].installs >= installs_wanted && sides[1].installs >= installs_wanted;
}

static uint32_t spi_of(const struct side *side, bool is_inbound)
{
	for (size_t i = 0; i < side->installed_count; i++)
		if (side->installed[i].is_inbound == is_inbound)
			return side->installed[i].spi;
	return 0;
}

/** tunnel-agent reports the limit of either SA. */
static void test_child_rekey(void **state)
{
	struct message message = {.kind = EXPIRE};

	(void)state;
	for (int is_inbound = 0; is_inbound < 2; is_inbound++) {
		bring_up(&plain, &plain);
		message.number = spi_of(&sides[0], is_inbound);
		order(&sides[0], &message);
		installs_wanted = 4;
		assert_true(carry(has_installs, 3000));
		assert_true(both_up());
		leave(NULL);
	}
}

/** At a hard limit the SA ends at once, and a new child takes its place within the IKE_SA. */
static void test_hard_limit_makes_new_child(void **state)
{
	struct message message = {.kind = EXPIRE, .flag = true};

	(void)state;
	bring_up(&plain, &plain);
	message.number = spi_of(&sides[0], true);
	order(&sides[0], &message);
	installs_wanted = 4;
	assert_true(carry(has_installs, 3000));
	carry(never, 3500);
	assert_true(both_up());
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sides[i].installed_count, 2);
		assert_int_equal(sides[i].session.sa_count, 1);
	}
}

static void test_childless_sa_ends(void **state)
{
	struct message message = {.kind = REFUSE};

	(void)state;
	bring_up(&plain, &plain);
	order(&sides[1], &message);
	message = (struct message){.kind = EXPIRE, .flag = true, .number = spi_of(&sides[0], true)};
	order(&sides[0], &message);
	assert_true(carry(both_final, 6000));
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].session.state, IKE_STATE_ENDED);
	carry(never, 50);
	assert_int_equal(sides[0].installed_count, 0);
}

static void test_lifetime_rekeys_child(void **state)
{
	const struct variant short_lived = {.child_lifetime_sec = 3};

	(void)state;
	bring_up(&short_lived, &short_lived);
	installs_wanted = 4;
	assert_true(carry(has_installs, 5000));
	assert_true(both_up());
}

static uint64_t first_initiator_spi;

static bool has_new_ike_sa(void)
{
	return sides[0].session.initiator_spi != first_initiator_spi &&
	       sides[0].session.initiator_spi == sides[1].session.initiator_spi;
}

static void test_lifetime_rekeys_ike(void **state)
{
	const struct variant short_lived = {.ike_lifetime_sec = 4};

	(void)state;
	bring_up(&short_lived, &plain);
	first_initiator_spi = sides[0].session.initiator_spi;
	assert_true(carry(has_new_ike_sa, 6000));
	carry(never, 300);
	assert_true(both_up());
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sides[i].session.sa_count, 1);
		assert_int_equal(sides[i].installs, 2);
	}
}

/** tunnel-agent was restarted and lost its SAs: they are not installed again but replaced. */
static void test_missing_sa_is_replaced(void **state)
{
	struct message message = {.kind = USAGE};

	(void)state;
	bring_up(&plain, &plain);
	message.now_usec = now_usec() + 5000000;
	message.usage_count = 2;
	for (int i = 0; i < 2; i++)
		message.usage[i] = (struct engine_sa_usage){
			.spi = sides[0].installed[i].spi,
			.is_inbound = sides[0].installed[i].is_inbound,
		};
	order(&sides[0], &message);
	carry(never, 200);
	assert_int_equal(sides[0].installs, 2);
	message.usage_count = 0;
	order(&sides[0], &message);
	installs_wanted = 4;
	assert_true(carry(has_installs, 3000));
	assert_true(both_up());
}

static void test_dead_peer(void **state)
{
	const struct variant dpd = {.dpd_interval_sec = 1};

	(void)state;
	bring_up(&dpd, &plain);
	kill(sides[1].process, SIGSTOP);
	sides[1].is_deaf = true;
	assert_true(carry(first_final, 40000));
	assert_int_equal(sides[0].session.state, IKE_STATE_ENDED);
	assert_string_equal(sides[0].session.cause, "no answer from peer within 30 s");
}

static void test_no_answer(void **state)
{
	uint64_t begun = now_usec();

	(void)state;
	start_side(0, &plain, true);
	start_side(1, &plain, false);
	assert_true(carry(both_ready, 5000));
	sides[1].is_deaf = true;
	initiate(0);
	assert_true(carry(first_final, 40000));
	assert_int_equal(sides[0].session.state, IKE_STATE_FAILED);
	assert_string_equal(sides[0].session.cause, "no answer from peer within 30 s");
	assert_in_range((now_usec() - begun) / 1000, 25000, 31000);
}

static bool is_one_left(void)
{
	return sides[0].session.sa_count == 1 && sides[1].session.sa_count == 1 &&
	       sides[0].installed_count == 2 && sides[1].installed_count == 2;
}

/** Both sides begin at the same instant: one IKE_SA is left, the same on both. */
static void test_both_initiate(void **state)
{
	(void)state;
	start_side(0, &plain, true);
	start_side(1, &plain, true);
	assert_true(carry(both_ready, 5000));
	initiate(0);
	initiate(1);
	assert_true(carry(both_up, 5000));
	carry(never, 300);
	assert_int_equal(sides[0].session.initiator_spi, sides[1].session.initiator_spi);
	assert_true(carry(is_one_left, 6000));
	assert_true(both_up());
	assert_int_equal(sides[0].session.initiator_spi, sides[1].session.initiator_spi);
}

#define CASE(function) cmocka_unit_test_teardown(function, leave)

int main(void)
{
	const struct CMUnitTest quick[] = {
		CASE(test_up),
		CASE(test_stop_tells_peer),
		CASE(test_leaving_tells_nobody),
		CASE(test_wrong_key),
		CASE(test_unknown_key_id),
		CASE(test_other_peers_key_id),
		CASE(test_responder_with_wrong_key_id),
		CASE(test_match_any),
		CASE(test_pin_matches),
		CASE(test_pin_differs_at_responder),
		CASE(test_pin_differs_at_initiator),
		CASE(test_certificate_pin_bars_keys),
		CASE(test_no_ike_proposal),
		CASE(test_no_esp_proposal),
		CASE(test_cbc_without_esn),
		CASE(test_sa_refused_by_tunnel_agent),
		CASE(test_child_rekey),
		CASE(test_hard_limit_makes_new_child),
		CASE(test_childless_sa_ends),
		CASE(test_lifetime_rekeys_child),
		CASE(test_lifetime_rekeys_ike),
		CASE(test_missing_sa_is_replaced),
		CASE(test_both_initiate),
	};
	const struct CMUnitTest slow[] = {CASE(test_no_answer), CASE(test_dead_peer)};
	int failed;

	failed = cmocka_run_group_tests(quick, NULL, NULL);
	if (getenv("VPNSIP_LONG"))
		failed += cmocka_run_group_tests(slow, NULL, NULL);
	return failed;
}
