/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What sofia-sip logs, as our debug lines, without credentials. */
#ifndef VPNSIP_SIP_SOFIA_LOG_H
#define VPNSIP_SIP_SOFIA_LOG_H

/** Takes over sofia's logs: its warnings at `sip error`, everything at `sip verbose` or log level debug. */
void sofia_log_open(void);

/** Brings sofia's level to what is wanted now; the switches change at run time. */
void sofia_log_adjust(void);

#endif
