/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One side's SDP between the core's form and the messages'. Pure. */
#ifndef VPNSIP_COORDINATOR_MEDIA_H
#define VPNSIP_COORDINATOR_MEDIA_H

#include "services/coordinator/session.h"

/** A MediaDescription with everything that it points to. */
struct media_message {
	Vpnsip__MediaDescription message;
	Vpnsip__SocketAddress address;
	Vpnsip__Fingerprint fingerprints[FINGERPRINTS_MAXIMUM];
	Vpnsip__Fingerprint *list[FINGERPRINTS_MAXIMUM];
};

/** Fills the message; it points into `media`, which must live as long. */
void media_to_message(struct media_message *filled, struct media *media);

void media_from_message(struct media *media, const Vpnsip__MediaDescription *message);

/** Takes the first FINGERPRINTS_MAXIMUM that fit. */
void media_read_fingerprints(struct media *media, Vpnsip__Fingerprint **list, size_t count);

#endif
