/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show crypto: models and texts from hand-made answers, in the states that a lab does not hold still. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/cli/show_crypto.h"

#define NOW_USEC 1000000000ull
#define SECOND   1000000ull

static const uint8_t local_octets[] = {10, 11, 1, 1}, remote_octets[] = {10, 6, 6, 49};

/** One session as the three services tell of it; tests change it. */
struct story {
	struct gathered gathered;
	Vpnsip__Envelope envelopes[VPNSIP__SERVICE__CLI];
	Vpnsip__CoordinatorSnapshot coordinator;
	Vpnsip__SessionChanged session, *sessions[1];
	Vpnsip__IkeSnapshot ike_agent;
	Vpnsip__IkeChanged ike, *ikes[1];
	Vpnsip__IkeSaStatus sa;
	Vpnsip__ChildSaStatus child;
	Vpnsip__CryptoSuite suite, child_suite;
	Vpnsip__TunnelSnapshot tunnel_agent;
	Vpnsip__TunnelChanged tunnel, *tunnels[1];
	Vpnsip__SaStatus inbound, outbound, *sas[2];
	Vpnsip__DropCount drops[2], *drop_list[2];
	Vpnsip__SocketAddress local, remote;
	char *selectors[2];
};

static Vpnsip__Envelope *answer(struct story *story, Vpnsip__Service service)
{
	Vpnsip__Envelope *envelope = &story->envelopes[service];

	vpnsip__envelope__init(envelope);
	story->gathered.services[service].is_asked = true;
	story->gathered.services[service].snapshot = envelope;
	return envelope;
}

static void init_messages(struct story *story)
{
	vpnsip__coordinator_snapshot__init(&story->coordinator);
	vpnsip__session_changed__init(&story->session);
	vpnsip__ike_snapshot__init(&story->ike_agent);
	vpnsip__ike_changed__init(&story->ike);
	vpnsip__ike_sa_status__init(&story->sa);
	vpnsip__child_sa_status__init(&story->child);
	vpnsip__crypto_suite__init(&story->suite);
	vpnsip__crypto_suite__init(&story->child_suite);
	vpnsip__tunnel_snapshot__init(&story->tunnel_agent);
	vpnsip__tunnel_changed__init(&story->tunnel);
	vpnsip__sa_status__init(&story->inbound);
	vpnsip__sa_status__init(&story->outbound);
	vpnsip__drop_count__init(&story->drops[0]);
	vpnsip__drop_count__init(&story->drops[1]);
	vpnsip__socket_address__init(&story->local);
	vpnsip__socket_address__init(&story->remote);
}

static void fill_ike(struct story *story)
{
	story->local.address = (ProtobufCBinaryData){4, (uint8_t *)local_octets};
	story->local.port = 4500;
	story->remote.address = (ProtobufCBinaryData){4, (uint8_t *)remote_octets};
	story->remote.port = 50002;
	story->suite.encryption = (char *)"AES-CBC";
	story->suite.key_bits = 256;
	story->suite.integrity = (char *)"SHA512";
	story->suite.prf = (char *)"SHA512";
	story->suite.group = 19;
	story->sa.id = 1;
	story->sa.suite = &story->suite;
	story->sa.established_mono_usec = NOW_USEC - 233 * SECOND;
	story->sa.lifetime_sec = 86400;
	story->sa.ends_at_mono_usec = NOW_USEC + 86167 * SECOND;
	story->child_suite.encryption = (char *)"AES-CBC";
	story->child_suite.key_bits = 256;
	story->child_suite.integrity = (char *)"SHA256";
	story->child.suite = &story->child_suite;
	story->child.inbound_spi = 0xA97EDEE7;
	story->child.outbound_spi = 0x4776A36B;
	story->selectors[0] = (char *)"0.0.0.0/0";
	story->selectors[1] = (char *)"::/0";
	story->child.local_selectors = story->child.remote_selectors = story->selectors;
	story->child.n_local_selectors = story->child.n_remote_selectors = 1;
	story->ike.tunnel = (char *)"vsip1";
	story->ike.status = VPNSIP__IKE_STATUS__IKE_UP;
	story->ike.up_since_mono_usec = NOW_USEC - 233 * SECOND;
	story->ike.local = &story->local;
	story->ike.remote = &story->remote;
	story->ike.ike_profile = (char *)"IPROF";
	story->ike.local_identity = (char *)"0388882001";
	story->ike.remote_identity = (char *)"0388881001";
	story->ike.initiator_spi = 0x25A0B173944015D3;
	story->ike.responder_spi = 0x9F0C7677425670E1;
	story->ike.is_initiator = true;
	story->ike.local_authentication = story->ike.remote_authentication = (char *)"PSK";
	story->ike.sa = &story->sa;
	story->ike.child = &story->child;
}

static void fill_tunnel(struct story *story)
{
	story->inbound.direction = VPNSIP__SA_DIRECTION__SA_INBOUND;
	story->inbound.spi = 0xA97EDEE7;
	story->inbound.packets = 6;
	story->inbound.replay_window = 64;
	story->inbound.remaining_sec = 3366;
	story->inbound.remaining_bytes = 4222536ull * 1024;
	story->inbound.algorithms = (char *)"AES-CBC 256 HMAC-SHA2-256-128";
	story->outbound = story->inbound;
	story->outbound.direction = VPNSIP__SA_DIRECTION__SA_OUTBOUND;
	story->outbound.spi = 0x4776A36B;
	story->outbound.packets = 4;
	story->sas[0] = &story->inbound;
	story->sas[1] = &story->outbound;
	story->tunnel.tunnel = (char *)"vsip1";
	story->tunnel.mtu = 1410;
	story->tunnel.path_mtu = 1500;
	story->tunnel.sas = story->sas;
	story->tunnel.n_sas = 2;
}

static void begin_story(struct story *story)
{
	*story = (struct story){0};
	init_messages(story);
	fill_ike(story);
	fill_tunnel(story);
	story->session.tunnel = (char *)"vsip1";
	story->session.if_id = 1;
	story->session.attempt = 43;
	story->session.status = VPNSIP__SESSION_STATUS__SESSION_UP;
	story->session.remote_number = (char *)"0388881001";
	story->session.description = (char *)"";
	story->sessions[0] = &story->session;
	story->ikes[0] = &story->ike;
	story->tunnels[0] = &story->tunnel;
	story->coordinator.sessions = story->sessions;
	story->ike_agent.sessions = story->ikes;
	story->tunnel_agent.tunnels = story->tunnels;
	story->coordinator.n_sessions = story->ike_agent.n_sessions =
		story->tunnel_agent.n_tunnels = 1;
	story->gathered.now_mono_usec = NOW_USEC;
	answer(story, VPNSIP__SERVICE__COORDINATOR)->coordinator_snapshot = &story->coordinator;
	story->envelopes[VPNSIP__SERVICE__COORDINATOR].body_case =
		VPNSIP__ENVELOPE__BODY_COORDINATOR_SNAPSHOT;
	answer(story, VPNSIP__SERVICE__IKE_AGENT)->ike_snapshot = &story->ike_agent;
	story->envelopes[VPNSIP__SERVICE__IKE_AGENT].body_case =
		VPNSIP__ENVELOPE__BODY_IKE_SNAPSHOT;
	answer(story, VPNSIP__SERVICE__TUNNEL_AGENT)->tunnel_snapshot = &story->tunnel_agent;
	story->envelopes[VPNSIP__SERVICE__TUNNEL_AGENT].body_case =
		VPNSIP__ENVELOPE__BODY_TUNNEL_SNAPSHOT;
}

static char *shown(show_model_fn *build, show_text_fn *print, const struct story *story,
                   bool is_detail)
{
	struct words words = {.count = is_detail};
	struct show_input input = {.gathered = &story->gathered, .words = &words};
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	json_t *model;

	snprintf(words.arguments[0].name, sizeof(words.arguments[0].name), "detail");
	words.arguments[0].value = "detail";
	model = build(&input);
	assert_non_null(model);
	print(stream, model);
	fclose(stream);
	json_decref(model);
	return text;
}

static void expect(show_model_fn *build, show_text_fn *print, const struct story *story,
                   bool is_detail, const char *expected)
{
	char *text = shown(build, print, story, is_detail);

	if (!strstr(text, expected))
		fail_msg("<%s> is not in <%s>", expected, text);
	free(text);
}

/* The manual's sample, value by value. */
static void test_session_detail(void **state)
{
	struct story story;
	char *text;

	(void)state;
	begin_story(&story);
	text = shown(show_crypto_session_model, show_crypto_session_text, &story, true);
	assert_string_equal(text,
	                    "Crypto session current status\n"
	                    "\n"
	                    "Code: C - IKE Configuration mode, D - Dead Peer Detection\n"
	                    "K - Keepalives, N - NAT-traversal, T - cTCP encapsulation\n"
	                    "X - IKE Extended Authentication, F - IKE Fragmentation\n"
	                    "R - IKE Auto Reconnect, U - IKE Dynamic Route Update\n"
	                    "S - SIP VPN-SIP\n"
	                    "\n"
	                    "Interface: vsip1\n"
	                    "Profile: IPROF\n"
	                    "Uptime: 00:03:53\n"
	                    "Session status: UP-ACTIVE\n"
	                    "Peer: 10.6.6.49 port 50002 fvrf: (none) ivrf: (none)\n"
	                    "      Phase1_id: 0388881001\n"
	                    "      Desc: (none)\n"
	                    "  Session ID: 43\n"
	                    "  IKEv2 SA: local 10.11.1.1/4500 remote 10.6.6.49/50002 Active\n"
	                    "          Capabilities:S connid:1 lifetime:23:56:07\n"
	                    "  IPSEC FLOW: permit ip 0.0.0.0/0.0.0.0 0.0.0.0/0.0.0.0\n"
	                    "        Active SAs: 2, origin: crypto map\n"
	                    "        Inbound:  #pkts dec'ed 6 drop 0 life (KB/Sec) 4222536/3366\n"
	                    "        Outbound: #pkts enc'ed 4 drop 0 life (KB/Sec) 4222536/3366\n");
	free(text);
}

static void test_states_of_a_session(void **state)
{
	struct story story;

	(void)state;
	begin_story(&story);
#define SESSION(expected) \
	expect(show_crypto_session_model, show_crypto_session_text, &story, true, expected)
	story.tunnel.n_sas = 0;
	SESSION("Session status: UP-IDLE\n");
	story.ike.status = VPNSIP__IKE_STATUS__IKE_NEGOTIATING;
	story.ike.sa = NULL;
	story.ike.child = NULL;
	SESSION("Session status: DOWN-NEGOTIATING\n");
	story.tunnel.n_sas = 2; /* ike-agent was restarted: the SAs carry on */
	SESSION("Session status: UP-NO-IKE\n");
	story.tunnel.n_sas = 0;
	story.ike_agent.n_sessions = 0;
	story.session.status = VPNSIP__SESSION_STATUS__READY_TO_CONNECT;
	story.session.remote = &story.remote; /* of the last attempt */
	SESSION("Session status: DOWN\nPeer: 0.0.0.0 port 0 fvrf: (none) ivrf: (none)\n"
	        "      Phase1_id: (none)\n      Desc: (none)\n");
	story.gathered.services[VPNSIP__SERVICE__TUNNEL_AGENT].snapshot = NULL;
	SESSION("Session status: DOWN\n");
}

static void test_capabilities_and_lives(void **state)
{
	struct story story;

	(void)state;
	begin_story(&story);
	story.sa.dpd_interval_sec = 10;
	story.sa.nat_keepalive_sec = 20;
	story.sa.is_nat_remote = true;
	story.sa.has_fragmentation = true;
	SESSION("Capabilities:DKNFS connid:1");
	story.sa.nat_keepalive_sec = 0;
	story.sa.is_nat_remote = false;
	SESSION("Capabilities:DFS connid:1");
	story.inbound.remaining_bytes = 0;
	story.inbound.replay_drops = 2;
	story.inbound.integrity_drops = 3;
	SESSION("dec'ed 6 drop 5 life (KB/Sec) KB Vol Rekey Disabled/3366\n");
	story.child.n_local_selectors = story.child.n_remote_selectors = 2;
	SESSION("  TRUE IDENT (addr/mask/prot/port): {LOCAL -> REMOTE}\n"
	        "    0.0.0.0/0.0.0.0/0/0 -> 0.0.0.0/0.0.0.0/0/0\n"
	        "    ::/0/0/0 -> ::/0/0/0\n");
}

static void test_ipsec_sa(void **state)
{
	struct story story;

	(void)state;
	begin_story(&story);
#define IPSEC(expected) \
	expect(show_crypto_ipsec_model, show_crypto_ipsec_text, &story, false, expected)
	IPSEC("    #pkts encaps: 4, #pkts encrypt: 4, #pkts digest: 4\n"
	      "    #pkts decaps: 6, #pkts decrypt: 6, #pkts verify: 6\n");
	IPSEC("     plaintext mtu 1410, path mtu 1500, ip mtu 1500, ip mtu idb \n"
	      "     current outbound spi: 0x4776A36B(1198957419)\n"
	      "     PFS (Y/N): N, DH group: none\n");
	IPSEC("      spi: 0xA97EDEE7(2843664103)\n"
	      "        transform: esp-aes 256 esp-sha256-hmac ,\n"
	      "        IV size: 16 bytes\n");
	IPSEC("sa timing: remaining key lifetime (k/sec): (4222536/3366)\n"
	      "        replay detection support: Y, window 64, drops 0\n");
	story.child_suite.group = 20;
	story.inbound.replay_window = 0;
	story.inbound.remaining_bytes = 0;
	IPSEC("     PFS (Y/N): Y, DH group: group20\n");
	IPSEC("sa timing: remaining key lifetime (sec): 3366\n"
	      "        replay detection support: N\n");
	story.tunnel.dummy_packets_sent = 852600;
	story.drops[0].reason = (char *)"replay";
	story.drops[0].packets = 7;
	story.drops[1].reason = (char *)"no-sa";
	story.drops[1].packets = 2;
	story.drop_list[0] = &story.drops[0];
	story.drop_list[1] = &story.drops[1];
	story.tunnel.drops = story.drop_list;
	story.tunnel.n_drops = 2;
	IPSEC("    #send errors 2, #recv errors 7\n"
	      "    #send dummy packets 852600, #recv dummy packets 0\n");
	story.drops[0].reason = (char *)"path-report-spi";
	story.drops[1].reason = (char *)"path-report-sequence";
	IPSEC("ip mtu idb \n     path mtu reports refused: spi 7, sequence 2\n     current");
	/* Of an SA that a rekeying has replaced only tunnel-agent knows the algorithms. */
	story.child.inbound_spi = 1;
	IPSEC("        transform: AES-CBC 256 HMAC-SHA2-256-128 ,\n        in use");
}

static void test_ikev2(void **state)
{
	struct story story;

	(void)state;
	begin_story(&story);
#define IKEV2(is_detail, expected)                                                                 \
	expect(show_crypto_ikev2_session_model, show_crypto_ikev2_session_text, &story, is_detail, \
	       expected)
	IKEV2(false, "Session-id:43, Status:UP-ACTIVE, IKE count:1, CHILD count:1\n");
	IKEV2(false,
	      "1         10.11.1.1/4500        10.6.6.49/50002       none/none            READY\n"
	      "      Encr: AES-CBC, keysize: 256, PRF: SHA512, Hash: SHA512, DH Grp:19, "
	      "Auth sign: PSK, Auth verify: PSK\n"
	      "      Life/Active Time: 86400/233 sec\n"
	      "      CE id: 1, Session-id: 43\n"
	      "      Local spi: 25A0B173944015D3       Remote spi: 9F0C7677425670E1\n"
	      "Child sa:\n"
	      "          local selector 0.0.0.0/0 - 255.255.255.255/65535\n"
	      "          remote selector 0.0.0.0/0 - 255.255.255.255/65535\n"
	      "          ESP spi in/out: 0xA97EDEE7/0x4776A36B\n");
	story.ike.is_initiator = false;
	IKEV2(false, "Local spi: 9F0C7677425670E1       Remote spi: 25A0B173944015D3\n");
	story.child.n_local_selectors = 2;
	IKEV2(false, "local selector ::/0 - ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/65535\n");
	IKEV2(true, "Life/Remaining/Active Time: 86400/86167/233 sec\n");
	IKEV2(true, "NAT-T is not detected\n      Disconnect Revoked Peer: Disabled\n");
	story.ike.peer_subject = (char *)"CN=branch1";
	story.ike.peer_issuer = (char *)"CN=Root";
	story.ike.peer_serial = (char *)"02";
	story.ike.peer_fingerprint = (char *)"SHA-256 AB:CD";
	IKEV2(true, "      Peer certificate: CN=branch1, serial 02, issuer CN=Root\n"
	            "      Peer fingerprint: SHA-256 AB:CD\n");
	expect(show_crypto_ikev2_sa_model, show_crypto_ikev2_sa_text, &story, false,
	       " IPv4 Crypto IKEv2 SA\n\nTunnel-id ");
	story.ike.sa = NULL;
	expect(show_crypto_ikev2_sa_model, show_crypto_ikev2_sa_text, &story, false,
	       " IPv4 Crypto IKEv2 SA\n\n IPv6 Crypto IKEv2 SA\n");
}

static void test_selectors(void **state)
{
	char text[120];

	(void)state;
	assert_string_equal(selector_with_mask("10.2.0.0/24", text), "10.2.0.0/255.255.255.0");
	assert_string_equal(selector_with_mask("10.2.0.1", text), "10.2.0.1/255.255.255.255");
	assert_string_equal(selector_with_mask("2001:db8::/32", text), "2001:db8::/32");
	assert_string_equal(selector_with_mask("dynamic", text), "dynamic");
	assert_string_equal(selector_as_range("10.2.0.0/23", text),
	                    "10.2.0.0/0 - 10.2.1.255/65535");
	assert_string_equal(selector_as_range("dynamic", text), "dynamic");
}

static void test_proposals_and_admission(void **state)
{
	Vpnsip__IkeProposalStatus proposal = VPNSIP__IKE_PROPOSAL_STATUS__INIT,
				  *proposals[] = {&proposal};
	Vpnsip__IkeAdmission admission = VPNSIP__IKE_ADMISSION__INIT;
	Vpnsip__GuardClass class = VPNSIP__GUARD_CLASS__INIT, *classes[] = {&class};
	char *encryptions[] = {(char *)"AES-CBC-256", (char *)"AES-CBC-128"};
	char *hashes[] = {(char *)"SHA512"};
	uint32_t groups[] = {19, 14, 77};
	struct story story;

	(void)state;
	begin_story(&story);
	proposal.name = (char *)"strong";
	proposal.encryptions = encryptions;
	proposal.n_encryptions = 2;
	proposal.integrities = proposal.prfs = hashes;
	proposal.n_integrities = proposal.n_prfs = 1;
	proposal.groups = groups;
	proposal.n_groups = 3;
	story.ike_agent.proposals = proposals;
	story.ike_agent.n_proposals = 1;
	expect(show_crypto_ikev2_proposal_model, show_crypto_ikev2_proposal_text, &story, false,
	       " IKEv2 proposal: strong\n"
	       "     Encryption : AES-CBC-256 AES-CBC-128\n"
	       "     Integrity  : SHA512\n"
	       "     PRF        : SHA512\n"
	       "     DH Group   : DH_GROUP_256_ECP/Group 19 DH_GROUP_2048_MODP/Group 14 Group 77\n"
	       "     Profiles   : none\n");
	admission.ike_sas = 3;
	admission.established = 1;
	admission.half_open = 2;
	admission.incoming_accepted = 5;
	admission.incoming_rejected = 4;
	admission.rejected_by_session = 3;
	admission.rejected_by_half_open = 1;
	admission.messages_repeated = 7;
	admission.messages_of_no_sa = 2;
	class.name = (char *)"wrong-key";
	class.count = 6;
	class.last_source = (char *)"192.0.2.66";
	admission.classes = classes;
	admission.n_classes = 1;
	story.ike_agent.admission = &admission;
	expect(show_crypto_admission_model, show_crypto_admission_text, &story, false,
	       "Total IKE SA Count:           3 active:           1 negotiating:      2\n"
	       "Incoming IKE Requests:        9 accepted:         5 rejected:         4\n"
	       "Outgoing IKE Requests:        0 accepted:         0 rejected:         0\n"
	       "Rejected IKE Requests:        4 no call:          3 SA limit:         1\n");
	expect(show_crypto_admission_model, show_crypto_admission_text, &story, false,
	       "Messages out of place:        9 repeated:         7 of no SA:         2\n"
	       "Turned away       Messages    Last                  From\n"
	       "wrong-key         6           ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session_detail),
		cmocka_unit_test(test_states_of_a_session),
		cmocka_unit_test(test_capabilities_and_lives),
		cmocka_unit_test(test_ipsec_sa),
		cmocka_unit_test(test_ikev2),
		cmocka_unit_test(test_selectors),
		cmocka_unit_test(test_proposals_and_admission),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
