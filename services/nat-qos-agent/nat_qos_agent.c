/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nat_qos_agent.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reserved_ports.h"
#include "ruleset.h"
#include "services/common/log.h"

#define WHY_SIZE 256

static bool run_stream(struct nat_qos_agent *agent, FILE *stream, char **text, char *why,
                       size_t why_size)
{
	bool is_done = false;

	if (fclose(stream) != 0)
		snprintf(why, why_size, "out of memory");
	else
		is_done = nft_table_run(agent->nft, *text, why, why_size);
	free(*text);
	return is_done;
}

bool nat_qos_rebuild(struct nat_qos_agent *agent, char *why, size_t why_size)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (stream == NULL) {
		snprintf(why, why_size, "out of memory");
		return false;
	}
	ruleset_print_table(stream, agent->service->config, agent->core, agent->sip_lines,
	                    agent->has_ipv6);
	return run_stream(agent, stream, &text, why, why_size);
}

bool nat_qos_exchange(struct nat_qos_agent *agent, const struct translation *out,
                      const struct translation *in, char *why, size_t why_size)
{
	char *text = NULL;
	size_t size;
	FILE *stream;

	if (agent->is_purged || (out->attempt == 0 && in->attempt == 0))
		return true;
	stream = open_memstream(&text, &size);
	if (stream == NULL) {
		snprintf(why, why_size, "out of memory");
		return false;
	}
	ruleset_print_delete(stream, out);
	ruleset_print_add(stream, in);
	if (run_stream(agent, stream, &text, why, why_size))
		return true;
	/* Somebody has changed our table. */
	log_line(LOG_WARNING, "%s; the table is made anew", why);
	return nat_qos_rebuild(agent, why, why_size);
}

bool nat_qos_admit(struct nat_qos_agent *agent, const struct sip_admission *before,
                   const struct sip_admission *now, char *why, size_t why_size)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (stream == NULL) {
		snprintf(why, why_size, "out of memory");
		return false;
	}
	ruleset_print_admission(stream, before, now);
	if (run_stream(agent, stream, &text, why, why_size))
		return true;
	/* Somebody has changed our table. */
	log_line(LOG_WARNING, "%s; the table is made anew", why);
	return nat_qos_rebuild(agent, why, why_size);
}

bool nat_qos_purge(struct nat_qos_agent *agent, char *why, size_t why_size)
{
	const struct config *config = agent->service->config;
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	bool is_done;

	if (stream == NULL) {
		snprintf(why, why_size, "out of memory");
		return false;
	}
	agent->is_purged = true;
	evtimer_del(agent->retry_timer);
	ruleset_print_purge(stream, agent->has_ipv6);
	is_done = run_stream(agent, stream, &text, why, why_size);
	for (size_t i = 0; i < config->peer_count; i++)
		is_done &= qdisc_remove(agent->qdisc, config->peers[i].tunnel, why, why_size);
	reserved_ports_set(config->first_session_port, config->last_session_port, false);
	log_line(LOG_NOTICE, "table " RULESET_TABLE " and the shapers are removed, by order");
	return is_done;
}

static bool check_names(const struct config *config)
{
	for (size_t i = 0; i < config->line_count; i++)
		if (!ruleset_is_plain_name(config->lines[i].wan_interface)) {
			log_line(LOG_ERR, "%s:%d: not the name of an interface", config->file,
			         config->lines[i].line_number);
			return false;
		}
	for (size_t i = 0; i < config->peer_count; i++)
		if (!ruleset_is_plain_name(config->peers[i].tunnel)) {
			log_line(LOG_ERR, "%s:%d: not the name of an interface", config->file,
			         config->peers[i].line_number);
			return false;
		}
	return true;
}

static void reserve_ports(const struct config *config)
{
	int error = reserved_ports_set(config->first_session_port, config->last_session_port, true);

	if (error != 0)
		log_line(LOG_WARNING,
		         "session ports are not kept from local programs (%s): set "
		         "net.ipv4.ip_local_reserved_ports=%u-%u",
		         strerrordesc_np(-error), config->first_session_port,
		         config->last_session_port);
}

static bool make_parts(struct nat_qos_agent *agent)
{
	struct service_context *service = agent->service;
	char why[WHY_SIZE] = "out of memory";
	uint32_t start;

	agent->has_ipv6 = access("/proc/net/if_inet6", F_OK) == 0;
	bus_random(service->bus, &start, sizeof(start));
	agent->core = translation_core_new(service->config, start);
	agent->sip_lines = sip_admission_new(service->config);
	if (agent->core != NULL && agent->sip_lines != NULL && nat_qos_make_timers(agent))
		agent->nft = nft_table_open(service->base, nat_qos_table_changed, agent, why,
		                            sizeof(why));
	if (agent->nft != NULL)
		agent->qdisc = qdisc_open(service->base, nat_qos_interface_changed, agent, why,
		                          sizeof(why));
	if (agent->qdisc == NULL)
		log_line(LOG_ERR, "%s", why);
	return agent->qdisc != NULL;
}

/* The sessions that run: their translations stay, and so do their shapers. */
static bool adopt_sessions(struct nat_qos_agent *agent)
{
	size_t room = agent->core->tunnel_count, count;
	struct translation *found = calloc(room + 1, sizeof(*found));
	char *listing = nft_table_list_json(agent->nft);

	if (found == NULL) {
		free(listing);
		return false;
	}
	count = listing != NULL ? ruleset_parse(listing, found, room) : 0;
	for (size_t i = 0; i < count; i++)
		if (translation_core_adopt(agent->core, &found[i])) {
			agent->counters.adopted++;
			log_line(LOG_INFO, "the translation of if_id %u, attempt %llu, is kept",
			         found[i].if_id, (unsigned long long)found[i].attempt);
		} else {
			log_line(LOG_NOTICE,
			         "the translation of if_id %u, attempt %llu, belongs to no tunnel: "
			         "removed",
			         found[i].if_id, (unsigned long long)found[i].attempt);
		}
	/* The servers that were admitted stay so, until the coordinator says which there are now. */
	if (listing != NULL)
		ruleset_parse_servers(listing, agent->sip_lines,
		                      agent->service->config->line_count);
	free(found);
	free(listing);
	return true;
}

/* One without a translation may still be claimed: nat_qos_check.c removes it later. */
static void adopt_shapers(struct nat_qos_agent *agent)
{
	struct qdisc_statistics statistics;

	for (size_t i = 0; i < agent->core->tunnel_count; i++) {
		const struct tunnel_orders *orders = &agent->core->tunnels[i];
		struct shaper shaper = {.attempt = orders->translation.attempt};

		if (shaper.attempt == 0 ||
		    !qdisc_read(agent->qdisc, orders->peer->tunnel, &statistics))
			continue;
		shaper.rate_kbit = statistics.rate_kbit;
		shaper.overhead_byte = statistics.overhead_byte;
		translation_core_shape(agent->core, orders->peer->tunnel, &shaper);
	}
}

int nat_qos_start(struct service_context *service)
{
	struct nat_qos_agent *agent = calloc(1, sizeof(*agent));
	char why[WHY_SIZE];

	if (agent == NULL)
		return -1;
	agent->service = service;
	service->state = agent;
	if (!check_names(service->config) || !make_parts(agent) || !adopt_sessions(agent))
		goto out;
	if (!nat_qos_rebuild(agent, why, sizeof(why))) {
		log_line(LOG_ERR, "cannot make table " RULESET_TABLE ": %s", why);
		goto out;
	}
	adopt_shapers(agent);
	reserve_ports(service->config);
	nat_qos_look_for_alg(agent, true);
	if (nat_qos_start_checks(agent))
		return 0;
	log_line(LOG_ERR, "out of memory");
out:
	nat_qos_stop(service);
	return -1;
}

void nat_qos_stop(struct service_context *service)
{
	struct nat_qos_agent *agent = service->state;

	if (agent == NULL)
		return;
	nat_qos_free_timers(agent);
	qdisc_close(agent->qdisc);
	nft_table_close(agent->nft);
	translation_core_free(agent->core);
	free(agent->sip_lines);
	free(agent);
	service->state = NULL;
}
