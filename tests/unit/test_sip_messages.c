/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls and media descriptions as messages of the bus. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "services/common/address.h"
#include "services/sip-agent/messages.h"

/* A description that is accepted; tests break one thing of it. */
struct parts {
	Vpnsip__MediaDescription media;
	Vpnsip__SocketAddress address;
	Vpnsip__Fingerprint fingerprint;
	Vpnsip__Fingerprint *list[SDP_FINGERPRINTS_MAXIMUM + 1];
	uint8_t octets[4], digest[32];
};

static struct parts parts;
static struct sdp_tunnel tunnel;
static const char *why;

static int set_up(void **state)
{
	(void)state;
	memset(&parts, 0, sizeof(parts));
	vpnsip__media_description__init(&parts.media);
	vpnsip__socket_address__init(&parts.address);
	vpnsip__fingerprint__init(&parts.fingerprint);
	memcpy(parts.octets, (uint8_t[]){192, 0, 2, 10}, 4);
	memset(parts.digest, 0xab, sizeof(parts.digest));
	parts.address.address = (ProtobufCBinaryData){4, parts.octets};
	parts.address.port = 50001;
	parts.fingerprint.subject = VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY;
	parts.fingerprint.hash = (char *)"SHA-256";
	parts.fingerprint.value = (ProtobufCBinaryData){32, parts.digest};
	for (size_t i = 0; i < sizeof(parts.list) / sizeof(parts.list[0]); i++)
		parts.list[i] = &parts.fingerprint;
	parts.media.address = &parts.address;
	parts.media.bandwidth_kbit = 64;
	parts.media.role = VPNSIP__SETUP_ROLE__ACTPASS;
	parts.media.fingerprints = parts.list;
	parts.media.n_fingerprints = 1;
	return 0;
}

static bool convert(void)
{
	return message_to_tunnel(&parts.media, &tunnel, &why);
}

static void a_description_becomes_a_tunnel(void **state)
{
	(void)state;
	assert_true(convert());
	assert_int_equal(ntohl(tunnel.address.s_addr), 0xc000020a);
	assert_int_equal(tunnel.port, 50001);
	assert_int_equal(tunnel.bandwidth_kbit, 64);
	assert_int_equal(tunnel.role, SDP_ACTPASS);
	assert_int_equal(tunnel.fingerprint_count, 1);
	assert_int_equal(tunnel.fingerprints[0].subject, SDP_PRE_SHARED_KEY);
	assert_memory_equal(tunnel.fingerprints[0].value, parts.digest, 32);
}

static void what_has_no_place_in_sdp_is_refused(void **state)
{
	(void)state;
	parts.address.port = 0;
	assert_false(convert());
	parts.address.port = 65536;
	assert_false(convert());
	set_up(NULL);
	parts.address.address.len = 16;
	assert_false(convert());
	set_up(NULL);
	parts.media.address = NULL;
	assert_false(convert());
	assert_false(message_to_tunnel(NULL, &tunnel, &why));
	set_up(NULL);
	parts.media.bandwidth_kbit = 0;
	assert_false(convert());
	set_up(NULL);
	parts.media.role = VPNSIP__SETUP_ROLE__SETUP_ROLE_UNSPECIFIED;
	assert_false(convert());
	set_up(NULL);
	parts.fingerprint.value.len = 31;
	assert_false(convert());
	set_up(NULL);
	parts.fingerprint.hash = (char *)"MD5";
	parts.fingerprint.value.len = 16;
	assert_false(convert());
	set_up(NULL);
	parts.media.n_fingerprints = SDP_FINGERPRINTS_MAXIMUM + 1;
	assert_false(convert());
	assert_non_null(why);
	set_up(NULL);
	assert_true(convert());
}

static void a_call_and_back(void **state)
{
	struct call call = {.state = CALL_STATE_CONFIRMED,
	                    .direction = CALL_INCOMING,
	                    .call_id = "c@h",
	                    .attempt = 7,
	                    .tunnel = "vsip2",
	                    .remote_number = "0388883001",
	                    .has_remote = true,
	                    .ended_by = CALL_ENDED_BY_PEER};
	struct call_message message;

	(void)state;
	assert_true(convert());
	call.remote = tunnel;
	message_from_call(&message, &call);
	assert_int_equal(message.changed.status, VPNSIP__CALL_STATUS__CALL_CONFIRMED);
	assert_int_equal(message.changed.direction, VPNSIP__DIRECTION__INCOMING);
	assert_int_equal(message.changed.ended_by, VPNSIP__ENDED_BY__ENDED_BY_PEER);
	assert_int_equal(message.changed.attempt, 7);
	memset(&tunnel, 0, sizeof(tunnel));
	assert_true(message_to_tunnel(message.changed.remote, &tunnel, &why));
	assert_memory_equal(&tunnel, &call.remote, sizeof(tunnel));
	assert_null(message.changed.local);
	assert_false(message.changed.is_restored || message.changed.is_end_estimated);
	call.has_remote = false;
	call.local = call.remote;
	call.has_local = call.is_restored = call.is_end_estimated = true;
	message_from_call(&message, &call);
	assert_null(message.changed.remote);
	memset(&tunnel, 0, sizeof(tunnel));
	assert_true(message_to_tunnel(message.changed.local, &tunnel, &why));
	assert_memory_equal(&tunnel, &call.local, sizeof(tunnel));
	assert_true(message.changed.is_restored && message.changed.is_end_estimated);
}

/* Every state of ours is one of the message's; only the end is the end. */
static void every_state_has_a_status(void **state)
{
	struct call call = {.direction = CALL_OUTGOING};
	struct call_message message;

	(void)state;
	for (int i = 0; i < CALL_STATE_COUNT; i++) {
		call.state = (enum call_state)i;
		message_from_call(&message, &call);
		assert_int_not_equal(message.changed.status,
		                     VPNSIP__CALL_STATUS__CALL_STATUS_UNSPECIFIED);
		assert_int_equal(message.changed.status == VPNSIP__CALL_STATUS__CALL_ENDED,
		                 i == CALL_STATE_ENDED);
	}
}

static void a_registration_is_told_by_order_and_binding(void **state)
{
	struct registration_report report = {.local_number = "1",
	                                     .registrar = "r",
	                                     .transport = "UDP",
	                                     .call_id = "",
	                                     .cause = ""};
	struct registration_message message;

	(void)state;
	report.address.s_addr = htonl(0xc000020a);
	message_from_registration(&message, &report);
	assert_int_equal(message.changed.status, VPNSIP__REGISTRATION_STATUS__NOT_REGISTERED);
	assert_int_equal(message.changed.contact_address.len, 0);
	report.is_ordered = true;
	message_from_registration(&message, &report);
	assert_int_equal(message.changed.status, VPNSIP__REGISTRATION_STATUS__REGISTERING);
	assert_int_equal(message.changed.contact_address.len, 4);
	report.is_registered = true;
	message_from_registration(&message, &report);
	assert_int_equal(message.changed.status, VPNSIP__REGISTRATION_STATUS__REGISTERED);
	assert_null(message.changed.server);
}

static void a_registration_tells_its_servers_numbers_and_alarm(void **state)
{
	static const char numbers[][NUMBER_SIZE] = {"0388881001", "0388881002"};
	struct sip_server two[2] = {0};
	struct server_list servers = {.servers = two, .count = 2, .current = 1};
	const struct registration_report report = {.local_number = "1",
	                                           .registrar = "r",
	                                           .transport = "UDP",
	                                           .call_id = "",
	                                           .cause = "",
	                                           .servers = &servers,
	                                           .associated_numbers = numbers,
	                                           .associated_count = 2,
	                                           .alarm = "somebody"};
	struct registration_message message;

	(void)state;
	assert_true(address_parse_port("192.0.2.1", 5060, &two[0].address));
	assert_true(address_parse_port("192.0.2.2:5070", 5060, &two[1].address));
	message_from_registration(&message, &report);
	assert_int_equal(message.changed.n_servers, 2);
	assert_int_equal(message.changed.servers[0]->port, 5060);
	assert_int_equal(message.changed.server->port, 5070);
	assert_true(message.changed.is_secondary);
	assert_int_equal(message.changed.n_associated_numbers, 2);
	assert_string_equal(message.changed.associated_numbers[1], "0388881002");
	assert_string_equal(message.changed.alarm, "somebody");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_description_becomes_a_tunnel, set_up),
		cmocka_unit_test_setup(what_has_no_place_in_sdp_is_refused, set_up),
		cmocka_unit_test_setup(a_call_and_back, set_up),
		cmocka_unit_test(every_state_has_a_status),
		cmocka_unit_test(a_registration_is_told_by_order_and_binding),
		cmocka_unit_test(a_registration_tells_its_servers_numbers_and_alarm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
