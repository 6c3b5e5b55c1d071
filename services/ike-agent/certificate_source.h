/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A trustpoint of IKE: what its files hold now, loaded anew when somebody has renewed them. */
#ifndef VPNSIP_IKE_CERTIFICATE_SOURCE_H
#define VPNSIP_IKE_CERTIFICATE_SOURCE_H

#include "services/common/certificate_store.h"

struct certificate_source;

/** Nothing is loaded yet. NULL when out of memory. */
struct certificate_source *certificate_source_new(const struct config_trustpoint *trustpoint);
void certificate_source_free(struct certificate_source *source);

/**
 * Loads the files if one has changed. True if something else holds now. A fault is logged once and what was loaded before stays in use:
 * a half-written file must not cost it. One thread.
 */
bool certificate_source_refresh(struct certificate_source *source);

/** What was loaded last, to be released by the caller; NULL if nothing could be. Any thread. */
struct certificate_store *certificate_source_hold(struct certificate_source *source);

/** Why the last attempt to load failed; "" = it went well. The refreshing thread. */
const char *certificate_source_cause(const struct certificate_source *source);

const struct config_trustpoint *certificate_source_trustpoint(
	const struct certificate_source *source);

#endif
