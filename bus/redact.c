/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/redact.h"

#include <stdlib.h>
#include <string.h>

#include "shared.pb-c.h"

typedef int visit_fn(Vpnsip__Secret *secret);

bool redact_is_secret(const ProtobufCFieldDescriptor *field)
{
	return field->type == PROTOBUF_C_TYPE_MESSAGE &&
	       field->descriptor == &vpnsip__secret__descriptor;
}

static int visit_secrets(const ProtobufCMessage *message, visit_fn *visit)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;

	if (type == &vpnsip__secret__descriptor)
		return visit((Vpnsip__Secret *)message);
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		const uint8_t *octets = (const uint8_t *)message;
		const void *member = octets + field->offset;
		const void *quantifier = octets + field->quantifier_offset;
		ProtobufCMessage *const *first = member;
		size_t count = 1;

		if (field->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			first = *(ProtobufCMessage *const *const *)member;
			count = *(const size_t *)quantifier;
		} else if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
		           *(const uint32_t *)quantifier != field->id) {
			continue;
		}
		for (size_t at = 0; at < count; at++)
			if (first[at] != NULL && visit_secrets(first[at], visit) != 0)
				return -1;
	}
	return 0;
}

static int wipe(Vpnsip__Secret *secret)
{
	if (secret->octets.data != NULL)
		explicit_bzero(secret->octets.data, secret->octets.len);
	return 0;
}

static int redact(Vpnsip__Secret *secret)
{
	char *text = strdup(REDACTED_TEXT);

	if (text == NULL)
		return -1;
	wipe(secret);
	free(secret->octets.data);
	secret->octets.data = (uint8_t *)text;
	secret->octets.len = strlen(text);
	return 0;
}

int redact_message(ProtobufCMessage *message)
{
	return visit_secrets(message, redact);
}

void redact_wipe(const ProtobufCMessage *message)
{
	visit_secrets(message, wipe);
}
