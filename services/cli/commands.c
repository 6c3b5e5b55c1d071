/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/commands.h"

#define COORDINATOR   BUS_SERVICE(VPNSIP__SERVICE__COORDINATOR)
#define SIP_AGENT     BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT)
#define TUNNEL_AGENT  BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT)
#define TRACK_AGENT   BUS_SERVICE(VPNSIP__SERVICE__TRACK_AGENT)
#define NAT_QOS_AGENT BUS_SERVICE(VPNSIP__SERVICE__NAT_QOS_AGENT)
#define IKE_AGENT     BUS_SERVICE(VPNSIP__SERVICE__IKE_AGENT)
#define CRYPTO        (COORDINATOR | IKE_AGENT | TUNNEL_AGENT)

#define SHOW(words, explanation, whom, name)                                                       \
	{                                                                                          \
		.pattern = "show " words, .help = (explanation), .services = (whom),               \
		.wants_snapshots = true, .model = show_##name##_model, .text = show_##name##_text, \
	}
/* The library of each service answers these, whatever the service does. */
#define SHOW_STATUS(words, explanation, name)                                              \
	{                                                                                  \
		.pattern = "show " words, .help = (explanation), .services = ALL_SERVICES, \
		.model = show_##name##_model, .text = show_##name##_text,                  \
	}
#define ORDER(words, explanation, function)                                   \
	{                                                                     \
		.pattern = (words), .help = (explanation), .run = (function), \
	}

#define DEBUG(words, explanation, name)                                 \
	{                                                               \
		.pattern = "debug SERVICE " words, .help = explanation, \
		.run = command_debug_##name,                            \
	}

#define PKI(words, explanation, takes, name)                                        \
	{                                                                           \
		.pattern = "pki " words, .help = (explanation), .options = (takes), \
		.run = command_pki_##name,                                          \
	}

const struct command commands[] = {
	{
		.pattern = "show vpn-sip session [remote-number NUMBER] [detail]",
		.help = "sessions, one a tunnel",
		.services = COORDINATOR,
		.services_for_detail = TUNNEL_AGENT,
		.wants_snapshots = true,
		.model = show_session_model,
		.text = show_session_text,
	},
	SHOW("vpn-sip registration-status", "registration of each local number", SIP_AGENT,
             registration),
	SHOW("vpn-sip sip registrar", "registrar, expiry and Call-ID of each registration",
             SIP_AGENT, registrar),
	SHOW("vpn-sip sip dhcp [detail]", "what the leases of the WANs say about SIP", SIP_AGENT,
             dhcp),
	ORDER("show sip-ua connections udp [brief] [detail]",
              "remotes with which SIP over UDP is spoken", command_show_connections_udp),
	ORDER("show sip-ua connections tcp [brief] [detail]", "connections of SIP over TCP",
              command_show_connections_tcp),
	ORDER("show sip-ua connections tcp tls [brief] [detail]", "connections of SIP over TLS",
              command_show_connections_tls),
	ORDER("show sip-ua status", "transports, ports and trustpoints of each line",
              command_show_sip_ua_status),
	ORDER("show vpn-sip guard", "what the SIP guard has turned away, and who may send SIP",
              command_show_guard),
	SHOW("security", "protections in force, for each line and peer", SIP_AGENT | NAT_QOS_AGENT,
             security),
	SHOW("ip nat translations", "session ports and what they are translated to", NAT_QOS_AGENT,
             nat),
	SHOW("crypto session [remote-number NUMBER] [detail]", "IKE and IPsec of each tunnel",
             CRYPTO, crypto_session),
	SHOW("crypto ipsec sa [remote-number NUMBER]", "the security associations of each tunnel",
             CRYPTO, crypto_ipsec),
	SHOW("crypto ikev2 sa [remote-number NUMBER]", "the IKE_SAs", CRYPTO, crypto_ikev2_sa),
	SHOW("crypto ikev2 session [remote-number NUMBER] [detail]",
             "the IKE_SAs with what stands on them", CRYPTO, crypto_ikev2_session),
	SHOW("crypto ikev2 proposal", "what is proposed for IKE_SAs, best first", IKE_AGENT,
             crypto_ikev2_proposal),
	SHOW("crypto call admission statistics", "IKE_SAs let in, at the door and turned away",
             IKE_AGENT, crypto_admission),
	ORDER("show crypto pki certificates [TRUSTPOINT] [verbose]",
              "our certificates and those of the CAs that we believe", command_show_crypto_pki),
	SHOW("track [NUMBER]", "track objects, their probes and routes", TRACK_AGENT, track),
	SHOW("interface [NAME] [brief]", "tunnels and WAN interfaces, counters, drops, SAs",
             TUNNEL_AGENT | TRACK_AGENT, interface),
	{
		.pattern = "show calls",
		.help = "call records: the last 50, or all since a time",
		.options = "since number limit csv",
		.run = command_show_calls,
	},
	ORDER("show call admission", "limits on calls, what stands against them, and hold-downs",
              command_show_admission),
	SHOW("timers", "every timer with its value, default and meaning", COORDINATOR, timers),
	SHOW_STATUS("services", "the six services: health, process, configuration", services),
	SHOW_STATUS("running-config", "the configuration that the services loaded", config),
	ORDER("call NUMBER", "call this number now, as a packet would", command_call),
	ORDER("hangup NUMBER|all", "hang up; the next packet may call again", command_hangup),
	ORDER("clear session NUMBER|all", "as hangup, recorded as cleared", command_clear),
	ORDER("clear crypto session [peer ADDRESS] [remote-number NUMBER] [all]",
              "hang up what was chosen", command_clear_crypto_session),
	ORDER("clear crypto sa [peer ADDRESS] [remote-number NUMBER] [all]",
              "replace the keys of what was chosen; the call goes on", command_clear_crypto_sa),
	ORDER("clear sip-ua udp connection [id ID] [target TARGET]",
              "id: from the process; target (ipv4:A:P): from the table",
              command_clear_connection_udp),
	ORDER("clear sip-ua tcp connection [id ID] [target TARGET]", "the same, of TCP",
              command_clear_connection_tcp),
	ORDER("clear sip-ua tcp tls connection [id ID] [target TARGET]", "the same, of TLS",
              command_clear_connection_tls),
	ORDER("shutdown", "hang up everything, end the registrations, call no more",
              command_shutdown),
	ORDER("purge", "remove routes, rules, firewall, qdiscs and tunnels, the fail-closed too",
              command_purge),
	ORDER("check [FILE]", "check a configuration file, the machine and the keyring",
              command_check),
	{
		.pattern = "monitor [SERVICE...]",
		.help = "every message between the services, until interrupted",
		.options = "message session kind from to count latency write read",
		.details = "  Of all services, or of those named. Secrets are not shown. --message "
			   "may be "
			   "given several times.",
		.run = command_monitor,
	},
	{
		.pattern = "trace [WHAT...]",
		.help = "the life of one attempt across all processes, as a ladder",
		.options = "list narrow",
		.details = "  WHAT is a session (its tunnel), a number, 'attempt N', or 'last'.\n"
			   "  * state change, # change in the kernel, @ timer",
		.run = command_trace,
	},
	DEBUG("state", "what stands inside it, one object a line", state),
	DEBUG("stats", "its counters", stats),
	DEBUG("peers", "how it sees the others: health, events, requests", peers),
	DEBUG("snapshot", "its whole state, as JSON", snapshot),
	{
		.pattern = "debug SERVICE log LEVEL...",
		.help = "more or less in its log",
		.details =
			"  LEVEL is error, warning, notice, info or debug. After it, or alone, may "
			"stand a category\n"
			"  (event, errors, sip SWITCH, ike, tunnel, track, nat-qos, bus, all) that "
			"is switched on\n"
			"  whatever the level is, and a session (its tunnel or number). 'off "
			"CATEGORY' switches it off.",
		.run = command_debug_log,
	},
	{
		.pattern = "debug SERVICE fault POINT ACTION [MESSAGE]",
		.help = "inject a fault (only if it was started with --allow-faults)",
		.options = "peer session skip count probability delay seed",
		.details =
			"  POINT: send-event, receive-event, send-request, before-handler, "
			"after-effect, send-reply,\n"
			"  receive-reply, or named-point with its name as MESSAGE. ACTION: drop, "
			"delay, duplicate,\n"
			"  reorder, corrupt, stall (the process stops until SIGCONT), kill.",
		.run = command_debug_fault,
	},
	DEBUG("fault clear", "no more faults", fault_clear),
	DEBUG("faults", "its faults: how often they matched and were injected", faults),
	{
		.pattern = "debug SERVICE send MESSAGE [JSON...]",
		.help = "send it any order (root), and show its reply",
		.options = "as",
		.details =
			"  Fields that are not in the JSON are at their default: docs/messages.md "
			"lists them all.",
		.run = command_debug_send,
	},
	DEBUG("record start NAME", "write what enters and leaves it to a file", record_start),
	DEBUG("record stop", "close that file", record_stop),
	ORDER("debug vpn-sip WHAT...", "event, errors or sip SWITCH, for all or one session",
              command_debug_switch),
	ORDER("undebug vpn-sip WHAT...", "switch it off", command_undebug_switch),
	ORDER("no debug vpn-sip WHAT...", "switch it off", command_undebug_switch),
	{
		.pattern = "debug crypto WHAT...",
		.help = "IKE or IPsec in the log, all of it or about one peer",
		.details = "  ikev2, ipsec; with 'error' only failures. 'condition' and peer "
			   "ADDRESS[/LENGTH],\n"
			   "  remote-number NUMBER, spi NUMBER, session TUNNEL: only lines about "
			   "those; unmatched\n"
			   "  [ikev2|ipsec]: lines about no session too; reset: no condition any "
			   "more.",
		.run = command_debug_crypto,
	},
	ORDER("undebug crypto WHAT...", "switch it off, or take the condition away",
              command_undebug_crypto),
	ORDER("no debug crypto WHAT...", "switch it off, or take the condition away",
              command_undebug_crypto),
	ORDER("show crypto debug-condition", "what crypto debug lines must be about",
              command_show_crypto_debug_condition),
	ORDER("undebug all", "switch all debugging off, in every service", command_undebug_all),
	ORDER("no debug all", "switch all debugging off, in every service", command_undebug_all),
	ORDER("show debugging", "what is switched on, in which service", command_show_debugging),
	ORDER("health SERVICE", "is it up? One line; status 0 or 1, for health checks",
              command_health),
	ORDER("replay FILE SERVICE", "feed a recording to a service's core and compare",
              command_replay),
	PKI("key TRUSTPOINT", "a new key pair", "for type", key),
	PKI("self-signed TRUSTPOINT", "a certificate of the key, signed by itself",
            "for subject name days", self_signed),
	PKI("request TRUSTPOINT", "a request (PKCS#10) for a CA to sign, on standard output",
            "for subject name", request),
	PKI("authenticate TRUSTPOINT [FILE]",
            "believe the root in FILE, or of the CA's server, after a look at its fingerprint",
            "for fingerprint", authenticate),
	PKI("enroll TRUSTPOINT", "have the CA's server sign a certificate of our key",
            "for subject name retries interval wait", enroll),
	PKI("renew [TRUSTPOINT]", "a new key and certificate, when the old one is due",
            "all force retries interval wait", renew),
	PKI("import TRUSTPOINT FILE",
            "our certificate with its chain (PEM), or with its key (PKCS#12)",
            "for passphrase-file", import),
	PKI("export TRUSTPOINT [root]", "our chain, or the root that signed it, as PEM",
            "for pkcs12 passphrase-file", export),
	PKI("refresh [TRUSTPOINT]",
            "fetch revocation lists, at most each 30 minutes from an issuer", "force", refresh),
	PKI("show [TRUSTPOINT]", "what the files hold, and whether it fits together", "for", show),
	ORDER("help", "this list", command_help),
};

const size_t command_count = sizeof(commands) / sizeof(commands[0]);
