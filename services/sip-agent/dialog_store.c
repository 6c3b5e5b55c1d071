/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/dialog_store.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/common/log.h"
#include "services/sip-agent/dialog_line.h"

#define PREFIX            "call-"
/* Written anew from here on: a call that is refreshed for weeks. */
#define FILE_SIZE_MAXIMUM 65536

/* A call has the name of its attempt; one that was only offered to us has none yet, and takes its Call-ID's. */
static void name_file(char path[PATH_MAX], const char *directory, const struct call *call)
{
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

	if (call->attempt) {
		snprintf(path, PATH_MAX, "%s/" PREFIX "%llu", directory,
		         (unsigned long long)call->attempt);
		return;
	}
	for (const char *c = call->call_id; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
	snprintf(path, PATH_MAX, "%s/" PREFIX "offer-%016llx", directory, (unsigned long long)hash);
}

static bool write_whole(int fd, const char *text)
{
	for (size_t left = strlen(text); left;) {
		ssize_t size = write(fd, text, left);

		if (size < 0 && errno != EINTR)
			return false;
		if (size > 0) {
			text += size;
			left -= (size_t)size;
		}
	}
	return true;
}

static bool sync_directory(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool is_ok = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return is_ok;
}

/* Keeps the error of what was tried over the tidying up. */
static bool close_file(int fd, bool is_ok)
{
	const int error = errno;

	if (close(fd) != 0 && is_ok)
		return false;
	errno = error;
	return is_ok;
}

/*
 * All or nothing: a draft takes the place of the file when it is complete. It is on the disk before: some file systems would have
 * an empty file after a loss of power.
 */
static bool replace_file(const char *path, const char *line)
{
	char draft[PATH_MAX + 4];

	snprintf(draft, sizeof(draft), "%s.new", path);
	int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	if (close_file(fd, write_whole(fd, line) && fsync(fd) == 0) && rename(draft, path) == 0)
		return true;
	const int error = errno;
	unlink(draft);
	errno = error;
	return false;
}

/* One line more; what of it would not fit is taken back. */
static bool append(const char *path, int fd, off_t size, const char *line, bool is_lasting)
{
	if (write_whole(fd, line) && (!is_lasting || fdatasync(fd) == 0))
		return true;
	const int error = errno;
	if (size == 0)
		unlink(path);
	else if (ftruncate(fd, size) != 0)
		log_line(LOG_ERR, "cannot shorten %s: %m", path);
	errno = error;
	return false;
}

static bool write_line(const char *path, const char *line, int flags, bool is_lasting)
{
	struct stat file;
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0600);

	if (fd < 0)
		return false;
	if (fstat(fd, &file) != 0)
		return close_file(fd, false);
	if (file.st_size < FILE_SIZE_MAXIMUM)
		return close_file(fd, append(path, fd, file.st_size, line, is_lasting));
	close(fd);
	return replace_file(path, line);
}

static bool tell_failure(const char *path, char *why, size_t why_size)
{
	snprintf(why, why_size, "cannot write %s: %s", path, strerror(errno));
	return false;
}

bool dialog_store_write(const char *directory, const struct dialog_record *record, bool is_lasting,
                        char *why, size_t why_size)
{
	char path[PATH_MAX], line[DIALOG_LINE_SIZE];

	name_file(path, directory, &record->call);
	errno = EMSGSIZE;
	return (dialog_line_print(line, record) && write_line(path, line, O_CREAT, is_lasting) &&
	        (!is_lasting || sync_directory(directory))) ||
	       tell_failure(path, why, why_size);
}

bool dialog_store_write_state(const char *directory, const struct dialog_record *record, char *why,
                              size_t why_size)
{
	char path[PATH_MAX], line[DIALOG_LINE_SIZE];
	struct stat file;

	name_file(path, directory, &record->call);
	if (stat(path, &file) != 0 || file.st_size >= FILE_SIZE_MAXIMUM)
		return dialog_store_write(directory, record, false, why, why_size);
	errno = EMSGSIZE;
	return (dialog_line_print_state(line, record) && write_line(path, line, 0, false)) ||
	       tell_failure(path, why, why_size);
}

void dialog_store_take_attempt(const char *directory, const struct call *call)
{
	char path[PATH_MAX], offer_path[PATH_MAX];
	struct call offered = *call;

	offered.attempt = 0;
	name_file(offer_path, directory, &offered);
	name_file(path, directory, call);
	if (rename(offer_path, path) != 0)
		unlink(offer_path);
}

void dialog_store_remove(const char *directory, const struct call *call)
{
	char path[PATH_MAX];

	name_file(path, directory, call);
	unlink(path);
}

static bool copy_string(const json_t *json, const char *name, char *text, size_t size)
{
	const char *value = json_string_value(json_object_get(json, name));

	return value && (size_t)snprintf(text, size, "%s", value) < size;
}

static uint64_t number(const json_t *json, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(json, name));
}

static bool copy_tunnel(const json_t *json, const char *name, struct sdp_tunnel *tunnel)
{
	const char *text = json_string_value(json_object_get(json, name));
	struct sdp_description description;
	struct sdp_problem problem;
	size_t index;

	return text && sdp_read(text, strlen(text), &description, &problem) &&
	       sdp_check_offer(&description, tunnel, &index, &problem);
}

static bool copy_call(const json_t *json, struct call *call)
{
	uint64_t state = number(json, "state");

	call->state = (enum call_state)state;
	call->direction = number(json, "direction") == CALL_OUTGOING ? CALL_OUTGOING
	                                                             : CALL_INCOMING;
	call->attempt = number(json, "attempt");
	call->ended_by = (enum call_ended_by)number(json, "ended_by");
	call->started_at_usec = number(json, "started_at_usec");
	call->answered_at_usec = number(json, "answered_at_usec");
	call->ended_at_usec = number(json, "ended_at_usec");
	call->is_end_estimated = json_is_true(json_object_get(json, "is_end_estimated"));
	call->sip_status = (unsigned)number(json, "sip_status");
	call->retry_after_sec = (unsigned)number(json, "retry_after_sec");
	call->has_remote = copy_tunnel(json, "remote_tunnel", &call->remote);
	call->has_local = copy_tunnel(json, "local_tunnel", &call->local);
	return state < CALL_STATE_COUNT && call->ended_by <= CALL_ENDED_BY_CARRIER &&
	       copy_string(json, "call_id", call->call_id, sizeof(call->call_id)) &&
	       copy_string(json, "tunnel", call->tunnel, sizeof(call->tunnel)) &&
	       copy_string(json, "local_number", call->local_number, sizeof(call->local_number)) &&
	       copy_string(json, "remote_number", call->remote_number,
	                   sizeof(call->remote_number)) &&
	       copy_string(json, "cause", call->cause, sizeof(call->cause));
}

static bool from_json(const json_t *json, struct dialog_record *record)
{
	char wan_address[INET_ADDRSTRLEN];

	memset(record, 0, sizeof(*record));
	record->local_sequence = (uint32_t)number(json, "local_sequence");
	record->remote_sequence = (uint32_t)number(json, "remote_sequence");
	record->origin.session_id = number(json, "session_id");
	record->origin.version = number(json, "session_version");
	record->timer.interval_sec = (unsigned)number(json, "interval_sec");
	record->timer.is_refresher = json_is_true(json_object_get(json, "is_refresher"));
	record->refreshed_at_usec = number(json, "refreshed_at_usec");
	record->peer_takes_update = json_is_true(json_object_get(json, "peer_takes_update"));
	record->invite_sequence = (uint32_t)number(json, "invite_sequence");
	record->is_acknowledged = json_is_true(json_object_get(json, "is_acknowledged"));
	return copy_call(json, &record->call) &&
	       copy_string(json, "local", record->local, sizeof(record->local)) &&
	       copy_string(json, "remote", record->remote, sizeof(record->remote)) &&
	       copy_string(json, "routes", record->routes, sizeof(record->routes)) &&
	       copy_string(json, "target", record->target, sizeof(record->target)) &&
	       copy_string(json, "sdp", record->sdp, sizeof(record->sdp)) &&
	       copy_string(json, "branch", record->branch, sizeof(record->branch)) &&
	       copy_string(json, "invite", record->invite, sizeof(record->invite)) &&
	       copy_string(json, "wan_address", wan_address, sizeof(wan_address)) &&
	       inet_pton(AF_INET, wan_address, &record->wan_address) == 1;
}

/* The first line and what the later ones changed. The last one may have been cut off by a loss of power. */
static json_t *load(const char *path)
{
	FILE *file = fopen(path, "re");
	json_t *record = NULL, *line;

	while (file && (line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL))) {
		if (!record)
			record = json_incref(line);
		else
			json_object_update(record, line);
		json_decref(line);
	}
	if (file)
		fclose(file);
	return record;
}

static int is_record(const struct dirent *entry)
{
	return strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0;
}

void dialog_store_read(const char *directory,
                       void (*take)(void *context, const struct dialog_record *record),
                       void *context)
{
	struct dirent **entries;
	/* All names first: taking one up writes its record anew. */
	int count = scandir(directory, &entries, is_record, alphasort);

	for (int i = 0; i < count; i++) {
		char path[PATH_MAX];
		struct dialog_record record;
		json_t *json = NULL;

		snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		if (strchr(entries[i]->d_name, '.')) {
			unlink(path); /* a draft that was never finished */
		} else if ((json = load(path)) && from_json(json, &record)) {
			take(context, &record);
		} else {
			log_line(LOG_ERR, "%s is damaged: its call is lost", path);
			unlink(path);
		}
		json_decref(json);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}
