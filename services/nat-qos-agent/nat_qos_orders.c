/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The orders of nat_qos_agent.proto, and the answers to them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nat_qos_agent.h"
#include "services/common/address.h"
#include "services/common/log.h"

#define WHY_SIZE 256

static void trace(struct nat_qos_agent *agent, const char *tunnel, uint64_t attempt,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* For `vpnsip trace`, and for the log while its category is on. */
static void trace(struct nat_qos_agent *agent, const char *tunnel, uint64_t attempt,
                  const char *format, ...)
{
	va_list arguments;
	char text[256];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	bus_trace(agent->service->bus, tunnel, attempt, VPNSIP__TRACE_KIND__TRACE_KERNEL, NULL,
	          false, "%s", text);
	log_debug(LOG_NAT_QOS, tunnel, NULL, "attempt %llu: %s", (unsigned long long)attempt, text);
}

static void refuse(struct nat_qos_agent *agent, struct bus_request *request,
                   enum order_outcome outcome, const char *tunnel)
{
	static const Vpnsip__FailureKind kinds[ORDER_OUTCOME_COUNT] = {
		[ORDER_STALE] = VPNSIP__FAILURE_KIND__BUG,
		[ORDER_UNKNOWN_TUNNEL] = VPNSIP__FAILURE_KIND__CONFIG,
		[ORDER_NO_PORT] = VPNSIP__FAILURE_KIND__RESOURCE,
		[ORDER_PORT_TAKEN] = VPNSIP__FAILURE_KIND__BUG,
		[ORDER_WRONG_IF_ID] = VPNSIP__FAILURE_KIND__BUG,
	};

	agent->counters.stale_orders += outcome == ORDER_STALE;
	log_debug(LOG_NAT_QOS, tunnel, NULL, "order refused: %s", order_outcome_texts[outcome]);
	bus_fail(request, kinds[outcome], "%s: %s", tunnel, order_outcome_texts[outcome]);
}

static bool is_refused_after_purge(const struct nat_qos_agent *agent, struct bus_request *request)
{
	if (agent->is_purged)
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY,
		         "the firewall table was purged: restart nat-qos-agent");
	return agent->is_purged;
}

/* True when the tunnel can take a shaper; else the request is answered. */
static bool check_qdisc(struct nat_qos_agent *agent, struct bus_request *request,
                        const char *tunnel)
{
	char text[64];

	switch (qdisc_look(agent->qdisc, tunnel, text, sizeof(text))) {
	case QDISC_NONE:
	case QDISC_OURS:
		return true;
	case QDISC_FOREIGN:
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "tunnel %s has a foreign qdisc %s",
		         tunnel, text);
		return false;
	case QDISC_NO_INTERFACE:
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "tunnel %s does not exist",
		         tunnel);
		return false;
	default:
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "cannot read the qdiscs of %s",
		         tunnel);
		return false;
	}
}

static void reserve(struct nat_qos_agent *agent, struct bus_request *request,
                    const Vpnsip__ReservePort *order)
{
	Vpnsip__PortReserved reply = VPNSIP__PORT_RESERVED__INIT;
	enum order_outcome outcome;
	char why[WHY_SIZE];
	uint16_t port;

	if (translation_core_find(agent->core, order->tunnel) == NULL) {
		refuse(agent, request, ORDER_UNKNOWN_TUNNEL, order->tunnel);
		return;
	}
	if (is_refused_after_purge(agent, request) || !check_qdisc(agent, request, order->tunnel))
		return;
	outcome = translation_core_reserve(agent->core, order->tunnel, order->attempt,
	                                   bus_mono_usec(agent->service->bus), &port);
	if (outcome != ORDER_ACCEPTED) {
		refuse(agent, request, outcome, order->tunnel);
		return;
	}
	if (!qdisc_prepare(agent->qdisc, order->tunnel, why, sizeof(why))) {
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%s", why);
		return;
	}
	trace(agent, order->tunnel, order->attempt, "port %u reserved", port);
	reply.port = port;
	nat_qos_publish(agent, order->tunnel);
	bus_reply(request, &reply.base);
}

static bool read_translation(const Vpnsip__InstallTranslation *order,
                             struct translation *translation)
{
	static const enum remote_match matches[] = {
		[VPNSIP__PEER_SOURCE__SOURCE_EXACT] = REMOTE_EXACT,
		[VPNSIP__PEER_SOURCE__SOURCE_ADDRESS] = REMOTE_ADDRESS,
		[VPNSIP__PEER_SOURCE__SOURCE_ANY] = REMOTE_ANY,
	};
	unsigned match = (unsigned)order->peer_source;

	memset(translation, 0, sizeof(*translation));
	if (match >= sizeof(matches) / sizeof(*matches) || matches[match] == 0 ||
	    order->port > UINT16_MAX ||
	    !address_from_bytes(order->wan_address, &translation->wan) ||
	    !address_from_proto(order->remote, &translation->remote) ||
	    translation->wan.ss_family != AF_INET || translation->remote.ss_family != AF_INET)
		return false;
	address_set_port(&translation->wan, (uint16_t)order->port);
	translation->attempt = order->attempt;
	translation->if_id = order->if_id;
	translation->match = matches[match];
	return true;
}

static void install(struct nat_qos_agent *agent, struct bus_request *request,
                    const Vpnsip__InstallTranslation *order)
{
	struct translation wanted, replaced, nothing = {0};
	uint64_t now_usec = bus_mono_usec(agent->service->bus);
	enum order_outcome outcome;
	char why[WHY_SIZE], wan[ADDRESS_TEXT_SIZE], remote[ADDRESS_TEXT_SIZE];

	if (is_refused_after_purge(agent, request))
		return;
	if (!read_translation(order, &wanted)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG,
		         "%s: InstallTranslation needs IPv4 addresses, a port and a peer source",
		         order->tunnel);
		return;
	}
	outcome = translation_core_install(agent->core, order->tunnel, &wanted, now_usec,
	                                   &replaced);
	if (outcome == ORDER_UNCHANGED) {
		agent->counters.repeated_orders++;
		bus_done(request);
		return;
	}
	if (outcome != ORDER_ACCEPTED) {
		refuse(agent, request, outcome, order->tunnel);
		return;
	}
	if (!nat_qos_exchange(agent, &replaced, &wanted, why, sizeof(why))) {
		translation_core_remove(agent->core, order->tunnel, order->attempt, now_usec,
		                        &nothing);
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%s: %s", order->tunnel, why);
		return;
	}
	trace(agent, order->tunnel, order->attempt, "translation %s to %s, mark %u",
	      address_format_port(&wanted.wan, wan), address_format_port(&wanted.remote, remote),
	      wanted.if_id);
	nat_qos_publish(agent, order->tunnel);
	bus_done(request);
}

static void remove_translation(struct nat_qos_agent *agent, struct bus_request *request,
                               const Vpnsip__RemoveTranslation *order)
{
	struct translation removed, nothing = {0};
	bool is_done;
	char why[WHY_SIZE];

	translation_core_remove(agent->core, order->tunnel, order->attempt,
	                        bus_mono_usec(agent->service->bus), &removed);
	if (removed.attempt != 0)
		trace(agent, order->tunnel, removed.attempt, "translation removed");
	nat_qos_publish(agent, order->tunnel);
	is_done = nat_qos_exchange(agent, &removed, &nothing, why, sizeof(why));
	if (is_done &&
	    nat_qos_is_without_session(translation_core_find(agent->core, order->tunnel)))
		is_done = qdisc_remove(agent->qdisc, order->tunnel, why, sizeof(why));
	if (is_done)
		bus_done(request);
	else
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%s: %s", order->tunnel, why);
}

static void install_shaper(struct nat_qos_agent *agent, struct bus_request *request,
                           const Vpnsip__InstallShaper *order)
{
	struct shaper wanted = {order->attempt, order->rate_kbit, order->overhead_byte};
	struct qdisc_statistics statistics;
	enum order_outcome outcome;
	char why[WHY_SIZE];

	if (translation_core_find(agent->core, order->tunnel) == NULL) {
		refuse(agent, request, ORDER_UNKNOWN_TUNNEL, order->tunnel);
		return;
	}
	if (order->rate_kbit == 0) {
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "%s: InstallShaper without a rate",
		         order->tunnel);
		return;
	}
	if (is_refused_after_purge(agent, request) || !check_qdisc(agent, request, order->tunnel))
		return;
	outcome = translation_core_shape(agent->core, order->tunnel, &wanted);
	if (outcome != ORDER_ACCEPTED && outcome != ORDER_UNCHANGED) {
		refuse(agent, request, outcome, order->tunnel);
		return;
	}
	if (outcome == ORDER_UNCHANGED && qdisc_read(agent->qdisc, order->tunnel, &statistics)) {
		agent->counters.repeated_orders++;
		bus_done(request);
		return;
	}
	if (!qdisc_install(agent->qdisc, order->tunnel, order->rate_kbit, order->overhead_byte, why,
	                   sizeof(why))) {
		translation_core_unshape(agent->core, order->tunnel, order->attempt);
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%s", why);
		return;
	}
	trace(agent, order->tunnel, order->attempt, "shaper of %u kbit/s, %u octets overhead",
	      order->rate_kbit, order->overhead_byte);
	nat_qos_publish(agent, order->tunnel);
	bus_done(request);
}

static void remove_shaper(struct nat_qos_agent *agent, struct bus_request *request,
                          const Vpnsip__RemoveShaper *order)
{
	bool is_removed = translation_core_unshape(agent->core, order->tunnel, order->attempt);
	char why[WHY_SIZE];

	if (is_removed && !qdisc_remove(agent->qdisc, order->tunnel, why, sizeof(why))) {
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%s", why);
		return;
	}
	if (is_removed)
		trace(agent, order->tunnel, order->attempt, "shaper removed");
	nat_qos_publish(agent, order->tunnel);
	bus_done(request);
}

static void admit_servers(struct nat_qos_agent *agent, struct bus_request *request,
                          const Vpnsip__AdmitSipServers *order)
{
	struct sip_admission *line = sip_admission_find(
		agent->sip_lines, agent->service->config->line_count, order->local_number);
	struct in_addr servers[SIP_ADMISSION_MAXIMUM];
	enum sip_admission_outcome outcome = SIP_ADMISSION_TOO_MANY;
	struct sip_admission before;
	char why[WHY_SIZE];

	if (is_refused_after_purge(agent, request))
		return;
	if (line == NULL) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "there is no line %s",
		         order->local_number);
		return;
	}
	for (size_t i = 0; i < order->n_addresses && i < SIP_ADMISSION_MAXIMUM; i++) {
		if (order->addresses[i].len != sizeof(servers[i])) {
			bus_fail(request, VPNSIP__FAILURE_KIND__BUG,
			         "AdmitSipServers needs IPv4 addresses");
			return;
		}
		memcpy(&servers[i], order->addresses[i].data, sizeof(servers[i]));
	}
	before = *line;
	if (order->n_addresses <= SIP_ADMISSION_MAXIMUM)
		outcome = sip_admission_set(line, servers, order->n_addresses);
	if (outcome == SIP_ADMISSION_TOO_MANY) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "line %s: at most %d SIP servers",
		         order->local_number, SIP_ADMISSION_MAXIMUM);
		return;
	}
	if (outcome == SIP_ADMISSION_UNCHANGED) {
		agent->counters.repeated_orders++;
		bus_done(request);
		return;
	}
	if (!nat_qos_admit(agent, &before, line, why, sizeof(why))) {
		nat_qos_rebuild_or_retry(agent);
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%s", why);
		return;
	}
	trace(agent, NULL, 0, "line %s: %zu SIP servers ordered", order->local_number,
	      order->n_addresses);
	bus_touch_state(agent->service->bus);
	bus_done(request);
}

static void purge(struct nat_qos_agent *agent, struct bus_request *request)
{
	char why[WHY_SIZE];

	if (nat_qos_purge(agent, why, sizeof(why)))
		bus_done(request);
	else
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%s", why);
}

void nat_qos_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct service_context *service = context;
	struct nat_qos_agent *agent = service->state;

	switch (order->body_case) {
	case VPNSIP__ENVELOPE__BODY_RESERVE_PORT:
		reserve(agent, request, order->reserve_port);
		break;
	case VPNSIP__ENVELOPE__BODY_INSTALL_TRANSLATION:
		install(agent, request, order->install_translation);
		break;
	case VPNSIP__ENVELOPE__BODY_REMOVE_TRANSLATION:
		remove_translation(agent, request, order->remove_translation);
		break;
	case VPNSIP__ENVELOPE__BODY_INSTALL_SHAPER:
		install_shaper(agent, request, order->install_shaper);
		break;
	case VPNSIP__ENVELOPE__BODY_REMOVE_SHAPER:
		remove_shaper(agent, request, order->remove_shaper);
		break;
	case VPNSIP__ENVELOPE__BODY_ADMIT_SIP_SERVERS:
		admit_servers(agent, request, order->admit_sip_servers);
		break;
	case VPNSIP__ENVELOPE__BODY_PURGE_FIREWALL:
		purge(agent, request);
		break;
	default:
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "nat-qos-agent does not know %s",
		         bus_body_name(order));
	}
}
