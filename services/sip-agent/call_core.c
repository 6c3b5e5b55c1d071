/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/call_core.h"

#include <stdarg.h>
#include <stdio.h>

/*
 * Cell of the table: what to do, what the call becomes, and whose doing an end is. A cell of zeros
 * is an event that the state ignores.
 */
struct transition {
	unsigned actions;
	enum call_state next;
	enum call_ended_by ended_by;
	bool is_known;
};

#define GO(to, does)                                                         \
	{                                                                    \
		.is_known = true, .next = CALL_STATE_##to, .actions = (does) \
	}
#define END(to, does, who)                                                    \
	{                                                                     \
		.is_known = true, .next = CALL_STATE_##to, .actions = (does), \
		.ended_by = CALL_ENDED_BY_##who                               \
	}

/* 2xx: ACK at once (RFC 3261 section 13.2.2.4); a call that is not wanted any more gets its BYE with it. */
#define ACK_AND_BYE (CALL_SEND_ACK | CALL_SEND_BYE | CALL_REPORT)

/* clang-format off */
static const struct transition transitions[CALL_STATE_COUNT][CALL_EVENT_COUNT] = {
	[CALL_STATE_CALLING] = {
		[CALL_EVENT_TRYING] = GO(PROCEEDING, 0),
		[CALL_EVENT_RINGING] = GO(RINGING, CALL_REPORT),
		[CALL_EVENT_GOOD_ANSWER] = GO(ANSWERED, CALL_SEND_ACK | CALL_REPORT),
		[CALL_EVENT_BAD_ANSWER] = END(LEAVING, ACK_AND_BYE, US),
		[CALL_EVENT_REFUSED] = END(ENDED, CALL_REPORT, CARRIER),
		[CALL_EVENT_HANG_UP] = END(CANCEL_OWED, CALL_REPORT, US),
		[CALL_EVENT_DEADLINE] = END(ENDED, CALL_REPORT, CARRIER),
	},
	[CALL_STATE_PROCEEDING] = {
		[CALL_EVENT_RINGING] = GO(RINGING, CALL_REPORT),
		[CALL_EVENT_GOOD_ANSWER] = GO(ANSWERED, CALL_SEND_ACK | CALL_REPORT),
		[CALL_EVENT_BAD_ANSWER] = END(LEAVING, ACK_AND_BYE, US),
		[CALL_EVENT_REFUSED] = END(ENDED, CALL_REPORT, CARRIER),
		[CALL_EVENT_HANG_UP] = END(CANCELLING, CALL_SEND_CANCEL | CALL_REPORT, US),
		[CALL_EVENT_DEADLINE] = END(CANCELLING, CALL_SEND_CANCEL | CALL_REPORT, CARRIER),
	},
	[CALL_STATE_RINGING] = {
		[CALL_EVENT_GOOD_ANSWER] = GO(ANSWERED, CALL_SEND_ACK | CALL_REPORT),
		[CALL_EVENT_BAD_ANSWER] = END(LEAVING, ACK_AND_BYE, US),
		[CALL_EVENT_REFUSED] = END(ENDED, CALL_REPORT, CARRIER),
		[CALL_EVENT_HANG_UP] = END(CANCELLING, CALL_SEND_CANCEL | CALL_REPORT, US),
		[CALL_EVENT_DEADLINE] = END(CANCELLING, CALL_SEND_CANCEL | CALL_REPORT, CARRIER),
	},
	[CALL_STATE_CANCEL_OWED] = {
		[CALL_EVENT_TRYING] = GO(CANCELLING, CALL_SEND_CANCEL),
		[CALL_EVENT_RINGING] = GO(CANCELLING, CALL_SEND_CANCEL),
		[CALL_EVENT_GOOD_ANSWER] = GO(LEAVING, ACK_AND_BYE),
		[CALL_EVENT_BAD_ANSWER] = GO(LEAVING, ACK_AND_BYE),
		[CALL_EVENT_REFUSED] = GO(ENDED, CALL_REPORT),
		[CALL_EVENT_DEADLINE] = GO(ENDED, CALL_REPORT),
	},
	[CALL_STATE_CANCELLING] = {
		[CALL_EVENT_GOOD_ANSWER] = GO(LEAVING, ACK_AND_BYE),
		[CALL_EVENT_BAD_ANSWER] = GO(LEAVING, ACK_AND_BYE),
		[CALL_EVENT_REFUSED] = GO(ENDED, CALL_REPORT),
		[CALL_EVENT_DEADLINE] = GO(ENDED, CALL_REPORT),
	},
	[CALL_STATE_ANSWERED] = {
		[CALL_EVENT_HANG_UP] = END(LEAVING, CALL_SEND_BYE | CALL_REPORT, US),
		[CALL_EVENT_PEER_BYE] = END(ENDED, CALL_REPORT, PEER),
		[CALL_EVENT_LOST] = END(LEAVING, CALL_SEND_BYE | CALL_REPORT, CARRIER),
	},
	[CALL_STATE_OFFERED] = {
		[CALL_EVENT_ACCEPT] = GO(ACCEPTED, CALL_SEND_ANSWER | CALL_REPORT),
		[CALL_EVENT_REJECT] = END(ENDED, CALL_SEND_REFUSAL | CALL_REPORT, US),
		[CALL_EVENT_HANG_UP] = END(ENDED, CALL_SEND_REFUSAL | CALL_REPORT, US),
		[CALL_EVENT_PEER_CANCEL] = END(ENDED, CALL_REPORT, PEER),
		[CALL_EVENT_PEER_BYE] = END(ENDED, CALL_SEND_REFUSAL | CALL_REPORT, PEER),
		[CALL_EVENT_NO_ACK] = END(ENDED, CALL_SEND_REFUSAL | CALL_REPORT, CARRIER),
		[CALL_EVENT_DEADLINE] = END(ENDED, CALL_SEND_REFUSAL | CALL_REPORT, US),
	},
	[CALL_STATE_ACCEPTED] = {
		[CALL_EVENT_ACK] = GO(CONFIRMED, CALL_REPORT),
		[CALL_EVENT_NO_ACK] = END(LEAVING, CALL_SEND_BYE | CALL_REPORT, CARRIER),
		[CALL_EVENT_HANG_UP] = END(BYE_OWED, CALL_REPORT, US),
		[CALL_EVENT_PEER_BYE] = END(ENDED, CALL_REPORT, PEER),
		[CALL_EVENT_LOST] = END(BYE_OWED, CALL_REPORT, CARRIER),
	},
	[CALL_STATE_BYE_OWED] = {
		[CALL_EVENT_ACK] = GO(LEAVING, CALL_SEND_BYE),
		[CALL_EVENT_NO_ACK] = GO(LEAVING, CALL_SEND_BYE),
		[CALL_EVENT_PEER_BYE] = GO(ENDED, CALL_REPORT),
		[CALL_EVENT_DEADLINE] = GO(LEAVING, CALL_SEND_BYE),
	},
	[CALL_STATE_CONFIRMED] = {
		[CALL_EVENT_HANG_UP] = END(LEAVING, CALL_SEND_BYE | CALL_REPORT, US),
		[CALL_EVENT_PEER_BYE] = END(ENDED, CALL_REPORT, PEER),
		[CALL_EVENT_LOST] = END(LEAVING, CALL_SEND_BYE | CALL_REPORT, CARRIER),
	},
	[CALL_STATE_LEAVING] = {
		[CALL_EVENT_BYE_DONE] = GO(ENDED, CALL_REPORT),
		[CALL_EVENT_PEER_BYE] = GO(ENDED, CALL_REPORT),
		[CALL_EVENT_DEADLINE] = GO(ENDED, CALL_REPORT),
	},
};
/* clang-format on */

unsigned call_core_handle(struct call *call, enum call_event event, uint64_t wall_usec)
{
	const struct transition *transition = &transitions[call->state][event];

	if (!transition->is_known) {
		call->ignored++;
		return 0;
	}
	if (transition->ended_by && !call->ended_by)
		call->ended_by = transition->ended_by;
	if (transition->actions & (CALL_SEND_ACK | CALL_SEND_ANSWER))
		call->answered_at_usec = wall_usec;
	if (transition->next == CALL_STATE_ENDED)
		call->ended_at_usec = wall_usec;
	call->state = transition->next;
	return transition->actions;
}

/* What a call that was left in this state owes, and what it is from now on. */
static const struct transition unfinished[CALL_STATE_COUNT] = {
	[CALL_STATE_CALLING] = END(CANCELLING, CALL_SEND_CANCEL, US),
	[CALL_STATE_PROCEEDING] = END(CANCELLING, CALL_SEND_CANCEL, US),
	[CALL_STATE_RINGING] = END(CANCELLING, CALL_SEND_CANCEL, US),
	[CALL_STATE_CANCEL_OWED] = END(CANCELLING, CALL_SEND_CANCEL, US),
	[CALL_STATE_CANCELLING] = END(CANCELLING, CALL_SEND_CANCEL, US),
	[CALL_STATE_ANSWERED] = END(LEAVING, CALL_SEND_ACK | CALL_SEND_BYE, US),
	[CALL_STATE_OFFERED] = END(ENDED, CALL_SEND_REFUSAL, US),
	/* Whether the 200 left is not known: it is repeated, and its ACK or the lack of it decides. */
	[CALL_STATE_ACCEPTED] = GO(ACCEPTED, CALL_SEND_ANSWER),
	[CALL_STATE_BYE_OWED] = GO(LEAVING, CALL_SEND_BYE),
	[CALL_STATE_LEAVING] = GO(LEAVING, CALL_SEND_BYE),
};

unsigned call_core_restore(struct call *call, bool is_acknowledged, uint64_t wall_usec)
{
	const struct transition *debt = &unfinished[call->state];

	call->is_restored = true;
	if (call->state == CALL_STATE_ENDED)
		return 0;
	if (is_acknowledged && call->state == CALL_STATE_ANSWERED)
		return CALL_RESUME;
	if (call->state == CALL_STATE_CONFIRMED ||
	    (is_acknowledged && call->state == CALL_STATE_ACCEPTED)) {
		call->state = CALL_STATE_CONFIRMED;
		return CALL_RESUME;
	}
	if (debt->ended_by && !call->ended_by)
		call->ended_by = debt->ended_by;
	if (debt->ended_by)
		call_set_cause(call, "sip-agent was restarted while the call was set up");
	if (debt->actions & CALL_SEND_ACK)
		call->answered_at_usec = call->answered_at_usec ? call->answered_at_usec
		                                                : wall_usec;
	if (debt->next == CALL_STATE_ENDED)
		call->ended_at_usec = wall_usec;
	call->state = debt->next;
	return debt->actions;
}

void call_set_cause(struct call *call, const char *format, ...)
{
	va_list arguments;

	if (call->cause[0])
		return;
	va_start(arguments, format);
	vsnprintf(call->cause, sizeof(call->cause), format, arguments);
	va_end(arguments);
	/* It may quote what a stranger sent, and ends in logs and in JSON. */
	for (char *c = call->cause; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

unsigned call_state_limit_sec(enum call_state state)
{
	static const unsigned limits[CALL_STATE_COUNT] = {
		[CALL_STATE_CALLING] = 40,     /* timer B is 32 s */
		[CALL_STATE_PROCEEDING] = 185, /* timer C */
		[CALL_STATE_RINGING] = 185,    [CALL_STATE_CANCEL_OWED] = 40,
		[CALL_STATE_CANCELLING] = 33, /* 64*T1, RFC 3261 section 9.1 */
		[CALL_STATE_OFFERED] = 60,    /* the coordinator did not decide */
		[CALL_STATE_BYE_OWED] = 40,    [CALL_STATE_LEAVING] = 40, /* timer F is 32 s */
	};

	return limits[state];
}

const char *call_state_name(enum call_state state)
{
	static const char *const names[CALL_STATE_COUNT] = {
		[CALL_STATE_CALLING] = "CALLING",       [CALL_STATE_PROCEEDING] = "PROCEEDING",
		[CALL_STATE_RINGING] = "RINGING",       [CALL_STATE_CANCEL_OWED] = "CANCEL_OWED",
		[CALL_STATE_CANCELLING] = "CANCELLING", [CALL_STATE_ANSWERED] = "ANSWERED",
		[CALL_STATE_OFFERED] = "OFFERED",       [CALL_STATE_ACCEPTED] = "ACCEPTED",
		[CALL_STATE_BYE_OWED] = "BYE_OWED",     [CALL_STATE_CONFIRMED] = "CONFIRMED",
		[CALL_STATE_LEAVING] = "LEAVING",       [CALL_STATE_ENDED] = "ENDED",
	};

	return names[state];
}

const char *call_event_name(enum call_event event)
{
	static const char *const names[CALL_EVENT_COUNT] = {
		[CALL_EVENT_TRYING] = "100",
		[CALL_EVENT_RINGING] = "ringing",
		[CALL_EVENT_GOOD_ANSWER] = "answered",
		[CALL_EVENT_BAD_ANSWER] = "bad answer",
		[CALL_EVENT_REFUSED] = "refused",
		[CALL_EVENT_HANG_UP] = "order to hang up",
		[CALL_EVENT_ACCEPT] = "order to answer",
		[CALL_EVENT_REJECT] = "order to refuse",
		[CALL_EVENT_PEER_CANCEL] = "CANCEL received",
		[CALL_EVENT_PEER_BYE] = "BYE received",
		[CALL_EVENT_ACK] = "ACK received",
		[CALL_EVENT_NO_ACK] = "no ACK",
		[CALL_EVENT_LOST] = "lost",
		[CALL_EVENT_BYE_DONE] = "BYE answered",
		[CALL_EVENT_DEADLINE] = "deadline",
	};

	return names[event];
}
