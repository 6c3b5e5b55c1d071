/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The user agent on loopback against a carrier that says exactly what a test writes. */
#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bus_fixture.h"
#include "services/common/config.h"
#include "services/common/log.h"
#include "services/sip-agent/sofia.h"

#define CARRIER  "127.57.0.1"
#define STRANGER "127.57.0.3"
#define AGENT    "127.57.0.2"
#define OURS     "0388881001"
#define THEIRS   "0388883001"
#define KEY                                                                                    \
	"C6:4C:89:E1:68:85:7A:9C:B2:28:9E:46:93:9B:78:E1:8C:7A:8D:63:0B:6D:77:B9:9D:0B:1D:E9:" \
	"23:66:CC:5A"
#define SDP(address, port, kbit, role)                                                  \
	"v=0\r\no=- 1 1 IN IP4 " address "\r\ns=-\r\nc=IN IP4 " address                 \
	"\r\nt=0 0\r\nm=application " port " udp ike-esp-udpencap\r\nc=IN IP4 " address \
	"\r\nb=AS:" kbit "\r\na=ike-setup:" role "\r\na=psk-fingerprint:SHA-256 " KEY "\r\n"
#define OFFER  SDP(CARRIER, "50009", "512", "active")
#define ANSWER SDP(CARRIER, "50009", "512", "passive")

struct scene {
	struct fixture *fixture;
	struct bus *bus;
	struct config *config;
	struct sofia *sofia;
	int carrier, stranger;
	char received[8192];
	char contact[128]; /* of the agent, as URI */
	struct call call;  /* as last told */
	bool is_registered;
	unsigned granted_sec;
	char cause[256];
	unsigned call_reports;
};

static struct scene scene;

static void told_registration(void *context, const struct registration_report *report)
{
	(void)context;
	scene.is_registered = report->is_registered;
	scene.granted_sec = report->granted_sec;
	snprintf(scene.cause, sizeof(scene.cause), "%s", report->cause);
}

static void told_call(void *context, const struct call *call)
{
	(void)context;
	scene.call = *call;
	scene.call_reports++;
}

static int open_socket(const char *address)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(5060)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, address, &name.sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	return fd;
}

static void write_file(const char *name, const char *text, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", scene.fixture->run_directory, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static struct config *load_config(void)
{
	char path[128], text[1024];

	write_file("password", "secret\n", path, sizeof(path));
	snprintf(text, sizeof(text),
	         "enabled = true\ntunnel-source = \"10.255.0.1\"\n"
	         "line \"" OURS "\" { wan-interface = \"lo\" registrar = \"" CARRIER
	         ":5060\" domain = \"carrier.example\" credentials-file = \"%s\" }\n"
	         "peer \"" THEIRS "\" { tunnel = \"vsip2\" address = \"10.254.0.1/32\" "
	         "bandwidth = 1000 ike-profile = \"d\" ipsec-profile = \"d\" }\n"
	         "ike-profile \"d\" { authentication = pre-share }\n"
	         "ipsec-profile \"d\" { idle-time = 120 }\n",
	         path);
	write_file("conf", text, path, sizeof(path));
	FILE *silent = fopen("/dev/null", "w");
	struct config *config = config_load(path, config_report_to_stream, silent);
	fclose(silent);
	assert_non_null(config);
	return config;
}

/* Lets the agent work until the socket has a message, at most `msec`. False when none came. */
static bool receive(int fd, unsigned msec)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};

		event_base_loop(scene.fixture->base, EVLOOP_NONBLOCK);
		if (poll(&ready, 1, 2) > 0) {
			ssize_t size = recv(fd, scene.received, sizeof(scene.received) - 1, 0);
			scene.received[size] = '\0';
			event_base_loop(scene.fixture->base, EVLOOP_NONBLOCK);
			return true;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
		if ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 >
		    msec)
			return false;
	}
}

/* The next message that starts so; others are passed over. */
static void expect(const char *start)
{
	while (receive(scene.carrier, 3000))
		if (strncmp(scene.received, start, strlen(start)) == 0)
			return;
	fail_msg("%s did not come; last: %.200s; call %s", start, scene.received, scene.call.cause);
}

static void expect_nothing(const char *start)
{
	while (receive(scene.carrier, 300))
		if (strncmp(scene.received, start, strlen(start)) == 0)
			fail_msg("unexpected: %s", scene.received);
}

static void wait_for_state(enum call_state state)
{
	for (int tries = 0; scene.call.state != state && tries < 500; tries++) {
		event_base_loop(scene.fixture->base, EVLOOP_NONBLOCK);
		usleep(2000);
	}
	assert_string_equal(call_state_name(scene.call.state), call_state_name(state));
}

static bool has(const char *text)
{
	return strstr(scene.received, text) != NULL;
}

static void assert_has(const char *text)
{
	if (!has(text))
		fail_msg("no \"%s\" in: %s", text, scene.received);
}

/* All lines of the header in the message, CRLF included; "" if there is none. */
static void copy_header(const char *message, const char *name, char *text, size_t size)
{
	char start[64];
	const char *line = message;
	size_t length = 0;

	snprintf(start, sizeof(start), "\r\n%s: ", name);
	while ((line = strstr(line, start)) && length + strcspn(line + 2, "\r") + 3 < size) {
		line += 2;
		size_t end = strcspn(line, "\r");
		length += (size_t)snprintf(text + length, size - length, "%.*s\r\n", (int)end,
		                           line);
	}
	text[length] = '\0';
}

static void to_tag(char *tag, size_t size)
{
	char to[512];

	copy_header(scene.received, "To", to, sizeof(to));
	const char *found = strstr(to, ";tag=");
	snprintf(tag, size, "%.*s", found ? (int)strcspn(found + 5, ";\r") : 0,
	         found ? found + 5 : "");
}

static void send_to_agent(int fd, const char *text)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(5060)};

	inet_pton(AF_INET, AGENT, &name.sin_addr);
	sendto(fd, text, strlen(text), 0, (struct sockaddr *)&name, sizeof(name));
}

/* Answers `request`. `headers` end with CRLF each. */
static void answer_with_tag(const char *request, unsigned status, const char *tag,
                            const char *headers, const char *body)
{
	char via[1024], from[512], to[512], call_id[256], cseq[128], text[8192];

	copy_header(request, "Via", via, sizeof(via));
	copy_header(request, "From", from, sizeof(from));
	copy_header(request, "To", to, sizeof(to));
	copy_header(request, "Call-ID", call_id, sizeof(call_id));
	copy_header(request, "CSeq", cseq, sizeof(cseq));
	to[strcspn(to, "\r")] = '\0';
	snprintf(text, sizeof(text),
	         "SIP/2.0 %u Said\r\n%s%s%s%s%s\r\n%s%s%s%sContent-Type: "
	         "application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
	         status, via, from, to,
	         strstr(to, ";tag=") ? "" : ";tag=", strstr(to, ";tag=") ? "" : tag, call_id, cseq,
	         strstr(headers, "Contact:") ? "" : "Contact: <sip:peer@" CARRIER ">\r\n", headers,
	         strlen(body), body);
	send_to_agent(scene.carrier, text);
}

static void answer(const char *request, unsigned status, const char *headers, const char *body)
{
	answer_with_tag(request, status, "t1", headers, body);
}

struct request {
	const char *method, *call_id;
	unsigned cseq;
	const char *tag; /* To tag; NULL = none */
	const char *from_tag;
	const char *identity; /* P-Asserted-Identity; NULL = the usual one, "" = none */
	const char *headers;
	const char *body;
	const char *branch; /* NULL = a new one */
};

static void ask_from(int fd, const char *source, const struct request *request)
{
	static unsigned count;
	char text[8192], branch[32];

	snprintf(branch, sizeof(branch), "z9hG4bKc%u", count++);
	snprintf(text, sizeof(text),
	         "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s:5060;branch=%s\r\nMax-Forwards: 70\r\n"
	         "From: <sip:" THEIRS "@carrier.example>;tag=%s\r\n"
	         "To: <sip:" OURS "@carrier.example>%s%s\r\nCall-ID: %s\r\nCSeq: %u %s\r\n"
	         "Contact: <sip:peer@%s:5060>\r\n%s%s%s%sContent-Length: %zu\r\n\r\n%s",
	         request->method, scene.contact, source, request->branch ? request->branch : branch,
	         request->from_tag ? request->from_tag : "f1", request->tag ? ";tag=" : "",
	         request->tag ? request->tag : "", request->call_id, request->cseq, request->method,
	         source, !request->identity || request->identity[0] ? "P-Asserted-Identity: " : "",
	         request->identity ? request->identity : "<sip:" THEIRS "@carrier.example>\r\n",
	         request->headers ? request->headers : "",
	         request->body && !(request->headers && strstr(request->headers, "Content-Type"))
	                 ? "Content-Type: application/sdp\r\n"
	                 : "",
	         request->body ? strlen(request->body) : 0, request->body ? request->body : "");
	send_to_agent(fd, text);
}

static void ask(const struct request *request)
{
	ask_from(scene.carrier, CARRIER, request);
}

#define ASK(...) ask(&(struct request){__VA_ARGS__})

static void order_registration(void)
{
	struct in_addr address;

	inet_pton(AF_INET, AGENT, &address);
	assert_int_equal(sofia_register_line(scene.sofia, OURS, address), SOFIA_DONE);
	expect("REGISTER sip:carrier.example");
	const char *contact = strstr(scene.received, "\r\nContact: <") + strlen("\r\nContact: <");
	snprintf(scene.contact, sizeof(scene.contact), "%.*s", (int)strcspn(contact, ">"), contact);
}

static void accept_registration(unsigned seconds)
{
	char headers[256];

	snprintf(headers, sizeof(headers), "Contact: <%s>;expires=%u\r\n", scene.contact, seconds);
	answer(scene.received, 200, headers, "");
	for (int tries = 0; !scene.is_registered && tries < 500; tries++) {
		event_base_loop(scene.fixture->base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
	assert_true(scene.is_registered);
}

static int set_up(void **state)
{
	static const struct sofia_events events = {told_registration, told_call};
	char why[256];
	void *fixture;

	(void)state;
	memset(&scene, 0, sizeof(scene));
	log_set_level(LOG_ERR);
	fixture_set_up(&fixture);
	scene.fixture = fixture;
	scene.config = load_config();
	const struct bus_options bus = {
		.self = SIP_AGENT,
		.run_directory = scene.fixture->run_directory,
		.base = scene.fixture->base,
		.environment = &bus_system_environment,
		.handlers = &(const struct bus_handlers){0},
	};
	scene.bus = bus_open(&bus, why, sizeof(why));
	if (!scene.bus)
		fail_msg("%s", why);
	scene.carrier = open_socket(CARRIER);
	scene.stranger = open_socket(STRANGER);
	scene.sofia = sofia_open(&(struct sofia_options){.base = scene.fixture->base,
	                                                 .bus = scene.bus,
	                                                 .config = scene.config,
	                                                 .events = &events});
	assert_non_null(scene.sofia);
	return 0;
}

static int set_up_registered(void **state)
{
	set_up(state);
	order_registration();
	accept_registration(3600);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sofia_close(scene.sofia);
	bus_close(scene.bus);
	config_free(scene.config);
	close(scene.carrier);
	close(scene.stranger);
	event_base_free(scene.fixture->base);
	remove_tree(scene.fixture->run_directory);
	free(scene.fixture);
	return 0;
}

static struct sdp_tunnel tunnel(enum sdp_role role)
{
	struct sdp_tunnel made = {
		.port = 50001,
		.bandwidth_kbit = 1000,
		.role = role,
		.fingerprints = {{.subject = SDP_PRE_SHARED_KEY, .hash = "SHA-256", .size = 32}},
		.fingerprint_count = 1,
	};

	inet_pton(AF_INET, AGENT, &made.address);
	return made;
}

/* Leaves the INVITE in scene.received. */
static void place_call(uint64_t attempt)
{
	const struct sofia_call_order order = {attempt, "vsip2", OURS, THEIRS, tunnel(SDP_ACTIVE)};

	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_DONE);
	expect("INVITE sip:" THEIRS "@carrier.example SIP/2.0");
}

/* Leaves the 200 in scene.received. */
static void take_call(const char *call_id, const char *headers)
{
	const struct sdp_tunnel ours = tunnel(SDP_PASSIVE);

	ASK(.method = "INVITE", .call_id = call_id, .cseq = 1, .headers = headers, .body = OFFER);
	expect("SIP/2.0 100");
	wait_for_state(CALL_STATE_OFFERED);
	assert_int_equal(sofia_answer_call(scene.sofia, call_id, 7, "vsip2", &ours), SOFIA_DONE);
	expect("SIP/2.0 200");
}

static void hang_up_answered(void)
{
	assert_int_equal(sofia_hang_up(scene.sofia, scene.call.call_id, 0, "done"), SOFIA_DONE);
	expect("BYE ");
	answer(scene.received, 200, "", "");
	wait_for_state(CALL_STATE_ENDED);
}

static void registration_answers_the_challenge(void **state)
{
	(void)state;
	order_registration();
	assert_false(has("Authorization"));
	assert_has("\r\nExpires: 3600\r\n");
	answer(scene.received, 401,
	       "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n"
	       "WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", algorithm=SHA-256, "
	       "qop=\"auth\"\r\n",
	       "");
	expect("REGISTER ");
	assert_has("nonce=\"n2\"");
	assert_has("algorithm=SHA-256");
	assert_has("username=\"" OURS "\"");
	assert_false(has("secret"));
	/* asked for longer, then accepted with the time of our own Contact */
	answer(scene.received, 423, "Min-Expires: 7200\r\n", "");
	expect("REGISTER ");
	assert_has("\r\nExpires: 7200\r\n");
	accept_registration(600);
	assert_int_equal(scene.granted_sec, 600);
	assert_int_equal(sofia_deregister_line(scene.sofia, OURS), SOFIA_DONE);
	expect("REGISTER ");
	assert_has("\r\nExpires: 0\r\n");
	assert_false(scene.is_registered);
}

static void a_second_challenge_means_a_wrong_password(void **state)
{
	static const char challenge[] =
		"WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";

	(void)state;
	order_registration();
	answer(scene.received, 401, challenge, "");
	expect("REGISTER ");
	answer(scene.received, 401, challenge, "");
	expect_nothing("REGISTER ");
	assert_non_null(strstr(scene.cause, "password"));
}

static void an_outgoing_call_is_written_as_specified(void **state)
{
	(void)state;
	place_call(1);
	assert_has("\r\nRoute: <sip:" CARRIER ":5060;lr>\r\n");
	assert_has("\r\nP-Preferred-Identity: <sip:" OURS "@carrier.example>\r\n");
	assert_has("\r\nSupported: timer\r\n");
	assert_has("\r\nSession-Expires: 300\r\n");
	assert_has("\r\nContact: <sip:");
	assert_has("s=-\r\nc=IN IP4 " AGENT "\r\nt=0 0\r\n"
	           "m=application 50001 udp ike-esp-udpencap\r\nc=IN IP4 " AGENT
	           "\r\nb=AS:1000\r\na=ike-setup:active\r\na=psk-fingerprint:SHA-256 00:00:");
	char invite[8192];
	strcpy(invite, scene.received);
	answer(invite, 180, "", "");
	wait_for_state(CALL_STATE_RINGING);
	answer(invite, 200, "Record-Route: <sip:" CARRIER ";lr;x=y>\r\n", ANSWER);
	expect("ACK sip:peer@" CARRIER);
	assert_has("\r\nRoute: <sip:" CARRIER ";lr;x=y>\r\n");
	wait_for_state(CALL_STATE_ANSWERED);
	assert_int_equal(scene.call.remote.port, 50009);
	assert_int_equal(scene.call.remote.bandwidth_kbit, 512);
	/* the ACK got lost: the 200 comes again, and so does the ACK */
	answer(invite, 200, "Record-Route: <sip:" CARRIER ";lr;x=y>\r\n", ANSWER);
	expect("ACK ");
	/* another phone answered too: its call is ended, ours stays */
	answer_with_tag(invite, 200, "t2", "", ANSWER);
	expect("ACK ");
	assert_has(";tag=t2");
	expect("BYE ");
	assert_has(";tag=t2");
	assert_int_equal(scene.call.state, CALL_STATE_ANSWERED);
	hang_up_answered();
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_US);
}

static void an_attempt_is_placed_once(void **state)
{
	struct sofia_call_order order = {5, "vsip2", OURS, THEIRS, tunnel(SDP_ACTIVE)};

	(void)state;
	place_call(5);
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_DONE);
	answer(scene.received, 100, "", "");
	expect_nothing("INVITE ");
	order.attempt = 4;
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_STALE);
	order.local_number = "0399999999";
	order.attempt = 6;
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_UNKNOWN);
}

static void cancel_waits_and_a_crossing_answer_is_ended(void **state)
{
	char invite[8192];

	(void)state;
	place_call(1);
	strcpy(invite, scene.received);
	sofia_hang_up(scene.sofia, "", 1, "changed our mind");
	expect_nothing("CANCEL ");
	answer(invite, 100, "", "");
	expect("CANCEL ");
	answer(scene.received, 200, "", "");
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	expect("BYE ");
	answer(scene.received, 481, "", "");
	wait_for_state(CALL_STATE_ENDED);
	assert_string_equal(scene.call.cause, "changed our mind");
}

static void bad_answers_are_acknowledged_and_ended(void **state)
{
	static const struct {
		const char *body, *why;
	} answers[] = {
		{"", "no SDP"},
		{SDP(CARRIER, "50009", "512", "active"), "ike-setup"},
		{SDP(CARRIER, "0", "512", "passive"), "port 0"},
		{SDP(CARRIER, "50009", "0", "passive"), "b=AS is 0"},
		{"v=0\r\nnonsense\r\n", "type=value"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		place_call(i + 1);
		answer(scene.received, 200, "", answers[i].body);
		expect("ACK ");
		expect("BYE ");
		answer(scene.received, 200, "", "");
		wait_for_state(CALL_STATE_ENDED);
		assert_non_null(strstr(scene.call.cause, answers[i].why));
		assert_false(scene.call.has_remote);
	}
}

static void refusals_are_reported_and_redirections_not_followed(void **state)
{
	(void)state;
	place_call(1);
	answer(scene.received, 503, "Retry-After: 17\r\nWarning: 399 x \"full\"\r\n", "");
	wait_for_state(CALL_STATE_ENDED);
	assert_int_equal(scene.call.sip_status, 503);
	assert_int_equal(scene.call.retry_after_sec, 17);
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_CARRIER);
	assert_non_null(strstr(scene.call.cause, "full"));
	place_call(2);
	answer(scene.received, 302, "Contact: <sip:0990123456@expensive.example>\r\n", "");
	expect_nothing("INVITE ");
	wait_for_state(CALL_STATE_ENDED);
	place_call(3);
	answer(scene.received, 422, "Min-SE: 600\r\n", "");
	expect("ACK ");
	expect("INVITE ");
	assert_has("\r\nSession-Expires: 600\r\n");
	assert_has("\r\nMin-SE: 600\r\n");
	answer(scene.received, 422, "Min-SE: 900\r\n", "");
	wait_for_state(CALL_STATE_ENDED);
}

static void an_incoming_call_is_answered_and_ended(void **state)
{
	char tag[64];

	(void)state;
	take_call("in1", "Supported: timer\r\nSession-Expires: 1800\r\n");
	to_tag(tag, sizeof(tag));
	assert_string_equal(scene.call.remote_number, THEIRS);
	assert_has("\r\nRequire: timer\r\n");
	assert_has("\r\nSession-Expires: 300;refresher=uas\r\n");
	assert_has("m=application 50001 udp ike-esp-udpencap\r\nc=IN IP4 " AGENT
	           "\r\nb=AS:1000\r\na=ike-setup:passive\r\n");
	wait_for_state(CALL_STATE_ACCEPTED);
	ASK(.method = "ACK", .call_id = "in1", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	/* without the tag of our side nobody ends a call, with it the other side does */
	ASK(.method = "BYE", .call_id = "in1", .cseq = 2);
	expect("SIP/2.0 481");
	ASK(.method = "BYE", .call_id = "in1", .cseq = 3, .tag = "guessed");
	expect("SIP/2.0 481");
	assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
	ASK(.method = "BYE", .call_id = "in1", .cseq = 4, .tag = tag);
	expect("SIP/2.0 200");
	wait_for_state(CALL_STATE_ENDED);
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_PEER);
}

static void each_bad_invite_has_its_answer(void **state)
{
	static const struct {
		const char *headers, *identity, *body, *status, *text;
	} invites[] = {
		{NULL, "", OFFER, "433", NULL},
		{NULL, "<sip:anonymous@anonymous.invalid>\r\n", OFFER, "433", NULL},
		{NULL, "<sip:alice@carrier.example>\r\n", OFFER, "403", NULL},
		{NULL, "<sip:" THEIRS "@c>, <tel:0388883002>\r\n", OFFER, "403", NULL},
		{"Require: 100rel\r\n", NULL, OFFER, "420", "Unsupported: 100rel"},
		{"Content-Type: text/plain\r\n", NULL, "hello", "415", "Accept: application/sdp"},
		{NULL, NULL, NULL, "488", "Warning: 399"},
		{NULL, NULL, "v=0\r\nnonsense\r\n", "400", NULL},
		{NULL, NULL, SDP(CARRIER, "50009", "512", "holdconn"), "488", "Warning: 306"},
		{NULL, NULL, SDP(CARRIER, "50009", "0", "active"), "488", "Warning: 370"},
		{"Supported: timer\r\nSession-Expires: 60\r\n", NULL, OFFER, "422", "Min-SE: 90"},
	};
	char status[32], call_id[32];

	(void)state;
	for (size_t i = 0; i < sizeof(invites) / sizeof(invites[0]); i++) {
		snprintf(call_id, sizeof(call_id), "bad%zu", i);
		ASK(.method = "INVITE", .call_id = call_id, .cseq = 1,
		    .headers = invites[i].headers, .identity = invites[i].identity,
		    .body = invites[i].body);
		snprintf(status, sizeof(status), "SIP/2.0 %s", invites[i].status);
		expect(status);
		if (invites[i].text)
			assert_has(invites[i].text);
	}
	/* nobody was asked about any of them; a good one is told */
	assert_int_equal(scene.call_reports, 0);
	take_call("good", NULL);
	assert_int_equal(scene.call_reports, 2);
}

static void a_stranger_is_not_answered(void **state)
{
	(void)state;
	ask_from(scene.stranger, STRANGER,
	         &(struct request){.method = "INVITE", .call_id = "s1", .cseq = 1, .body = OFFER});
	assert_false(receive(scene.stranger, 300));
	ask_from(scene.stranger, STRANGER,
	         &(struct request){.method = "OPTIONS", .call_id = "s2", .cseq = 1});
	assert_false(receive(scene.stranger, 300));
	assert_int_equal(scene.call_reports, 0);
	/* the control: the registrar gets its answer */
	ASK(.method = "OPTIONS", .call_id = "o1", .cseq = 1);
	expect("SIP/2.0 200");
	assert_has("INVITE");
}

static void a_call_is_offered_once(void **state)
{
	(void)state;
	ASK(.method = "INVITE", .call_id = "m1", .cseq = 1, .body = OFFER);
	wait_for_state(CALL_STATE_OFFERED);
	ASK(.method = "INVITE", .call_id = "m1", .cseq = 1, .body = OFFER);
	expect("SIP/2.0 482");
	ASK(.method = "INVITE", .call_id = "m1", .cseq = 1, .from_tag = "f2", .body = OFFER);
	expect("SIP/2.0 482");
	assert_int_equal(scene.call_reports, 1);
}

static void the_caller_cancels(void **state)
{
	(void)state;
	ASK(.method = "INVITE", .call_id = "c1", .cseq = 1, .body = OFFER, .branch = "z9hG4bKone");
	wait_for_state(CALL_STATE_OFFERED);
	ASK(.method = "CANCEL", .call_id = "c1", .cseq = 1, .branch = "z9hG4bKone");
	expect("SIP/2.0 487");
	wait_for_state(CALL_STATE_ENDED);
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_PEER);
}

static void our_refusal_carries_its_warning(void **state)
{
	const struct sofia_refusal refusal = {488, "", 370, "below \"minimum\" bandwidth"};

	(void)state;
	ASK(.method = "INVITE", .call_id = "r1", .cseq = 1, .body = OFFER);
	wait_for_state(CALL_STATE_OFFERED);
	assert_int_equal(sofia_reject_call(scene.sofia, "r1", &refusal), SOFIA_DONE);
	expect("SIP/2.0 488");
	assert_has("\r\nWarning: 370 " AGENT " \"below minimum bandwidth\"\r\n");
	wait_for_state(CALL_STATE_ENDED);
	assert_int_equal(sofia_reject_call(scene.sofia, "r1", &refusal), SOFIA_DONE);
	assert_int_equal(sofia_reject_call(scene.sofia, "none", &refusal), SOFIA_UNKNOWN);
}

static void a_refresh_is_answered_and_a_change_refused(void **state)
{
	char tag[64];

	(void)state;
	take_call("u1", NULL);
	to_tag(tag, sizeof(tag));
	ASK(.method = "ACK", .call_id = "u1", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	ASK(.method = "INVITE", .call_id = "u1", .cseq = 2, .tag = tag, .body = OFFER,
	    .headers = "Supported: timer\r\nSession-Expires: 200;refresher=uac\r\n");
	expect("SIP/2.0 200");
	assert_has("\r\nSession-Expires: 200;refresher=uac\r\n");
	assert_has("a=ike-setup:passive\r\n");
	ASK(.method = "ACK", .call_id = "u1", .cseq = 2, .tag = tag);
	ASK(.method = "UPDATE", .call_id = "u1", .cseq = 3, .tag = tag);
	expect("SIP/2.0 200");
	ASK(.method = "INVITE", .call_id = "u1", .cseq = 4, .tag = tag,
	    .body = SDP(CARRIER, "50010", "512", "active"));
	expect("SIP/2.0 488");
	ASK(.method = "ACK", .call_id = "u1", .cseq = 4, .tag = tag);
	assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
	hang_up_answered();
}

static void a_new_address_ends_the_call_from_there(void **state)
{
	struct in_addr address;

	(void)state;
	place_call(1);
	answer(scene.received, 200, "Record-Route: <sip:" CARRIER ";lr>\r\n", ANSWER);
	expect("ACK ");
	inet_pton(AF_INET, "127.57.0.4", &address);
	assert_int_equal(sofia_register_line(scene.sofia, OURS, address), SOFIA_DONE);
	expect("BYE sip:peer@" CARRIER);
	assert_has("\r\nVia: SIP/2.0/UDP 127.57.0.4");
	assert_has(";tag=t1");
	assert_has("\r\nRoute: <sip:" CARRIER ";lr>\r\n");
	assert_non_null(strstr(scene.call.cause, "address changed"));
}

#define REGISTERED(name) cmocka_unit_test_setup_teardown(name, set_up_registered, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registration_answers_the_challenge, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_second_challenge_means_a_wrong_password, set_up,
	                                        tear_down),
		REGISTERED(an_outgoing_call_is_written_as_specified),
		REGISTERED(an_attempt_is_placed_once),
		REGISTERED(cancel_waits_and_a_crossing_answer_is_ended),
		REGISTERED(bad_answers_are_acknowledged_and_ended),
		REGISTERED(refusals_are_reported_and_redirections_not_followed),
		REGISTERED(an_incoming_call_is_answered_and_ended),
		REGISTERED(each_bad_invite_has_its_answer),
		REGISTERED(a_stranger_is_not_answered),
		REGISTERED(a_call_is_offered_once),
		REGISTERED(the_caller_cancels),
		REGISTERED(our_refusal_carries_its_warning),
		REGISTERED(a_refresh_is_answered_and_a_change_refused),
		REGISTERED(a_new_address_ends_the_call_from_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
