/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Registrations on loopback, against registrars that say exactly what a test writes. STRANGER is the second registrar here. */
#include "sip_ua_scene.h"

#define CHALLENGE(realm, nonce, algorithm)                                                        \
	"WWW-Authenticate: Digest realm=\"" realm "\", nonce=\"" nonce "\", algorithm=" algorithm \
	", qop=\"auth\"\r\n"
#define SECOND "secondary-registrar = \"" STRANGER "\" "

static int set_up_second(void **state)
{
	scene_line_options = SECOND "retry-register = 2 register-retransmit = 200";
	return set_up(state);
}

static int set_up_without_md5(void **state)
{
	scene_line_options = "allow-md5 = false";
	return set_up(state);
}

static int set_up_plain(void **state)
{
	scene_line_options = "";
	return set_up(state);
}

static int set_up_bound(void **state)
{
	scene_line_options = "";
	return set_up_registered(state);
}

/* The REGISTERs that come within `msec`. */
static unsigned count_registers(int fd, unsigned msec)
{
	const uint64_t end = bus_mono_usec(scene.bus) + msec * 1000ULL;
	unsigned count = 0;

	for (uint64_t now; (now = bus_mono_usec(scene.bus)) < end;)
		if (receive(fd, (unsigned)((end - now) / 1000)) &&
		    strncmp(scene.received, "REGISTER ", 9) == 0)
			count++;
	return count;
}

/* 200 with our Contact and more headers. The carrier's socket answers also for the second registrar. */
static void accept_with(int fd, const char *headers, unsigned seconds)
{
	char text[1024];
	const int carrier = scene.carrier;

	snprintf(text, sizeof(text), "Contact: <%s>;expires=%u\r\n%s", scene.contact, seconds,
	         headers);
	scene.carrier = fd;
	answer(scene.received, 200, text, "");
	scene.carrier = carrier;
	receive(fd, 100);
}

/* The timer of the next refresh is not waited for: the server is given under another name. */
static void refresh(void)
{
	struct sip_server server = {.transport = TRANSPORT_UDP};
	struct sockaddr_in *address = (struct sockaddr_in *)&server.address;
	static unsigned turn;

	snprintf(server.name, sizeof(server.name), "turn%u", turn++);
	address->sin_family = AF_INET;
	address->sin_port = htons(5060);
	inet_pton(AF_INET, CARRIER, &address->sin_addr);
	sofia_set_servers(scene.sofia, OURS, &server, 1, NULL);
	expect("REGISTER ");
}

static void a_silent_registrar_is_asked_as_often_as_configured(void **state)
{
	(void)state;
	order_registration(); /* the first of three: 0, 0.2, 0.6, and 0.8 s of waiting */
	assert_true(receive(scene.stranger, 5000));
	assert_int_equal(strncmp(scene.received, "REGISTER ", 9), 0);
	char asked[sizeof(scene.received)];
	memcpy(asked, scene.received, sizeof(asked));
	assert_int_equal(count_registers(scene.carrier, 50), 2);
	/* the first is left alone now */
	assert_int_equal(count_registers(scene.carrier, 300), 0);
	memcpy(scene.received, asked, sizeof(asked));
	accept_with(scene.stranger, "", 3600);
	assert_true(scene.is_registered);
	assert_true(scene.is_secondary);
}

static void unavailable_means_the_next_registrar(void **state)
{
	(void)state;
	order_registration();
	answer(scene.received, 503, "", "");
	assert_int_equal(count_registers(scene.stranger, 100), 1);
	accept_with(scene.stranger, "", 3600);
	assert_true(scene.is_secondary);
	/* a refusal of another kind is the same everywhere */
	const struct sofia_call_order order = {1, "vsip2", OURS, THEIRS, tunnel(SDP_ACTIVE)};
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_DONE);
	assert_true(receive(scene.stranger, 1000));
	assert_int_equal(strncmp(scene.received, "INVITE ", 7), 0);
	assert_has("Route: <sip:" STRANGER ":5060;lr>\r\n");
}

static void a_refusal_is_no_reason_for_another_registrar(void **state)
{
	(void)state;
	order_registration();
	answer(scene.received, 403, "", "");
	assert_int_equal(count_registers(scene.stranger, 300), 0);
	assert_false(scene.is_registered);
	assert_non_null(strstr(scene.cause, "403"));
}

static void the_strongest_digest_is_used_in_any_order(void **state)
{
	static const char *const offers[] = {
		CHALLENGE("r", "m", "MD5") CHALLENGE("r", "s", "SHA-256")
			CHALLENGE("r", "t", "SHA-512-256"),
		CHALLENGE("r", "t", "SHA-512-256") CHALLENGE("r", "s", "SHA-256")
			CHALLENGE("r", "m", "MD5"),
		CHALLENGE("r", "s", "SHA-256") CHALLENGE("r", "m", "MD5"),
		CHALLENGE("r", "m", "MD5"),
	};
	static const char *const chosen[] = {"algorithm=SHA-512-256", "algorithm=SHA-512-256",
	                                     "algorithm=SHA-256", "algorithm=MD5"};

	(void)state;
	order_registration();
	for (size_t i = 0; i < 4; i++) {
		answer(scene.received, 401, offers[i], "");
		expect("REGISTER ");
		assert_has(chosen[i]);
		accept_with(scene.carrier, "", 3600);
		refresh();
	}
}

static void md5_alone_is_refused_when_it_is_not_allowed(void **state)
{
	(void)state;
	order_registration();
	answer(scene.received, 401, CHALLENGE("r", "m", "MD5"), "");
	expect_nothing("REGISTER ");
	assert_non_null(strstr(scene.cause, "allow-md5"));
}

static void the_realm_is_kept(void **state)
{
	(void)state;
	order_registration();
	answer(scene.received, 401, CHALLENGE("carrier", "1", "SHA-256"), "");
	expect("REGISTER ");
	accept_with(scene.carrier, "", 3600);
	refresh();
	answer(scene.received, 401, CHALLENGE("evil", "2", "SHA-256"), "");
	expect_nothing("REGISTER ");
	assert_non_null(strstr(scene.cause, "realm"));
}

static void stale_is_answered_anew_but_not_for_ever(void **state)
{
	(void)state;
	order_registration();
	answer(scene.received, 401, CHALLENGE("r", "1", "SHA-256"), "");
	for (int i = 0; i < 2; i++) {
		expect("REGISTER ");
		answer(scene.received, 401,
		       "WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", stale=true\r\n", "");
	}
	expect("REGISTER ");
	answer(scene.received, 401,
	       "WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", stale=true\r\n", "");
	expect_nothing("REGISTER ");
}

static void another_ones_binding_is_an_alarm(void **state)
{
	(void)state;
	refresh();
	accept_with(scene.carrier, "Contact: <sip:evil@10.9.0.66>;expires=60\r\n", 3600);
	assert_true(scene.is_registered);
	assert_non_null(strstr(scene.alarm, "sip:evil@10.9.0.66"));
	refresh();
	accept_with(scene.carrier, "", 3600);
	assert_string_equal(scene.alarm, "");
}

static void our_token_at_another_address_is_taken_away(void **state)
{
	char headers[256];

	(void)state;
	refresh();
	snprintf(headers, sizeof(headers), "Contact: <sip:%.12s@10.9.0.66:5060>;expires=60\r\n",
	         scene.contact + 4);
	accept_with(scene.carrier, headers, 3600);
	assert_string_equal(scene.alarm, "");
	assert_has("@10.9.0.66:5060>;expires=0"); /* at once */
	/* and if it stays it is somebody else's */
	accept_with(scene.carrier, headers, 3600);
	assert_non_null(strstr(scene.alarm, "10.9.0.66"));
	expect_nothing("REGISTER ");
}

static void a_missing_binding_is_made_again_but_not_for_ever(void **state)
{
	(void)state;
	refresh();
	for (int i = 0; i < 3; i++) {
		answer(scene.received, 200, "Contact: <sip:evil@10.9.0.66>\r\n", "");
		expect("REGISTER ");
	}
	answer(scene.received, 200, "Contact: <sip:evil@10.9.0.66>\r\n", "");
	expect_nothing("REGISTER ");
	assert_false(scene.is_registered);
	assert_non_null(strstr(scene.cause, "binding"));
	assert_non_null(strstr(scene.alarm, "evil"));
}

static void calls_take_the_service_route(void **state)
{
	(void)state;
	refresh();
	accept_with(scene.carrier,
	            "Service-Route: <sip:" CARRIER ":5060;lr>\r\n"
	            "Service-Route: <sip:orig@scscf.example;lr>\r\n"
	            "P-Associated-URI: <sip:0388881001@carrier.example>, <tel:+81388881002>,"
	            " <sip:0388881001@other.example>\r\n",
	            3600);
	assert_string_equal(scene.associated, "0388881001 0388881002 ");
	place_call(1);
	const char *first = strstr(scene.received, "<sip:" CARRIER ":5060;lr>");
	const char *second = strstr(scene.received, "<sip:orig@scscf.example;lr>");
	assert_non_null(first);
	assert_non_null(second);
	assert_true(first < second);
	/* the server that we use anyhow is not named twice */
	assert_null(strstr(first + 1, "<sip:" CARRIER ":5060;lr>"));
}

static void a_new_address_takes_the_old_binding_away(void **state)
{
	struct in_addr address;
	char old[192];

	(void)state;
	snprintf(old, sizeof(old), "<%s>;expires=0", scene.contact);
	inet_pton(AF_INET, MOVED, &address);
	assert_int_equal(sofia_register_line(scene.sofia, OURS, address), SOFIA_DONE);
	expect("REGISTER ");
	assert_has("@" MOVED ":5060");
	assert_has(old);
}

static void the_end_of_a_registration_waits_for_the_bye(void **state)
{
	(void)state;
	for (int is_answered = 1; is_answered >= 0; is_answered--) {
		place_call(is_answered ? 1 : 2);
		answer(scene.received, 200, "", ANSWER);
		expect("ACK ");
		assert_int_equal(sofia_hang_up(scene.sofia, scene.call.call_id, 0, "done"),
		                 SOFIA_DONE);
		assert_int_equal(sofia_deregister_line(scene.sofia, OURS), SOFIA_DONE);
		expect("BYE ");
		if (is_answered) {
			char bye[sizeof(scene.received)];

			memcpy(bye, scene.received, sizeof(bye));
			expect_nothing("REGISTER ");
			answer(bye, 200, "", "");
		}
		expect("REGISTER "); /* else 2 s later */
		assert_has("\r\nExpires: 0\r\n");
		answer(scene.received, 200, "", "");
		receive(scene.carrier, 100);
		if (is_answered) {
			order_registration();
			accept_registration(3600);
		}
	}
}

int main(void)
{
#define TEST(name, with) cmocka_unit_test_setup_teardown(name, with, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_silent_registrar_is_asked_as_often_as_configured, set_up_second),
		TEST(unavailable_means_the_next_registrar, set_up_second),
		TEST(a_refusal_is_no_reason_for_another_registrar, set_up_second),
		TEST(the_strongest_digest_is_used_in_any_order, set_up_plain),
		TEST(md5_alone_is_refused_when_it_is_not_allowed, set_up_without_md5),
		TEST(the_realm_is_kept, set_up_plain),
		TEST(stale_is_answered_anew_but_not_for_ever, set_up_plain),
		TEST(another_ones_binding_is_an_alarm, set_up_bound),
		TEST(our_token_at_another_address_is_taken_away, set_up_bound),
		TEST(a_missing_binding_is_made_again_but_not_for_ever, set_up_bound),
		TEST(calls_take_the_service_route, set_up_bound),
		TEST(a_new_address_takes_the_old_binding_away, set_up_bound),
		TEST(the_end_of_a_registration_waits_for_the_bye, set_up_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
