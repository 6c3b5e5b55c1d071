/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cookies and the limit to half-open IKE_SAs, on octets and a told clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>

#include "services/ike-agent/ike_admission.h"

#define SECOND 1000000ull

static const uint8_t secret[IKE_COOKIE_SECRET_SIZE] = "the first secret";
static const uint8_t other_secret[IKE_COOKIE_SECRET_SIZE] = "another one";
static struct ike_admission admission;
static uint8_t reply[IKE_COOKIE_REPLY_SIZE];

/** A message of an IKE_SA_INIT: header, the cookie notify unless NULL, a nonce. */
struct message {
	uint8_t octets[256];
	size_t size;
};

static struct message request(uint8_t spi, const uint8_t *cookie_notify)
{
	struct message message = {.size = 28};
	uint8_t *octets = message.octets;

	octets[0] = spi;
	octets[16] = cookie_notify ? 41 : 40;
	octets[17] = 0x20;
	octets[18] = 34;
	octets[19] = 0x08;
	if (cookie_notify) {
		memcpy(octets + 28, cookie_notify, 41);
		octets[28] = 40;
		message.size += 41;
	}
	octets[message.size + 3] = 4 + 16;
	memset(octets + message.size + 4, spi, 16);
	message.size += 4 + 16;
	octets[27] = (uint8_t)message.size;
	return message;
}

static struct sockaddr_storage from(uint8_t host)
{
	struct sockaddr_storage address = {.ss_family = AF_INET};

	((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(0xc6336400u | host);
	((struct sockaddr_in *)&address)->sin_port = htons(40000);
	return address;
}

static enum ike_verdict judge(uint8_t host, const struct message *message, unsigned half_open,
                              unsigned of_session, uint64_t now_usec)
{
	const struct ike_situation situation = {half_open, of_session, now_usec};
	const struct sockaddr_storage remote = from(host);

	return ike_admission_judge(&admission, &remote, message->octets, message->size, &situation,
	                           reply);
}

static int set_up(void **state)
{
	(void)state;
	ike_admission_init(&admission, 30, 200, secret);
	return 0;
}

static void test_quiet(void **state)
{
	const struct message message = request(1, NULL);

	(void)state;
	assert_int_equal(judge(1, &message, 29, 2, SECOND), IKE_ADMITTED);
	assert_int_equal(admission.cookies_demanded, 0);
	assert_int_equal(admission.accepted, 1);
}

static void test_cookie_comes_back(void **state)
{
	const struct message first = request(1, NULL);
	struct message second;

	(void)state;
	assert_int_equal(judge(1, &first, 30, 0, SECOND), IKE_COOKIE_DEMANDED);
	/* RFC 7296: to the initiator's SPI, no responder's, a response of IKE_SA_INIT. */
	assert_int_equal(reply[0], 1);
	assert_int_equal(reply[8], 0);
	assert_int_equal(reply[18], 34);
	assert_int_equal(reply[19], 0x20);
	assert_int_equal(reply[27], sizeof(reply));
	assert_int_equal(reply[34] << 8 | reply[35], 16390);
	second = request(1, reply + 28);
	assert_int_equal(judge(1, &second, 30, 0, SECOND), IKE_ADMITTED);
	assert_int_equal(admission.cookies_demanded, 1);
	assert_int_equal(admission.cookies_proven, 1);
}

static void test_cookie_is_not_transferable(void **state)
{
	const struct message first = request(1, NULL);
	struct message second;

	(void)state;
	assert_int_equal(judge(1, &first, 30, 0, SECOND), IKE_COOKIE_DEMANDED);
	second = request(1, reply + 28);
	/* Another address, another SPI and nonce, one bit of the cookie. */
	assert_int_equal(judge(2, &second, 30, 0, SECOND), IKE_COOKIE_DEMANDED);
	assert_int_equal(judge(1, &first, 30, 0, SECOND), IKE_COOKIE_DEMANDED);
	second = request(3, reply + 28);
	assert_int_equal(judge(1, &second, 30, 0, SECOND), IKE_COOKIE_DEMANDED);
	assert_int_equal(judge(1, &first, 30, 0, SECOND), IKE_COOKIE_DEMANDED);
	second = request(1, reply + 28);
	second.octets[60] ^= 1;
	assert_int_equal(judge(1, &second, 30, 0, SECOND), IKE_COOKIE_DEMANDED);
	assert_int_equal(admission.cookies_proven, 0);
}

static void test_one_session_is_flooded(void **state)
{
	const struct message message = request(1, NULL);

	(void)state;
	assert_int_equal(judge(1, &message, 3, 3, SECOND), IKE_COOKIE_DEMANDED);
	/* Whoever tries within ten seconds of it is asked, then no one any more. */
	assert_int_equal(judge(2, &message, 0, 0, 10 * SECOND), IKE_COOKIE_DEMANDED);
	assert_int_equal(judge(2, &message, 0, 0, 12 * SECOND), IKE_ADMITTED);
}

static void test_secret_changes(void **state)
{
	const struct message first = request(1, NULL);
	struct message second;

	(void)state;
	assert_false(ike_admission_wants_secret(&admission, 120 * SECOND));
	assert_true(ike_admission_wants_secret(&admission, 121 * SECOND));
	assert_int_equal(judge(1, &first, 30, 0, 121 * SECOND), IKE_COOKIE_DEMANDED);
	second = request(1, reply + 28);
	ike_admission_change_secret(&admission, other_secret, 121 * SECOND);
	assert_false(ike_admission_wants_secret(&admission, 122 * SECOND));
	assert_int_equal(judge(1, &second, 30, 0, 122 * SECOND), IKE_ADMITTED);
	ike_admission_change_secret(&admission, secret, 300 * SECOND);
	assert_int_equal(judge(1, &second, 30, 0, 300 * SECOND), IKE_COOKIE_DEMANDED);
}

static void test_too_many(void **state)
{
	const struct message first = request(1, NULL);
	struct message second;

	(void)state;
	assert_int_equal(judge(1, &first, 200, 0, SECOND), IKE_COOKIE_DEMANDED);
	second = request(1, reply + 28);
	assert_int_equal(judge(1, &second, 200, 0, SECOND), IKE_TOO_MANY);
	assert_int_equal(admission.rejected_by_half_open, 1);
	assert_int_equal(judge(1, &second, 199, 0, SECOND), IKE_ADMITTED);
}

/* Who was let in repeats itself until it is answered, whoever has come meanwhile; and nobody else passes with that. */
static void test_admitted_repeats_itself(void **state)
{
	const struct message first = request(1, NULL), other = request(2, NULL);
	struct message changed = first;

	(void)state;
	assert_int_equal(judge(1, &first, 0, 0, SECOND), IKE_ADMITTED);
	assert_int_equal(judge(1, &first, 200, 0, 2 * SECOND), IKE_ADMITTED);
	assert_int_equal(judge(1, &first, 200, 3, 30 * SECOND), IKE_ADMITTED);
	assert_int_equal(admission.accepted, 1);
	/* Another message, its sender, one with its SPI alone, and after the life of a half-open IKE_SA. */
	assert_int_equal(judge(1, &other, 200, 0, 3 * SECOND), IKE_COOKIE_DEMANDED);
	assert_int_equal(judge(2, &first, 200, 0, 3 * SECOND), IKE_COOKIE_DEMANDED);
	changed.octets[changed.size - 1] ^= 1;
	assert_int_equal(judge(1, &changed, 200, 0, 3 * SECOND), IKE_COOKIE_DEMANDED);
	assert_int_equal(judge(1, &first, 200, 0, 31 * SECOND), IKE_COOKIE_DEMANDED);
	/* The control: with a cookie, which is no longer than a limit. */
	changed = request(3, NULL);
	assert_int_equal(judge(1, &changed, 200, 0, 32 * SECOND), IKE_COOKIE_DEMANDED);
	changed = request(3, reply + 28);
	assert_int_equal(judge(1, &changed, 200, 0, 32 * SECOND), IKE_TOO_MANY);
}

static void test_always(void **state)
{
	const struct message message = request(1, NULL);

	(void)state;
	admission.cookie_threshold = 0;
	assert_int_equal(judge(1, &message, 0, 0, SECOND), IKE_COOKIE_DEMANDED);
}

/** Of messages that begin nothing, and of garbage, nothing is asked. */
static void test_others(void **state)
{
	struct message message = request(1, NULL);

	(void)state;
	message.octets[19] |= 0x20;
	assert_int_equal(judge(1, &message, 500, 9, SECOND), IKE_ADMITTED);
	message = request(1, NULL);
	message.octets[15] = 7; /* a responder's SPI */
	assert_int_equal(judge(1, &message, 500, 9, SECOND), IKE_ADMITTED);
	message = request(1, NULL);
	message.octets[18] = 35;
	assert_int_equal(judge(1, &message, 500, 9, SECOND), IKE_ADMITTED);
	message.size = 27;
	assert_int_equal(judge(1, &message, 500, 9, SECOND), IKE_ADMITTED);
	assert_int_equal(admission.accepted, 0);
}

static void test_malformed(void **state)
{
	struct message message = request(1, NULL);

	(void)state;
	message.octets[16] = 33; /* no nonce: nothing to make a cookie of */
	assert_int_equal(judge(1, &message, 30, 0, SECOND), IKE_TOO_MANY);
	for (size_t size = 28; size < 48; size++) {
		message = request(1, NULL);
		message.size = size;
		message.octets[27] = (uint8_t)size;
		assert_int_equal(judge(1, &message, 30, 0, SECOND), IKE_TOO_MANY);
	}
	message = request(1, NULL);
	message.octets[30] = 0xff; /* longer than the message */
	assert_int_equal(judge(1, &message, 30, 0, SECOND), IKE_TOO_MANY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_quiet, set_up),
		cmocka_unit_test_setup(test_cookie_comes_back, set_up),
		cmocka_unit_test_setup(test_cookie_is_not_transferable, set_up),
		cmocka_unit_test_setup(test_one_session_is_flooded, set_up),
		cmocka_unit_test_setup(test_secret_changes, set_up),
		cmocka_unit_test_setup(test_too_many, set_up),
		cmocka_unit_test_setup(test_admitted_repeats_itself, set_up),
		cmocka_unit_test_setup(test_always, set_up),
		cmocka_unit_test_setup(test_others, set_up),
		cmocka_unit_test_setup(test_malformed, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
