/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whether a peer's certificate is believed, and if not, why. Pure: files were read before, the time is given. */
#ifndef VPNSIP_IKE_CERTIFICATE_VERIFY_H
#define VPNSIP_IKE_CERTIFICATE_VERIFY_H

#include "services/common/certificate_store.h"
#include "services/ike-agent/ike_engine.h"

/** In the order in which they are looked for; a certificate with several faults has the first. */
enum certificate_fault {
	CERTIFICATE_GOOD = 0,
	CERTIFICATE_DAMAGED,
	CERTIFICATE_FINGERPRINT,   /* it is not the one that SDP announced, or not the pinned one */
	CERTIFICATE_NOT_YET_VALID, /* it or one of its chain, as the next two */
	CERTIFICATE_EXPIRED,
	CERTIFICATE_REVOKED,
	CERTIFICATE_NO_LIST,         /* no valid revocation list, and one is required */
	CERTIFICATE_NOT_SELF_SIGNED, /* or its own signature is wrong */
	CERTIFICATE_UNTRUSTED,       /* no chain to one of our roots */
	CERTIFICATE_WEAK,            /* key or signature algorithm */
	CERTIFICATE_NOT_FOR_SIGNING, /* its keyUsage forbids what it is used for */
	CERTIFICATE_MAP,             /* the rules of the certificate-map do not hold */
};

struct certificate_verdict {
	enum certificate_fault fault;
	char cause[ENGINE_CAUSE_SIZE]; /* a sentence; names serial and issuer where that matters */
};

/** What is expected of the peer. */
struct certificate_expectation {
	const struct config_peer *peer; /* its profile and its pin */
	const struct engine_pin *pins;  /* of SDP; empty: none was announced */
	size_t pin_count;
};

/**
 * Judges a certificate and what the peer sent beside it, against the roots and lists of `store` as of `now`. A self-signed one needs a
 * fingerprint from SDP or configuration: without either nobody is believed.
 */
struct certificate_verdict certificate_verify(const struct certificate_store *store,
                                              const struct certificate_expectation *expected,
                                              X509 *certificate, STACK_OF(X509) * others,
                                              time_t now);

/** The hash by which a good certificate was told: of the call's fingerprint that fits, else of the pin, else SHA-256. */
const char *certificate_known_by(const struct certificate_expectation *expected, X509 *certificate);

/** Writes "SHA-256 AB:CD...", the fingerprint under this hash for people; "" for a certificate that cannot be encoded. */
void certificate_print_fingerprint(X509 *certificate, const char *hash, char *text, size_t size);

/** The certificate's fingerprint under this hash; 0 if we do not use it. */
size_t certificate_fingerprint(X509 *certificate, const char *hash, uint8_t fingerprint[64]);

/** The hash of the certificate's own signature as SDP names it, "SHA-384"; NULL for one without a name there. */
const char *certificate_signature_hash(const X509 *certificate);

#endif
