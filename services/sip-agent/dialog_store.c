/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/dialog_store.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/common/log.h"

#define PREFIX "call-"

static void name_file(char path[PATH_MAX], const char *directory, uint64_t attempt,
                      const char *suffix)
{
	snprintf(path, PATH_MAX, "%s/" PREFIX "%llu%s", directory, (unsigned long long)attempt,
	         suffix);
}

/* The other side's tunnel is kept as the session description that says the same. */
static json_t *to_json(const struct dialog_record *record)
{
	const struct call *call = &record->call;
	const struct sdp_origin origin = {1, 1};
	char wan_address[INET_ADDRSTRLEN], remote[SDP_TEXT_SIZE] = "", local[SDP_TEXT_SIZE] = "";

	inet_ntop(AF_INET, &record->wan_address, wan_address, sizeof(wan_address));
	if (call->has_remote)
		sdp_write(remote, sizeof(remote), &origin, &call->remote, NULL, 0);
	sdp_write(local, sizeof(local), &origin, &call->local, NULL, 0);
	return json_pack("{s:i, s:i, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I,"
	                 " s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:s, s:i, s:b, s:b}",
	                 "state", call->state, "direction", call->direction, "call_id",
	                 call->call_id, "attempt", (json_int_t)call->attempt, "tunnel",
	                 call->tunnel, "local_number", call->local_number, "remote_number",
	                 call->remote_number, "local_tunnel", local, "remote_tunnel", remote,
	                 "cause", call->cause, "ended_by", call->ended_by, "started_at_usec",
	                 (json_int_t)call->started_at_usec, "answered_at_usec",
	                 (json_int_t)call->answered_at_usec, "local", record->local, "remote",
	                 record->remote, "routes", record->routes, "target", record->target,
	                 "local_sequence", (json_int_t)record->local_sequence, "remote_sequence",
	                 (json_int_t)record->remote_sequence, "wan_address", wan_address,
	                 "session_id", (json_int_t)record->origin.session_id, "session_version",
	                 (json_int_t)record->origin.version, "sdp", record->sdp, "interval_sec",
	                 record->timer.interval_sec, "is_refresher", record->timer.is_refresher,
	                 "peer_takes_update", record->peer_takes_update);
}

bool dialog_store_write(const char *directory, const struct dialog_record *record)
{
	char path[PATH_MAX], draft[PATH_MAX];
	json_t *json = to_json(record);
	bool is_ok = json != NULL;

	name_file(path, directory, record->call.attempt, "");
	name_file(draft, directory, record->call.attempt, ".new");
	is_ok = is_ok && json_dump_file(json, draft, JSON_INDENT(1)) == 0 &&
	        rename(draft, path) == 0;
	if (!is_ok)
		log_session(LOG_ERR, record->call.tunnel, record->call.remote_number,
		            "cannot write %s: %m; this call would be lost with the process", path);
	json_decref(json);
	return is_ok;
}

void dialog_store_remove(const char *directory, uint64_t attempt)
{
	char path[PATH_MAX];

	name_file(path, directory, attempt, "");
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
	call->has_remote = copy_tunnel(json, "remote_tunnel", &call->remote);
	return state < CALL_STATE_COUNT && call->attempt &&
	       call->ended_by <= CALL_ENDED_BY_CARRIER &&
	       copy_tunnel(json, "local_tunnel", &call->local) &&
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
	record->peer_takes_update = json_is_true(json_object_get(json, "peer_takes_update"));
	return copy_call(json, &record->call) &&
	       copy_string(json, "local", record->local, sizeof(record->local)) &&
	       copy_string(json, "remote", record->remote, sizeof(record->remote)) &&
	       copy_string(json, "routes", record->routes, sizeof(record->routes)) &&
	       copy_string(json, "target", record->target, sizeof(record->target)) &&
	       copy_string(json, "sdp", record->sdp, sizeof(record->sdp)) &&
	       copy_string(json, "wan_address", wan_address, sizeof(wan_address)) &&
	       inet_pton(AF_INET, wan_address, &record->wan_address) == 1;
}

void dialog_store_read(const char *directory,
                       void (*take)(void *context, const struct dialog_record *record),
                       void *context)
{
	DIR *folder = opendir(directory);
	struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		char path[PATH_MAX];
		struct dialog_record record;

		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		if (strchr(entry->d_name, '.')) {
			unlink(path); /* a draft that was never finished */
			continue;
		}
		json_t *json = json_load_file(path, 0, NULL);
		if (json && from_json(json, &record)) {
			take(context, &record);
		} else {
			log_line(LOG_ERR, "%s is damaged: its call is lost", path);
			unlink(path);
		}
		json_decref(json);
	}
	if (folder)
		closedir(folder);
}
