/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/certificate_anchor.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

#define LIFE_SEC (3650L * 86400)

static bool fill(X509 *anchor, EVP_PKEY *key)
{
	X509_NAME *name = X509_get_subject_name(anchor);
	X509_EXTENSION *constraints = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints,
	                                                  "critical,CA:TRUE");
	bool is_filled = constraints && X509_set_version(anchor, X509_VERSION_3) == 1 &&
	                 ASN1_INTEGER_set(X509_get_serialNumber(anchor), 1) == 1 &&
	                 X509_gmtime_adj(X509_getm_notBefore(anchor), 0) &&
	                 X509_gmtime_adj(X509_getm_notAfter(anchor), LIFE_SEC) &&
	                 X509_set_pubkey(anchor, key) == 1 &&
	                 X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	                                            (const unsigned char *)"any", -1, -1, 0) == 1 &&
	                 X509_set_issuer_name(anchor, name) == 1 &&
	                 X509_add_ext(anchor, constraints, -1) == 1 &&
	                 X509_sign(anchor, key, EVP_sha256()) > 0;

	X509_EXTENSION_free(constraints);
	return is_filled;
}

X509 *certificate_make_anchor(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *anchor = X509_new();

	if (!key || !anchor || !fill(anchor, key)) {
		X509_free(anchor);
		anchor = NULL;
	}
	EVP_PKEY_free(key);
	return anchor;
}
