/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/session_timer.h"

struct session_timer session_timer_of_answer(const struct session_timer_terms *answer,
                                             const struct session_timer_wish *ours)
{
	if (answer->interval_sec == 0)
		return (struct session_timer){ours->interval_sec, true};
	return (struct session_timer){
		.interval_sec = answer->interval_sec < ours->minimum_sec ? ours->minimum_sec
	                                                                 : answer->interval_sec,
		.is_refresher = answer->refresher != REFRESHER_UAS,
	};
}

bool session_timer_answer(const struct session_timer_terms *request,
                          const struct session_timer_wish *ours, struct session_timer_terms *answer,
                          struct session_timer *timer)
{
	unsigned interval = request->interval_sec ? request->interval_sec : ours->interval_sec;

	if (interval < ours->minimum_sec) {
		if (request->supports_timer && request->interval_sec)
			return false;
		interval = ours->minimum_sec;
	}
	/* Lowering is allowed, but not below what the request names as the least. */
	if (interval > ours->interval_sec)
		interval = ours->interval_sec > request->minimum_sec ? ours->interval_sec
		                                                     : request->minimum_sec;
	if (interval < ours->minimum_sec)
		interval = ours->minimum_sec;
	*answer = (struct session_timer_terms){
		.interval_sec = interval,
		.refresher = request->supports_timer && request->refresher == REFRESHER_UAC
	                             ? REFRESHER_UAC
	                             : REFRESHER_UAS,
		.supports_timer = request->supports_timer,
	};
	*timer = (struct session_timer){interval, answer->refresher == REFRESHER_UAS};
	return true;
}

unsigned session_timer_refresh_sec(const struct session_timer *timer)
{
	return timer->interval_sec / 2;
}

unsigned session_timer_expiry_sec(const struct session_timer *timer)
{
	unsigned third = timer->interval_sec / 3;

	return timer->interval_sec - (third < 32 ? third : 32);
}
