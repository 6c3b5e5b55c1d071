/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may send which body to whom: one table, checked by the sender and by the receiver. */
#ifndef VPNSIP_BUS_PERMISSIONS_H
#define VPNSIP_BUS_PERMISSIONS_H

#include <stdbool.h>

#include "envelope.pb-c.h"

/** What a request may be answered with, Failed aside. */
enum reply_rule { REPLY_DONE, REPLY_BODY, REPLY_SNAPSHOT };

struct permission {
	Vpnsip__Envelope__BodyCase body;
	Vpnsip__EnvelopeKind kind;
	unsigned senders;                 /* BUS_SERVICE() set */
	unsigned receivers;               /* BUS_SERVICE() set; of an event: all */
	enum reply_rule reply_rule;       /* requests only */
	Vpnsip__Envelope__BodyCase reply; /* with REPLY_BODY */
	bool is_reading;                  /* changes nothing: a repeated one is answered anew */
	/* Passes on what came over the network, where it may come twice: a repeated one is not known again, none is traced. */
	bool is_packet;
	bool is_for_root; /* for root, and the user that the service runs as */
	/*
	 * It begins something, and may be refused by an overloaded service. So many may be unanswered at one sender before
	 * it does not even send them. 0 = is never shed: it ends or repairs something.
	 */
	unsigned shed_above;
};

/** NULL for a body that does not exist. */
const struct permission *permission_of(Vpnsip__Envelope__BodyCase body);

/** May `source` send this body, as this kind, to `to` (SERVICE_UNSPECIFIED for events)? */
bool is_permitted(Vpnsip__Envelope__BodyCase body, Vpnsip__EnvelopeKind kind,
                  Vpnsip__Service source, Vpnsip__Service to);

/** Is `reply` a possible answer of `replier` to `order`? Failed always is. */
bool is_reply_to(Vpnsip__Envelope__BodyCase reply, Vpnsip__Envelope__BodyCase order,
                 Vpnsip__Service replier);

#endif
