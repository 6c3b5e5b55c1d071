/* SPDX-License-Identifier: GPL-3.0-or-later */
/* a=psk-fingerprint (RFC 6193 section 8.2): the hash of the key octets as configured, no NUL, no newline. */
#ifndef VPNSIP_PSK_FINGERPRINT_H
#define VPNSIP_PSK_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PSK_FINGERPRINT_MAX 64

/**
 * Writes the fingerprint of the key under the hash of that name ("SHA-1" to "SHA-512"; any case) and returns its size,
 * or 0 if we do not use that hash.
 */
size_t psk_fingerprint(const char *hash, const uint8_t *key, size_t key_size,
                       uint8_t fingerprint[PSK_FINGERPRINT_MAX]);

/** True if the key has this fingerprint. Constant time in the fingerprint's value. */
bool psk_has_fingerprint(const uint8_t *key, size_t key_size, const char *hash,
                         const uint8_t *fingerprint, size_t size);

#endif
