/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One line's registration (RFC 3261 section 10.2): when to send REGISTER, and what an answer
 * means. Pure: time comes in, deadlines go out.
 */
#ifndef VPNSIP_SIP_REGISTRATION_CORE_H
#define VPNSIP_SIP_REGISTRATION_CORE_H

#include <stdbool.h>
#include <stdint.h>

enum registration_state {
	REGISTRATION_OFF,        /* no order */
	REGISTRATION_ASKING,     /* not registered, REGISTER under way */
	REGISTRATION_WAITING,    /* not registered, waiting to try again */
	REGISTRATION_HELD,       /* registered, waiting to refresh */
	REGISTRATION_REFRESHING, /* registered, REGISTER under way */
	REGISTRATION_LEAVING,    /* REGISTER with Expires: 0 under way */
	REGISTRATION_STATE_COUNT
};

enum registration_event {
	REGISTRATION_START,     /* order: register */
	REGISTRATION_STOP,      /* order: deregister */
	REGISTRATION_ACCEPTED,  /* 2xx */
	REGISTRATION_TOO_BRIEF, /* 423 */
	REGISTRATION_UNBOUND,   /* 2xx that does not list our binding */
	REGISTRATION_MOVED,     /* another server is to be asked, now */
	REGISTRATION_REFUSED,   /* any other final answer, or no transport */
	REGISTRATION_TIMER,     /* the deadline has passed */
	REGISTRATION_EVENT_COUNT
};

enum registration_action {
	REGISTRATION_NOTHING,
	REGISTRATION_SEND,       /* REGISTER with Expires: asked_sec */
	REGISTRATION_SEND_LEAVE, /* REGISTER with Expires: 0 */
	REGISTRATION_FORGET,     /* the line is off: drop what belongs to it */
};

/** The waits, in milliseconds. */
struct registration_limits {
	unsigned answer_msec; /* a REGISTER to its final answer */
	unsigned retry_msec;  /* first pause after a failure; doubles */
	unsigned retry_maximum_msec;
};

struct registration_core {
	enum registration_state state;
	struct registration_limits limits;
	unsigned asked_sec;       /* Expires of the next REGISTER; a 423 raises it */
	unsigned granted_sec;     /* of the last 2xx */
	uint64_t expires_at_usec; /* 0 while not registered */
	uint64_t deadline_usec;   /* REGISTRATION_TIMER is due then; 0 = never */
	unsigned failures;        /* in a row */
	unsigned repetitions;     /* at once, after a 423 or a 2xx without our binding; in a row */
	uint64_t ignored;         /* events outside the table */
};

/** What came with an event. */
struct registration_input {
	enum registration_event event;
	uint64_t now_usec;
	uint32_t random;  /* for the jitter of pauses */
	unsigned seconds; /* ACCEPTED: granted; TOO_BRIEF: Min-Expires; REFUSED: Retry-After or 0 */
};

void registration_core_init(struct registration_core *core, unsigned expires_sec,
                            const struct registration_limits *limits);

/** Forgets binding and requests: what was registered elsewhere is of no use. The line is off afterwards. */
void registration_core_reset(struct registration_core *core);

/** Takes an event; says what to send. An event that the state does not know is counted and ignored. */
enum registration_action registration_core_handle(struct registration_core *core,
                                                  const struct registration_input *input);

/**
 * How long a REGISTER waits for its final answer when it is sent `retries` times more over UDP, `first_msec` after the first one
 * and then at twice the interval each time (at most T2, 4 s); never longer than `limit_msec`. Milliseconds.
 */
unsigned registration_answer_msec(unsigned retries, unsigned first_msec, unsigned limit_msec);

/** The interval after one of `msec`: twice as long, at most T2 (RFC 3261 section 17.1.2.2). */
unsigned registration_next_interval_msec(unsigned msec);

/** The REGISTER that is sent at `now_usec` is overdue after `msec`. */
void registration_core_limit_answer(struct registration_core *core, uint64_t now_usec,
                                    unsigned msec);

/** Whether the registrar still holds our binding. */
bool registration_core_is_registered(const struct registration_core *core);

/** "HELD" and so on. */
const char *registration_state_name(enum registration_state state);

#endif
