/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Session timers (RFC 4028): who refreshes a call, how often, and when silence ends it. Pure. */
#ifndef VPNSIP_SIP_SESSION_TIMER_H
#define VPNSIP_SIP_SESSION_TIMER_H

#include <stdbool.h>
#include <stdint.h>

enum session_refresher { REFRESHER_UNSPECIFIED, REFRESHER_UAC, REFRESHER_UAS };

/** What a request or a 2xx says. */
struct session_timer_terms {
	unsigned interval_sec; /* Session-Expires; 0 = header absent */
	enum session_refresher refresher;
	unsigned minimum_sec; /* Min-SE; 0 = header absent */
	bool supports_timer;  /* "timer" in Supported or Require */
};

/** The timer of a call as agreed. */
struct session_timer {
	unsigned interval_sec; /* 0 = no timer */
	bool is_refresher;     /* we send the refreshes */
};

/** What our side wants: Session-Expires, and the smallest interval that it bears (Min-SE, section 4). */
struct session_timer_wish {
	unsigned interval_sec, minimum_sec;
};

/**
 * As UAC: what the 2xx means, when we asked for `ours`. Without Session-Expires we refresh alone, so that a dead call is
 * noticed.
 */
struct session_timer session_timer_of_answer(const struct session_timer_terms *answer,
                                             const struct session_timer_wish *ours);

/**
 * As UAS: the terms of our 2xx to a request, and the timer that they make. Our interval is
 * `ours->interval_sec` at the most. False when the request must be answered 422 (its interval is below our
 * minimum, and its sender would understand).
 */
bool session_timer_answer(const struct session_timer_terms *request,
                          const struct session_timer_wish *ours, struct session_timer_terms *answer,
                          struct session_timer *timer);

/** Seconds from the last refresh to the next one that we send: half the interval. */
unsigned session_timer_refresh_sec(const struct session_timer *timer);

/** Seconds from the last refresh to our BYE when none came: interval - min(32 s, interval / 3). */
unsigned session_timer_expiry_sec(const struct session_timer *timer);

#endif
