/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/frame.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bus/internal.h"

typedef uint32_t checksum;

static checksum checksum_of(const uint8_t *octets, size_t size)
{
	return htole32((checksum)crc32(0, octets, (uInt)size));
}

uint8_t *frame_pack(const Vpnsip__Envelope *envelope, size_t *size)
{
	size_t inner = vpnsip__envelope__get_packed_size(envelope);
	uint8_t *octets = malloc(inner + sizeof(checksum));
	checksum sum;

	if (octets == NULL)
		return NULL;
	vpnsip__envelope__pack(envelope, octets);
	sum = checksum_of(octets, inner);
	memcpy(octets + inner, &sum, sizeof(sum));
	*size = inner + sizeof(sum);
	return octets;
}

uint8_t *frame_pack_order(struct bus *bus, uint64_t request_id, uint64_t trace_id,
                          const char *session, const ProtobufCMessage *order, unsigned timeout_msec,
                          size_t *size)
{
	Vpnsip__Envelope envelope;

	envelope_init(bus, &envelope, VPNSIP__ENVELOPE_KIND__REQUEST, order);
	envelope.request_id = request_id;
	envelope.trace_id = trace_id;
	envelope.deadline_mono_usec = envelope.sent_mono_usec + (uint64_t)timeout_msec * 1000;
	if (session != NULL)
		envelope.session = (char *)session; /* only packed */
	return frame_pack(&envelope, size);
}

Vpnsip__Envelope *frame_unpack(const uint8_t *octets, size_t size)
{
	checksum sum;

	if (size < sizeof(sum))
		return NULL;
	size -= sizeof(sum);
	memcpy(&sum, octets + size, sizeof(sum));
	return sum == checksum_of(octets, size) ? envelope_unpack(octets, size) : NULL;
}
