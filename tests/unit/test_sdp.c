/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Session descriptions: the samples that other equipment prints, and each fault with its code. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/sip-agent/sdp.h"

#define SESSION                               \
	"v=0\r\n"                             \
	"o=- 3725001 1 IN IP4 192.0.2.10\r\n" \
	"s=-\r\n"                             \
	"c=IN IP4 192.0.2.10\r\n"             \
	"t=0 0\r\n"
#define CERTIFICATE                                                                                \
	"a=fingerprint:SHA-256 CF:72:DE:C6:1F:F5:07:DF:3F:76:6F:14:05:27:DF:CE:75:26:5A:B8:2B:28:" \
	"76:7E:DD:12:08:E5:E1:D9:79:DC\r\n"
#define KEY                                                                                      \
	"a=psk-fingerprint:SHA-256 C6:4C:89:E1:68:85:7A:9C:B2:28:9E:46:93:9B:78:E1:8C:7A:8D:63:" \
	"0B:6D:77:B9:9D:0B:1D:E9:23:66:CC:5A\r\n"
#define MEDIA     "m=application 50001 udp ike-esp-udpencap\r\n"
#define ADDRESS   "c=IN IP4 192.0.2.10\r\n"
#define BANDWIDTH "b=AS:1000\r\n"
#define ACTIVE    "a=ike-setup:active\r\n"

static const char offer_text[] = SESSION MEDIA ADDRESS BANDWIDTH ACTIVE CERTIFICATE;

static struct sdp_problem problem;
static struct sdp_description description;
static struct sdp_tunnel tunnel;

static bool offer(const char *text)
{
	size_t index;

	memset(&problem, 0, sizeof(problem));
	return sdp_read(text, strlen(text), &description, &problem) &&
	       sdp_check_offer(&description, &tunnel, &index, &problem);
}

static bool answer(const char *text, enum sdp_role offered)
{
	memset(&problem, 0, sizeof(problem));
	return sdp_read(text, strlen(text), &description, &problem) &&
	       sdp_check_answer(&description, offered, &tunnel, &problem);
}

static void assert_refused(const char *text, unsigned status, unsigned warning)
{
	if (offer(text))
		fail_msg("accepted: %s", text);
	if (problem.sip_status != status || problem.warning_code != warning)
		fail_msg("%u/%u (%s) instead of %u/%u for: %s", problem.sip_status,
		         problem.warning_code, problem.text, status, warning, text);
	assert_non_null(problem.text);
}

static void a_certificate_offer_is_read(void **state)
{
	(void)state;
	assert_int_equal(strlen(offer_text), 284);
	assert_true(offer(offer_text));
	assert_int_equal(tunnel.port, 50001);
	assert_int_equal(ntohl(tunnel.address.s_addr), 0xc000020a);
	assert_int_equal(tunnel.bandwidth_kbit, 1000);
	assert_int_equal(tunnel.role, SDP_ACTIVE);
	assert_int_equal(tunnel.fingerprint_count, 1);
	assert_int_equal(tunnel.fingerprints[0].subject, SDP_CERTIFICATE);
	assert_string_equal(tunnel.fingerprints[0].hash, "SHA-256");
	assert_int_equal(tunnel.fingerprints[0].size, 32);
	assert_int_equal(tunnel.fingerprints[0].value[0], 0xcf);
	assert_int_equal(tunnel.fingerprints[0].value[31], 0xdc);
}

static void what_is_written_is_what_was_read(void **state)
{
	char text[SDP_TEXT_SIZE];
	const struct sdp_origin origin = {3725001, 1};

	(void)state;
	assert_true(offer(offer_text));
	size_t size = sdp_write(text, sizeof(text), &origin, &tunnel, NULL, 0);
	assert_int_equal(size, 284);
	assert_string_equal(text, offer_text);
	/* too small by one: nothing */
	assert_int_equal(sdp_write(text, 284, &origin, &tunnel, NULL, 0), 0);
}

static void a_key_answer_repeats_the_key(void **state)
{
	char text[SDP_TEXT_SIZE];
	const struct sdp_origin origin = {8842117, 1};

	(void)state;
	assert_true(offer(SESSION MEDIA BANDWIDTH ACTIVE KEY));
	assert_int_equal(tunnel.fingerprints[0].subject, SDP_PRE_SHARED_KEY);
	struct sdp_tunnel ours = tunnel;
	ours.role = SDP_PASSIVE;
	ours.bandwidth_kbit = 64;
	ours.port = 50002;
	inet_pton(AF_INET, "192.0.2.20", &ours.address);
	assert_true(sdp_write(text, sizeof(text), &origin, &ours, &description, 0) > 0);
	assert_string_equal(text, "v=0\r\n"
	                          "o=- 8842117 1 IN IP4 192.0.2.20\r\n"
	                          "s=-\r\n"
	                          "c=IN IP4 192.0.2.20\r\n"
	                          "t=0 0\r\n"
	                          "m=application 50002 udp ike-esp-udpencap\r\n"
	                          "c=IN IP4 192.0.2.20\r\n"
	                          "b=AS:64\r\n"
	                          "a=ike-setup:passive\r\n" KEY);
	assert_true(answer(text, SDP_ACTIVE));
}

/* b= among the attributes, the fold of the printed page undone. */
static void the_order_of_other_equipment_is_accepted(void **state)
{
	(void)state;
	assert_true(offer("v=0\r\n"
	                  "o=Cisco-SIPUA 6532 7098 IN IP4 192.0.2.10\r\n"
	                  "s=SIP Call\r\n"
	                  "c=IN IP4 192.0.2.10\r\n"
	                  "t=0 0\r\n"
	                  "m=application 50001 udp ike-esp-udpencap\r\n"
	                  "c=IN IP4 192.0.2.10\r\n"
	                  "a=ike-setup:active\r\n"
	                  "a=fingerprint:SHA-1 "
	                  "86:E1:39:EF:1F:A2:8B:75:AC:28:31:8B:0B:0D:91:68:B5:D4:1C:5E\r\n"
	                  "b=AS:512\r\n"));
	assert_int_equal(tunnel.bandwidth_kbit, 512);
	assert_string_equal(tunnel.fingerprints[0].hash, "SHA-1");
}

static void media_level_beats_session_level(void **state)
{
	(void)state;
	assert_true(offer("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nb=AS:64\nt=0 0\n"
	                  "a=ike-setup:passive\n"
	                  "m=application 50001 UDP IKE-ESP-UDPENCAP\nc=IN IP4 192.0.2.2\nb=AS:128\n"
	                  "a=IKE-SETUP:ACTPASS\n"));
	assert_int_equal(ntohl(tunnel.address.s_addr), 0xc0000202);
	assert_int_equal(tunnel.bandwidth_kbit, 128);
	assert_int_equal(tunnel.role, SDP_ACTPASS);
	assert_true(offer("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nb=AS:64\nt=0 0\n"
	                  "a=ike-setup:passive\nm=application 50001 udp ike-esp-udpencap\n"));
	assert_int_equal(tunnel.bandwidth_kbit, 64);
	assert_int_equal(tunnel.role, SDP_PASSIVE);
}

static void an_absent_role_is_active_in_an_offer_and_passive_in_an_answer(void **state)
{
	(void)state;
	assert_true(offer(SESSION MEDIA BANDWIDTH));
	assert_int_equal(tunnel.role, SDP_ACTIVE);
	assert_true(answer(SESSION MEDIA BANDWIDTH, SDP_ACTIVE));
	assert_int_equal(tunnel.role, SDP_PASSIVE);
	assert_int_equal(tunnel.fingerprint_count, 0);
}

static void each_fault_has_its_code(void **state)
{
	static const struct {
		const char *text;
		unsigned status, warning;
	} faults[] = {
		{"", 400, 0},
		{"v=0\r\nhello\r\n", 400, 0},
		{"v=1\r\no=- 1 1 IN IP4 192.0.2.1\r\n", 400, 0},
		{"o=- 1 1 IN IP4 192.0.2.1\r\n", 400, 0},
		{"v=0\r\ns=-\r\nt=0 0\r\n" MEDIA ADDRESS BANDWIDTH, 400, 0},
		{SESSION "m=application x udp ike-esp-udpencap\r\n" BANDWIDTH, 400, 0},
		{SESSION "m=application 65536 udp ike-esp-udpencap\r\n" BANDWIDTH, 400, 0},
		{SESSION "m=application 1 udp\r\n" BANDWIDTH, 400, 0},
		{SESSION MEDIA ADDRESS ADDRESS BANDWIDTH, 400, 0},
		{SESSION MEDIA BANDWIDTH "b=AS:64\r\n", 400, 0},
		{SESSION MEDIA "b=AS:\r\n", 400, 0},
		{SESSION MEDIA "b=AS:-1\r\n", 400, 0},
		{SESSION MEDIA "b=AS:1x\r\n", 400, 0},
		{SESSION MEDIA "b=AS:9999999999999999999\r\n", 400, 0},
		{SESSION MEDIA BANDWIDTH ACTIVE ACTIVE, 400, 0},
		{"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n" MEDIA BANDWIDTH, 400, 0},
		{SESSION, 488, 304},
		{SESSION "m=audio 4000 RTP/AVP 0\r\n" BANDWIDTH, 488, 304},
		{SESSION "m=application 4000 tcp ike-esp-udpencap\r\n" BANDWIDTH, 488, 302},
		{SESSION "m=application 4000 udp octet-stream\r\n" BANDWIDTH, 488, 305},
		{SESSION "m=application 4000 udp ike-esp\r\n" BANDWIDTH, 488, 305},
		{SESSION "m=application 0 udp ike-esp-udpencap\r\n" BANDWIDTH, 488, 399},
		{SESSION MEDIA "c=ATM NSAP 47\r\n" BANDWIDTH, 488, 300},
		{SESSION MEDIA "c=IN IP6 2001:db8::1\r\n" BANDWIDTH, 488, 301},
		{SESSION MEDIA "c=IN IP4 host.example\r\n" BANDWIDTH, 488, 301},
		{SESSION MEDIA "c=IN IP4 0.0.0.0\r\n" BANDWIDTH, 488, 301},
		{SESSION MEDIA "c=IN IP4 224.2.1.1/127\r\n" BANDWIDTH, 488, 301},
		{SESSION MEDIA "c=IN IP4 224.2.1.1\r\n" BANDWIDTH, 488, 301},
		{SESSION MEDIA ACTIVE, 488, 399},
		{SESSION MEDIA "b=TIAS:64000\r\n", 488, 303},
		{SESSION MEDIA "b=AS:0\r\n", 488, 370},
		{SESSION MEDIA "b=AS:1000001\r\n", 488, 399},
		{SESSION MEDIA BANDWIDTH "a=ike-setup:holdconn\r\n", 488, 306},
		{SESSION MEDIA BANDWIDTH "a=ike-setup\r\n", 488, 306},
		{SESSION MEDIA BANDWIDTH "a=fingerprint:SHA-256 AB:CD\r\n", 488, 306},
		{SESSION MEDIA BANDWIDTH "a=fingerprint:SHA-256\r\n", 488, 306},
		{SESSION MEDIA BANDWIDTH "a=fingerprint:MD5 "
	                                 "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n",
	         488, 306},
		{SESSION MEDIA BANDWIDTH
	         "a=psk-fingerprint:SHA-1 "
	         "86-E1-39-EF-1F-A2-8B-75-AC-28-31-8B-0B-0D-91-68-B5-D4-1C-5E\r\n",
	         488, 306},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		assert_refused(faults[i].text, faults[i].status, faults[i].warning);
	/* the control: without any fault the same parts pass */
	assert_true(offer(SESSION MEDIA ADDRESS BANDWIDTH ACTIVE KEY));
}

static void an_unusable_hash_beside_a_usable_one_is_passed_over(void **state)
{
	(void)state;
	assert_true(offer(SESSION MEDIA BANDWIDTH
	                  "a=fingerprint:MD5 "
	                  "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" CERTIFICATE));
	assert_int_equal(tunnel.fingerprint_count, 1);
	assert_true(offer(SESSION MEDIA BANDWIDTH
	                  "a=fingerprint:sha-1 "
	                  "86:e1:39:ef:1f:a2:8b:75:ac:28:31:8b:0b:0d:91:68:b5:d4:1c:5e\r\n"));
	assert_string_equal(tunnel.fingerprints[0].hash, "SHA-1");
	assert_int_equal(tunnel.fingerprints[0].value[1], 0xe1);
}

static void roles_of_an_answer_fit_the_offer(void **state)
{
	static const char *const names[] = {NULL, "active", "passive", "actpass"};
	static const bool fits[4][4] = {
		[SDP_ACTIVE] = {[SDP_PASSIVE] = true},
		[SDP_PASSIVE] = {[SDP_ACTIVE] = true},
		[SDP_ACTPASS] = {[SDP_ACTIVE] = true, [SDP_PASSIVE] = true},
	};
	char text[1024];

	(void)state;
	for (int offered = SDP_ACTIVE; offered <= SDP_ACTPASS; offered++) {
		for (int role = SDP_ACTIVE; role <= SDP_ACTPASS; role++) {
			snprintf(text, sizeof(text), SESSION MEDIA BANDWIDTH "a=ike-setup:%s\r\n",
			         names[role]);
			assert_int_equal(answer(text, (enum sdp_role)offered), fits[offered][role]);
		}
	}
}

static void other_media_are_refused_in_their_places(void **state)
{
	char text[SDP_TEXT_SIZE];
	const struct sdp_origin origin = {1, 1};
	size_t index;
	const char *two = SESSION "m=audio 4000/2 RTP/AVP 0 8\r\n" MEDIA BANDWIDTH ACTIVE
				  "m=video 5000 RTP/AVP 31\r\n";

	(void)state;
	assert_true(sdp_read(two, strlen(two), &description, &problem));
	assert_true(sdp_check_offer(&description, &tunnel, &index, &problem));
	assert_int_equal(index, 1);
	tunnel.role = SDP_PASSIVE;
	assert_true(sdp_write(text, sizeof(text), &origin, &tunnel, &description, index) > 0);
	assert_string_equal(strstr(text, "m="), "m=audio 0 RTP/AVP 0 8\r\n" MEDIA ADDRESS BANDWIDTH
	                                        "a=ike-setup:passive\r\n"
	                                        "m=video 0 RTP/AVP 31\r\n");
	/* we never offer two */
	assert_false(answer(two, SDP_PASSIVE));
}

static void bounds_hold(void **state)
{
	char text[SDP_TEXT_SIZE + 2];
	int used;

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_false(sdp_read(text, SDP_TEXT_SIZE + 1, &description, &problem));
	used = snprintf(text, sizeof(text), "%s", SESSION);
	for (int i = 0; i < SDP_MEDIA_MAXIMUM + 1; i++)
		used += snprintf(text + used, sizeof(text) - used, "%s", MEDIA);
	assert_refused(text, 400, 0);
	/* a NUL is no part of a line */
	static const char nul[] = "v=0\r\no=- 1 1\0 IN IP4 192.0.2.1\r\n";
	assert_false(sdp_read(nul, sizeof(nul) - 1, &description, &problem));
	/* every prefix of a good text is read without a crash */
	for (size_t size = 0; size < sizeof(offer_text); size++) {
		size_t index;
		if (sdp_read(offer_text, size, &description, &problem))
			sdp_check_offer(&description, &tunnel, &index, &problem);
	}
}

static void fingerprints_are_compared_by_octets(void **state)
{
	struct sdp_tunnel one;

	(void)state;
	assert_true(offer(SESSION MEDIA BANDWIDTH KEY));
	one = tunnel;
	assert_true(sdp_fingerprints_equal(&one, &tunnel));
	tunnel.fingerprints[0].value[31] ^= 1;
	assert_false(sdp_fingerprints_equal(&one, &tunnel));
	tunnel = one;
	tunnel.fingerprints[0].subject = SDP_CERTIFICATE;
	assert_false(sdp_fingerprints_equal(&one, &tunnel));
	tunnel = one;
	tunnel.fingerprint_count = 0;
	assert_false(sdp_fingerprints_equal(&one, &tunnel));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_offer_is_read),
		cmocka_unit_test(what_is_written_is_what_was_read),
		cmocka_unit_test(a_key_answer_repeats_the_key),
		cmocka_unit_test(the_order_of_other_equipment_is_accepted),
		cmocka_unit_test(media_level_beats_session_level),
		cmocka_unit_test(an_absent_role_is_active_in_an_offer_and_passive_in_an_answer),
		cmocka_unit_test(each_fault_has_its_code),
		cmocka_unit_test(an_unusable_hash_beside_a_usable_one_is_passed_over),
		cmocka_unit_test(roles_of_an_answer_fit_the_offer),
		cmocka_unit_test(other_media_are_refused_in_their_places),
		cmocka_unit_test(bounds_hold),
		cmocka_unit_test(fingerprints_are_compared_by_octets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
