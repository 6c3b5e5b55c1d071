/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "services/cli/commands.h"
#include "services/cli/debug.h"
#include "services/cli/monitor.h"

static bool read_kind(const char *word, Vpnsip__EnvelopeKind *kind)
{
	static const struct {
		const char *name;
		Vpnsip__EnvelopeKind kind;
	} kinds[] = {
		{"event", VPNSIP__ENVELOPE_KIND__EVENT},
		{"request", VPNSIP__ENVELOPE_KIND__REQUEST},
		{"reply", VPNSIP__ENVELOPE_KIND__REPLY},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(word, kinds[i].name) == 0)
			*kind = kinds[i].kind;
	if (*kind)
		return true;
	command_complain("--kind: '%s' is not event, request or reply", word);
	return false;
}

/* "cli" is a sender here too. */
static bool read_end(const char *word, Vpnsip__Service *service)
{
	*service = VPNSIP__SERVICE__CLI;
	return strcmp(word, bus_service_name(VPNSIP__SERVICE__CLI)) == 0 ||
	       command_service(word, service);
}

bool monitor_filter_read(const struct cli *cli, struct monitor_filter *filter)
{
	const char *kind = options_get(cli, "kind"), *from = options_get(cli, "from"),
		   *to = options_get(cli, "to");
	size_t count = 0;

	*filter = (struct monitor_filter){.session = options_get(cli, "session")};
	for (size_t i = 0; i < cli->option_count; i++) {
		if (strcmp(cli->options[i].name, "message") != 0)
			continue;
		if (!debug_is_message(cli->options[i].value))
			return false;
		if (count + 1 < MONITOR_MESSAGES_MAXIMUM)
			filter->messages[count++] = cli->options[i].value;
	}
	return (!kind || read_kind(kind, &filter->kind)) &&
	       (!from || read_end(from, &filter->from)) && (!to || read_end(to, &filter->to));
}

static bool is_among(const char *const *messages, const char *name)
{
	for (size_t i = 0; messages[i]; i++)
		if (strcmp(messages[i], name) == 0)
			return true;
	return !messages[0];
}

bool monitor_filter_passes(const struct monitor_filter *filter, const Vpnsip__Envelope *envelope,
                           Vpnsip__Service to)
{
	return (!filter->from || filter->from == envelope->source) &&
	       (!filter->to || filter->to == to) &&
	       (!filter->kind || filter->kind == envelope->kind) &&
	       (!filter->session || strcmp(filter->session, envelope->session) == 0) &&
	       is_among(filter->messages, bus_body_name(envelope));
}

int64_t monitor_latency_usec(struct monitor_latency *latency, const Vpnsip__Envelope *envelope,
                             Vpnsip__Service to)
{
	const unsigned size = sizeof(latency->requests) / sizeof(latency->requests[0]);
	unsigned place = latency->next % size;

	if (envelope->kind == VPNSIP__ENVELOPE_KIND__REQUEST) {
		latency->requests[place].from = envelope->source;
		latency->requests[place].to = to;
		latency->requests[place].request_id = envelope->request_id;
		latency->requests[place].sent_mono_usec = envelope->sent_mono_usec;
		latency->next++;
		return -1;
	}
	for (unsigned i = 0; envelope->kind == VPNSIP__ENVELOPE_KIND__REPLY && i < size; i++)
		if (latency->requests[i].request_id == envelope->request_id &&
		    latency->requests[i].from == to && latency->requests[i].to == envelope->source)
			return (int64_t)(envelope->sent_mono_usec -
			                 latency->requests[i].sent_mono_usec);
	return -1;
}
