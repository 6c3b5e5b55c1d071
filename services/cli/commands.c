/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/commands.h"

#define COORDINATOR   BUS_SERVICE(VPNSIP__SERVICE__COORDINATOR)
#define SIP_AGENT     BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT)
#define TUNNEL_AGENT  BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT)
#define TRACK_AGENT   BUS_SERVICE(VPNSIP__SERVICE__TRACK_AGENT)
#define NAT_QOS_AGENT BUS_SERVICE(VPNSIP__SERVICE__NAT_QOS_AGENT)

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
	SHOW("ip nat translations", "session ports and what they are translated to", NAT_QOS_AGENT,
             nat),
	SHOW("track [NUMBER]", "track objects, their probes and routes", TRACK_AGENT, track),
	SHOW("interface [NAME] [brief]", "tunnels and WAN interfaces, counters, drops, SAs",
             TUNNEL_AGENT | TRACK_AGENT, interface),
	SHOW("timers", "every timer with its value, default and meaning", COORDINATOR, timers),
	SHOW_STATUS("services", "the six services: health, process, configuration", services),
	SHOW_STATUS("running-config", "the configuration that the services loaded", config),
	ORDER("call NUMBER", "call this number now, as a packet would", command_call),
	ORDER("hangup NUMBER|all", "hang up; the next packet may call again", command_hangup),
	ORDER("clear session NUMBER|all", "as hangup, recorded as cleared", command_clear),
	ORDER("shutdown", "hang up everything, end the registrations, call no more",
              command_shutdown),
	ORDER("purge", "remove routes, rules, firewall, qdiscs and tunnels, the fail-closed too",
              command_purge),
	ORDER("check [FILE]", "check a configuration file, the machine and the keyring",
              command_check),
	ORDER("monitor [SERVICE...]", "every message between the services, until interrupted",
              command_monitor),
	ORDER("help", "this list", command_help),
};

const size_t command_count = sizeof(commands) / sizeof(commands[0]);
