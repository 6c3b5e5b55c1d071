/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What monitor does with a message that it has got. */
#include "services/cli/commands.h"
#include "services/cli/monitor.h"

static void print(struct monitor_output *output, const Vpnsip__Envelope *envelope,
                  Vpnsip__Service to, int64_t latency_usec)
{
	json_t *model = monitor_model(envelope, to, output->wall_offset_usec);

	if (output->wants_latency && latency_usec >= 0)
		json_object_set_new(model, "latency_usec", json_integer(latency_usec));
	if (output->wants_json) {
		json_dumpf(model, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
	} else {
		monitor_text(stdout, model);
	}
	fflush(stdout);
	json_decref(model);
}

void monitor_put(struct monitor_output *output, const Vpnsip__Envelope *envelope,
                 Vpnsip__Service to)
{
	int64_t latency_usec = monitor_latency_usec(&output->latency, envelope, to);

	if (output->is_full || !monitor_filter_passes(&output->filter, envelope, to))
		return;
	output->written++;
	if (output->file)
		output->is_full = output->has_failed =
			!monitor_file_write(output->file, envelope, to, output->wall_offset_usec);
	else
		print(output, envelope, to, latency_usec);
	if (output->remaining && --output->remaining == 0)
		output->is_full = true;
}

void monitor_take(struct monitor_output *output, const Vpnsip__Envelope *event)
{
	const Vpnsip__Tapped *tapped = event->tapped;
	Vpnsip__Envelope *inner;

	if (event->body_case != VPNSIP__ENVELOPE__BODY_TAPPED) {
		monitor_put(output, event, VPNSIP__SERVICE__SERVICE_UNSPECIFIED);
		return;
	}
	inner = vpnsip__envelope__unpack(NULL, tapped->envelope.len, tapped->envelope.data);
	if (inner)
		monitor_put(output, inner,
		            tapped->point == VPNSIP__TAP_POINT__REQUEST_SENT ||
		                            tapped->point == VPNSIP__TAP_POINT__REPLY_SENT
		                    ? tapped->peer
		                    : event->source);
	bus_free_envelope(inner);
}
