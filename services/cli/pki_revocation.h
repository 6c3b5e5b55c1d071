/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Revocation lists (RFC 5280 section 5): whether one that came from outside is believed. Pure: no files, no clock. */
#ifndef VPNSIP_CLI_PKI_REVOCATION_H
#define VPNSIP_CLI_PKI_REVOCATION_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/** All lists of a PEM text, or the only one of DER octets; empty when there is none in it. Free it with its members. */
STACK_OF(X509_CRL) * pki_parse_lists(const char *octets, size_t size);

/** The CA whose name the list bears and whose key signed it; NULL when it is none of these. */
X509 *pki_list_issuer(X509_CRL *list, const STACK_OF(X509) * authorities);

/** The list of the same issuer; NULL when there is none. */
X509_CRL *pki_list_of_issuer(STACK_OF(X509_CRL) * lists, const X509_NAME *issuer);

/**
 * Why this list must not take the place of `previous` (NULL = none): forged, out of date, older than that, or only a part.
 * NULL = it may.
 */
const char *pki_list_objection(X509_CRL *list, X509 *issuer, const X509_CRL *previous, time_t now);

/**
 * Addresses (http, https) where the list that covers this certificate is fetched; they are alternatives. At most `most`.
 * Free each with OPENSSL_free().
 */
size_t pki_list_addresses(const X509 *certificate, char *addresses[], size_t most);

#endif
