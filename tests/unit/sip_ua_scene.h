/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The user agent on loopback and the carrier it talks to: what a test reads and writes. */
#ifndef VPNSIP_TEST_SIP_UA_SCENE_H
#define VPNSIP_TEST_SIP_UA_SCENE_H

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

/* NETWORK: the first three octets of this program's own loopback addresses; such programs run side by side. */
#define CARRIER  NETWORK ".1"
#define AGENT    NETWORK ".2"
#define STRANGER NETWORK ".3"
#define MOVED    NETWORK ".4" /* the agent, when its address has changed */
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
	char cause[256], alarm[256];
	char associated[64]; /* numbers, each with a blank behind it */
	bool is_secondary;
	unsigned call_reports;
};

static struct scene scene;
/* More of the configuration: within line {}, and at its end. A test sets them before its set-up. */
static const char *scene_line_options = "", *scene_options = "";

static inline void told_registration(void *context, const struct registration_report *report)
{
	(void)context;
	scene.is_registered = report->is_registered;
	scene.granted_sec = report->granted_sec;
	snprintf(scene.cause, sizeof(scene.cause), "%s", report->cause);
	snprintf(scene.alarm, sizeof(scene.alarm), "%s", report->alarm);
	scene.is_secondary = report->servers->current != 0;
	scene.associated[0] = '\0';
	for (size_t i = 0; i < report->associated_count; i++)
		snprintf(scene.associated + strlen(scene.associated),
		         sizeof(scene.associated) - strlen(scene.associated), "%s ",
		         report->associated_numbers[i]);
}

static inline void told_call(void *context, const struct call *call)
{
	(void)context;
	scene.call = *call;
	scene.call_reports++;
}

static inline int open_socket(const char *address)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(5060)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, address, &name.sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	return fd;
}

static inline void write_file(const char *name, const char *text, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", scene.fixture->run_directory, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static inline struct config *load_config(void)
{
	char path[128], text[1024];

	write_file("password", "secret\n", path, sizeof(path));
	snprintf(text, sizeof(text),
	         "enabled = true\ntunnel-source = \"10.255.0.1\"\n"
	         "line \"" OURS "\" { wan-interface = \"lo\" registrar = \"" CARRIER
	         ":5060\" domain = \"carrier.example\" credentials-file = \"%s\" %s }\n"
	         "peer \"" THEIRS "\" { tunnel = \"vsip2\" address = \"10.254.0.1/32\" "
	         "bandwidth = 1000 ike-profile = \"d\" ipsec-profile = \"d\" }\n"
	         "ike-profile \"d\" { authentication = pre-share }\n"
	         "ipsec-profile \"d\" { idle-time = 120 }\n%s",
	         path, scene_line_options, scene_options);
	write_file("conf", text, path, sizeof(path));
	FILE *silent = fopen("/dev/null", "w");
	struct config *config = config_load(path, config_report_to_stream, silent);
	fclose(silent);
	assert_non_null(config);
	return config;
}

/* Lets the agent work until the socket has a message, at most `msec`. False when none came. */
static inline bool receive(int fd, unsigned msec)
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
static inline void expect(const char *start)
{
	while (receive(scene.carrier, 3000))
		if (strncmp(scene.received, start, strlen(start)) == 0)
			return;
	fail_msg("%s did not come; last: %.200s; call %s", start, scene.received, scene.call.cause);
}

static inline void expect_nothing(const char *start)
{
	while (receive(scene.carrier, 300))
		if (strncmp(scene.received, start, strlen(start)) == 0)
			fail_msg("unexpected: %s", scene.received);
}

static inline void wait_for_state(enum call_state state)
{
	for (int tries = 0; scene.call.state != state && tries < 500; tries++) {
		event_base_loop(scene.fixture->base, EVLOOP_NONBLOCK);
		usleep(2000);
	}
	assert_string_equal(call_state_name(scene.call.state), call_state_name(state));
}

static inline bool has(const char *text)
{
	return strstr(scene.received, text) != NULL;
}

static inline void assert_has(const char *text)
{
	if (!has(text))
		fail_msg("no \"%s\" in: %s", text, scene.received);
}

/* All lines of the header in the message, CRLF included; "" if there is none. */
static inline void copy_header(const char *message, const char *name, char *text, size_t size)
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

static inline void to_tag(char *tag, size_t size)
{
	char to[512];

	copy_header(scene.received, "To", to, sizeof(to));
	const char *found = strstr(to, ";tag=");
	snprintf(tag, size, "%.*s", found ? (int)strcspn(found + 5, ";\r") : 0,
	         found ? found + 5 : "");
}

static inline void send_to_agent(int fd, const char *text)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(5060)};

	inet_pton(AF_INET, AGENT, &name.sin_addr);
	sendto(fd, text, strlen(text), 0, (struct sockaddr *)&name, sizeof(name));
}

/* Answers `request`. `headers` end with CRLF each. */
static inline void answer_with_tag(const char *request, unsigned status, const char *tag,
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

static inline void answer(const char *request, unsigned status, const char *headers,
                          const char *body)
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

static inline void ask_from(int fd, const char *source, const struct request *request)
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

static inline void ask(const struct request *request)
{
	ask_from(scene.carrier, CARRIER, request);
}

#define ASK(...) ask(&(struct request){__VA_ARGS__})

static inline void order_registration(void)
{
	struct in_addr address;

	inet_pton(AF_INET, AGENT, &address);
	assert_int_equal(sofia_register_line(scene.sofia, OURS, address), SOFIA_DONE);
	expect("REGISTER sip:carrier.example");
	const char *contact = strstr(scene.received, "\r\nContact: <") + strlen("\r\nContact: <");
	snprintf(scene.contact, sizeof(scene.contact), "%.*s", (int)strcspn(contact, ">"), contact);
}

static inline void accept_registration(unsigned seconds)
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

static inline void open_agent(void)
{
	static const struct sofia_events events = {told_registration, told_call};

	scene.sofia =
		sofia_open(&(struct sofia_options){.base = scene.fixture->base,
	                                           .bus = scene.bus,
	                                           .config = scene.config,
	                                           .state_directory = scene.fixture->run_directory,
	                                           .events = &events});
	assert_non_null(scene.sofia);
}

static inline int set_up(void **state)
{
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
	open_agent();
	return 0;
}

static inline int set_up_registered(void **state)
{
	set_up(state);
	order_registration();
	accept_registration(3600);
	return 0;
}

static inline int tear_down(void **state)
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

static inline struct sdp_tunnel tunnel(enum sdp_role role)
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
static inline void place_call(uint64_t attempt)
{
	const struct sofia_call_order order = {attempt, "vsip2", OURS, THEIRS, tunnel(SDP_ACTIVE)};

	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_DONE);
	expect("INVITE sip:" THEIRS "@carrier.example SIP/2.0");
}

/* Leaves the 200 in scene.received. */
static inline void take_call(const char *call_id, const char *headers)
{
	const struct sdp_tunnel ours = tunnel(SDP_PASSIVE);

	ASK(.method = "INVITE", .call_id = call_id, .cseq = 1, .headers = headers, .body = OFFER);
	expect("SIP/2.0 100");
	wait_for_state(CALL_STATE_OFFERED);
	assert_int_equal(sofia_answer_call(scene.sofia, call_id, 7, "vsip2", &ours), SOFIA_DONE);
	expect("SIP/2.0 200");
}

static inline void hang_up_answered(void)
{
	assert_int_equal(sofia_hang_up(scene.sofia, scene.call.call_id, 0, "done"), SOFIA_DONE);
	expect("BYE ");
	answer(scene.received, 200, "", "");
	wait_for_state(CALL_STATE_ENDED);
}

#define REGISTERED(name) cmocka_unit_test_setup_teardown(name, set_up_registered, tear_down)

/* The process goes without a word and comes back. */
static inline void restart(void)
{
	sofia_close(scene.sofia);
	memset(&scene.call, 0, sizeof(scene.call));
	open_agent();
	assert_int_equal(scene.call.state, 0);
}

static inline const struct call *only_call(void)
{
	static const struct sofia_events events = {told_registration, told_call};

	scene.call_reports = 0;
	sofia_tell_all(scene.sofia, &events, NULL);
	return scene.call_reports == 1 ? &scene.call : NULL;
}

static inline void record_path(uint64_t attempt, char path[128])
{
	snprintf(path, 128, "%s/call-%llu", scene.fixture->run_directory,
	         (unsigned long long)attempt);
}

#endif
