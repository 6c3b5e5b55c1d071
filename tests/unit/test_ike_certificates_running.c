/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A certificate that is believed no more while the session runs: revoked, its root taken away, expired. Two engines; B judges A. */
#define _GNU_SOURCE
#include "ike_certificates_scene.h"

static int reset(void **state)
{
	ours.revocation = REVOCATION_NONE;
	return leave(state);
}

static void revoked_while_up(void **state)
{
	struct identity a = make_identity(&(struct recipe){.name = "CN=a", .issuer = &root});
	struct config_trustpoint of_a = trustpoint_of("a", &a, false, true);
	struct message renew = {.kind = RENEW};

	(void)state;
	ours.revocation = REVOCATION_STRICT;
	publish_list(&root, NULL, 30 * DAY_SEC);
	start_pair(&(struct variant){.trustpoint = &of_a}, &(struct variant){.trustpoint = &ours});
	assert_true(carry(both_up, 5000));
	carry(never, 50);
	/* Another list without the peer in it changes nothing. */
	publish_list(&root, middle.certificate, 30 * DAY_SEC);
	order(&sides[1], &renew);
	carry(never, 300);
	assert_true(both_up());
	publish_list(&root, a.certificate, 30 * DAY_SEC);
	order(&sides[1], &renew);
	assert_true(carry(both_final, 3000));
	assert_int_equal(sides[1].session.state, IKE_STATE_ENDED);
	assert_true(sides[1].session.is_ended_by_us);
	assert_false(sides[0].session.is_ended_by_us);
	assert_non_null(strstr(sides[1].session.cause, "peer's certificate is revoked: serial "));
	assert_int_equal(sides[1].refused_for, IKE_GUARD_REVOKED);
	assert_non_null(strstr(sides[1].session.cause, "CN=Root, O=Bank"));
	carry(never, 50);
	assert_int_equal(sides[0].installed_count + sides[1].installed_count, 0);
}

/* A root is taken out of ca-file: whom it vouched for is believed no more; the other root's going is the control. */
static void root_taken_away_while_up(void **state)
{
	struct identity a = make_identity(&(struct recipe){.name = "CN=a", .issuer = &middle});
	struct config_trustpoint of_a = trustpoint_of("a", &a, true, true), both = ours;
	X509 *const roots[] = {foreign_root.certificate, root.certificate,
	                       foreign_root.certificate};
	struct message renew = {.kind = RENEW};

	(void)state;
	both.ca_file = write_pem(directory, "both.pem", NULL, roots, 2, NULL);
	start_pair(&(struct variant){.trustpoint = &of_a}, &(struct variant){.trustpoint = &both});
	assert_true(carry(both_up, 5000));
	carry(never, 50);
	write_pem(directory, "both.pem", NULL, roots + 1, 1, NULL);
	order(&sides[1], &renew);
	carry(never, 300);
	assert_true(both_up());
	write_pem(directory, "both.pem", NULL, roots + 2, 1, NULL);
	order(&sides[1], &renew);
	assert_true(carry(both_final, 3000));
	assert_true(sides[1].session.is_ended_by_us);
	assert_non_null(strstr(sides[1].session.cause, "is not trusted"));
	assert_int_equal(sides[1].refused_for, IKE_GUARD_UNTRUSTED);
	carry(never, 50);
	assert_int_equal(sides[0].installed_count + sides[1].installed_count, 0);
}

/* A rekeying has a second; ThreadSanitizer needs more. */
#ifdef __SANITIZE_THREAD__
#define REKEYED_SEC 0
#else
#define REKEYED_SEC 4
#endif

/** The IKE_SA is rekeyed before; the end stays the certificate's. */
static void expires_while_up(void **state)
{
	struct identity a =
		make_identity(&(struct recipe){.name = "CN=a", .issuer = &middle, .end_sec = 8});
	struct config_trustpoint of_a = trustpoint_of("a", &a, true, true);
	const time_t end = time(NULL) + 8;

	(void)state;
	start_pair(&(struct variant){.trustpoint = &of_a, .ike_lifetime_sec = REKEYED_SEC},
	           &(struct variant){.trustpoint = &ours});
	assert_true(carry(both_up, 5000));
	carry(never, 50);
	for (int i = 0; i < 2; i++)
		assert_in_range(sides[i].installed[0].hard_lifetime_sec, 1, 8);
	assert_true(carry(both_final, 12000));
	assert_in_range(time(NULL), end - 1, end + 2);
	/* Both know the time; whoever ends it first tells the other. */
	assert_true(strstr(sides[0].session.cause, "our certificate expired at ") ||
	            strstr(sides[1].session.cause, "peer's certificate expired at "));
}

#define CASE(function) cmocka_unit_test_teardown(function, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(revoked_while_up),
		CASE(root_taken_away_while_up),
		CASE(expires_while_up),
	};

	return cmocka_run_group_tests(tests, make_authorities, remove_authorities);
}
