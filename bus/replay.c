/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/replay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "bus/internal.h"

#define FORMAT          1
#define FILE_MAXIMUM    (80 * 1024 * 1024)
#define PLACE_SIZE      256
#define DIFFERENCE_SIZE 1024
/** A timer of which no end was recorded so long after it should have been is another one now. */
#define OVERDUE_MSEC    2000

/** A call of then, and the one of now. */
struct matched_call {
	uint64_t recorded, replayed;
	UT_hash_handle hh;
};

struct records {
	Vpnsip__Record **all;
	size_t count, room;
};

struct replay {
	uint64_t mono_usec, wall_usec;
	uint64_t random_state;
	Vpnsip__RecordHeader *header;
	bool is_cut_off; /* in the middle of a record: the last input's outputs may be missing */
	struct records recorded, sent; /* the whole file; what was sent since the last input */
	size_t next;                   /* the first record after the last input */
	bool plays_core;               /* only what is of the core */
	size_t next_random;            /* where to look for recorded randomness */
	struct matched_call *calls;
	uint64_t begun_usec;
	char place[PLACE_SIZE]; /* the input that is being worked on */
	/* While it runs. */
	void (*told)(void *context, const char *difference);
	void *context;
	struct bus_replay_result *result;
};

static bool is_output(const Vpnsip__Record *record)
{
	return record->kind >= VPNSIP__RECORD_KIND__RECORD_EVENT_SENT;
}

static bool is_aside(const struct replay *replay, const Vpnsip__Record *record)
{
	if (replay->plays_core)
		return record->kind != VPNSIP__RECORD_KIND__RECORD_CORE_INPUT &&
		       record->kind != VPNSIP__RECORD_KIND__RECORD_CORE_OUTPUT;
	return record->kind == VPNSIP__RECORD_KIND__RECORD_RANDOM ||
	       record->kind == VPNSIP__RECORD_KIND__RECORD_CORE_INPUT ||
	       record->kind == VPNSIP__RECORD_KIND__RECORD_STATE_FILE;
}

static int append(struct records *records, Vpnsip__Record *record)
{
	if (records->count == records->room) {
		size_t room = records->room == 0 ? 256 : records->room * 2;
		Vpnsip__Record **larger = realloc(records->all, room * sizeof(*larger));

		if (larger == NULL)
			return -1;
		records->all = larger;
		records->room = room;
	}
	records->all[records->count++] = record;
	return 0;
}

static void clear(struct records *records)
{
	for (size_t i = 0; i < records->count; i++)
		vpnsip__record__free_unpacked(records->all[i], NULL);
	records->count = 0;
}

/** The next piece of the file, or NULL at its end or where it was cut off. */
static const uint8_t *next_piece(const uint8_t *octets, size_t size, size_t *at, uint32_t *length)
{
	const uint8_t *piece;

	if (size - *at < sizeof(*length))
		return NULL;
	memcpy(length, octets + *at, sizeof(*length));
	*length = ntohl(*length);
	if (size - *at - sizeof(*length) < *length)
		return NULL;
	piece = octets + *at + sizeof(*length);
	*at += sizeof(*length) + *length;
	return piece;
}

static int parse(struct replay *replay, const uint8_t *octets, size_t size, Vpnsip__Service self,
                 char *why, size_t why_size)
{
	size_t at = 0;
	uint32_t length;
	const uint8_t *piece = next_piece(octets, size, &at, &length);

	if (piece != NULL)
		replay->header = vpnsip__record_header__unpack(NULL, length, piece);
	if (replay->header == NULL || replay->header->format != FORMAT) {
		snprintf(why, why_size, "it is no recording of this format");
		return -1;
	}
	if (replay->header->service != self) {
		snprintf(why, why_size, "it is a recording of %s",
		         bus_service_name(replay->header->service));
		return -1;
	}
	while ((piece = next_piece(octets, size, &at, &length)) != NULL) {
		Vpnsip__Record *record = vpnsip__record__unpack(NULL, length, piece);

		if (record == NULL || append(&replay->recorded, record) != 0) {
			snprintf(why, why_size, "record %zu is damaged",
			         replay->recorded.count + 1);
			return -1;
		}
	}
	replay->is_cut_off = at != size;
	if (replay->recorded.count == 0) {
		snprintf(why, why_size, "it is empty");
		return -1;
	}
	return 0;
}

static int read_file(struct replay *replay, const char *file, Vpnsip__Service self, char *why,
                     size_t why_size)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), result = -1;
	uint8_t *octets = NULL;
	struct stat status;
	ssize_t size = -1;

	if (fd < 0 || fstat(fd, &status) != 0)
		goto out;
	if (status.st_size > FILE_MAXIMUM) {
		errno = EFBIG;
		goto out;
	}
	octets = malloc((size_t)status.st_size + 1);
	if (octets != NULL)
		size = read(fd, octets, (size_t)status.st_size);
	if (size >= 0)
		result = parse(replay, octets, (size_t)size, self, why, why_size);
out:
	if (size < 0)
		snprintf(why, why_size, "%s", strerror(errno));
	if (fd >= 0)
		close(fd);
	free(octets);
	return result;
}

static int put_state_file(const char *directory, const Vpnsip__Record *record)
{
	char path[512];
	int fd;
	ssize_t written;

	if (strchr(record->name, '/') != NULL || record->name[0] == '.' ||
	    snprintf(path, sizeof(path), "%s/%s", directory, record->name) >= (int)sizeof(path))
		return -1;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return -1;
	written = write(fd, record->octets.data, record->octets.len);
	close(fd);
	return written == (ssize_t)record->octets.len ? 0 : -1;
}

static int put_state_files(struct replay *replay, const char *directory, char *why, size_t why_size)
{
	for (size_t i = 0; i < replay->recorded.count; i++) {
		const Vpnsip__Record *record = replay->recorded.all[i];

		if (record->kind == VPNSIP__RECORD_KIND__RECORD_STATE_FILE &&
		    (directory == NULL || put_state_file(directory, record) != 0)) {
			snprintf(why, why_size, "its file %s cannot be written into %s",
			         record->name, directory != NULL ? directory : "nothing");
			return -1;
		}
	}
	return 0;
}

struct replay *replay_open(const char *file, Vpnsip__Service self, const char *state_directory,
                           char *why, size_t why_size)
{
	struct replay *replay = calloc(1, sizeof(*replay));
	char reason[256] = "out of memory";

	if (replay == NULL || read_file(replay, file, self, reason, sizeof(reason)) != 0 ||
	    put_state_files(replay, state_directory, reason, sizeof(reason)) != 0) {
		snprintf(why, why_size, "cannot replay %s: %s", file, reason);
		replay_free(replay);
		return NULL;
	}
	replay->mono_usec = replay->begun_usec = replay->recorded.all[0]->mono_usec;
	replay->wall_usec = replay->recorded.all[0]->wall_usec;
	snprintf(replay->place, sizeof(replay->place), "at the start");
	return replay;
}

void replay_free(struct replay *replay)
{
	struct matched_call *call, *next;

	if (replay == NULL)
		return;
	HASH_ITER (hh, replay->calls, call, next) {
		HASH_DEL(replay->calls, call);
		free(call);
	}
	clear(&replay->recorded);
	clear(&replay->sent);
	free(replay->recorded.all);
	free(replay->sent.all);
	if (replay->header != NULL)
		vpnsip__record_header__free_unpacked(replay->header, NULL);
	free(replay);
}

static uint64_t mono_usec(void *context)
{
	return ((struct replay *)context)->mono_usec;
}

static uint64_t wall_usec(void *context)
{
	return ((struct replay *)context)->wall_usec;
}

/** Ids, which are not compared. */
static void own_random(void *context, void *octets, size_t size)
{
	struct replay *replay = context;
	uint8_t *next = octets;

	while (size-- > 0) {
		replay->random_state = replay->random_state * UINT64_C(6364136223846793005) + 1;
		*next++ = (uint8_t)(replay->random_state >> 56);
	}
}

struct bus_environment replay_environment(struct replay *replay)
{
	return (struct bus_environment){.mono_usec = mono_usec,
	                                .wall_usec = wall_usec,
	                                .random = own_random,
	                                .context = replay};
}

static void tell(struct replay *replay, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void tell(struct replay *replay, const char *format, ...)
{
	char text[DIFFERENCE_SIZE];
	int used = snprintf(text, sizeof(text), "%s: ", replay->place);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text + used, sizeof(text) - (size_t)used, format, arguments);
	va_end(arguments);
	if (replay->result == NULL)
		return;
	replay->result->differences++;
	replay->told(replay->context, text);
}

void replay_random(struct replay *replay, void *octets, size_t size)
{
	for (; replay->next_random < replay->recorded.count; replay->next_random++) {
		const Vpnsip__Record *record = replay->recorded.all[replay->next_random];

		if (!is_output(record) && !is_aside(replay, record))
			break; /* the next input: nothing more was drawn before it */
		if (record->kind != VPNSIP__RECORD_KIND__RECORD_RANDOM ||
		    record->octets.len != size)
			continue;
		memcpy(octets, record->octets.data, size);
		replay->next_random++;
		return;
	}
	own_random(replay, octets, size);
}

void replay_output(struct replay *replay, const Vpnsip__Record *output)
{
	size_t size = vpnsip__record__get_packed_size(output);
	uint8_t *octets = malloc(size + 1);
	Vpnsip__Record *copy = NULL;

	if (octets != NULL) {
		vpnsip__record__pack(output, octets);
		copy = vpnsip__record__unpack(NULL, size, octets);
	}
	free(octets);
	if (copy == NULL || append(&replay->sent, copy) != 0)
		end_without_memory("a replay would prove nothing");
}

void replay_output_envelope(struct replay *replay, Vpnsip__RecordKind kind, Vpnsip__Service peer,
                            uint64_t number, const Vpnsip__Envelope *envelope)
{
	Vpnsip__Record record = VPNSIP__RECORD__INIT;

	record.kind = kind;
	record.peer = peer;
	record.number = number;
	record.octets.data = envelope_pack(envelope, &record.octets.len);
	replay_output(replay, &record);
	free(record.octets.data);
}

static void match_call(struct replay *replay, uint64_t recorded, uint64_t replayed)
{
	struct matched_call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		end_without_memory("a replay would prove nothing");
	call->recorded = recorded;
	call->replayed = replayed;
	HASH_ADD(hh, replay->calls, recorded, sizeof(call->recorded), call);
}

static void compare_pair(struct replay *replay, const Vpnsip__Record *recorded,
                         const Vpnsip__Record *replayed)
{
	char name[160], text[DIFFERENCE_SIZE / 2];

	if (recorded->kind == VPNSIP__RECORD_KIND__RECORD_REQUEST_SENT)
		match_call(replay, recorded->number, replayed->number);
	if (!replay_differs(recorded, replayed, text, sizeof(text)))
		return;
	replay_name(recorded, name, sizeof(name));
	tell(replay, "%s: %s", name, text);
}

static void tell_lonely(struct replay *replay, const Vpnsip__Record *record, const char *where)
{
	char name[160];

	replay_name(record, name, sizeof(name));
	tell(replay, "%s is only in %s", name, where);
}

/** Compares what was sent since the last input with what was then; both stand in order. */
static void compare_outputs(struct replay *replay)
{
	const struct records *recorded = &replay->recorded;
	size_t sent = 0;

	for (; replay->next < recorded->count; replay->next++) {
		const Vpnsip__Record *record = recorded->all[replay->next];
		size_t alike = sent;

		if (is_aside(replay, record))
			continue;
		if (!is_output(record))
			break;
		replay->result->outputs++;
		while (alike < replay->sent.count &&
		       !replay_is_alike(record, replay->sent.all[alike]))
			alike++;
		if (alike == replay->sent.count) {
			tell_lonely(replay, record, "the recording");
			continue;
		}
		for (; sent < alike; sent++)
			tell_lonely(replay, replay->sent.all[sent], "the replay");
		compare_pair(replay, record, replay->sent.all[sent++]);
	}
	if (replay->next < recorded->count || !replay->is_cut_off)
		for (; sent < replay->sent.count; sent++)
			tell_lonely(replay, replay->sent.all[sent], "the replay");
	clear(&replay->sent);
	replay->next_random = replay->next;
}

static void end_call(struct replay *replay, struct bus *bus, const Vpnsip__Record *record,
                     const Vpnsip__Envelope *envelope)
{
	struct matched_call *call;

	HASH_FIND(hh, replay->calls, &record->number, sizeof(record->number), call);
	if (call == NULL ||
	    !requests_replay(bus, call->replayed, (enum bus_outcome)record->value, envelope))
		tell(replay, "the replay has not asked for it");
}

static void apply_envelope(struct replay *replay, struct bus *bus, const Vpnsip__Record *record)
{
	Vpnsip__Envelope *envelope = envelope_unpack(record->octets.data, record->octets.len);

	if (envelope == NULL) {
		tell(replay, "it is damaged");
		return;
	}
	switch (record->kind) {
	case VPNSIP__RECORD_KIND__RECORD_EVENT:
		events_deliver(bus, envelope);
		break;
	case VPNSIP__RECORD_KIND__RECORD_SNAPSHOT:
		if (bus->handlers.resync != NULL)
			bus->handlers.resync(bus->context, record->peer, envelope);
		break;
	case VPNSIP__RECORD_KIND__RECORD_REQUEST:
		serve_replay(bus, envelope, (uid_t)record->value, record->number);
		return; /* the envelope is the request's */
	default:
		end_call(replay, bus, record, envelope);
		break;
	}
	bus_free_envelope(envelope);
}

static void apply(struct replay *replay, struct bus *bus, const Vpnsip__Record *record)
{
	char text[256];

	switch (record->kind) {
	case VPNSIP__RECORD_KIND__RECORD_PEER:
		peers_replay(bus, record->peer, (Vpnsip__PeerHealth)record->value);
		break;
	case VPNSIP__RECORD_KIND__RECORD_CORE_INPUT:
		bus->handlers.core_input(bus->context, record->name, record->octets.data,
		                         record->octets.len);
		break;
	case VPNSIP__RECORD_KIND__RECORD_TIMER:
		if (!timers_replay(bus, record->number, record->name, text, sizeof(text)))
			tell(replay, "%s", text);
		break;
	default:
		apply_envelope(replay, bus, record);
		break;
	}
}

static void look_for_overdue(struct replay *replay, struct bus *bus)
{
	char text[256];

	while (timers_overdue(bus, OVERDUE_MSEC, text, sizeof(text)))
		tell(replay, "%s", text);
}

static void play_next(struct replay *replay, struct bus *bus)
{
	const Vpnsip__Record *record = replay->recorded.all[replay->next++];
	char name[160];

	replay->mono_usec = record->mono_usec;
	replay->wall_usec = record->wall_usec;
	replay->next_random = replay->next;
	replay->result->inputs++;
	replay_name(record, name, sizeof(name));
	snprintf(replay->place, sizeof(replay->place), "input %llu at +%.3f s, %s",
	         (unsigned long long)replay->result->inputs,
	         (double)(record->mono_usec - replay->begun_usec) / 1e6, name);
	look_for_overdue(replay, bus);
	apply(replay, bus, record);
	event_base_loop(bus->base, EVLOOP_NONBLOCK);
	compare_outputs(replay);
}

bool bus_is_replaying(const struct bus *bus)
{
	return bus->replay != NULL;
}

void bus_replay(struct bus *bus, void (*told)(void *context, const char *difference), void *context,
                struct bus_replay_result *result)
{
	struct replay *replay = bus->replay;

	*result = (struct bus_replay_result){
		.is_of_other_config = strcmp(replay->header->config_digest, bus->config_digest) !=
	                              0};
	replay->told = told;
	replay->context = context;
	replay->result = result;
	replay->plays_core = bus->handlers.core_input != NULL;
	event_base_loop(bus->base, EVLOOP_NONBLOCK);
	/* What a service does at its start is not in a recording that was begun later. */
	if (!replay->header->is_from_start)
		clear(&replay->sent);
	compare_outputs(replay);
	while (replay->next < replay->recorded.count)
		play_next(replay, bus);
	replay->result = NULL;
}
