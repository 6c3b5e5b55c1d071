/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/line.h"

#include <stdio.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/coordinator/core.h"

const struct line_state_description line_states[LINE_STATE_COUNT] = {
	[LINE_STATE_DISABLED] =
		{
			.name = "DISABLED",
			.status = VPNSIP__LINE_STATUS__LINE_DISABLED,
			.accepts = BIT(LINE_EVENT_ENABLED),
			.may_become = BIT(LINE_STATE_WAIT_WAN),
			.timer = -1,
		},
	[LINE_STATE_WAIT_WAN] =
		{
			.name = "WAIT_WAN",
			.status = VPNSIP__LINE_STATUS__LINE_WAIT_WAN,
			.accepts = BIT(LINE_EVENT_WAN_UP) | BIT(LINE_EVENT_WAN_DOWN) |
                                   BIT(LINE_EVENT_DISABLED),
			.may_become = BIT(LINE_STATE_REGISTERING) | BIT(LINE_STATE_DISABLED),
			.timer = -1,
		},
	[LINE_STATE_REGISTERING] =
		{
			.name = "REGISTERING",
			.status = VPNSIP__LINE_STATUS__LINE_REGISTERING,
			.accepts = BIT(LINE_EVENT_REGISTERED) | BIT(LINE_EVENT_UNREGISTERED) |
                                   BIT(LINE_EVENT_WAN_UP) | BIT(LINE_EVENT_WAN_DOWN) |
                                   BIT(LINE_EVENT_TIMEOUT) | BIT(LINE_EVENT_DISABLED),
			.may_become = BIT(LINE_STATE_REGISTERED) | BIT(LINE_STATE_REGISTERING) |
                                      BIT(LINE_STATE_WAIT_WAN) | BIT(LINE_STATE_DISABLED),
			.timer = TIMER_REGISTER,
		},
	[LINE_STATE_REGISTERED] =
		{
			.name = "REGISTERED",
			.status = VPNSIP__LINE_STATUS__LINE_REGISTERED,
			.accepts = BIT(LINE_EVENT_UNREGISTERED) | BIT(LINE_EVENT_WAN_UP) |
                                   BIT(LINE_EVENT_WAN_DOWN) | BIT(LINE_EVENT_DISABLED),
			.may_become = BIT(LINE_STATE_REGISTERING) | BIT(LINE_STATE_WAIT_WAN) |
                                      BIT(LINE_STATE_DISABLED),
			.timer = -1,
		},
};

const char *line_event_name(enum line_event event)
{
	static const char *const names[LINE_EVENT_COUNT] = {
		[LINE_EVENT_ENABLED] = "enabled",       [LINE_EVENT_DISABLED] = "disabled",
		[LINE_EVENT_WAN_UP] = "wan-up",         [LINE_EVENT_WAN_DOWN] = "wan-down",
		[LINE_EVENT_REGISTERED] = "registered", [LINE_EVENT_UNREGISTERED] = "unregistered",
		[LINE_EVENT_TIMEOUT] = "timeout",
	};

	return names[event];
}

/* The only function that changes the state. */
static void line_become(struct line *line, enum line_state next, const char *cause)
{
	const struct coordinator_port *port = line->core->port;
	const struct line_state_description *from = &line_states[line->state];
	bool had_registration = line->state == LINE_STATE_REGISTERING ||
	                        line->state == LINE_STATE_REGISTERED;
	int timer = line_states[next].timer;

	if (!(from->may_become & BIT(next))) {
		log_session(LOG_ERR, NULL, line->config->number, "bug: line %s may not become %s",
		            from->name, line_states[next].name);
		return;
	}
	if (cause != line->cause)
		snprintf(line->cause, sizeof(line->cause), "%s", cause ? cause : "");
	if (line->state != next) {
		log_session(LOG_NOTICE, NULL, line->config->number, "line %s -> %s%s%s", from->name,
		            line_states[next].name, line->cause[0] ? ": " : "", line->cause);
		line->state_since_usec = port->mono_usec(port->context);
	}
	line->state = next;
	port->start_line_timer(port->context, line,
	                       timer < 0 ? 0 : line->core->config->timer_msec[timer]);
	port->line_changed(port->context, line);
	if (next == LINE_STATE_REGISTERING) {
		port->register_line(port->context, line, true);
	} else if (had_registration && next != LINE_STATE_REGISTERED) {
		line->registration = VPNSIP__REGISTRATION_STATUS__REGISTRATION_STATUS_UNSPECIFIED;
		port->register_line(port->context, line, false);
	}
}

/* sip-agent may have kept the registration while we were away: it says so before the line wants it. */
static void line_register(struct line *line, const char *cause)
{
	line_become(line, LINE_STATE_REGISTERING, cause);
	if (line->registration == VPNSIP__REGISTRATION_STATUS__REGISTERED &&
	    address_is_equal(&line->contact, &line->wan_address))
		line_become(line, LINE_STATE_REGISTERED, NULL);
}

static void keep_cause(struct line *line, const char *cause)
{
	const struct coordinator_port *port = line->core->port;

	snprintf(line->cause, sizeof(line->cause), "%s", cause ? cause : "");
	port->line_changed(port->context, line);
}

void line_handle(struct line *line, enum line_event event, const char *cause)
{
	if (!(line_states[line->state].accepts & BIT(event))) {
		line->ignored_events++;
		return;
	}
	switch (event) {
	case LINE_EVENT_ENABLED:
		line_become(line, LINE_STATE_WAIT_WAN, NULL);
		if (line->is_wan_up)
			line_register(line, NULL);
		break;
	case LINE_EVENT_DISABLED:
		line_become(line, LINE_STATE_DISABLED, cause);
		break;
	case LINE_EVENT_WAN_UP:
	case LINE_EVENT_TIMEOUT:
		/* The order is declarative: repeating it does no harm, and a lost one is mended. */
		line_register(line, cause ? cause : line->cause);
		break;
	case LINE_EVENT_WAN_DOWN:
		if (line->state == LINE_STATE_WAIT_WAN)
			keep_cause(line, cause);
		else
			line_become(line, LINE_STATE_WAIT_WAN, cause);
		break;
	case LINE_EVENT_REGISTERED:
		line_become(line, LINE_STATE_REGISTERED, NULL);
		break;
	case LINE_EVENT_UNREGISTERED:
		if (line->state == LINE_STATE_REGISTERING)
			keep_cause(line, cause);
		else
			line_become(line, LINE_STATE_REGISTERING, cause);
		break;
	case LINE_EVENT_COUNT:
		break;
	}
}
