/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages of monitor: onto the screen, into a file, and from a file. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "services/cli/commands.h"
#include "services/cli/monitor.h"

#define HEAD    "vpnsip-monitor 1 "
/** Longer than any message of the bus: what claims to be is no file of ours. */
#define LONGEST (4u << 20)

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

static void put(struct monitor_output *output, const Vpnsip__Envelope *event,
                const Vpnsip__Envelope *envelope, Vpnsip__Service to)
{
	int64_t latency_usec = monitor_latency_usec(&output->latency, envelope, to);

	if (output->is_full || !monitor_filter_passes(&output->filter, envelope, to))
		return;
	output->written++;
	if (output->file)
		output->is_full = output->has_failed = !monitor_file_write(output->file, event);
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
		put(output, event, event, VPNSIP__SERVICE__SERVICE_UNSPECIFIED);
		return;
	}
	inner = vpnsip__envelope__unpack(NULL, tapped->envelope.len, tapped->envelope.data);
	if (inner)
		put(output, event, inner,
		    tapped->point == VPNSIP__TAP_POINT__REQUEST_SENT ||
		                    tapped->point == VPNSIP__TAP_POINT__REPLY_SENT
		            ? tapped->peer
		            : event->source);
	bus_free_envelope(inner);
}

FILE *monitor_file_create(const char *path, uint64_t wall_offset_usec)
{
	FILE *file = fopen(path, "we");

	if (!file || fprintf(file, HEAD "%" PRIu64 "\n", wall_offset_usec) < 0 ||
	    fflush(file) != 0) {
		command_complain("%s: %s", path, strerror(errno));
		if (file)
			fclose(file);
		return NULL;
	}
	return file;
}

bool monitor_file_write(FILE *file, const Vpnsip__Envelope *event)
{
	size_t size = vpnsip__envelope__get_packed_size(event);
	uint32_t prefix = htonl((uint32_t)size);
	uint8_t *octets = malloc(size);
	bool is_written = false;

	if (octets) {
		vpnsip__envelope__pack(event, octets);
		is_written = fwrite(&prefix, sizeof(prefix), 1, file) == 1 &&
		             fwrite(octets, size, 1, file) == 1 && fflush(file) == 0;
	}
	if (!is_written)
		command_complain("the file takes no more: %s", strerror(errno));
	free(octets);
	return is_written;
}

/* NULL at the end of the file, or (with *is_broken) at what is no message. */
static Vpnsip__Envelope *read_one(FILE *file, bool *is_broken)
{
	Vpnsip__Envelope *event = NULL;
	uint32_t prefix, size;
	uint8_t *octets;

	*is_broken = false;
	size = (uint32_t)fread(&prefix, 1, sizeof(prefix), file);
	if (size == 0)
		return NULL;
	*is_broken = true;
	if (size != sizeof(prefix) || (size = ntohl(prefix)) > LONGEST)
		return NULL;
	octets = malloc(size + 1);
	if (octets && fread(octets, 1, size, file) == size)
		event = vpnsip__envelope__unpack(NULL, size, octets);
	free(octets);
	*is_broken = event == NULL;
	return event;
}

int monitor_file_show(const char *path, struct monitor_output *output)
{
	FILE *file = fopen(path, "re");
	Vpnsip__Envelope *event;
	bool is_broken = true;
	char line[64] = "";

	if (!file) {
		command_complain("%s: %s", path, strerror(errno));
		return CLI_FAILED;
	}
	if (fgets(line, sizeof(line), file) &&
	    sscanf(line, HEAD "%" SCNu64, &output->wall_offset_usec) == 1) {
		while (!output->is_full && (event = read_one(file, &is_broken))) {
			monitor_take(output, event);
			bus_free_envelope(event);
		}
		if (is_broken)
			command_complain("%s: the last message is not whole", path);
	} else {
		command_complain("%s was not written by 'vpnsip monitor -w'", path);
	}
	fclose(file);
	return is_broken ? CLI_FAILED : CLI_DONE;
}
