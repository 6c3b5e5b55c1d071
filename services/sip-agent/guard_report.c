/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/guard_report.h"

#include <stdio.h>
#include <stdlib.h>

#include "bus/bus.h"
#include "services/common/config.h"
#include "services/common/service.h"
#include "services/sip-agent/guard_core.h"
#include "services/sip-agent/sofia.h"

#define PROTECTIONS     5 /* of a line */
#define PROTECTION_SIZE 96

static void describe_line(const struct config_line *line, bool is_off,
                          char texts[PROTECTIONS][PROTECTION_SIZE])
{
	const char *state = is_off ? "off" : "on";
	const unsigned rate = (line->guard_rate + 1) / 2, burst = (line->guard_burst + 1) / 2;

	snprintf(texts[0], PROTECTION_SIZE, "%s source-check %s", line->number, state);
	snprintf(texts[1], PROTECTION_SIZE, "%s dialog-check %s", line->number, state);
	snprintf(texts[2], PROTECTION_SIZE, "%s invite-rate %u/s burst %u", line->number,
	         is_off ? 0 : rate, is_off ? 0 : burst);
	snprintf(texts[3], PROTECTION_SIZE, "%s half-open %u", line->number,
	         is_off ? 0 : line->maximum_half_open);
	snprintf(texts[4], PROTECTION_SIZE, "%s caller %s", line->number,
	         line->caller_identity == CALLER_FROM ? "asserted, else From" : "asserted");
}

static size_t half_open_maximum(const struct config *config)
{
	size_t sum = 0;

	for (size_t i = 0; i < config->line_count; i++)
		sum += config->lines[i].maximum_half_open;
	return sum;
}

void agent_tell_guard(const struct service_context *service, const struct sofia *sofia,
                      struct bus_request *request)
{
	const struct config *config = service->config;
	const size_t room = config->line_count * PROTECTIONS;
	Vpnsip__SipGuard message = VPNSIP__SIP_GUARD__INIT;
	Vpnsip__GuardClass classes[GUARD_CLASS_COUNT], *pointers[GUARD_CLASS_COUNT];
	char(*texts)[PROTECTION_SIZE] = calloc(room + 1, sizeof(*texts));
	char **lines = calloc(room + 1, sizeof(*lines));
	size_t half_open;
	const struct guard *guard = sofia_guard(sofia, &half_open);

	if (!texts || !lines) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
		goto out;
	}
	for (size_t i = 0; i < GUARD_CLASS_COUNT; i++) {
		const struct event_class *events = &guard->classes[i];

		vpnsip__guard_class__init(&classes[i]);
		classes[i].name = (char *)guard_class_name((enum guard_class)i);
		classes[i].count = events->count;
		classes[i].last_usec = events->last_usec;
		classes[i].last_source = (char *)events->last_source;
		pointers[i] = &classes[i];
	}
	for (size_t i = 0; i < config->line_count; i++)
		describe_line(&config->lines[i], sofia_guard_is_off(sofia),
		              texts + i * PROTECTIONS);
	for (size_t i = 0; i < room; i++)
		lines[i] = texts[i];
	message.n_classes = GUARD_CLASS_COUNT;
	message.classes = pointers;
	message.half_open = (uint32_t)half_open;
	message.half_open_maximum = (uint32_t)half_open_maximum(config);
	message.n_protections = room;
	message.protections = lines;
	bus_reply(request, &message.base);
out:
	free(texts);
	free(lines);
}
