/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Our names of ESP algorithms and the kernel's, in both directions. Pure. */
#ifndef VPNSIP_XFRM_ALGORITHMS_H
#define VPNSIP_XFRM_ALGORITHMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/tunnel-agent/esp.h"

/** One encryption algorithm as the kernel's crypto API calls it. */
struct xfrm_cipher {
	Vpnsip__EncryptionAlgorithm encryption;
	const char *kernel_name;
	const char *shown_name;
	unsigned salt_octets; /* at the end of the key; not part of the size that is shown */
	unsigned icv_bits;    /* of an AEAD; 0 = an integrity algorithm is needed */
	unsigned key_octets[3];
};

struct xfrm_digest {
	Vpnsip__IntegrityAlgorithm integrity;
	const char *kernel_name;
	const char *shown_name;
	unsigned key_octets;
	unsigned icv_bits;
};

/** NULL when the kernel has no such algorithm. */
const struct xfrm_cipher *xfrm_find_cipher(Vpnsip__EncryptionAlgorithm encryption);
const struct xfrm_digest *xfrm_find_digest(Vpnsip__IntegrityAlgorithm integrity);

const struct xfrm_cipher *xfrm_find_cipher_name(const char *kernel_name);
const struct xfrm_digest *xfrm_find_digest_name(const char *kernel_name);

/** Whether algorithms and key sizes fit together; a constant text in `why` if not. */
bool xfrm_check_options(const struct esp_options *options, const char **why);

/**
 * As shown to the operator, in the words of the user-space back end: "AES-GCM-16 128 ESN". `digest` is NULL with an AEAD.
 */
void xfrm_print_algorithms(const struct xfrm_cipher *cipher, const struct xfrm_digest *digest,
                           size_t key_octets, bool is_extended, char *text, size_t text_size);

#endif
