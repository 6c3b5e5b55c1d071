/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests are point to point: only the ends can show them. They do so as events while a tap is enabled. */
#include <stdlib.h>
#include <string.h>

#include "bus/frame.h"
#include "bus/internal.h"
#include "bus/redact.h"

#define LIFETIME_LIMIT_SEC 3600
/** Room for the Tapped envelope around the mirrored one. */
#define OUTER_SIZE         256

struct mirrored {
	struct bus *bus;
	Vpnsip__TapPoint point;
	Vpnsip__Service peer;
	size_t size;
	uint8_t octets[];
};

void tap_enable(struct bus *bus, unsigned lifetime_sec)
{
	if (lifetime_sec > LIFETIME_LIMIT_SEC)
		lifetime_sec = LIFETIME_LIMIT_SEC;
	atomic_store(&bus->tap_until_usec,
	             lifetime_sec == 0 ? 0 : bus_mono_usec(bus) + lifetime_sec * UINT64_C(1000000));
}

static bool is_tapped(struct bus *bus)
{
	uint64_t until = atomic_load(&bus->tap_until_usec);

	return until != 0 && bus_mono_usec(bus) < until;
}

void tap_mirror(struct bus *bus, Vpnsip__TapPoint point, Vpnsip__Service peer,
                const uint8_t *octets, size_t size)
{
	Vpnsip__Tapped tapped = VPNSIP__TAPPED__INIT;
	Vpnsip__Envelope *envelope;

	if (!is_tapped(bus) || (envelope = frame_unpack(octets, size)) == NULL)
		return;
	if (redact_message(&envelope->base) == 0)
		tapped.envelope.data = envelope_pack(envelope, &tapped.envelope.len);
	tapped.point = point;
	tapped.peer = peer;
	/* One that leaves no room for its mirror's own header is not shown. */
	if (tapped.envelope.data != NULL &&
	    tapped.envelope.len <= TRANSPORT_MESSAGE_LIMIT - OUTER_SIZE)
		events_publish_unnumbered(bus, NULL, &tapped.base);
	free(tapped.envelope.data);
	bus_free_envelope(envelope);
}

static void mirror_posted(void *context)
{
	struct mirrored *mirrored = context;

	tap_mirror(mirrored->bus, mirrored->point, mirrored->peer, mirrored->octets,
	           mirrored->size);
	explicit_bzero(mirrored->octets, mirrored->size);
	free(mirrored);
}

void tap_mirror_posted(struct bus *bus, Vpnsip__TapPoint point, Vpnsip__Service peer,
                       const uint8_t *octets, size_t size)
{
	struct mirrored *mirrored;

	if (!is_tapped(bus) || (mirrored = malloc(sizeof(*mirrored) + size)) == NULL)
		return;
	mirrored->bus = bus;
	mirrored->point = point;
	mirrored->peer = peer;
	mirrored->size = size;
	memcpy(mirrored->octets, octets, size);
	bus_post(bus, mirror_posted, mirrored);
}
