/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What sofia-sip logs, as our debug lines, without credentials. */
#ifndef VPNSIP_SIP_SOFIA_LOG_H
#define VPNSIP_SIP_SOFIA_LOG_H

#include <stdbool.h>

/** Takes over sofia's logs; its messages are written only when our log level is LOG_DEBUG. */
void sofia_log_open(void);

/** Whether SIP messages are to be logged: the transports ask once, when they are opened. */
bool sofia_log_wants_messages(void);

#endif
