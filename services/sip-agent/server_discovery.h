/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which SIP servers a line has, by RFC 3263: from names and addresses to addresses, ports and transports in order of use. Pure: it says
 * which DNS question comes next and is given the answer.
 */
#ifndef VPNSIP_SIP_SERVER_DISCOVERY_H
#define VPNSIP_SIP_SERVER_DISCOVERY_H

#include "services/sip-agent/server_list.h"

#define DNS_RECORDS_MAXIMUM      24
#define DISCOVERY_TARGET_MAXIMUM 24

enum dns_type { DNS_A = 1, DNS_SRV = 33, DNS_NAPTR = 35 };

struct dns_question {
	enum dns_type type;
	char name[SERVER_NAME_SIZE];
};

/** One record of the type that was asked for. */
struct dns_record {
	struct in_addr address;     /* A */
	uint16_t priority, weight;  /* SRV; NAPTR: order and preference */
	uint16_t port;              /* SRV */
	char flags[4], service[24]; /* NAPTR */
	char name[SERVER_NAME_SIZE]; /* SRV: target; NAPTR: replacement; "" = the root: there is none */
};

enum dns_outcome {
	DNS_FOUND = 1,
	DNS_ABSENT, /* the name or the type is not there */
	DNS_FAILED, /* nobody answered, or not well */
};

struct dns_answer {
	enum dns_outcome outcome;
	uint32_t ttl_sec; /* the smallest of all records */
	struct dns_record records[DNS_RECORDS_MAXIMUM];
	size_t count;
};

/** Where servers are looked for. */
struct discovery_target {
	struct sockaddr_storage address; /* family 0: `name` is looked up */
	char name[SERVER_NAME_SIZE];
	uint16_t port; /* 0 = not given */
	enum server_origin origin;
	bool is_secondary;
};

/** What the line allows. */
struct discovery_rules {
	unsigned transports;          /* set of 1 << enum config_transport */
	enum config_transport wanted; /* the only one; SYSTEM = as DNS says */
	enum config_transport usual;  /* where DNS says nothing; never SYSTEM */
};

enum discovery_step {
	DISCOVERY_NAPTR,
	DISCOVERY_SRV,     /* of the services in `services` */
	DISCOVERY_ADDRESS, /* of the hosts in `hosts` */
};

/** A name whose SRV or A records are to be asked for. */
struct discovery_host {
	char name[SERVER_NAME_SIZE];
	uint16_t port;
	enum config_transport transport;
};

struct discovery {
	struct discovery_rules rules;
	struct discovery_target targets[DISCOVERY_TARGET_MAXIMUM];
	size_t target_count, target; /* how many, and the one under way */
	enum discovery_step step;
	struct discovery_host services[DNS_RECORDS_MAXIMUM];
	size_t service_count, service;
	struct discovery_host hosts[DNS_RECORDS_MAXIMUM];
	size_t host_count, host;
	struct sip_server servers[SERVER_LIST_MAXIMUM];
	size_t server_count;
	uint32_t ttl_sec;  /* of what was found; UINT32_MAX = it does not come from DNS */
	unsigned failures; /* questions that got no answer */
	unsigned absences; /* targets without any address */
};

/** Fills `octets` with random ones. */
typedef void discovery_random_fn(void *context, void *octets, size_t size);

/** Starts anew. Targets beyond the maximum are left out. */
void discovery_begin(struct discovery *discovery, const struct discovery_rules *rules,
                     const struct discovery_target *targets, size_t count);

/** The next question; false when there is none: `servers` is complete. */
bool discovery_question(const struct discovery *discovery, struct dns_question *question);

/** The answer to the question. `random` chooses among weights (RFC 2782). */
void discovery_answer(struct discovery *discovery, const struct dns_answer *answer,
                      discovery_random_fn *random, void *context);

/** Puts SRV records into the order of use: by priority, and within one at random by weight. */
void discovery_order_srv(struct dns_record *records, size_t count, discovery_random_fn *random,
                         void *context);

#endif
