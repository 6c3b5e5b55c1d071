/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/registration_core.h"

#include <stddef.h>

#define USEC_PER_MSEC       1000ULL
#define USEC_PER_SEC        1000000ULL
#define EXPIRES_MAXIMUM_SEC 86400
#define DOUBLINGS_MAXIMUM   16
#define REPETITIONS_MAXIMUM 3
#define T2_MSEC             4000

typedef enum registration_action registration_step(struct registration_core *core,
                                                   const struct registration_input *input);

static enum registration_action ask(struct registration_core *core,
                                    const struct registration_input *input)
{
	core->deadline_usec = input->now_usec + core->limits.answer_msec * USEC_PER_MSEC;
	core->state = core->expires_at_usec ? REGISTRATION_REFRESHING : REGISTRATION_ASKING;
	return REGISTRATION_SEND;
}

static enum registration_action leave(struct registration_core *core,
                                      const struct registration_input *input)
{
	core->deadline_usec = input->now_usec + core->limits.answer_msec * USEC_PER_MSEC;
	core->expires_at_usec = 0;
	core->state = REGISTRATION_LEAVING;
	return REGISTRATION_SEND_LEAVE;
}

void registration_core_reset(struct registration_core *core)
{
	core->deadline_usec = 0;
	core->expires_at_usec = 0;
	core->granted_sec = 0;
	core->failures = 0;
	core->repetitions = 0;
	core->state = REGISTRATION_OFF;
}

static enum registration_action forget(struct registration_core *core,
                                       const struct registration_input *input)
{
	(void)input;
	registration_core_reset(core);
	return REGISTRATION_FORGET;
}

/*
 * Pause before the next try: doubles from retry to its maximum, half of it random, so that lines
 * do not return in step.
 */
static uint64_t pause_usec(const struct registration_core *core,
                           const struct registration_input *input)
{
	unsigned doublings = core->failures - 1;
	uint64_t msec = core->limits.retry_msec;

	msec <<= doublings < DOUBLINGS_MAXIMUM ? doublings : DOUBLINGS_MAXIMUM;
	if (msec > core->limits.retry_maximum_msec)
		msec = core->limits.retry_maximum_msec;
	msec = msec / 2 + ((msec - msec / 2) * input->random >> 32);
	/* Not before the time that was asked for, and not all lines at once after it. */
	if (msec < input->seconds * 1000ULL)
		msec = input->seconds * 1000ULL +
		       ((uint64_t)core->limits.retry_msec / 2 * input->random >> 32);
	return msec * USEC_PER_MSEC;
}

static enum registration_action pause(struct registration_core *core,
                                      const struct registration_input *input)
{
	core->failures++;
	core->repetitions = 0;
	core->deadline_usec = input->now_usec + pause_usec(core, input);
	if (core->expires_at_usec > core->deadline_usec) {
		core->state = REGISTRATION_HELD;
	} else if (core->expires_at_usec > input->now_usec) {
		/* Still registered, but not until the next try: that is when the registration ends. */
		core->deadline_usec = core->expires_at_usec;
		core->state = REGISTRATION_HELD;
	} else {
		core->expires_at_usec = 0;
		core->state = REGISTRATION_WAITING;
	}
	return REGISTRATION_NOTHING;
}

/* The answer is overdue: a failure like any other, without a word from the registrar. */
static enum registration_action overdue(struct registration_core *core,
                                        const struct registration_input *input)
{
	struct registration_input refused = *input;

	refused.seconds = 0;
	return pause(core, &refused);
}

static enum registration_action hold(struct registration_core *core,
                                     const struct registration_input *input)
{
	if (input->seconds == 0)
		return overdue(core, input); /* granted for no time at all */
	core->failures = 0;
	core->repetitions = 0;
	core->granted_sec = input->seconds;
	core->expires_at_usec = input->now_usec + input->seconds * USEC_PER_SEC;
	core->deadline_usec = input->now_usec + input->seconds * USEC_PER_SEC / 2;
	core->state = REGISTRATION_HELD;
	return REGISTRATION_NOTHING;
}

static enum registration_action refresh(struct registration_core *core,
                                        const struct registration_input *input)
{
	if (core->expires_at_usec <= input->now_usec)
		core->expires_at_usec = 0;
	return ask(core, input);
}

static enum registration_action ask_longer(struct registration_core *core,
                                           const struct registration_input *input)
{
	if (input->seconds <= core->asked_sec || input->seconds > EXPIRES_MAXIMUM_SEC ||
	    core->repetitions++ == REPETITIONS_MAXIMUM)
		return overdue(core, input);
	core->asked_sec = input->seconds;
	return ask(core, input);
}

/* Somebody took our binding away between, or the registrar does not want it: we ask again, but not for ever. */
static enum registration_action ask_again(struct registration_core *core,
                                          const struct registration_input *input)
{
	core->expires_at_usec = 0;
	if (core->repetitions++ == REPETITIONS_MAXIMUM)
		return overdue(core, input);
	return ask(core, input);
}

static registration_step *const steps[REGISTRATION_STATE_COUNT][REGISTRATION_EVENT_COUNT] = {
	[REGISTRATION_OFF] =
		{
			[REGISTRATION_START] = ask,
		},
	[REGISTRATION_ASKING] =
		{
			[REGISTRATION_STOP] = leave,
			[REGISTRATION_ACCEPTED] = hold,
			[REGISTRATION_TOO_BRIEF] = ask_longer,
			[REGISTRATION_UNBOUND] = ask_again,
			[REGISTRATION_MOVED] = refresh,
			[REGISTRATION_REFUSED] = pause,
			[REGISTRATION_TIMER] = overdue,
		},
	[REGISTRATION_WAITING] =
		{
			[REGISTRATION_STOP] = forget,
			[REGISTRATION_MOVED] = ask,
			[REGISTRATION_TIMER] = ask,
		},
	[REGISTRATION_HELD] =
		{
			[REGISTRATION_STOP] = leave,
			[REGISTRATION_MOVED] = refresh,
			[REGISTRATION_TIMER] = refresh,
		},
	[REGISTRATION_REFRESHING] =
		{
			[REGISTRATION_STOP] = leave,
			[REGISTRATION_ACCEPTED] = hold,
			[REGISTRATION_TOO_BRIEF] = ask_longer,
			[REGISTRATION_UNBOUND] = ask_again,
			[REGISTRATION_MOVED] = refresh,
			[REGISTRATION_REFUSED] = pause,
			[REGISTRATION_TIMER] = overdue,
		},
	[REGISTRATION_LEAVING] =
		{
			[REGISTRATION_START] = ask,
			[REGISTRATION_ACCEPTED] = forget,
			[REGISTRATION_TOO_BRIEF] = forget,
			[REGISTRATION_UNBOUND] = forget,
			[REGISTRATION_REFUSED] = forget,
			[REGISTRATION_TIMER] = forget,
		},
};

void registration_core_init(struct registration_core *core, unsigned expires_sec,
                            const struct registration_limits *limits)
{
	*core = (struct registration_core){.asked_sec = expires_sec, .limits = *limits};
}

enum registration_action registration_core_handle(struct registration_core *core,
                                                  const struct registration_input *input)
{
	registration_step *step = steps[core->state][input->event];

	if (!step) {
		core->ignored++;
		return REGISTRATION_NOTHING;
	}
	return step(core, input);
}

unsigned registration_next_interval_msec(unsigned msec)
{
	return msec < T2_MSEC / 2 ? 2 * msec : T2_MSEC;
}

unsigned registration_answer_msec(unsigned retries, unsigned first_msec, unsigned limit_msec)
{
	unsigned interval = first_msec, total = first_msec;

	while (retries-- && total < limit_msec) {
		interval = registration_next_interval_msec(interval);
		total += interval;
	}
	return total < limit_msec ? total : limit_msec;
}

void registration_core_limit_answer(struct registration_core *core, uint64_t now_usec,
                                    unsigned msec)
{
	core->deadline_usec = now_usec + msec * USEC_PER_MSEC;
}

bool registration_core_is_registered(const struct registration_core *core)
{
	return core->expires_at_usec != 0;
}

const char *registration_state_name(enum registration_state state)
{
	static const char *const names[REGISTRATION_STATE_COUNT] = {
		[REGISTRATION_OFF] = "OFF",
		[REGISTRATION_ASKING] = "ASKING",
		[REGISTRATION_WAITING] = "WAITING",
		[REGISTRATION_HELD] = "HELD",
		[REGISTRATION_REFRESHING] = "REFRESHING",
		[REGISTRATION_LEAVING] = "LEAVING",
	};

	return names[state];
}
