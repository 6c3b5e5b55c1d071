/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages of monitor into a file and from it. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "record.pb-c.h"
#include "services/cli/commands.h"
#include "services/cli/monitor.h"

#define FORMAT  1
/** Longer than any record: what claims to be is no file of ours. */
#define LONGEST (8u << 20)

static bool write_message(FILE *file, const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint32_t prefix = htonl((uint32_t)size);
	uint8_t *octets = malloc(size + 1);
	bool is_written = false;

	if (octets) {
		protobuf_c_message_pack(message, octets);
		is_written = fwrite(&prefix, sizeof(prefix), 1, file) == 1 &&
		             fwrite(octets, 1, size, file) == size && fflush(file) == 0;
	}
	free(octets);
	return is_written;
}

FILE *monitor_file_create(const char *path)
{
	Vpnsip__RecordHeader header = VPNSIP__RECORD_HEADER__INIT;
	FILE *file = fopen(path, "we");

	header.format = FORMAT;
	header.service = VPNSIP__SERVICE__CLI;
	header.version = (char *)VPNSIP_VERSION; /* only packed */
	if (!file || !write_message(file, &header.base)) {
		command_complain("%s: %s", path, strerror(errno));
		if (file)
			fclose(file);
		return NULL;
	}
	return file;
}

bool monitor_file_write(FILE *file, const Vpnsip__Envelope *envelope, Vpnsip__Service to,
                        uint64_t wall_offset_usec)
{
	Vpnsip__Record record = VPNSIP__RECORD__INIT;
	bool is_written = false;

	record.mono_usec = envelope->sent_mono_usec;
	record.wall_usec = envelope->sent_mono_usec + wall_offset_usec;
	record.kind = envelope->kind == VPNSIP__ENVELOPE_KIND__REQUEST
	                      ? VPNSIP__RECORD_KIND__RECORD_REQUEST_SENT
	              : envelope->kind == VPNSIP__ENVELOPE_KIND__REPLY
	                      ? VPNSIP__RECORD_KIND__RECORD_REPLY_SENT
	                      : VPNSIP__RECORD_KIND__RECORD_EVENT;
	record.peer = to ? to : envelope->source;
	record.octets.len = vpnsip__envelope__get_packed_size(envelope);
	record.octets.data = malloc(record.octets.len + 1);
	if (record.octets.data) {
		vpnsip__envelope__pack(envelope, record.octets.data);
		is_written = write_message(file, &record.base);
	}
	free(record.octets.data);
	if (!is_written)
		command_complain("the file takes no more: %s", strerror(errno));
	return is_written;
}

/* NULL at the end of the file, or (with *is_broken) at what is no message. */
static ProtobufCMessage *read_message(FILE *file, const ProtobufCMessageDescriptor *type,
                                      bool *is_broken)
{
	ProtobufCMessage *message = NULL;
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
		message = protobuf_c_message_unpack(type, NULL, size, octets);
	free(octets);
	*is_broken = message == NULL;
	return message;
}

/* To whom: of what a service received, it is that service. */
static Vpnsip__Service destination(const Vpnsip__Record *record, Vpnsip__Service recorder)
{
	switch (record->kind) {
	case VPNSIP__RECORD_KIND__RECORD_REQUEST_SENT:
	case VPNSIP__RECORD_KIND__RECORD_REPLY_SENT:
		return record->peer;
	case VPNSIP__RECORD_KIND__RECORD_REQUEST:
	case VPNSIP__RECORD_KIND__RECORD_REPLY:
	case VPNSIP__RECORD_KIND__RECORD_SNAPSHOT:
		return recorder;
	default:
		return VPNSIP__SERVICE__SERVICE_UNSPECIFIED;
	}
}

/* Of a service's recording only the messages are shown. */
static bool has_envelope(const Vpnsip__Record *record)
{
	return destination(record, VPNSIP__SERVICE__CLI) ||
	       record->kind == VPNSIP__RECORD_KIND__RECORD_EVENT ||
	       record->kind == VPNSIP__RECORD_KIND__RECORD_EVENT_SENT;
}

static void show_record(struct monitor_output *output, const Vpnsip__Record *record,
                        Vpnsip__Service recorder)
{
	Vpnsip__Envelope *envelope = has_envelope(record)
	                                     ? vpnsip__envelope__unpack(NULL, record->octets.len,
	                                                                record->octets.data)
	                                     : NULL;

	output->wall_offset_usec = record->wall_usec - record->mono_usec;
	if (envelope)
		monitor_put(output, envelope, destination(record, recorder));
	bus_free_envelope(envelope);
}

int monitor_file_show(const char *path, struct monitor_output *output)
{
	FILE *file = fopen(path, "re");
	Vpnsip__RecordHeader *header;
	Vpnsip__Record *record;
	bool is_broken;

	if (!file) {
		command_complain("%s: %s", path, strerror(errno));
		return CLI_FAILED;
	}
	header = (Vpnsip__RecordHeader *)read_message(file, &vpnsip__record_header__descriptor,
	                                              &is_broken);
	if (!header || header->format != FORMAT) {
		command_complain("%s is no file of 'monitor -w', and no recording", path);
		is_broken = true;
		goto out;
	}
	while (!output->is_full && (record = (Vpnsip__Record *)read_message(
					    file, &vpnsip__record__descriptor, &is_broken))) {
		show_record(output, record, header->service);
		vpnsip__record__free_unpacked(record, NULL);
	}
	if (is_broken)
		command_complain("%s: the last message is not whole", path);
out:
	if (header)
		vpnsip__record_header__free_unpacked(header, NULL);
	fclose(file);
	return is_broken ? CLI_FAILED : CLI_DONE;
}
