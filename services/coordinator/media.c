/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/media.h"

#include <stdio.h>
#include <string.h>

#include "services/common/address.h"

void media_to_message(struct media_message *filled, struct media *media)
{
	Vpnsip__MediaDescription *message = &filled->message;

	vpnsip__media_description__init(message);
	vpnsip__socket_address__init(&filled->address);
	address_to_proto(&media->address, &filled->address);
	message->address = &filled->address;
	message->bandwidth_kbit = media->bandwidth_kbit;
	message->role = media->role;
	for (size_t i = 0; i < media->fingerprint_count; i++) {
		struct fingerprint *from = &media->fingerprints[i];
		Vpnsip__Fingerprint *to = &filled->fingerprints[i];

		vpnsip__fingerprint__init(to);
		to->subject = from->subject;
		to->hash = from->hash;
		to->value = (ProtobufCBinaryData){.data = from->value, .len = from->size};
		filled->list[i] = to;
	}
	message->fingerprints = filled->list;
	message->n_fingerprints = media->fingerprint_count;
}

void media_read_fingerprints(struct media *media, Vpnsip__Fingerprint **list, size_t count)
{
	media->fingerprint_count = 0;
	for (size_t i = 0; i < count && media->fingerprint_count < FINGERPRINTS_MAXIMUM; i++) {
		struct fingerprint *to = &media->fingerprints[media->fingerprint_count];

		if (list[i]->value.len > sizeof(to->value))
			continue;
		to->subject = list[i]->subject;
		snprintf(to->hash, sizeof(to->hash), "%s", list[i]->hash);
		memcpy(to->value, list[i]->value.data, list[i]->value.len);
		to->size = list[i]->value.len;
		media->fingerprint_count++;
	}
}

void media_from_message(struct media *media, const Vpnsip__MediaDescription *message)
{
	memset(media, 0, sizeof(*media));
	address_from_proto(message->address, &media->address);
	media->bandwidth_kbit = message->bandwidth_kbit;
	media->role = message->role;
	media_read_fingerprints(media, message->fingerprints, message->n_fingerprints);
}
