/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Fingerprints in SDP: a=psk-fingerprint (RFC 6193 section 8.2), the hash of the key octets as configured, no NUL, no newline; and
 * a=fingerprint (RFC 8122 section 5), the hash of the certificate in DER.
 */
#ifndef VPNSIP_IKE_FINGERPRINT_H
#define VPNSIP_IKE_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FINGERPRINT_MAX 64

/**
 * Writes the fingerprint of the octets under the hash of that name ("SHA-1" to "SHA-512"; any case) and returns its size,
 * or 0 if we do not use that hash.
 */
size_t fingerprint_compute(const char *hash, const uint8_t *octets, size_t size,
                           uint8_t fingerprint[FINGERPRINT_MAX]);

/** True if the octets have this fingerprint. Constant time in the fingerprint's value. */
bool fingerprint_fits(const uint8_t *octets, size_t size, const char *hash,
                      const uint8_t *fingerprint, size_t fingerprint_size);

#endif
