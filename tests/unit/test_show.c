/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show: models and texts from hand-made answers. */
#include "cli_answers.h"

/** A coordinator's answer with one line and one session, which tests change. */
struct story {
	struct answers answers;
	Vpnsip__CoordinatorSnapshot snapshot;
	Vpnsip__LineChanged line, *lines[1];
	Vpnsip__SessionChanged session, *sessions[1];
	Vpnsip__SocketAddress local, remote;
};

static void begin_story(struct story *story)
{
	Vpnsip__Envelope *envelope;

	*story = (struct story){0};
	vpnsip__coordinator_snapshot__init(&story->snapshot);
	vpnsip__line_changed__init(&story->line);
	vpnsip__session_changed__init(&story->session);
	vpnsip__socket_address__init(&story->local);
	vpnsip__socket_address__init(&story->remote);
	story->line.local_number = (char *)"0388882001";
	story->line.status = VPNSIP__LINE_STATUS__LINE_REGISTERED;
	story->line.wan_address = octets(wan_octets);
	story->session.tunnel = (char *)"vsip2";
	story->session.if_id = 2;
	story->session.local_number = (char *)"0388882001";
	story->session.remote_number = (char *)"0388881001";
	story->session.status = VPNSIP__SESSION_STATUS__READY_TO_CONNECT;
	story->session.configured_kbit = 64;
	story->lines[0] = &story->line;
	story->sessions[0] = &story->session;
	story->snapshot.lines = story->lines;
	story->snapshot.n_lines = 1;
	story->snapshot.sessions = story->sessions;
	story->snapshot.n_sessions = 1;
	envelope = answer(&story->answers, VPNSIP__SERVICE__COORDINATOR);
	envelope->body_case = VPNSIP__ENVELOPE__BODY_COORDINATOR_SNAPSHOT;
	envelope->coordinator_snapshot = &story->snapshot;
}

static void bring_up(struct story *story)
{
	story->session.status = VPNSIP__SESSION_STATUS__SESSION_UP;
	story->session.direction = VPNSIP__DIRECTION__OUTGOING;
	story->session.call_since_mono_usec = NOW_USEC - 42 * SECOND;
	story->session.attempt = 0xc7;
	story->session.call_record = 1554;
	story->session.negotiated_kbit = 64;
	story->local.address = octets(wan_octets);
	story->local.port = 50001;
	story->remote.address = octets(remote_octets);
	story->remote.port = 50002;
	story->session.local = &story->local;
	story->session.remote = &story->remote;
}

static void test_session_up(void **state)
{
	struct story story;

	(void)state;
	begin_story(&story);
	bring_up(&story);
	expect_text(show_session_model, show_session_text, &story.answers,
	            "show vpn-sip session detail",
	            "VPN-SIP session current status\n"
	            "\n"
	            "Interface: vsip2\n"
	            "  Session status: SESSION_UP (I)\n"
	            "  Uptime        : 00:00:42\n"
	            "  Remote number : 0388881001\n"
	            "  Local number  : 0388882001\n"
	            "  Remote address:port: 10.6.6.49:50002\n"
	            "  Local address:port : 10.6.6.50:50001\n"
	            "  Crypto conn handle: 0x80000002\n"
	            "  SIP Handle      : 0x800000C7\n"
	            "  SIP callID     : 1554\n"
	            "  Configured/Negotiated bandwidth: 64/64 kbps\n");
}

static void test_session_at_rest(void **state)
{
	struct story story;

	(void)state;
	begin_story(&story);
	story.session.last_cause = (char *)"486 Busy Here";
	expect_text(show_session_model, show_session_text, &story.answers,
	            "show vpn-sip session detail",
	            "VPN-SIP session current status\n"
	            "\n"
	            "Interface: vsip2\n"
	            "  Session status: READY_TO_CONNECT\n"
	            "  Remote number : 0388881001\n"
	            "  Local number  : 0388882001\n"
	            "  Remote address:port: 0.0.0.0:0\n"
	            "  Local address:port : 10.6.6.50:0\n"
	            "  Crypto conn handle: 0x80000002\n"
	            "  SIP Handle      : 0x0\n"
	            "  SIP callID     : --\n"
	            "  Configured/Negotiated bandwidth: 64/0 kbps\n"
	            "  Last cause    : 486 Busy Here\n");
	/* Without detail, and of another number. */
	expect_text(show_session_model, show_session_text, &story.answers, "show vpn-sip session",
	            "VPN-SIP session current status\n"
	            "\n"
	            "Interface: vsip2\n"
	            "  Session status: READY_TO_CONNECT\n"
	            "  Remote number : 0388881001\n"
	            "  Local number  : 0388882001\n"
	            "  Remote address:port: 0.0.0.0:0\n"
	            "  Local address:port : 10.6.6.50:0\n");
	expect_text(show_session_model, show_session_text, &story.answers,
	            "show vpn-sip session remote-number 1", "VPN-SIP session current status\n");
}

static void expect_status(struct story *story, const char *expected)
{
	char *text = text_from(show_session_model, show_session_text, &story->answers,
	                       "show vpn-sip session detail");

	if (!strstr(text, expected))
		fail_msg("<%s> is not in <%s>", expected, text);
	free(text);
}

static void test_shown_status(void **state)
{
	struct story story;

	(void)state;
	begin_story(&story);
	story.line.status = VPNSIP__LINE_STATUS__LINE_WAIT_WAN;
	expect_status(&story, "  Session status: WAIT_WAN\n");
	story.line.status = VPNSIP__LINE_STATUS__LINE_REGISTERING;
	expect_status(&story, "  Session status: REGISTERING\n");
	story.session.status = VPNSIP__SESSION_STATUS__HOLDDOWN;
	story.session.holddown_until_mono_usec = NOW_USEC + 27 * SECOND - 5;
	expect_status(&story, "  Session status: HOLDDOWN\n");
	expect_status(&story, "  Hold-down     : 27 s remaining\n");
	bring_up(&story);
	story.session.direction = VPNSIP__DIRECTION__INCOMING;
	expect_status(&story, "  Session status: SESSION_UP (R)\n");
	story.session.call_since_mono_usec = NOW_USEC - 90061 * SECOND / 100;
	expect_status(&story, "  Uptime        : 00:15:00\n");
}

/* A cause may quote what a peer sent. */
static void test_text_from_outside(void **state)
{
	struct story story;

	(void)state;
	begin_story(&story);
	story.session.last_cause = (char *)"500 \xff\xfe";
	expect_status(&story, "  Last cause    : 500 ?"
	                      "?\n");
}

#define REGISTRAR_HEAD                                                                   \
	"Line        destination           expires(sec)  contact          transport  "   \
	"call-id\n"                                                                      \
	"==============================================================================" \
	"======================\n"

static void test_registration(void **state)
{
	struct answers answers = {0};
	Vpnsip__SipSnapshot snapshot = VPNSIP__SIP_SNAPSHOT__INIT;
	Vpnsip__RegistrationChanged line = VPNSIP__REGISTRATION_CHANGED__INIT, *lines[] = {&line};
	Vpnsip__Envelope *envelope = answer(&answers, VPNSIP__SERVICE__SIP_AGENT);

	(void)state;
	snapshot.registrations = lines;
	snapshot.n_registrations = 1;
	envelope->body_case = VPNSIP__ENVELOPE__BODY_SIP_SNAPSHOT;
	envelope->sip_snapshot = &snapshot;
	line.local_number = (char *)"0388881001";
	line.status = VPNSIP__REGISTRATION_STATUS__REGISTERED;
	line.contact_address = octets(wan_octets);
	line.registrar = (char *)"example.com";
	line.transport = (char *)"UDP";
	line.call_id = (char *)"3176F988-9EAA11E7";
	line.expires_at_mono_usec = NOW_USEC + 2359 * SECOND;
	expect_text(show_registration_model, show_registration_text, &answers, NULL,
	            "SIP registration of local number 0388881001 : registered 10.6.6.50\n");
	expect_text(show_registrar_model, show_registrar_text, &answers, NULL,
	            REGISTRAR_HEAD
	            "0388881001  example.com           2359          10.6.6.50        UDP        "
	            "3176F988-9EAA11E7\n");
	char *numbers[] = {"0388881001", "0388881002"};

	line.is_secondary = true;
	line.associated_numbers = numbers;
	line.n_associated_numbers = 2;
	line.alarm = (char *)"somebody else is registered as 0388881001: sip:x@10.9.0.66";
	line.status = VPNSIP__REGISTRATION_STATUS__REGISTERING;
	expect_text(show_registrar_model, show_registrar_text, &answers, NULL,
	            REGISTRAR_HEAD
	            "  The first registrar does not answer.\n"
	            "  Associated numbers: 0388881001, 0388881002\n"
	            "  Alarm: somebody else is registered as 0388881001: sip:x@10.9.0.66\n");
	line.cause = (char *)"403 Forbidden";
	expect_text(show_registration_model, show_registration_text, &answers, NULL,
	            "SIP registration of local number 0388881001 : not registered\n"
	            "  Cause: 403 Forbidden\n");
}

static void test_leases(void **state)
{
	static const uint8_t server_octets[] = {192, 0, 2, 5}, network_octets[] = {10, 99, 0, 0};
	struct answers answers = {0};
	Vpnsip__SipSnapshot snapshot = VPNSIP__SIP_SNAPSHOT__INIT;
	Vpnsip__DiscoveryChanged line = VPNSIP__DISCOVERY_CHANGED__INIT, *lines[] = {&line};
	Vpnsip__SocketAddress address = VPNSIP__SOCKET_ADDRESS__INIT;
	Vpnsip__DiscoveredServer server = VPNSIP__DISCOVERED_SERVER__INIT, *servers[] = {&server};
	Vpnsip__LeaseRoute route = VPNSIP__LEASE_ROUTE__INIT, *routes[] = {&route};
	Vpnsip__Envelope *envelope = answer(&answers, VPNSIP__SERVICE__SIP_AGENT);

	(void)state;
	snapshot.discoveries = lines;
	snapshot.n_discoveries = 1;
	envelope->body_case = VPNSIP__ENVELOPE__BODY_SIP_SNAPSHOT;
	envelope->sip_snapshot = &snapshot;
	line.local_number = (char *)"0388881001";
	line.source = VPNSIP__DISCOVERY_SOURCE__DISCOVERY_DHCP;
	line.lease_interface = (char *)"GigabitEthernet8";
	line.server_option = (char *)"dns:example.com";
	expect_text(show_dhcp_model, show_dhcp_text, &answers, NULL,
	            "SIP DHCP Info\n\nSIP-DHCP interface: GigabitEthernet8\n\n"
	            "SIP server address:\nDomain name:          dns:example.com\n");
	address.address = octets(server_octets);
	address.port = 5060;
	server.address = &address;
	server.name = (char *)"example.com";
	server.transport = (char *)"UDP";
	server.is_secondary = true;
	line.servers = servers;
	line.n_servers = 1;
	route.destination = octets(network_octets);
	route.prefix_length = 16;
	line.routes = routes;
	line.n_routes = 1;
	line.domain = (char *)"example.ne.jp";
	line.main_number = (char *)"0388881001";
	line.lease_client = (char *)"dhcpcd";
	expect_text(show_dhcp_model, show_dhcp_text, &answers, "show vpn-sip sip dhcp detail",
	            "SIP DHCP Info\n\nSIP-DHCP interface: GigabitEthernet8\n\n"
	            "SIP server address:\nDomain name:          dns:example.com\n"
	            "DHCP client:          dhcpcd\nSIP domain:           example.ne.jp\n"
	            "Main number:          0388881001\n"
	            "Route:                10.99.0.0/16 via the link\n"
	            "Server:               192.0.2.5:5060 UDP of example.com, secondary\n");
	line.lease_interface = (char *)"";
	line.server_option = (char *)"";
	line.cause = (char *)"no lease on wan0 that could name a SIP server";
	expect_text(show_dhcp_model, show_dhcp_text, &answers, NULL,
	            "SIP DHCP Info\n\nSIP-DHCP interface: none\n\nSIP server address:\n"
	            "Cause:                no lease on wan0 that could name a SIP server\n");
	line.source = VPNSIP__DISCOVERY_SOURCE__DISCOVERY_STATIC;
	expect_text(show_dhcp_model, show_dhcp_text, &answers, NULL, "SIP DHCP Info\n");
}

static void test_translations(void **state)
{
	static const uint8_t source_octets[] = {10, 255, 0, 1};
	struct answers answers = {0};
	Vpnsip__NatQosSnapshot snapshot = VPNSIP__NAT_QOS_SNAPSHOT__INIT;
	Vpnsip__TranslationStatus translation = VPNSIP__TRANSLATION_STATUS__INIT, reserved;
	Vpnsip__TranslationStatus *translations[] = {&translation, &reserved};
	Vpnsip__SocketAddress wan = VPNSIP__SOCKET_ADDRESS__INIT, inside = wan, remote = wan;
	Vpnsip__Envelope *envelope = answer(&answers, VPNSIP__SERVICE__NAT_QOS_AGENT);

	(void)state;
	wan.address = octets(wan_octets);
	wan.port = 50001;
	inside.address = octets(source_octets);
	inside.port = 4500;
	remote.address = octets(remote_octets);
	remote.port = 50002;
	translation.wan = &wan;
	translation.inside = &inside;
	translation.remote = &remote;
	reserved = translation;
	translation.is_installed = true;
	snapshot.translations = translations;
	snapshot.n_translations = 2;
	envelope->body_case = VPNSIP__ENVELOPE__BODY_NAT_QOS_SNAPSHOT;
	envelope->nat_qos_snapshot = &snapshot;
	expect_text(show_nat_model, show_nat_text, &answers, NULL,
	            "Pro Inside global          Inside local           Outside local          "
	            "Outside global\n"
	            "udp 10.6.6.50:50001        10.255.0.1:4500        10.6.6.49:50002        "
	            "10.6.6.49:50002\n");
}

static void test_track(void **state)
{
	static const uint8_t network[] = {10, 2, 0, 0}, gateway[] = {192, 0, 2, 1};
	struct answers answers = {0};
	Vpnsip__TrackSnapshot snapshot = VPNSIP__TRACK_SNAPSHOT__INIT;
	Vpnsip__TrackChanged track = VPNSIP__TRACK_CHANGED__INIT, *tracks[] = {&track};
	Vpnsip__RouteChanged route = VPNSIP__ROUTE_CHANGED__INIT, *routes[] = {&route};
	Vpnsip__Envelope *envelope = answer(&answers, VPNSIP__SERVICE__TRACK_AGENT);

	(void)state;
	track.track = 1;
	track.sla = 7;
	track.status = VPNSIP__TRACK_STATUS__TRACK_DOWN;
	track.since_mono_usec = NOW_USEC - 5 * SECOND;
	track.changes = 3;
	track.target = (char *)"icmp-echo 192.0.2.11";
	track.latest_return_code = (char *)"Timeout";
	track.probes_sent = 9;
	track.probes_answered = 8;
	route.destination = octets(network);
	route.prefix_length = 24;
	route.gateway = octets(gateway);
	route.interface = (char *)"prim0";
	route.metric = 1;
	route.track = 1;
	route.cause = (char *)"track 1 is down";
	snapshot.tracks = tracks;
	snapshot.n_tracks = 1;
	snapshot.routes = routes;
	snapshot.n_routes = 1;
	envelope->body_case = VPNSIP__ENVELOPE__BODY_TRACK_SNAPSHOT;
	envelope->track_snapshot = &snapshot;
	expect_text(
		show_track_model, show_track_text, &answers, "show track",
		"Track 1\n"
		"  IP SLA 7 reachability, icmp-echo 192.0.2.11\n"
		"  Reachability is DOWN\n"
		"    3 changes, last change 00:00:05 ago\n"
		"  Latest operation return code: Timeout\n"
		"  Probes: 9 sent, 8 answered\n"
		"  Tracked by:\n"
		"    route 10.2.0.0/24 via 192.0.2.1, prim0, metric 1: not installed, track 1 is "
		"down\n");
	expect_text(show_track_model, show_track_text, &answers, "show track 2", "");
}

/* A tunnel with one SA, as the tests of the lab read it. */
static void test_interface(void **state)
{
	static const uint8_t own[] = {10, 254, 0, 1};
	struct answers answers = {0};
	Vpnsip__TunnelSnapshot snapshot = VPNSIP__TUNNEL_SNAPSHOT__INIT;
	Vpnsip__TunnelChanged tunnel = VPNSIP__TUNNEL_CHANGED__INIT, *tunnels[] = {&tunnel};
	Vpnsip__SaStatus sa = VPNSIP__SA_STATUS__INIT, *sas[] = {&sa};
	Vpnsip__DropCount drop = VPNSIP__DROP_COUNT__INIT, *drops[] = {&drop};
	Vpnsip__Envelope *envelope = answer(&answers, VPNSIP__SERVICE__TUNNEL_AGENT);
	struct words words = {0};
	struct show_input input = {.gathered = &answers.gathered, .words = &words};
	json_t *model;

	(void)state;
	tunnel.tunnel = (char *)"vsip2";
	tunnel.interface_index = 5;
	tunnel.is_up = true;
	tunnel.mtu = 1410;
	tunnel.address = octets(own);
	tunnel.prefix_length = 32;
	tunnel.packets_in = 6;
	tunnel.bytes_in = 504;
	drop.reason = (char *)"multicast";
	drop.packets = 3;
	tunnel.drops = drops;
	tunnel.n_drops = 1;
	sa.direction = VPNSIP__SA_DIRECTION__SA_INBOUND;
	sa.spi = 0xc1234567;
	sa.algorithms = (char *)"AES-GCM-16 128 ESN";
	sa.packets = 6;
	sa.bytes = 504;
	sa.installed_at_mono_usec = NOW_USEC - 60 * SECOND;
	sa.replay_window = 64;
	sa.remaining_sec = 3540;
	tunnel.sas = sas;
	tunnel.n_sas = 1;
	snapshot.tunnels = tunnels;
	snapshot.n_tunnels = 1;
	envelope->body_case = VPNSIP__ENVELOPE__BODY_TUNNEL_SNAPSHOT;
	envelope->tunnel_snapshot = &snapshot;
	expect_text(show_interface_model, show_interface_text, &answers, "show interface brief",
	            "Interface       IP-Address        Status  Protocol  MTU\n"
	            "vsip2           10.254.0.1        up      up        1410\n");
	expect_text(
		show_interface_model, show_interface_text, &answers, "show interface vsip2",
		"vsip2 is up, line protocol is up\n"
		"  Internet address is 10.254.0.1/32\n"
		"  MTU 1410 bytes, BW 0 kbit/s\n"
		"  Tunnel destination 0.0.0.0:0, resting\n"
		"  0 second input rate 0 bits/sec, 0 packets/sec\n"
		"  0 second output rate 0 bits/sec, 0 packets/sec\n"
		"     6 packets input, 504 bytes\n"
		"     0 packets output, 0 bytes\n"
		"     drops: multicast 3\n"
		"  SA inbound SPI 0xc1234567, AES-GCM-16 128 ESN, age 00:01:00, 3540 s left\n"
		"     6 packets, 504 bytes, replay window 64, replay drops 0, integrity drops 0\n");
	expect_text(show_interface_model, show_interface_text, &answers, "show interface eth9", "");
	model = show_interface_model(&input);
	assert_int_equal(
		number_of(json_array_get(
				  json_object_get(
					  json_array_get(json_object_get(model, "interfaces"), 0),
					  "sas"),
				  0),
	                  "packets"),
		6);
	json_decref(model);
}

static void test_services(void **state)
{
	struct answers answers = {0};
	Vpnsip__ServiceStatus status = VPNSIP__SERVICE_STATUS__INIT;
	Vpnsip__Envelope *envelope = &answers.statuses[VPNSIP__SERVICE__SIP_AGENT];
	char *text;

	(void)state;
	vpnsip__envelope__init(envelope);
	envelope->body_case = VPNSIP__ENVELOPE__BODY_SERVICE_STATUS;
	envelope->service_status = &status;
	status.process_id = 812;
	status.uptime_sec = 3661;
	status.resident_kbyte = 5000;
	status.epoch = 0xabc;
	for (int i = VPNSIP__SERVICE__COORDINATOR; i < VPNSIP__SERVICE__CLI; i++)
		answers.gathered.services[i] = (struct gathered_service){.is_asked = true,
		                                                         .outcome = BUS_NOT_SENT};
	answers.gathered.services[VPNSIP__SERVICE__SIP_AGENT].status = envelope;
	answers.gathered.services[VPNSIP__SERVICE__TUNNEL_AGENT].process_id = 99;
	text = text_from(show_services_model, show_services_text, &answers, NULL);
	assert_non_null(strstr(text, "sip-agent           up      812      01:01:01   5000"));
	assert_non_null(strstr(text, "tunnel-agent        silent  99\n"));
	assert_non_null(strstr(text, "track-agent         absent  --\n"));
	free(text);
}

static void test_unanswered(void **state)
{
	struct gathered gathered = {0};
	struct gathered_service *service = &gathered.services[VPNSIP__SERVICE__TUNNEL_AGENT];
	char text[128];

	(void)state;
	assert_true(gather_is_complete(&gathered));
	service->is_asked = true;
	service->outcome = BUS_TIMED_OUT;
	assert_false(gather_is_complete(&gathered));
	gather_explain(&gathered, VPNSIP__SERVICE__TUNNEL_AGENT, text, sizeof(text));
	assert_string_equal(text, "tunnel-agent does not answer (silent for 1.5 s)");
	service->outcome = BUS_NOT_SENT;
	gather_explain(&gathered, VPNSIP__SERVICE__TUNNEL_AGENT, text, sizeof(text));
	assert_string_equal(text, "tunnel-agent does not answer (it is not running)");
	service->process_id = 7;
	gather_explain(&gathered, VPNSIP__SERVICE__TUNNEL_AGENT, text, sizeof(text));
	assert_string_equal(
		text, "tunnel-agent does not answer (process 7 runs, but was silent for 1.5 s)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session_up),   cmocka_unit_test(test_session_at_rest),
		cmocka_unit_test(test_shown_status), cmocka_unit_test(test_text_from_outside),
		cmocka_unit_test(test_registration), cmocka_unit_test(test_leases),
		cmocka_unit_test(test_translations), cmocka_unit_test(test_track),
		cmocka_unit_test(test_interface),    cmocka_unit_test(test_services),
		cmocka_unit_test(test_unanswered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
