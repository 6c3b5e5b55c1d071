/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The tunnels' shapers, through libnl-route-3: root HTB 5649:, one class at the negotiated rate that counts outer
 * bytes, below it a pfifo of 64 packets. On the loop's thread.
 */
#ifndef VPNSIP_QDISC_H
#define VPNSIP_QDISC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct qdisc;

enum qdisc_state {
	QDISC_NONE = 1, /* none, or the kernel's default (handle 0:) */
	QDISC_OURS,
	QDISC_FOREIGN, /* anything else at the root or at clsact egress */
	QDISC_NO_INTERFACE,
	QDISC_UNREADABLE, /* the kernel did not answer */
};

struct qdisc_statistics {
	uint64_t packets, bytes; /* inner bytes */
	uint64_t drops;
	uint32_t queued_packets;
	uint32_t rate_kbit; /* as installed */
	uint32_t overhead_byte;
};

/**
 * `changed` is called from the loop when another process changed an interface or its qdiscs, with its name; with NULL when it is not known whose: of any.
 * NULL after writing a sentence into `why`.
 */
struct qdisc *qdisc_open(struct event_base *base,
                         void (*changed)(void *context, const char *interface), void *context,
                         char *why, size_t why_size);

/** Leaves the shapers in the kernel. */
void qdisc_close(struct qdisc *qdisc);

/** What stands on an interface. When QDISC_FOREIGN, `text` becomes "tbf 8001:". */
enum qdisc_state qdisc_look(struct qdisc *qdisc, const char *interface, char *text,
                            size_t text_size);

/**
 * Puts our root qdisc in place, which lets everything pass until qdisc_install(). The kernel drops what is sent while a root
 * qdisc is exchanged (it waits for an RCU grace period with none in place): so this is done as the call begins, and
 * what comes during the set-up meets no exchange. Look first, as below.
 */
bool qdisc_prepare(struct qdisc *qdisc, const char *interface, char *why, size_t why_size);

/**
 * Installs the shaper, or changes it to this rate. `overhead_byte` is what encapsulation adds to each packet. Look first: a
 * foreign qdisc would be replaced. False after writing a sentence into `why`.
 */
bool qdisc_install(struct qdisc *qdisc, const char *interface, uint32_t rate_kbit,
                   uint32_t overhead_byte, char *why, size_t why_size);

/** Removes the shaper; true also when there is none of ours. */
bool qdisc_remove(struct qdisc *qdisc, const char *interface, char *why, size_t why_size);

/** False when our shaper is not there. */
bool qdisc_read(struct qdisc *qdisc, const char *interface, struct qdisc_statistics *statistics);

#endif
