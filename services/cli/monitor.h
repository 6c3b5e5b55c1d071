/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What monitor does with each message: choose, pair, write on a line or into a file. monitor.c fetches them from the bus;
 * monitor_line.c and monitor_filter.c are pure.
 */
#ifndef VPNSIP_CLI_MONITOR_H
#define VPNSIP_CLI_MONITOR_H

#include <jansson.h>
#include <stdio.h>

#include "bus/bus.h"
#include "services/cli/options.h"

#define MONITOR_MESSAGES_MAXIMUM 16

/** Which messages are wanted. 0 and NULL = any. */
struct monitor_filter {
	Vpnsip__Service from, to;
	Vpnsip__EnvelopeKind kind;
	const char *session;
	const char *messages[MONITOR_MESSAGES_MAXIMUM]; /* names, any of them; NULL ends */
};

/** Reads --from, --to, --kind, --session and --message (may be given several times). False after a complaint. */
bool monitor_filter_read(const struct cli *cli, struct monitor_filter *filter);

/** `to` is 0 for events. */
bool monitor_filter_passes(const struct monitor_filter *filter, const Vpnsip__Envelope *envelope,
                           Vpnsip__Service to);

/** The last requests seen, which replies are paired with. */
struct monitor_latency {
	struct {
		Vpnsip__Service from, to;
		uint64_t request_id, sent_mono_usec;
	} requests[1024];
	unsigned next;
};

/** Notes a request. Of a reply returns how long after its request it was sent; -1 when the request was not seen. */
int64_t monitor_latency_usec(struct monitor_latency *latency, const Vpnsip__Envelope *envelope,
                             Vpnsip__Service to);

/**
 * A message as JSON: time_usec (since 1970), mono_usec, kind, from, to ("" for events), body, session, fields (what is not at
 * its default). `to` is 0 for events; `wall_offset_usec` is what wall-clock time is ahead of the monotonic.
 */
json_t *monitor_model(const Vpnsip__Envelope *envelope, Vpnsip__Service to,
                      uint64_t wall_offset_usec);

/**
 * The same on one line in local time, ended by a newline: "09:12:01.345678 sip-agent -> all event CallChanged vsip2
 * status=CALL_TRYING ...". Points in time and the octets of packets are left out. With latency_usec it ends with "(0.4 ms)".
 */
void monitor_text(FILE *stream, const json_t *model);

/**
 * Whether a tapped message is to be shown. Both ends of a request tell of it when both are watched: the sender's word counts,
 * because it also tells of what never arrived.
 */
bool monitor_is_shown(const Vpnsip__Tapped *tapped, unsigned watched);

/** Where messages go. */
struct monitor_output {
	bool wants_json, wants_latency;
	FILE *file; /* -w: there, and no lines; NULL = lines */
	uint64_t wall_offset_usec;
	uint64_t remaining; /* of --count; 0 = no limit */
	uint64_t written;
	bool has_failed; /* the file takes no more */
	bool is_full;    /* --count is reached, or it has failed */
	struct monitor_filter filter;
	struct monitor_latency latency;
};

/** A message: shown or written if it passes the filter. `to` is 0 for events. */
void monitor_put(struct monitor_output *output, const Vpnsip__Envelope *envelope,
                 Vpnsip__Service to);

/** An event, or the Tapped event of a request or reply: the same. */
void monitor_take(struct monitor_output *output, const Vpnsip__Envelope *event);

/* The file is a recording as a service makes it (proto/record.proto), of messages alone, made by the command line. */

/** Creates it. NULL after a complaint. */
FILE *monitor_file_create(const char *path);

/** `to` is 0 for events. False after a complaint when the file takes no more. */
bool monitor_file_write(FILE *file, const Vpnsip__Envelope *envelope, Vpnsip__Service to,
                        uint64_t wall_offset_usec);

/** Shows the messages of such a file, also of a service's recording. Returns an exit status. */
int monitor_file_show(const char *path, struct monitor_output *output);

#endif
