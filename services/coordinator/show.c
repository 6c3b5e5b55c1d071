/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/coordinator/coordinator.h"

struct session_message {
	Vpnsip__SessionChanged message;
	Vpnsip__SocketAddress local, remote;
};

static void fill_session(struct session_message *filled, const struct session *session)
{
	Vpnsip__SessionChanged *message = &filled->message;
	const struct session_state_description *state = &session_states[session->state];
	const struct sockaddr_storage *local = session->attempt ? &session->local.address
	                                                        : &session->line->wan_address;

	vpnsip__session_changed__init(message);
	vpnsip__socket_address__init(&filled->local);
	vpnsip__socket_address__init(&filled->remote);
	if (session->line->is_wan_up)
		address_to_proto(local, &filled->local);
	address_to_proto(&session->remote.address, &filled->remote);
	message->tunnel = session->peer->tunnel;
	message->if_id = session->peer->if_id;
	message->status = state->status;
	message->direction = session->attempt ? session->direction
	                                      : VPNSIP__DIRECTION__DIRECTION_UNSPECIFIED;
	message->status_since_mono_usec = session->state_since_usec;
	message->call_since_mono_usec = session->call_since_usec;
	message->local_number = session->line->config->number;
	message->remote_number = session->peer->number;
	message->local = &filled->local;
	message->remote = &filled->remote;
	message->attempt = session->attempt;
	message->call_id = (char *)session->call_id;
	message->configured_kbit = session->peer->bandwidth_kbit;
	message->negotiated_kbit = session->negotiated_kbit;
	message->last_cause = (char *)session->cause;
	message->holddown_until_mono_usec = session->state == SESSION_HOLDDOWN
	                                            ? session->holddown_until_usec
	                                            : 0;
	message->attempts = session->attempts;
	message->established = session->established;
	message->failed = session->failed;
	message->ignored_events = session->ignored_events;
	message->description = session->peer->description ? session->peer->description : "";
	message->call_record = session->attempt;
	message->is_enabled = session->peer->is_enabled;
	message->last_ended_at_usec = session->ended_at_wall_usec;
}

static void fill_line(Vpnsip__LineChanged *message, const struct line *line)
{
	vpnsip__line_changed__init(message);
	message->local_number = line->config->number;
	message->status = line_states[line->state].status;
	message->wan_interface = line->config->wan_interface;
	if (line->is_wan_up)
		message->wan_address = address_to_bytes(&line->wan_address);
	message->cause = (char *)line->cause;
	message->since_mono_usec = line->state_since_usec;
}

void show_session_changed(struct coordinator *coordinator, const struct session *session)
{
	struct session_message filled;

	fill_session(&filled, session);
	bus_touch_state(coordinator->service->bus);
	bus_publish(coordinator->service->bus, session->peer->tunnel, &filled.message.base);
}

void show_line_changed(struct coordinator *coordinator, const struct line *line)
{
	Vpnsip__LineChanged message;

	fill_line(&message, line);
	bus_touch_state(coordinator->service->bus);
	bus_publish(coordinator->service->bus, NULL, &message.base);
}

static void fill_timers(const struct config *config, Vpnsip__TimerSetting *settings,
                        Vpnsip__TimerSetting **list)
{
	for (int i = 0; i < TIMER_COUNT; i++) {
		vpnsip__timer_setting__init(&settings[i]);
		settings[i].name = (char *)timer_definitions[i].name;
		settings[i].value_msec = config->timer_msec[i];
		settings[i].default_msec = timer_definitions[i].default_msec;
		settings[i].minimum_msec = timer_definitions[i].minimum_msec;
		settings[i].maximum_msec = timer_definitions[i].maximum_msec;
		settings[i].text = (char *)timer_definitions[i].text;
		list[i] = &settings[i];
	}
}

void show_snapshot(void *context, struct bus_request *request)
{
	struct coordinator *coordinator = ((struct service_context *)context)->state;
	const struct core *core = coordinator->core;
	Vpnsip__CoordinatorSnapshot snapshot = VPNSIP__COORDINATOR_SNAPSHOT__INIT;
	Vpnsip__TimerSetting timers[TIMER_COUNT], *timer_list[TIMER_COUNT];
	struct session_message *sessions = calloc(core->session_count + 1, sizeof(*sessions));
	Vpnsip__SessionChanged **session_list = calloc(core->session_count + 1,
	                                               sizeof(struct Vpnsip__SessionChanged *));
	Vpnsip__LineChanged *lines = calloc(core->line_count + 1, sizeof(*lines));
	Vpnsip__LineChanged **line_list = calloc(core->line_count + 1,
	                                         sizeof(struct Vpnsip__LineChanged *));

	if (!sessions || !session_list || !lines || !line_list) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
		goto out;
	}
	for (size_t i = 0; i < core->session_count; i++) {
		fill_session(&sessions[i], &core->sessions[i]);
		session_list[i] = &sessions[i].message;
	}
	for (size_t i = 0; i < core->line_count; i++) {
		fill_line(&lines[i], &core->lines[i]);
		line_list[i] = &lines[i];
	}
	fill_timers(coordinator->service->config, timers, timer_list);
	snapshot.sessions = session_list;
	snapshot.n_sessions = core->session_count;
	snapshot.lines = line_list;
	snapshot.n_lines = core->line_count;
	snapshot.timers = timer_list;
	snapshot.n_timers = TIMER_COUNT;
	bus_reply(request, &snapshot.base);
out:
	free(sessions);
	free(session_list);
	free(lines);
	free(line_list);
}
