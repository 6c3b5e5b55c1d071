/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/pki_revocation.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

#define CLOCK_TOLERANCE_SEC 300 /* a CA's clock may be ahead of ours */

STACK_OF(X509_CRL) * pki_parse_lists(const char *octets, size_t size)
{
	STACK_OF(X509_CRL) *lists = sk_X509_CRL_new_null();
	BIO *bio = BIO_new_mem_buf(octets, (int)size);
	const unsigned char *at = (const unsigned char *)octets;
	X509_CRL *list;

	while (lists && bio && (list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)))
		sk_X509_CRL_push(lists, list);
	if (lists && sk_X509_CRL_num(lists) == 0 && (list = d2i_X509_CRL(NULL, &at, (long)size)))
		sk_X509_CRL_push(lists, list);
	ERR_clear_error();
	BIO_free(bio);
	return lists;
}

static bool has_name_of(X509_CRL *list, const X509 *authority)
{
	return X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(authority)) == 0;
}

X509 *pki_list_issuer(X509_CRL *list, const STACK_OF(X509) * authorities)
{
	X509 *issuer = NULL;

	for (int i = 0; !issuer && i < sk_X509_num(authorities); i++) {
		X509 *authority = sk_X509_value(authorities, i);

		if (has_name_of(list, authority) &&
		    X509_CRL_verify(list, X509_get0_pubkey(authority)) == 1)
			issuer = authority;
	}
	ERR_clear_error();
	return issuer;
}

X509_CRL *pki_list_of_issuer(STACK_OF(X509_CRL) * lists, const X509_NAME *issuer)
{
	for (int i = 0; lists && i < sk_X509_CRL_num(lists); i++)
		if (!X509_NAME_cmp(X509_CRL_get_issuer(sk_X509_CRL_value(lists, i)), issuer))
			return sk_X509_CRL_value(lists, i);
	return NULL;
}

/* A list for some reasons, some certificates, or in another's name says nothing about the rest. */
static bool is_part(X509_CRL *list)
{
	ISSUING_DIST_POINT *scope = X509_CRL_get_ext_d2i(list, NID_issuing_distribution_point, NULL,
	                                                 NULL);
	bool is_part = X509_CRL_get_ext_by_NID(list, NID_delta_crl, -1) >= 0 ||
	               (scope && (scope->onlyuser > 0 || scope->onlyCA > 0 || scope->onlyattr > 0 ||
	                          scope->indirectCRL > 0 || scope->onlysomereasons));

	ISSUING_DIST_POINT_free(scope);
	return is_part;
}

static bool has_unknown_critical(const X509_CRL *list)
{
	for (int i = 0; i < X509_CRL_get_ext_count(list); i++) {
		X509_EXTENSION *extension = X509_CRL_get_ext(list, i);
		int kind = OBJ_obj2nid(X509_EXTENSION_get_object(extension));

		if (X509_EXTENSION_get_critical(extension) &&
		    kind != NID_issuing_distribution_point && kind != NID_delta_crl)
			return true;
	}
	return false;
}

/* By its number where both have one, else by its date. */
static bool is_older(const X509_CRL *list, const X509_CRL *previous)
{
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL);
	ASN1_INTEGER *before = X509_CRL_get_ext_d2i(previous, NID_crl_number, NULL, NULL);
	bool is_older = number && before
	                        ? ASN1_INTEGER_cmp(number, before) < 0
	                        : ASN1_TIME_compare(X509_CRL_get0_lastUpdate(list),
	                                            X509_CRL_get0_lastUpdate(previous)) < 0;

	ASN1_INTEGER_free(number);
	ASN1_INTEGER_free(before);
	return is_older;
}

const char *pki_list_objection(X509_CRL *list, X509 *issuer, const X509_CRL *previous, time_t now)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list);
	time_t latest = now + CLOCK_TOLERANCE_SEC;

	if (X509_CRL_verify(list, X509_get0_pubkey(issuer)) != 1 || !has_name_of(list, issuer)) {
		ERR_clear_error();
		return "it is not signed by its CA";
	}
	if (!(X509_get_key_usage(issuer) & KU_CRL_SIGN))
		return "its CA may not sign revocation lists";
	if (X509_cmp_time(X509_CRL_get0_lastUpdate(list), &latest) > 0)
		return "it is not yet valid";
	if (!next)
		return "it does not say when the next one comes";
	if (X509_cmp_time(next, &now) < 0)
		return "it has expired";
	if (is_part(list) || has_unknown_critical(list))
		return "it covers only a part of what the CA has signed";
	if (previous && is_older(list, previous))
		return "it is older than the one that is there";
	return NULL;
}

static bool is_fetchable(const GENERAL_NAME *name)
{
	const char *text;

	if (name->type != GEN_URI)
		return false;
	text = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
	return (strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0) &&
	       strlen(text) == (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier);
}

size_t pki_list_addresses(const X509 *certificate, char *addresses[], size_t most)
{
	CRL_DIST_POINTS *points = X509_get_ext_d2i(certificate, NID_crl_distribution_points, NULL,
	                                           NULL);
	size_t count = 0;

	for (int i = 0; points && i < sk_DIST_POINT_num(points); i++) {
		const DIST_POINT_NAME *where = sk_DIST_POINT_value(points, i)->distpoint;
		const GENERAL_NAMES *names = where && where->type == 0 ? where->name.fullname
		                                                       : NULL;

		for (int j = 0; names && j < sk_GENERAL_NAME_num(names) && count < most; j++) {
			const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, j);

			if (is_fetchable(name))
				addresses[count++] =
					OPENSSL_strdup((const char *)ASN1_STRING_get0_data(
						name->d.uniformResourceIdentifier));
		}
	}
	CRL_DIST_POINTS_free(points);
	return count;
}
