/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The timers an operator can read and set by name: `timers { }` in the configuration, `show timers`. */
#ifndef VPNSIP_TIMERS_H
#define VPNSIP_TIMERS_H

enum timer_name {
	TIMER_ANSWER,   /* INVITE to first or final response */
	TIMER_RINGING,  /* 180 to final response */
	TIMER_IKE,      /* answer to child SA */
	TIMER_RELEASE,  /* waiting for the services to take a session down */
	TIMER_HOLDDOWN, /* first hold-down after a failed outgoing call; doubles */
	TIMER_HOLDDOWN_MAXIMUM,
	TIMER_GLARE,           /* how long the higher number waits for the other side's call */
	TIMER_REGISTER,        /* REGISTER to final response */
	TIMER_REGISTER_RETRY,  /* first pause after a failed registration; doubles */
	TIMER_HOLD,            /* how long first packets are held */
	TIMER_SESSION_EXPIRES, /* RFC 4028 */
	TIMER_SESSION_MINIMUM, /* Min-SE */
	TIMER_PORT_REUSE,      /* session port rests after use */
	TIMER_FAILBACK,        /* primary must be stable this long before traffic returns */
	TIMER_CALL_WARNING,    /* a call this long is warned about */
	TIMER_COUNT
};

struct timer_definition {
	const char *name; /* as in the configuration: "answer" */
	unsigned default_msec;
	unsigned minimum_msec; /* of the recommended range: outside is a warning, not a refusal */
	unsigned maximum_msec;
	const char *text;
};

/** Indexed by enum timer_name. */
extern const struct timer_definition timer_definitions[TIMER_COUNT];

#endif
