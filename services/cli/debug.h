/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Looking inside one service: what the debug commands share, and their pure parts. */
#ifndef VPNSIP_CLI_DEBUG_H
#define VPNSIP_CLI_DEBUG_H

#include "services/cli/commands.h"

/** How many services there are beside the command line. */
#define SERVICE_COUNT (VPNSIP__SERVICE__CLI - 1)

/* debug.c */

/** Sends one order, and complains when it was not carried out. Returns an exit status. */
int debug_order(const struct cli *cli, struct ordered *ordered, unsigned timeout_msec);

/** The same to the service that the words name (SERVICE). */
int debug_order_named(const struct cli *cli, const struct words *words,
                      const ProtobufCMessage *order, struct ordered *ordered);

/** Complains about each that did not answer and counts it: CLI_PARTIAL, or CLI_FAILED if one refused; else CLI_DONE. */
int debug_complain(const struct cli *cli, const struct ordered *orders, size_t count,
                   unsigned timeout_msec);

/** The same as a list for JSON: {"service", "cause"}. */
json_t *debug_unanswered(const struct cli *cli, const struct ordered *orders, size_t count,
                         unsigned timeout_msec);

/* debug_fault.c */

/** Makes an order of "POINT ACTION [MESSAGE]" and the options. False after a complaint. Strings point into words and cli. */
bool fault_read(const struct cli *cli, const struct words *words, Vpnsip__SetFault *fault);

/** Is there a message of that name? Complains, with what was probably meant, if not. */
bool debug_is_message(const char *name);

show_text_fn debug_faults_text;

/* debug_send.c */

/**
 * The order of that name, made of `text` (JSON). NULL after a sentence in `why`, which names what was probably meant. Free
 * with protobuf_c_message_free_unpacked().
 */
ProtobufCMessage *send_build(const char *name, const char *text, char *why, size_t why_size);

/**
 * In whose name: `wanted`, or if that is 0 the command line or the first who may. 0 and a sentence in `why` when nobody may
 * send it to `to`.
 */
Vpnsip__Service send_source(const ProtobufCMessage *order, Vpnsip__Service to,
                            Vpnsip__Service wanted, char *why, size_t why_size);

/* debug_switch.c */

/** What a row of words switches: "sip messages vsip7", "debug ike", "off sip all". */
struct switch_order {
	unsigned level;      /* of syslog(3); 0 = not named */
	char category[32];   /* "" = not named */
	const char *session; /* as typed, a tunnel or a number; NULL = all */
	bool is_off;
};

/** What stands after `debug vpn-sip`. False and a sentence in `why`. */
bool switch_read_guide(const struct words *words, struct switch_order *order, char *why,
                       size_t why_size);

/** What stands after `debug SERVICE log`. False and a sentence in `why`. */
bool switch_read_log(const struct words *words, struct switch_order *order, char *why,
                     size_t why_size);

/* debug_show.c */

show_text_fn debug_switches_text;

/** {"category": "sip messages", "session": "vsip7"} of a line of Internals.debug_switches. */
json_t *switch_model(const char *line);

#endif
