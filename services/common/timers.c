/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/timers.h"

#define SEC(n)  ((n)*1000u)
#define MIN(n)  SEC((n)*60)
#define HOUR(n) MIN((n)*60)

const struct timer_definition timer_definitions[TIMER_COUNT] = {
	[TIMER_ANSWER] = {"answer", SEC(32), SEC(5), MIN(3),
                          "INVITE to the first response that says more than 100"},
	[TIMER_RINGING] = {"ringing", SEC(30), SEC(5), MIN(3), "180 to the final response"},
	[TIMER_IKE] = {"ike", SEC(30), SEC(5), MIN(2), "answered call to IPsec SA"},
	[TIMER_RELEASE] = {"release", SEC(1), 500, SEC(5),
                           "longest wait for the services to take a session down"},
	[TIMER_HOLDDOWN] = {"holddown", SEC(30), SEC(5), MIN(10),
                            "pause after a failed own call, doubles with each failure"},
	[TIMER_HOLDDOWN_MAXIMUM] = {"holddown-maximum", MIN(5), SEC(30), HOUR(1),
                                    "longest pause after failed own calls"},
	[TIMER_GLARE] = {"glare", SEC(5), SEC(1), SEC(30),
                         "the higher number waits this long for the other side's call"},
	[TIMER_REGISTER] = {"register", SEC(5), SEC(2), SEC(32), "REGISTER to the final response"},
	[TIMER_REGISTER_RETRY] = {"register-retry", SEC(30), SEC(5), MIN(10),
                                  "pause after a failed registration, doubles with each failure"},
	[TIMER_HOLD] = {"hold", SEC(10), SEC(1), SEC(30), "first packets are held this long"},
	/* RFC 4028 section 4: Min-SE is at least 90 s. */
	[TIMER_SESSION_EXPIRES] = {"session-expires", MIN(5), SEC(90), HOUR(1),
                                   "SIP session timer: an orphaned call ends after this"},
	[TIMER_SESSION_MINIMUM] = {"session-minimum", SEC(90), SEC(90), HOUR(1),
                                   "shortest SIP session timer that is agreed to (Min-SE)"},
	[TIMER_PORT_REUSE] = {"port-reuse", SEC(10), SEC(5), MIN(4),
                              "a session port rests this long after use"},
	[TIMER_FAILBACK] = {"failback", MIN(1), SEC(10), HOUR(1),
                            "the primary path is stable this long before traffic returns"},
	[TIMER_CALL_WARNING] = {"call-warning", HOUR(1), MIN(1), HOUR(24),
                                "a call this long is warned about"},
};
