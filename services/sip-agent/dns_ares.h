/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Asks DNS servers through c-ares, on the event loop, from one address of one interface. */
#ifndef VPNSIP_SIP_DNS_ARES_H
#define VPNSIP_SIP_DNS_ARES_H

#include "services/sip-agent/server_discovery.h"

struct event_base;
struct dns;

struct dns_options {
	struct event_base *base;
	struct in_addr local;          /* questions leave from here; 0.0.0.0 = the kernel chooses */
	const char *interface;         /* and through this; NULL = by routing */
	const struct in_addr *servers; /* in order of preference */
	size_t server_count;           /* 0 = those of /etc/resolv.conf */
};

/** Called once for each question, from the loop. The answer lives as long as the call. */
typedef void dns_answer_fn(void *context, const struct dns_answer *answer);

/** NULL after writing a sentence into `why`. */
struct dns *dns_open(const struct dns_options *options, char *why, size_t why_size);

/** Asks. Not answered within 10 s is DNS_FAILED. Names are taken as complete: no search list. */
void dns_ask(struct dns *dns, const struct dns_question *question, dns_answer_fn *answered,
             void *context);

/** Forgets questions under way: their functions are not called. Not from inside of one. NULL is allowed. */
void dns_close(struct dns *dns);

#endif
