/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A line is a local number on a WAN interface. Its state machine says whether calls can be made and taken. Pure. */
#ifndef VPNSIP_COORDINATOR_LINE_H
#define VPNSIP_COORDINATOR_LINE_H

#include <stdint.h>
#include <uthash.h>

#include "coordinator.pb-c.h"
#include "services/common/config.h"
#include "services/coordinator/admission.h"
#include "sip_agent.pb-c.h"

struct core;

enum line_state {
	LINE_STATE_DISABLED,
	LINE_STATE_WAIT_WAN,
	LINE_STATE_REGISTERING,
	LINE_STATE_REGISTERED,
	LINE_STATE_COUNT
};

enum line_event {
	LINE_EVENT_ENABLED,
	LINE_EVENT_DISABLED,
	LINE_EVENT_WAN_UP, /* with a new address in line->wan_address */
	LINE_EVENT_WAN_DOWN,
	LINE_EVENT_REGISTERED,
	LINE_EVENT_UNREGISTERED,
	LINE_EVENT_TIMEOUT,
	LINE_EVENT_COUNT
};

struct line {
	struct core *core;
	const struct config_line *config;
	enum line_state state;
	uint64_t state_since_usec;
	bool is_wan_known; /* track-agent has told */
	bool is_wan_up;
	struct sockaddr_storage wan_address; /* valid while is_wan_up */
	/* What sip-agent last said; REGISTERED means from `contact`. */
	Vpnsip__RegistrationStatus registration;
	struct sockaddr_storage contact;
	char cause[256];
	uint32_t ignored_events;
	struct admission_tally refused_calls; /* by GUARD_LINE_CALLS */
	UT_hash_handle hh;
};

struct line_state_description {
	const char *name;
	Vpnsip__LineStatus status;
	unsigned accepts;
	unsigned may_become;
	int timer; /* enum timer_name, or -1 */
};

extern const struct line_state_description line_states[LINE_STATE_COUNT];

const char *line_event_name(enum line_event event);

/** The only entry: an event outside the state's set is counted and ignored. `cause` may be NULL. */
void line_handle(struct line *line, enum line_event event, const char *cause);

#endif
