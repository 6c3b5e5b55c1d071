/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What two engines agree on, keep fresh and authenticate anew. */
#include "ike_engine_pair.h"

static void bring_up(const struct variant *a, const struct variant *b)
{
	start_pair(a, b);
	assert_true(carry(both_up, 8000));
	carry(never, 50);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].installed_count, 2);
}

/** An order about the first side's IKE_SA in force. */
static void order_first(enum message_kind kind, uint32_t number)
{
	struct message message = {.kind = kind, .number = number};

	order(&sides[0], &message);
}

static const struct engine_suite *ike_suite(int side)
{
	return &sides[side].session.ike.suite;
}

static const struct engine_suite *child_suite(int side)
{
	return &sides[side].session.child.suite;
}

/** The initiator's choice is preferred, whichever side that is (guide, "IKEv2 Proposals on the Initiator and Responder"). */
static void test_initiators_order(void **state)
{
	const struct variant ours = {
		.ike_proposals = "aes128-aes256-sha256-sha384-modp2048-ecp256"};
	const struct variant theirs = {
		.ike_proposals = "aes256-aes128-sha384-sha256-ecp256-modp2048"};
	const struct variant lists[2] = {
		{.ike_proposals = "aes128-sha256-ecp256,aes256-sha384-ecp384",
	         .esp_proposals = "aes256gcm16,aes128gcm16"},
		{.ike_proposals = "aes256-sha384-ecp384,aes128-sha256-ecp256",
	         .esp_proposals = "aes128gcm16,aes256gcm16"},
	};

	(void)state;
	bring_up(&ours, &theirs);
	for (int i = 0; i < 2; i++) {
		assert_string_equal(ike_suite(i)->encryption, "AES-CBC");
		assert_int_equal(ike_suite(i)->key_bits, 128);
		assert_string_equal(ike_suite(i)->integrity, "SHA256");
		assert_string_equal(ike_suite(i)->prf, "SHA256");
		assert_int_equal(ike_suite(i)->group, 14);
	}
	for (int first = 0; first < 2; first++) {
		leave(NULL);
		bring_up(&lists[first], &lists[!first]);
		assert_int_equal(ike_suite(1)->key_bits, first ? 256 : 128);
		assert_int_equal(ike_suite(1)->group, first ? 20 : 19);
		assert_int_equal(child_suite(1)->key_bits, first ? 128 : 256);
	}
}

static void test_each_algorithm(void **state)
{
	static const struct {
		const char *ike, *encryption, *prf;
		unsigned key_bits, group;
	} cases[] = {
		{"aes256gcm16-prfsha384-ecp384", "AES-GCM", "SHA384", 256, 20},
		{"chacha20poly1305-prfsha256-curve25519", "CHACHA20-POLY1305", "SHA256", 0, 31},
		{"aes192-sha512-ecp521", "AES-CBC", "SHA512", 192, 21},
		{"aes256-sha384-modp3072", "AES-CBC", "SHA384", 256, 15},
		{"aes128-sha256-modp4096", "AES-CBC", "SHA256", 128, 16},
		{"aes128-sha256-modp2048s256", "AES-CBC", "SHA256", 128, 24},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct variant variant = {.ike_proposals = cases[i].ike};

		bring_up(&variant, &variant);
		for (int side = 0; side < 2; side++) {
			assert_string_equal(ike_suite(side)->encryption, cases[i].encryption);
			assert_string_equal(ike_suite(side)->prf, cases[i].prf);
			assert_int_equal(ike_suite(side)->key_bits, cases[i].key_bits);
			assert_int_equal(ike_suite(side)->group, cases[i].group);
		}
		leave(NULL);
	}
}

/** A weak proposal of the peer's finds nobody who takes it, unless the operator allowed it here too (the control). */
static void test_weak_is_refused(void **state)
{
	static const char *const weak[] = {
		"3des-sha256-modp2048",  "aes128-md5-modp2048",    "aes128-sha1-modp2048",
		"aes128-sha256-modp768", "aes128-sha256-modp1024", "aes128-sha256-modp1536",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(weak) / sizeof(weak[0]); i++) {
		const struct variant offering = {.ike_proposals = weak[i], .allows_weak = true};

		start_pair(&offering, &plain);
		assert_true(carry(first_final, 5000));
		assert_int_equal(sides[0].session.state, IKE_STATE_FAILED);
		assert_string_equal(sides[0].session.cause, "no IKE proposal chosen");
		assert_int_equal(sides[1].installs, 0);
		leave(NULL);
		bring_up(&offering, &offering);
		leave(NULL);
	}
}

static void test_weak_esp(void **state)
{
	const struct variant old = {.esp_proposals = "aes128-sha1", .allows_weak = true};

	(void)state;
	start_pair(&old, &plain);
	assert_true(carry(first_final, 5000));
	assert_int_equal(sides[0].installs + sides[1].installs, 0);
	leave(NULL);
	bring_up(&old, &old);
	assert_string_equal(child_suite(0)->integrity, "SHA1");
}

static bool has_rekeyed_child(void)
{
	return sides[0].session.child_rekeys > 0 && sides[1].session.child_rekeys > 0;
}

/** The first child's keys come from the IKE_SA's exchange; with pfs each later one has its own. */
static void test_forward_secrecy(void **state)
{
	const struct variant pfs = {.pfs = "group19"};
	uint32_t spi;

	(void)state;
	bring_up(&pfs, &pfs);
	assert_int_equal(child_suite(0)->group, 0);
	spi = sides[0].session.child.inbound_spi;
	order_first(RENEW_CHILDREN, sides[0].session.sa_in_force);
	assert_true(carry(has_rekeyed_child, 5000));
	for (int i = 0; i < 2; i++)
		assert_int_equal(child_suite(i)->group, 19);
	assert_int_not_equal(sides[0].session.child.inbound_spi, spi);
	assert_int_equal(sides[0].session.child.inbound_spi, sides[1].session.child.outbound_spi);
	leave(NULL);
	/* The control: without it they derive from the same exchange. */
	bring_up(&plain, &plain);
	order_first(RENEW_CHILDREN, sides[0].session.sa_in_force);
	assert_true(carry(has_rekeyed_child, 5000));
	assert_int_equal(child_suite(0)->group, 0);
}

static bool has_refused_rekeying(void)
{
	return sides[0].session.state != IKE_STATE_UP || sides[0].session.child_rekeys > 0;
}

/** Who demands forward secrecy does not rekey without it. */
static void test_forward_secrecy_is_demanded(void **state)
{
	const struct variant pfs = {.pfs = "group19"};

	(void)state;
	bring_up(&plain, &pfs);
	order_first(RENEW_CHILDREN, sides[0].session.sa_in_force);
	carry(has_refused_rekeying, 1000);
	assert_int_equal(sides[1].session.child_rekeys, 0);
}

static void test_dual_overlay(void **state)
{
	const struct variant dual = {.is_dual_overlay = true};

	(void)state;
	bring_up(&dual, &dual);
	for (int i = 0; i < 2; i++) {
		const struct engine_child *child = &sides[i].session.child;

		assert_string_equal(child->local_selectors[0], "0.0.0.0/0");
		assert_string_equal(child->local_selectors[1], "::/0");
		assert_string_equal(child->remote_selectors[1], "::/0");
		assert_string_equal(child->remote_selectors[2], "");
	}
	leave(NULL);
	/* With a peer that has it not, what both have is left. */
	bring_up(&dual, &plain);
	assert_string_equal(sides[0].session.child.local_selectors[0], "0.0.0.0/0");
	assert_string_equal(sides[0].session.child.local_selectors[1], "");
}

static void test_fragmentation(void **state)
{
	const struct variant without = {.has_no_fragmentation = true};

	(void)state;
	bring_up(&plain, &plain);
	assert_true(sides[0].session.ike.has_fragmentation);
	assert_true(sides[1].session.ike.has_fragmentation);
	leave(NULL);
	bring_up(&plain, &without);
	assert_false(sides[0].session.ike.has_fragmentation);
}

static void test_lifetimes_are_told(void **state)
{
	const struct variant short_lived = {.ike_lifetime_sec = 1000};
	const struct engine_ike *ike = &sides[0].session.ike;
	uint64_t now;

	(void)state;
	bring_up(&short_lived, &short_lived);
	now = now_usec();
	assert_in_range(ike->established_mono_usec, now - 9000000, now);
	/* 10 % before the end, and up to half of that earlier. */
	assert_in_range(ike->rekeys_mono_usec, now + 840000000ull, now + 902000000ull);
	assert_in_range(ike->ends_mono_usec, now + 940000000ull, now + 1002000000ull);
	assert_in_range(sides[0].session.child.installed_mono_usec, now - 9000000, now);
}

static uint64_t first_spi;

static bool is_authenticated_anew(void)
{
	return both_up() && sides[0].session.initiator_spi != first_spi &&
	       sides[0].session.initiator_spi == sides[1].session.initiator_spi;
}

static bool has_one_ike_sa(void)
{
	return sides[0].session.sa_count == 1 && sides[1].session.sa_count == 1 &&
	       sides[0].installed_count == 2 && sides[1].installed_count == 2;
}

/** Make before break: at every instant each side holds the SA that the other sends with. */
static void test_reauthentication(void **state)
{
	(void)state;
	bring_up(&plain, &plain);
	first_spi = sides[0].session.initiator_spi;
	order_first(REAUTHENTICATE, 1);
	assert_true(carry(is_authenticated_anew, 5000));
	assert_int_equal(sides[0].session.reauthentications, 1);
	/* What is under way through the old SAs is still received. */
	carry(never, 3000);
	for (int i = 0; i < 2; i++) {
		unsigned inbound = 0;

		for (size_t j = 0; j < sides[i].installed_count; j++)
			inbound += sides[i].installed[j].is_inbound;
		assert_int_equal(inbound, 2);
		assert_int_equal(sides[i].session.state, IKE_STATE_UP);
	}
	assert_true(carry(has_one_ike_sa, 8000));
	assert_true(both_up());
}

/** A peer that does not answer the new IKE_SA loses nothing of the old one. */
static void test_reauthentication_fails(void **state)
{
	(void)state;
	bring_up(&plain, &plain);
	first_spi = sides[0].session.initiator_spi;
	sides[1].is_deaf = true;
	order_first(REAUTHENTICATE, 1);
	carry(never, 3000);
	/* What is up stays up while the new one is tried. */
	assert_int_equal(sides[0].session.state, IKE_STATE_UP);
	assert_int_equal(sides[0].session.sa_count, 2);
	assert_int_equal(sides[0].session.initiator_spi, first_spi);
}

#define CASE(function) cmocka_unit_test_teardown(function, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_initiators_order),       CASE(test_each_algorithm),
		CASE(test_weak_is_refused),        CASE(test_weak_esp),
		CASE(test_forward_secrecy),        CASE(test_forward_secrecy_is_demanded),
		CASE(test_dual_overlay),           CASE(test_fragmentation),
		CASE(test_lifetimes_are_told),     CASE(test_reauthentication),
		CASE(test_reauthentication_fails),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
