/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ICMP echo (RFC 792) over raw sockets on the event loop: one socket per interface. Needs CAP_NET_RAW. */
#ifndef VPNSIP_ICMP_PROBE_H
#define VPNSIP_ICMP_PROBE_H

#include <stdint.h>
#include <sys/socket.h>

struct event_base;
struct icmp_probe;

/** Tells our probes' answers from those of every other program: random per start. */
struct icmp_identity {
	uint16_t identifier;
	uint8_t cookie[8]; /* in each request's data */
};

/** An echo reply to one of our requests. Called from the loop or from icmp_probe_receive(). */
typedef void icmp_answer_fn(void *context, uint16_t sequence,
                            const struct sockaddr_storage *source);

/** NULL when out of memory. Sockets are opened at the first use of their interface. */
struct icmp_probe *icmp_probe_open(struct event_base *base, const struct icmp_identity *identity,
                                   icmp_answer_fn *answered, void *context);

void icmp_probe_close(struct icmp_probe *icmp);

/** Sends an echo request through `interface` (NULL = by routing). Returns 0 or a negative errno. */
int icmp_probe_send(struct icmp_probe *icmp, const struct sockaddr_storage *target,
                    const char *interface, uint16_t sequence);

/** Takes what the sockets hold now, so that a late loop does not call an answer that is here a timeout. */
void icmp_probe_receive(struct icmp_probe *icmp);

#endif
