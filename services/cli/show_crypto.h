/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the show crypto commands have in common: one model of a session, from what ike-agent, tunnel-agent and the coordinator
 * tell of it, and how its parts look as text. Pure.
 */
#ifndef VPNSIP_CLI_SHOW_CRYPTO_H
#define VPNSIP_CLI_SHOW_CRYPTO_H

#include "services/cli/show.h"

/**
 * {"sessions": [...], "is_detail": ...}: one a tunnel, or only that of the number in `words`. Each has "ike_sa" (null when no
 * IKE_SA is up), "child" (null when there is none) and "sas", the security associations that tunnel-agent holds.
 */
json_t *crypto_sessions_model(const struct show_input *input);

/** Whether no call stands behind the session; it still bears the number of its last attempt. */
bool crypto_is_resting(const Vpnsip__SessionChanged *session);

/** As an address and a mask: "0.0.0.0/0.0.0.0"; of IPv6 "::/0". */
const char *selector_with_mask(const char *selector, char text[100]);

/** As the first and the last address with their ports: "0.0.0.0/0 - 255.255.255.255/65535". */
const char *selector_as_range(const char *selector, char text[120]);

/** "esp-aes 256 esp-sha256-hmac" of a child or of an SA's suite. */
const char *suite_as_transform(const json_t *suite, char text[80]);

/** The first selector of a child's list; "" when there is none. */
const char *first_selector(const json_t *child, const char *key);

/** Octets of the initialisation vector that each ESP packet carries. */
int suite_iv_octets(const json_t *suite);

#endif
