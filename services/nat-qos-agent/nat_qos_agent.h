/* SPDX-License-Identifier: GPL-3.0-or-later */
/* nat-qos-agent: session ports, translation, shapers. The parts put together on the event loop. */
#ifndef VPNSIP_NAT_QOS_AGENT_H
#define VPNSIP_NAT_QOS_AGENT_H

#include "nft_table.h"
#include "qdisc.h"
#include "services/common/service.h"
#include "sip_admission.h"
#include "translation_core.h"

/** Since the start. */
struct nat_qos_counters {
	uint64_t adopted, stale_orders, repeated_orders;
	uint64_t checks, table_repairs, shaper_repairs, leftovers_removed, failures;
};

struct nat_qos_agent {
	struct service_context *service;
	struct translation_core *core;
	struct nft_table *nft;
	struct qdisc *qdisc;
	struct sip_admission *sip_lines;            /* one for each line */
	unsigned sip_alg_signs;                     /* enum sip_alg_sign, ored: said already */
	uint64_t guard_drops[NFT_COUNTERS_MAXIMUM]; /* packets, as last told; by the table's order */
	struct event *retry_timer;                  /* the table could not be made */
	struct event *check_timer;   /* compares the kernel with the orders from time to time */
	struct event *settled_timer; /* changes of interfaces by others are looked at */
	struct event *sweep_timer;   /* the next slice of all tunnels is looked at */
	size_t sweep_next;
	struct nat_qos_counters counters;
	bool has_ipv6;  /* the kernel has: it is to be guarded too */
	bool is_purged; /* by order: nothing is installed until the next start */
};

int nat_qos_start(struct service_context *service);
void nat_qos_stop(struct service_context *service);

/** The handlers of the bus; `context` is the struct service_context. */
void nat_qos_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order);
void nat_qos_snapshot(void *context, struct bus_request *request);

/** Makes the kernel's table what was ordered, all of it in one transaction. False after writing a sentence into `why`. */
bool nat_qos_rebuild(struct nat_qos_agent *agent, char *why, size_t why_size);

/** Takes a translation out of the kernel's table and puts one in; attempt 0 = none. False after writing a sentence into `why`. */
bool nat_qos_exchange(struct nat_qos_agent *agent, const struct translation *out,
                      const struct translation *in, char *why, size_t why_size);

/** Brings the table from the servers that a line had to those that it has now. False after writing a sentence into `why`. */
bool nat_qos_admit(struct nat_qos_agent *agent, const struct sip_admission *before,
                   const struct sip_admission *now, char *why, size_t why_size);

/** Removes table, shapers and reserved ports. False after writing a sentence into `why`. */
bool nat_qos_purge(struct nat_qos_agent *agent, char *why, size_t why_size);

/** As nat_qos_rebuild(); logs a failure and tries again each second. */
void nat_qos_rebuild_or_retry(struct nat_qos_agent *agent);

/* nat_qos_check.c; `context` is the agent. */
void nat_qos_table_changed(void *context, const struct nft_change *change);
void nat_qos_interface_changed(void *context, const char *interface);
bool nat_qos_make_timers(struct nat_qos_agent *agent);
void nat_qos_free_timers(struct nat_qos_agent *agent);
bool nat_qos_start_checks(struct nat_qos_agent *agent);

/** Looks for a SIP ALG and tells of each sign once. `looks_at_rules`: at the firewall too, which is dearer. */
void nat_qos_look_for_alg(struct nat_qos_agent *agent, bool looks_at_rules);

/** Nothing is under way on the tunnel that wants a root qdisc. */
bool nat_qos_is_without_session(const struct tunnel_orders *orders);

/** The handler of the bus. */
void nat_qos_describe(void *context, struct bus_description *description);

/** Publishes NatQosChanged of a tunnel; nothing when there is no such tunnel. */
void nat_qos_publish(struct nat_qos_agent *agent, const char *tunnel);

#endif
