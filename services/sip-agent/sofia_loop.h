/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sofia-sip's event loop inside libevent, on one thread. */
#ifndef VPNSIP_SIP_SOFIA_LOOP_H
#define VPNSIP_SIP_SOFIA_LOOP_H

#include <sofia-sip/su_wait.h>

struct event_base;
struct sofia_loop;

/** NULL after logging why. Not before the last fork. */
struct sofia_loop *sofia_loop_open(struct event_base *base);

void sofia_loop_close(struct sofia_loop *loop);

su_root_t *sofia_loop_root(struct sofia_loop *loop);

/**
 * To be called after sofia was used from outside its own callbacks: it neither wakes itself nor
 * tells libevent of new timers.
 */
void sofia_loop_wake(struct sofia_loop *loop);

#endif
