/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/record.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "bus/internal.h"
#include "bus/redact.h"

#define FORMAT             1
#define SIZE_MAXIMUM       ((uint64_t)64 * 1024 * 1024)
#define BUFFER_SIZE        65536
#define NAME_MAXIMUM       64
/** A file of the state directory that is larger is not taken along. */
#define STATE_FILE_MAXIMUM (4 * 1024 * 1024)

struct record {
	int fd;
	char *path;
	uint64_t count, written; /* records; octets, those in the buffer included */
	size_t buffered;
	uint8_t buffer[BUFFER_SIZE];
};

static int flush(struct record *record)
{
	size_t done = 0;

	while (done < record->buffered) {
		ssize_t count = write(record->fd, record->buffer + done, record->buffered - done);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return -1;
		done += (size_t)count;
	}
	record->buffered = 0;
	return 0;
}

static void free_record(struct record *record)
{
	if (record->fd >= 0)
		close(record->fd);
	free(record->path);
	free(record);
}

static void give_up(struct bus *bus, const char *why)
{
	bus_log(bus, LOG_ERR, "bus: the recording %s ends: %s", bus->record->path, why);
	free_record(bus->record);
	bus->record = NULL;
}

void record_stop(struct bus *bus)
{
	if (bus->record == NULL)
		return;
	if (flush(bus->record) != 0) {
		give_up(bus, strerror(errno));
		return;
	}
	bus_log(bus, LOG_NOTICE, "bus: recorded %llu moments in %s",
	        (unsigned long long)bus->record->count, bus->record->path);
	free_record(bus->record);
	bus->record = NULL;
}

void bus_stop_recording(struct bus *bus)
{
	record_stop(bus);
}

void record_tick(struct bus *bus)
{
	if (bus->record != NULL && flush(bus->record) != 0)
		give_up(bus, strerror(errno));
}

static int put(struct record *record, const uint8_t *octets, size_t size)
{
	while (size > 0) {
		size_t room = BUFFER_SIZE - record->buffered;
		size_t part = size < room ? size : room;

		memcpy(record->buffer + record->buffered, octets, part);
		record->buffered += part;
		octets += part;
		size -= part;
		if (record->buffered == BUFFER_SIZE && flush(record) != 0)
			return -1;
	}
	return 0;
}

static void put_message(struct bus *bus, const ProtobufCMessage *message)
{
	struct record *record = bus->record;
	size_t size = protobuf_c_message_get_packed_size(message);
	const uint32_t length = htonl((uint32_t)size);
	uint8_t *octets;

	if (record == NULL)
		return; /* it ended with one of the records before */
	octets = malloc(size + 1);
	if (octets == NULL) {
		give_up(bus, "out of memory");
		return;
	}
	protobuf_c_message_pack(message, octets);
	record->written += sizeof(length) + size;
	record->count++;
	if (record->written > SIZE_MAXIMUM)
		give_up(bus, flush(record) == 0 ? "it has reached 64 MiB" : strerror(errno));
	else if (put(record, (const uint8_t *)&length, sizeof(length)) != 0 ||
	         put(record, octets, size) != 0)
		give_up(bus, strerror(errno));
	free(octets);
}

void record_add(struct bus *bus, Vpnsip__Record *record)
{
	if (bus->record == NULL)
		return;
	record->mono_usec = bus_mono_usec(bus);
	record->wall_usec = bus_wall_usec(bus);
	put_message(bus, &record->base);
}

void record_add_envelope(struct bus *bus, Vpnsip__RecordKind kind, Vpnsip__Service peer,
                         uint64_t number, uint64_t value, const Vpnsip__Envelope *envelope)
{
	Vpnsip__Record record = VPNSIP__RECORD__INIT;
	Vpnsip__Envelope *copy = NULL;
	uint8_t *octets;
	size_t size;

	if (bus->record == NULL)
		return;
	octets = envelope_pack(envelope, &size);
	if (octets != NULL) {
		copy = vpnsip__envelope__unpack(NULL, size, octets);
		explicit_bzero(octets, size);
		free(octets);
	}
	if (copy != NULL && redact_message(&copy->base) == 0)
		record.octets.data = envelope_pack(copy, &record.octets.len);
	record.kind = kind;
	record.peer = peer;
	record.number = number;
	record.value = value;
	if (record.octets.data != NULL)
		record_add(bus, &record);
	else
		give_up(bus, "out of memory");
	free(record.octets.data);
	bus_free_envelope(copy);
}

void bus_record_core(struct bus *bus, const char *core, bool is_output, const void *octets,
                     size_t size)
{
	Vpnsip__Record record = VPNSIP__RECORD__INIT;

	record.kind = is_output ? VPNSIP__RECORD_KIND__RECORD_CORE_OUTPUT
	                        : VPNSIP__RECORD_KIND__RECORD_CORE_INPUT;
	record.name = (char *)core; /* only packed */
	record.octets.data = (uint8_t *)octets;
	record.octets.len = size;
	if (bus->replay == NULL)
		record_add(bus, &record);
	else if (is_output)
		replay_output(bus->replay, &record);
}

static bool is_name(const char *name)
{
	size_t size = strlen(name);

	if (size == 0 || size > NAME_MAXIMUM)
		return false;
	for (const char *at = name; *at != '\0'; at++)
		if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_')
			return false;
	return true;
}

static void add_state_file(struct bus *bus, int directory, const char *name)
{
	Vpnsip__Record record = VPNSIP__RECORD__INIT;
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat status;
	ssize_t size = -1;

	if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
	    status.st_size <= STATE_FILE_MAXIMUM &&
	    (record.octets.data = malloc((size_t)status.st_size + 1)) != NULL)
		size = read(fd, record.octets.data, (size_t)status.st_size);
	if (size >= 0) {
		record.kind = VPNSIP__RECORD_KIND__RECORD_STATE_FILE;
		record.name = (char *)name; /* only packed */
		record.octets.len = (size_t)size;
		record_add(bus, &record);
	}
	free(record.octets.data);
	if (fd >= 0)
		close(fd);
}

static void add_state_files(struct bus *bus)
{
	DIR *directory = bus->state_directory != NULL ? opendir(bus->state_directory) : NULL;
	const struct dirent *entry;

	while (directory != NULL && bus->record != NULL && (entry = readdir(directory)) != NULL) {
		const char *suffix = strrchr(entry->d_name, '.');

		if (entry->d_name[0] != '.' &&
		    (suffix == NULL || strcmp(suffix, RECORD_SUFFIX) != 0))
			add_state_file(bus, dirfd(directory), entry->d_name);
	}
	if (directory != NULL)
		closedir(directory);
}

static struct record *create(const char *directory, const char *name)
{
	struct record *record = malloc(sizeof(*record));

	if (record == NULL)
		return NULL;
	record->count = record->written = 0;
	record->buffered = 0;
	if (asprintf(&record->path, "%s/%s" RECORD_SUFFIX, directory, name) < 0) {
		free(record);
		return NULL;
	}
	record->fd = open(record->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	                  S_IRUSR | S_IWUSR);
	if (record->fd < 0) {
		free_record(record);
		return NULL;
	}
	return record;
}

int record_start(struct bus *bus, const char *name, bool is_from_start, char *why, size_t why_size)
{
	Vpnsip__RecordHeader header = VPNSIP__RECORD_HEADER__INIT;

	if (bus->record != NULL)
		snprintf(why, why_size, "%s is being written", bus->record->path);
	else if (bus->state_directory == NULL)
		snprintf(why, why_size, "this service has no state directory");
	else if (!is_name(name))
		snprintf(why, why_size, "a name is of letters, digits, '-' and '_'");
	else if ((bus->record = create(bus->state_directory, name)) == NULL)
		snprintf(why, why_size, "cannot write %s/%s" RECORD_SUFFIX ": %s",
		         bus->state_directory, name, strerror(errno));
	else
		why[0] = '\0';
	if (why[0] != '\0')
		return -1;
	header.format = FORMAT;
	header.service = bus->self;
	header.version = (char *)bus->version; /* only packed */
	header.config_digest = (char *)bus->config_digest;
	header.is_from_start = is_from_start;
	put_message(bus, &header.base);
	if (bus->records_state)
		add_state_files(bus);
	return 0;
}

void record_answer_start(struct bus *bus, struct bus_request *request,
                         const Vpnsip__StartRecording *order)
{
	char why[512];

	if (record_start(bus, order->name, false, why, sizeof(why)) != 0) {
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "no recording: %s", why);
		return;
	}
	bus_done(request);
	peers_record(bus);
}

void record_answer_stop(struct bus *bus, struct bus_request *request)
{
	if (bus->record == NULL) {
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "nothing is being recorded");
		return;
	}
	record_stop(bus);
	bus_done(request);
}

void record_describe(struct bus *bus, struct bus_description *description)
{
	bus_describe_counter(description, "record.moments",
	                     bus->record != NULL ? bus->record->count : 0);
	bus_describe_counter(description, "record.octets",
	                     bus->record != NULL ? bus->record->written : 0);
}
