/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Digest authentication against the examples of RFC 7616 section 3.9 and RFC 2617 section 3.5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/sip-agent/digest.h"

static const struct digest_challenge rfc7616 = {
	.scheme = "Digest",
	.realm = "http-auth@example.org",
	.nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
	.opaque = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
	.qop = "auth, auth-int",
};

static const struct digest_request mufasa = {
	.user = "Mufasa",
	.password = "Circle of Life",
	.method = "GET",
	.uri = "/dir/index.html",
	.cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
	.nonce_count = 1,
};

static void assert_response(const char *algorithm, const char *response)
{
	struct digest_challenge challenge = rfc7616;
	char answer[DIGEST_ANSWER_SIZE], expected[128];

	challenge.algorithm = algorithm;
	assert_true(digest_answer(&challenge, &mufasa, answer));
	snprintf(expected, sizeof(expected), "response=\"%s\", algorithm=%s", response, algorithm);
	if (!strstr(answer, expected))
		fail_msg("%s", answer);
	assert_non_null(strstr(answer, "qop=auth, nc=00000001"));
	assert_non_null(strstr(answer, "opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""));
	assert_null(strstr(answer, mufasa.password));
}

static void the_published_examples_come_out(void **state)
{
	(void)state;
	assert_response("MD5", "8ca523f5e9506fed4657c9700eebdbec");
	assert_response("SHA-256",
	                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
}

/* RFC 2617 section 3.5 without the quality of protection: response = H(A1:nonce:A2). */
static void a_challenge_without_qop_is_answered_the_old_way(void **state)
{
	const struct digest_challenge challenge = {
		.scheme = "Digest",
		.realm = "testrealm@host.com",
		.nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093",
	};
	const struct digest_request request = {
		.user = "Mufasa",
		.password = "CircleOfLife",
		.method = "GET",
		.uri = "/dir/index.html",
		.cnonce = "0a4f113b",
		.nonce_count = 1,
	};
	char answer[DIGEST_ANSWER_SIZE];

	(void)state;
	assert_true(digest_answer(&challenge, &request, answer));
	assert_non_null(strstr(answer, "response=\"1949323746fe6a43ef61f9606e7febea\""));
	assert_null(strstr(answer, "qop"));
	assert_null(strstr(answer, "cnonce"));
}

static void the_body_counts_with_auth_int(void **state)
{
	struct digest_challenge challenge = rfc7616;
	struct digest_request one = mufasa, other = mufasa;
	char first[DIGEST_ANSWER_SIZE], second[DIGEST_ANSWER_SIZE];

	(void)state;
	challenge.qop = "auth-int";
	one.body = "a";
	other.body = "b";
	one.body_size = other.body_size = 1;
	assert_true(digest_answer(&challenge, &one, first));
	assert_true(digest_answer(&challenge, &other, second));
	assert_non_null(strstr(first, "qop=auth-int"));
	assert_string_not_equal(first, second);
}

static void the_strongest_challenge_is_chosen(void **state)
{
	struct digest_challenge offered[] = {
		{.scheme = "Basic", .realm = "r"},
		{.scheme = "Digest", .realm = "r", .nonce = "1", .algorithm = "MD5"},
		{.scheme = "Digest", .realm = "r", .nonce = "2", .algorithm = "SHA-256"},
		{.scheme = "Digest", .realm = "r", .nonce = "3", .algorithm = "SHA-999"},
		{.scheme = "Digest", .realm = "r", .nonce = "4", .algorithm = "sha-256"},
	};

	(void)state;
	assert_int_equal(digest_choose(offered, 5, true), 2);
	assert_int_equal(digest_choose(offered, 2, true), 1);
	/* no algorithm means MD5 */
	offered[1].algorithm = NULL;
	assert_int_equal(digest_choose(offered, 2, true), 1);
	/* MD5 may be forbidden */
	assert_int_equal(digest_choose(offered, 2, false), -1);
	assert_int_equal(digest_choose(offered, 5, false), 2);
	/* Basic would give the password away */
	assert_int_equal(digest_choose(offered, 1, true), -1);
	assert_int_equal(digest_choose(offered + 3, 1, true), -1);
	/* a protection that nobody knows, and no nonce */
	offered[1].qop = "token";
	assert_int_equal(digest_choose(offered, 2, true), -1);
	offered[1].qop = NULL;
	offered[1].nonce = NULL;
	assert_int_equal(digest_choose(offered, 2, true), -1);
}

static void a_quote_in_a_parameter_is_not_repeated(void **state)
{
	struct digest_challenge challenge = rfc7616;
	struct digest_request request = mufasa;
	char answer[DIGEST_ANSWER_SIZE];
	char long_nonce[DIGEST_ANSWER_SIZE + 1];

	(void)state;
	assert_true(digest_answer(&challenge, &request, answer));
	challenge.realm = "r\", uri=\"x";
	assert_false(digest_answer(&challenge, &request, answer));
	challenge.realm = "r\r\nX: y";
	assert_false(digest_answer(&challenge, &request, answer));
	challenge.realm = "r";
	memset(long_nonce, 'n', sizeof(long_nonce) - 1);
	long_nonce[sizeof(long_nonce) - 1] = '\0';
	challenge.nonce = long_nonce;
	assert_false(digest_answer(&challenge, &request, answer));
}

static void stale_is_only_true(void **state)
{
	(void)state;
	assert_true(digest_is_stale(&(struct digest_challenge){.stale = "TRUE"}));
	assert_false(digest_is_stale(&(struct digest_challenge){.stale = "false"}));
	assert_false(digest_is_stale(&(struct digest_challenge){0}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_published_examples_come_out),
		cmocka_unit_test(a_challenge_without_qop_is_answered_the_old_way),
		cmocka_unit_test(the_body_counts_with_auth_int),
		cmocka_unit_test(the_strongest_challenge_is_chosen),
		cmocka_unit_test(a_quote_in_a_parameter_is_not_repeated),
		cmocka_unit_test(stale_is_only_true),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
