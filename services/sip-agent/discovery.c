/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/discovery.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "services/common/address.h"
#include "services/common/config.h"
#include "services/common/log.h"
#include "services/sip-agent/dhcp_files.h"
#include "services/sip-agent/dns_ares.h"

#define CAUSE_SIZE       160
#define FIRST_RETRY_SEC  2
#define LAST_RETRY_SEC   300
/* Records that live shorter are not looked up more often, longer ones not more seldom. */
#define SHORTEST_TTL_SEC 5
#define LONGEST_TTL_SEC  86400

/* An interface, of one or many lines. */
struct wan {
	const char *interface;
	struct dhcp_lease *lease; /* NULL = none */
	struct wan *next;
};

struct line_discovery {
	struct discoveries *all;
	const struct config_line *config;
	struct in_addr address; /* of the WAN; 0.0.0.0 = not known */
	const struct wan *wan;
	char domain[DHCP_NAME_SIZE]; /* as the lease says; "" = it does not */
	struct discovery *run;       /* NULL = none is under way */
	struct dns *dns;             /* of the run, if it asks */
	struct event *next;          /* looks again, or clears up after a run */
	unsigned retry_sec;
	struct sip_server *servers;
	size_t server_count;
	char cause[CAUSE_SIZE];
};

struct targets {
	struct discovery_target targets[DISCOVERY_TARGET_MAXIMUM];
	size_t count;
};

struct discoveries {
	struct event_base *base;
	struct bus *bus;
	const struct discovery_events *events;
	void *context;
	struct dhcp_files *files;
	struct wan *wans; /* list */
	struct line_discovery *lines;
	size_t line_count;
};

static struct discovery_report report_of(const struct line_discovery *line)
{
	static const enum server_origin origins[] = {
		[SERVER_NONE] = SERVER_CONFIGURED,
		[SERVER_ADDRESS] = SERVER_CONFIGURED,
		[SERVER_NAME] = SERVER_BY_DNS,
		[SERVER_DHCP] = SERVER_BY_DHCP,
	};

	return (struct discovery_report){
		.line = line->config,
		.origin = origins[line->config->registrar.kind],
		.lease = line->wan->lease,
		.servers = line->servers,
		.server_count = line->server_count,
		.domain = line->config->domain ? line->config->domain
	                  : line->domain[0]    ? line->domain
	                                       : NULL,
		.cause = line->cause,
	};
}

static void tell(const struct line_discovery *line, bool is_found)
{
	const struct discovery_report report = report_of(line);

	if (is_found)
		line->all->events->found(line->all->context, &report);
	line->all->events->changed(line->all->context, &report);
}

static void fill_random(void *context, void *octets, size_t size)
{
	bus_random(context, octets, size);
}

/* "Again in so many seconds", a fifth more or less, so that the branches of a bank do not all ask at once. */
static void look_again(struct line_discovery *line, unsigned seconds)
{
	uint32_t random;

	bus_random(line->all->bus, &random, sizeof(random));
	const uint64_t usec = seconds * 800000ULL + random % (seconds * 400000ULL + 1);
	const struct timeval wait = {(time_t)(usec / 1000000), (suseconds_t)(usec % 1000000)};

	evtimer_add(line->next, &wait);
}

static void add_target(struct targets *all, const struct discovery_target *target)
{
	if (all->count < DISCOVERY_TARGET_MAXIMUM)
		all->targets[all->count++] = *target;
}

/* Option 120, in its order. */
static void add_lease_targets(struct targets *all, const struct dhcp_sip_servers *servers)
{
	for (size_t i = 0; i < servers->name_count; i++) {
		struct discovery_target target = {.origin = SERVER_BY_DHCP};

		snprintf(target.name, sizeof(target.name), "%s", servers->names[i]);
		add_target(all, &target);
	}
	for (size_t i = 0; i < servers->address_count; i++) {
		struct discovery_target target = {.origin = SERVER_BY_DHCP};

		address_from_octets((const uint8_t *)&servers->addresses[i],
		                    sizeof(servers->addresses[i]), 0, &target.address);
		add_target(all, &target);
	}
}

static void add_targets(struct targets *all, const struct line_discovery *line,
                        const struct config_server *server, bool is_secondary)
{
	struct discovery_target target = {.port = server->port, .is_secondary = is_secondary};

	switch (server->kind) {
	case SERVER_NONE:
		return;
	case SERVER_ADDRESS:
		target.address = server->address;
		target.origin = SERVER_CONFIGURED;
		break;
	case SERVER_NAME:
		snprintf(target.name, sizeof(target.name), "%s", server->name);
		target.origin = SERVER_BY_DNS;
		break;
	case SERVER_DHCP:
		if (line->wan->lease)
			add_lease_targets(all, &line->wan->lease->servers);
		return;
	}
	add_target(all, &target);
}

/* The domain of a line that has none configured: sub-option 204, else what option 120 names first. */
static void read_domain(struct line_discovery *line)
{
	const struct dhcp_lease *lease = line->wan->lease;
	char address[ADDRESS_TEXT_SIZE] = "";

	/* With the lease the domain does not go: who is registered there still is. */
	if (!lease)
		return;
	if (!lease->servers.name_count && lease->servers.address_count) {
		struct sockaddr_storage first;

		address_from_octets((const uint8_t *)&lease->servers.addresses[0],
		                    sizeof(lease->servers.addresses[0]), 0, &first);
		address_format(&first, address);
	}
	snprintf(line->domain, sizeof(line->domain), "%s",
	         lease->vendor.domain[0]     ? lease->vendor.domain
	         : lease->servers.name_count ? lease->servers.names[0]
	                                     : address);
}

static bool is_same_server(const struct sip_server *a, const struct sip_server *b)
{
	return a->transport == b->transport && a->origin == b->origin &&
	       a->is_secondary == b->is_secondary && strcmp(a->name, b->name) == 0 &&
	       address_is_equal(&a->address, &b->address) &&
	       address_port(&a->address) == address_port(&b->address);
}

/* True when they are others than before. */
static bool take_servers(struct line_discovery *line, const struct sip_server *servers,
                         size_t count)
{
	bool is_same = count == line->server_count;

	for (size_t i = 0; is_same && i < count; i++)
		is_same = is_same_server(&servers[i], &line->servers[i]);
	if (is_same)
		return false;
	struct sip_server *taken = calloc(count + 1, sizeof(*taken));
	if (!taken)
		return false;
	memcpy(taken, servers, count * sizeof(*taken));
	free(line->servers);
	line->servers = taken;
	line->server_count = count;
	for (size_t i = 0; i < count; i++) {
		char address[ADDRESS_TEXT_SIZE];

		log_line(LOG_INFO, "line %s: SIP server %zu of %zu: %s %s%s%s%s",
		         line->config->number, i + 1, count,
		         address_format_port(&servers[i].address, address),
		         sip_transport_name(servers[i].transport), servers[i].name[0] ? " of " : "",
		         servers[i].name, servers[i].is_secondary ? ", secondary" : "");
	}
	return true;
}

static bool set_cause(struct line_discovery *line, const char *cause)
{
	if (strcmp(line->cause, cause) == 0)
		return false;
	snprintf(line->cause, sizeof(line->cause), "%s", cause);
	if (cause[0])
		log_line(LOG_WARNING, "line %s: %s", line->config->number, cause);
	return true;
}

static void stop_run(struct line_discovery *line)
{
	dns_close(line->dns);
	line->dns = NULL;
	free(line->run);
	line->run = NULL;
	evtimer_del(line->next);
}

/* Why the run that has ended found no server, or not all. */
static void explain(const struct line_discovery *line, char cause[CAUSE_SIZE])
{
	const struct config_server *registrar = &line->config->registrar;
	const struct dhcp_lease *lease = line->wan->lease;

	cause[0] = '\0';
	if (registrar->kind == SERVER_DHCP && !lease)
		snprintf(cause, CAUSE_SIZE, "no lease on %s that could name a SIP server",
		         line->config->wan_interface);
	else if (registrar->kind == SERVER_DHCP && !lease->servers.name_count &&
	         !lease->servers.address_count)
		snprintf(cause, CAUSE_SIZE, "the lease on %s names no SIP server (option 120)",
		         line->config->wan_interface);
	else if (line->run->absences)
		snprintf(cause, CAUSE_SIZE, "%s of a SIP server's name",
		         line->run->failures ? "DNS does not answer the question for the address"
		                             : "DNS knows no address");
}

/* What the run that has ended found, and when to look again. */
static void finish_run(struct line_discovery *line)
{
	const struct discovery *run = line->run;
	const bool is_complete = !run->failures && !run->absences;
	const uint32_t ttl_sec = run->ttl_sec;
	char cause[CAUSE_SIZE];
	bool is_new = false;

	explain(line, cause);
	/* Nothing new is no reason to forget what was good a moment ago. */
	if (run->server_count || !run->target_count)
		is_new = take_servers(line, run->servers, run->server_count);
	if (set_cause(line, cause) || is_new)
		tell(line, is_new);
	stop_run(line);
	if (is_complete)
		line->retry_sec = FIRST_RETRY_SEC;
	if (!is_complete) {
		look_again(line, line->retry_sec);
		line->retry_sec = line->retry_sec < LAST_RETRY_SEC / 2 ? 2 * line->retry_sec
		                                                       : LAST_RETRY_SEC;
	} else if (ttl_sec != UINT32_MAX) {
		look_again(line, ttl_sec < SHORTEST_TTL_SEC  ? SHORTEST_TTL_SEC
		                 : ttl_sec > LONGEST_TTL_SEC ? LONGEST_TTL_SEC
		                                             : ttl_sec);
	}
}

static void on_answer(void *context, const struct dns_answer *answer);

static void ask(struct line_discovery *line)
{
	struct dns_question question;
	static const struct timeval now;

	if (discovery_question(line->run, &question)) {
		log_debug(LOG_SIP_DHCP, NULL, NULL, "line %s: DNS question %s %s",
		          line->config->number,
		          question.type == DNS_A     ? "A"
		          : question.type == DNS_SRV ? "SRV"
		                                     : "NAPTR",
		          question.name);
		dns_ask(line->dns, &question, on_answer, line);
	} else {
		/* The channel cannot be closed from inside of its answer. */
		evtimer_add(line->next, &now);
	}
}

static void on_answer(void *context, const struct dns_answer *answer)
{
	struct line_discovery *line = context;

	log_debug(LOG_SIP_DHCP, NULL, NULL, "line %s: DNS answer: %s, %zu records, TTL %u s",
	          line->config->number,
	          answer->outcome == DNS_FOUND    ? "found"
	          : answer->outcome == DNS_ABSENT ? "not there"
	                                          : "failed",
	          answer->count, answer->ttl_sec);
	discovery_answer(line->run, answer, fill_random, line->all->bus);
	ask(line);
}

static void start_run(struct line_discovery *line)
{
	const struct config_line *config = line->config;
	const struct discovery_rules rules = {
		.transports = config->scheme == URL_SIPS ? 1u << TRANSPORT_TLS : config->transports,
		.wanted = config->registrar_transport,
		.usual = config->scheme == URL_SIPS ? TRANSPORT_TLS : config->session_transport,
	};
	const struct dhcp_lease *lease = line->wan->lease;
	const struct dns_options options = {
		.base = line->all->base,
		.local = line->address,
		.interface = config->wan_interface,
		.servers = lease ? lease->dns : NULL,
		.server_count = lease ? lease->dns_count : 0,
	};
	struct targets all = {.count = 0};
	struct dns_question question;
	char why[CAUSE_SIZE] = "the WAN has no address to ask DNS from";

	stop_run(line);
	add_targets(&all, line, &config->registrar, false);
	add_targets(&all, line, &config->secondary_registrar, true);
	line->run = calloc(1, sizeof(*line->run));
	if (!line->run) {
		set_cause(line, "no memory to look for SIP servers");
		look_again(line, LAST_RETRY_SEC);
		return;
	}
	discovery_begin(line->run, &rules, all.targets, all.count);
	if (!discovery_question(line->run, &question)) {
		finish_run(line);
		return;
	}
	if (line->address.s_addr != INADDR_ANY)
		line->dns = dns_open(&options, why, sizeof(why));
	if (line->dns) {
		ask(line);
		return;
	}
	stop_run(line);
	if (set_cause(line, why))
		tell(line, false);
	if (line->address.s_addr != INADDR_ANY)
		look_again(line, LAST_RETRY_SEC);
}

static void on_next(evutil_socket_t fd, short what, void *context)
{
	struct line_discovery *line = context;

	(void)fd;
	(void)what;
	if (line->run)
		finish_run(line);
	else
		start_run(line);
}

/* Everything anew: the lease or the WAN's address is another one. */
static void refresh(struct line_discovery *line)
{
	char domain[DHCP_NAME_SIZE];

	snprintf(domain, sizeof(domain), "%s", line->domain);
	read_domain(line);
	line->retry_sec = FIRST_RETRY_SEC;
	if (strcmp(domain, line->domain) != 0)
		tell(line, true);
	start_run(line);
}

/* Reads the interface's lease anew; true when it is another one. */
static bool read_lease(const struct discoveries *all, struct wan *wan)
{
	struct dhcp_lease *lease = calloc(1, sizeof(*lease));

	if (!lease)
		return false;
	if (!dhcp_files_read(all->files, wan->interface, lease)) {
		free(lease);
		lease = NULL;
	}
	const bool is_same = lease && wan->lease ? dhcp_lease_is_same(lease, wan->lease)
	                                         : lease == wan->lease;
	if (is_same) {
		free(lease);
		return false;
	}
	free(wan->lease);
	wan->lease = lease;
	return true;
}

static void follow_lease(struct line_discovery *line)
{
	const struct dhcp_lease *lease = line->wan->lease;

	log_line(LOG_INFO, "line %s: lease on %s %s%s%s", line->config->number,
	         line->config->wan_interface, lease ? "noted by " : "is gone",
	         lease ? lease->client : "",
	         lease && lease->malformed ? "; malformed options are left out" : "");
	tell(line, false);
	refresh(line);
}

/* A lease came, changed or went somewhere. */
static void on_leases(void *context)
{
	struct discoveries *all = context;

	for (struct wan *wan = all->wans; wan; wan = wan->next) {
		if (!read_lease(all, wan))
			continue;
		for (size_t i = 0; i < all->line_count; i++)
			if (all->lines[i].wan == wan)
				follow_lease(&all->lines[i]);
	}
}

/* NULL without memory. */
static const struct wan *wan_of(struct discoveries *all, const char *interface)
{
	struct wan *wan = all->wans;

	while (wan && strcmp(wan->interface, interface) != 0)
		wan = wan->next;
	if (wan)
		return wan;
	wan = calloc(1, sizeof(*wan));
	if (wan) {
		wan->interface = interface;
		wan->next = all->wans;
		all->wans = wan;
	}
	return wan;
}

struct discoveries *discoveries_open(const struct discoveries_options *options)
{
	struct discoveries *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->base = options->base;
	all->bus = options->bus;
	all->events = options->events;
	all->context = options->context;
	all->lines = calloc(options->config->line_count + 1, sizeof(*all->lines));
	if (!all->lines) {
		free(all);
		return NULL;
	}
	all->files = dhcp_files_open(options->base, options->lease_directory,
	                             options->networkd_directory, on_leases, all);
	for (size_t i = 0; i < options->config->line_count; i++) {
		struct line_discovery *line = &all->lines[i];

		line->all = all;
		line->config = &options->config->lines[i];
		line->wan = wan_of(all, line->config->wan_interface);
		line->next = line->wan ? evtimer_new(options->base, on_next, line) : NULL;
		if (!line->next)
			break;
		all->line_count++;
	}
	if (!all->files || all->line_count < options->config->line_count) {
		discoveries_close(all);
		return NULL;
	}
	on_leases(all);
	for (size_t i = 0; i < all->line_count; i++)
		if (!all->lines[i].wan->lease)
			refresh(&all->lines[i]);
	return all;
}

void discoveries_set_address(struct discoveries *all, const char *number, struct in_addr address)
{
	for (size_t i = 0; i < all->line_count; i++) {
		struct line_discovery *line = &all->lines[i];

		if (strcmp(line->config->number, number) != 0 ||
		    line->address.s_addr == address.s_addr)
			continue;
		line->address = address;
		refresh(line);
	}
}

void discoveries_tell_all(const struct discoveries *all, const struct discovery_events *events,
                          void *context)
{
	for (size_t i = 0; i < all->line_count; i++) {
		const struct discovery_report report = report_of(&all->lines[i]);

		events->changed(context, &report);
	}
}

void discoveries_close(struct discoveries *all)
{
	if (!all)
		return;
	for (size_t i = 0; i < all->line_count; i++) {
		stop_run(&all->lines[i]);
		event_free(all->lines[i].next);
		free(all->lines[i].servers);
	}
	while (all->wans) {
		struct wan *wan = all->wans;

		all->wans = wan->next;
		free(wan->lease);
		free(wan);
	}
	dhcp_files_close(all->files);
	free(all->lines);
	free(all);
}
