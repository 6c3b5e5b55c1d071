/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/tls_subject.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "services/common/address.h"

/* The text of a DNS name or URI; NULL when it has a NUL in it, with which others were deceived. */
static const char *plain_text(const ASN1_IA5STRING *value)
{
	const char *text = (const char *)ASN1_STRING_get0_data(value);

	return strlen(text) == (size_t)ASN1_STRING_length(value) ? text : NULL;
}

/* "sip:example.com" names the domain; a user part would name a user (RFC 5922 section 7.1). */
static bool is_domain_uri(const char *uri, const char *name)
{
	return strncasecmp(uri, "sip:", 4) == 0 && strcasecmp(uri + 4, name) == 0;
}

static bool is_common_name(X509 *certificate, const char *name)
{
	char text[256];
	const int length = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate),
	                                             NID_commonName, text, sizeof(text));

	return length > 0 && strlen(text) == (size_t)length && strcasecmp(text, name) == 0;
}

bool tls_subject_names(X509 *certificate, const char *name)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	bool has_names = false, is_named = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !is_named; i++) {
		const GENERAL_NAME *alternative = sk_GENERAL_NAME_value(names, i);
		int kind;
		const ASN1_IA5STRING *value = GENERAL_NAME_get0_value(alternative, &kind);
		const char *text = kind == GEN_DNS || kind == GEN_URI ? plain_text(value) : NULL;

		has_names = has_names || kind == GEN_DNS || kind == GEN_URI;
		is_named = text && (kind == GEN_DNS ? strcasecmp(text, name) == 0
		                                    : is_domain_uri(text, name));
	}
	GENERAL_NAMES_free(names);
	return is_named || (!has_names && is_common_name(certificate, name));
}

bool tls_subject_names_address(X509 *certificate, const struct sockaddr_storage *address)
{
	size_t size;
	const uint8_t *octets = address_octets(address, &size);

	return octets && X509_check_ip(certificate, octets, size, 0) == 1;
}

static void append(char *text, size_t size, const char *name)
{
	const size_t length = strlen(text);

	snprintf(text + length, size - length, "%s%s", length ? ", " : "", name);
}

static void append_address(char *text, size_t size, const ASN1_OCTET_STRING *address)
{
	const int length = ASN1_STRING_length(address);
	char host[INET6_ADDRSTRLEN];

	if ((length == 4 || length == 16) &&
	    inet_ntop(length == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), host,
	              sizeof(host)))
		append(text, size, host);
}

const char *tls_subject_print(X509 *certificate, char *text, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

	text[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		int kind;
		const ASN1_IA5STRING *value =
			GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);

		if (kind == GEN_IPADD)
			append_address(text, size, value);
		else if ((kind == GEN_DNS || kind == GEN_URI) && plain_text(value))
			append(text, size, plain_text(value));
	}
	GENERAL_NAMES_free(names);
	if (!text[0] && X509_NAME_get_text_by_NID(X509_get_subject_name(certificate),
	                                          NID_commonName, text, (int)size) <= 0)
		X509_NAME_oneline(X509_get_subject_name(certificate), text, (int)size);
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return text;
}
