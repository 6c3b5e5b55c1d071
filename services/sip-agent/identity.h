/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who calls, and whether that is somebody whom we serve (RFC 3325). Pure. */
#ifndef VPNSIP_SIP_IDENTITY_H
#define VPNSIP_SIP_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>

#include "services/common/config.h"
#include "services/sip-agent/number.h"

/** Values of P-Asserted-Identity that are looked at: a sip and a tel URI at the most, a third makes it unusable. */
#define IDENTITY_ASSERTED_MAXIMUM 3

/** What a request says; from a proxy that is trusted, for nobody else's requests come this far. The texts are URIs. */
struct identity_claim {
	const char *asserted[IDENTITY_ASSERTED_MAXIMUM];
	size_t asserted_count;
	const char *from;         /* NULL = none */
	const char *called_party; /* P-Called-Party-ID; NULL = none */
	const char *to;           /* NULL = none */
};

enum identity_verdict {
	IDENTITY_ACCEPTED,
	IDENTITY_WITHHELD, /* no number, or an anonymous one */
	IDENTITY_UNUSABLE, /* no telephone number, or two different ones */
	IDENTITY_UNKNOWN,  /* no peer of this line */
	IDENTITY_NOT_OURS, /* another number than the line's was called */
};

/** `number` becomes the caller's in the form of the configuration, "" unless it is known. */
enum identity_verdict identity_judge(const struct config *config, const struct config_line *line,
                                     const struct identity_claim *claim, char number[NUMBER_SIZE]);

#endif
