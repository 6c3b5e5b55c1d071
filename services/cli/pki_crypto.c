/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Keys, certificates and requests, made and read with OpenSSL. No files but those given. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "services/cli/pki.h"

#define SERIAL_BITS 127

void pki_complain_openssl(const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	command_complain("%s: %s", what, reason ? reason : "OpenSSL does not say why");
	ERR_clear_error();
}

EVP_PKEY *pki_new_key(const char *type)
{
	static const struct {
		const char *name, *curve;
		unsigned bits;
	} types[] = {
		{"rsa:2048", NULL, 2048},  {"rsa:3072", NULL, 3072},  {"rsa:4096", NULL, 4096},
		{"ec:p256", "P-256", 256}, {"ec:p384", "P-384", 384},
	};
	EVP_PKEY *key;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(types[i].name, type) != 0)
			continue;
		key = types[i].curve ? EVP_EC_gen(types[i].curve) : EVP_RSA_gen(types[i].bits);
		if (!key)
			pki_complain_openssl("no key could be made");
		return key;
	}
	command_complain("--type %s: there are rsa:2048, rsa:3072, rsa:4096, ec:p256 and ec:p384",
	                 type);
	return NULL;
}

const char *pki_key_name(const EVP_PKEY *key, char text[32])
{
	const char *kind = EVP_PKEY_get0_type_name(key);

	snprintf(text, 32, "%.10s %s%d", kind ? kind : "?", kind && !strcmp(kind, "EC") ? "P-" : "",
	         EVP_PKEY_get_bits(key));
	return text;
}

/* A key of ours is never encrypted: the service must be able to start alone. */
static int no_passphrase(char *buffer, int size, int writes, void *context)
{
	(void)writes;
	(void)context;
	if (size > 0)
		buffer[0] = '\0';
	return -1;
}

EVP_PKEY *pki_read_key(const char *file)
{
	size_t size;
	char *content = pki_read(file, &size);
	EVP_PKEY *key;
	BIO *bio;

	if (!content)
		return NULL;
	bio = BIO_new_mem_buf(content, (int)size);
	key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	BIO_free(bio);
	OPENSSL_cleanse(content, size);
	free(content);
	if (!key) {
		pki_complain_openssl(file);
		errno = EINVAL;
	}
	return key;
}

STACK_OF(X509) * pki_parse_certificates(const char *octets, size_t size)
{
	STACK_OF(X509) *certificates = sk_X509_new_null();
	BIO *bio = BIO_new_mem_buf(octets, (int)size);
	const unsigned char *at = (const unsigned char *)octets;
	X509 *certificate;

	while (certificates && bio &&
	       (certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)))
		sk_X509_push(certificates, certificate);
	if (certificates && sk_X509_num(certificates) == 0 &&
	    (certificate = d2i_X509(NULL, &at, (long)size)))
		sk_X509_push(certificates, certificate);
	ERR_clear_error();
	BIO_free(bio);
	if (certificates && sk_X509_num(certificates) > 0)
		return certificates;
	sk_X509_free(certificates);
	return NULL;
}

STACK_OF(X509) * pki_read_certificates(const char *file)
{
	size_t size;
	char *content = file ? pki_read(file, &size) : NULL;
	STACK_OF(X509) *certificates = content ? pki_parse_certificates(content, size) : NULL;

	free(content);
	return certificates;
}

const char *pki_fingerprint(const X509 *certificate, const EVP_MD *hash,
                            char text[PKI_FINGERPRINT_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;

	text[0] = '\0';
	if (!X509_digest(certificate, hash, digest, &size))
		return text;
	for (unsigned i = 0; i < size; i++)
		snprintf(text + 3 * i, PKI_FINGERPRINT_SIZE - 3 * i, "%02X%s", digest[i],
		         i + 1 < size ? ":" : "");
	return text;
}

char *pki_name_text(const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *octets, *text = NULL;
	long size;

	if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
		size = BIO_get_mem_data(bio, &octets);
		text = OPENSSL_strndup(octets, (size_t)size);
	}
	BIO_free(bio);
	return text ? text : OPENSSL_strdup("");
}

const char *pki_time_text(const ASN1_TIME *time, char text[32])
{
	struct tm moment;

	text[0] = '\0';
	if (ASN1_TIME_to_tm(time, &moment))
		strftime(text, 32, "%Y-%m-%d %H:%M:%S UTC", &moment);
	return text;
}

/* "CN=host,O=company", the most specific first, as it is shown. */
static bool set_subject(X509_NAME *name, const char *subject)
{
	char copy[512], *rest = copy, *part;

	if (snprintf(copy, sizeof(copy), "%s", subject) >= (int)sizeof(copy))
		return false;
	while ((part = strsep(&rest, ","))) {
		char *value = strchr(part, '=');

		if (!value)
			return false;
		*value++ = '\0';
		part += strspn(part, " ");
		if (!X509_NAME_add_entry_by_txt(name, part, MBSTRING_UTF8,
		                                (const unsigned char *)value, -1, 0, 0))
			return false;
	}
	return true;
}

static bool add_name(GENERAL_NAMES *names, const char *text)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	unsigned char octets[16];
	ASN1_STRING *value;
	int size = inet_pton(AF_INET, text, octets) == 1    ? 4
	           : inet_pton(AF_INET6, text, octets) == 1 ? 16
	                                                    : 0;
	bool is_uri = !strncasecmp(text, "sip:", 4) || !strncasecmp(text, "sips:", 5);

	if (!name)
		return false;
	value = size ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
	if (!value ||
	    !ASN1_STRING_set(value, size ? (const void *)octets : text, size ? size : -1) ||
	    !sk_GENERAL_NAME_push(names, name)) {
		ASN1_STRING_free(value);
		GENERAL_NAME_free(name);
		return false;
	}
	GENERAL_NAME_set0_value(name, size ? GEN_IPADD : is_uri ? GEN_URI : GEN_DNS, value);
	return true;
}

/* All --name: host names, addresses, and SIP domains as URIs (RFC 5922 section 7.1). NULL when there is none. */
static bool collect_names(const struct cli *cli, GENERAL_NAMES **names)
{
	bool is_good = true;

	*names = NULL;
	for (size_t i = 0; i < cli->option_count && is_good; i++) {
		if (strcmp(cli->options[i].name, "name") != 0)
			continue;
		if (!*names)
			*names = sk_GENERAL_NAME_new_null();
		is_good = *names && add_name(*names, cli->options[i].value);
	}
	return is_good;
}

/* What both a certificate and a request carry. */
static STACK_OF(X509_EXTENSION) * make_extensions(const struct cli *cli, const X509 *previous)
{
	STACK_OF(X509_EXTENSION) *extensions = NULL;
	GENERAL_NAMES *names =
		previous ? X509_get_ext_d2i(previous, NID_subject_alt_name, NULL, NULL) : NULL;
	BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
	ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
	EXTENDED_KEY_USAGE *purposes = sk_ASN1_OBJECT_new_null();
	bool is_good =
		constraints && usage && purposes && (previous || collect_names(cli, &names)) &&
		ASN1_BIT_STRING_set_bit(usage, 0, 1) && /* digitalSignature */
		sk_ASN1_OBJECT_push(purposes, OBJ_nid2obj(NID_server_auth)) &&
		sk_ASN1_OBJECT_push(purposes, OBJ_nid2obj(NID_client_auth)) &&
		X509V3_add1_i2d(&extensions, NID_basic_constraints, constraints, 1,
	                        X509V3_ADD_APPEND) == 1 &&
		X509V3_add1_i2d(&extensions, NID_key_usage, usage, 1, X509V3_ADD_APPEND) == 1 &&
		X509V3_add1_i2d(&extensions, NID_ext_key_usage, purposes, 0, X509V3_ADD_APPEND) ==
			1 &&
		(!names || X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 0,
	                                   X509V3_ADD_APPEND) == 1);

	BASIC_CONSTRAINTS_free(constraints);
	ASN1_BIT_STRING_free(usage);
	sk_ASN1_OBJECT_free(purposes);
	GENERAL_NAMES_free(names);
	if (is_good)
		return extensions;
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	return NULL;
}

static bool fill_subject(const struct cli *cli, X509_NAME *name, const char *default_subject)
{
	const char *subject = options_get(cli, "subject");

	if (!subject)
		subject = default_subject;
	if (set_subject(name, subject))
		return true;
	command_complain("the subject \"%s\": expected \"CN=sip.example.ne.jp,O=Example\"",
	                 subject);
	ERR_clear_error();
	return false;
}

static const EVP_MD *hash_for(const EVP_PKEY *key)
{
	return EVP_PKEY_get_bits(key) == 384 ? EVP_sha384() : EVP_sha256();
}

static bool set_serial(X509 *certificate)
{
	BIGNUM *number = BN_new();
	bool is_good = number &&
	               BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
	               BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));

	BN_free(number);
	return is_good;
}

static bool add_extensions(const struct cli *cli, X509 *certificate)
{
	STACK_OF(X509_EXTENSION) *extensions = make_extensions(cli, NULL);
	bool is_good = extensions != NULL;

	for (int i = 0; is_good && i < sk_X509_EXTENSION_num(extensions); i++)
		is_good = X509_add_ext(certificate, sk_X509_EXTENSION_value(extensions, i), -1);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	return is_good;
}

bool pki_self_sign(const struct cli *cli, EVP_PKEY *key, const char *default_subject, unsigned days,
                   X509 **certificate)
{
	X509 *made = X509_new();

	if (!made || !fill_subject(cli, X509_get_subject_name(made), default_subject)) {
		X509_free(made);
		return false;
	}
	if (X509_set_version(made, X509_VERSION_3) && set_serial(made) &&
	    X509_set_issuer_name(made, X509_get_subject_name(made)) &&
	    X509_gmtime_adj(X509_getm_notBefore(made), 0) &&
	    X509_gmtime_adj(X509_getm_notAfter(made), (long)days * 86400) &&
	    X509_set_pubkey(made, key) && add_extensions(cli, made) &&
	    X509_sign(made, key, hash_for(key))) {
		*certificate = made;
		return true;
	}
	pki_complain_openssl("no certificate could be made");
	X509_free(made);
	return false;
}

static bool fill_request(const struct cli *cli, const struct pki_wish *wish, X509_REQ *request)
{
	if (wish->challenge &&
	    !X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword, MBSTRING_UTF8,
	                               (const unsigned char *)wish->challenge, -1))
		return false;
	if (wish->previous)
		return X509_REQ_set_subject_name(request, X509_get_subject_name(wish->previous));
	return fill_subject(cli, X509_REQ_get_subject_name(request), wish->subject);
}

bool pki_request(const struct cli *cli, EVP_PKEY *key, const struct pki_wish *wish,
                 X509_REQ **request)
{
	X509_REQ *made = X509_REQ_new();
	STACK_OF(X509_EXTENSION) *extensions = NULL;
	bool is_good = made && fill_request(cli, wish, made);

	if (!is_good) {
		X509_REQ_free(made);
		return false;
	}
	extensions = make_extensions(cli, wish->previous);
	is_good = extensions && X509_REQ_set_version(made, X509_REQ_VERSION_1) &&
	          X509_REQ_set_pubkey(made, key) && X509_REQ_add_extensions(made, extensions) &&
	          X509_REQ_sign(made, key, hash_for(key));
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	if (is_good) {
		*request = made;
		return true;
	}
	pki_complain_openssl("no request could be made");
	X509_REQ_free(made);
	return false;
}

bool pki_is_issued_by(X509 *certificate, X509 *issuer)
{
	bool is_issued = X509_check_issued(issuer, certificate) == X509_V_OK &&
	                 X509_verify(certificate, X509_get0_pubkey(issuer)) == 1;

	/* Without keyCertSign its own signature is not looked for; it is its own root all the same. */
	if (!is_issued && !X509_cmp(certificate, issuer))
		is_issued = X509_verify(certificate, X509_get0_pubkey(issuer)) == 1;
	ERR_clear_error();
	return is_issued;
}

STACK_OF(X509) * pki_chain(X509 *certificate, STACK_OF(X509) * believed, STACK_OF(X509) * others,
                           const char **cause)
{
	X509_STORE *roots = X509_STORE_new();
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	STACK_OF(X509) *chain = NULL;
	bool is_ready = roots && check;

	for (int i = 0; is_ready && believed && i < sk_X509_num(believed); i++)
		is_ready = X509_STORE_add_cert(roots, sk_X509_value(believed, i));
	*cause = "out of memory";
	if (is_ready && X509_STORE_CTX_init(check, roots, certificate, others)) {
		if (X509_verify_cert(check) == 1)
			chain = X509_STORE_CTX_get1_chain(check);
		else
			*cause = X509_verify_cert_error_string(X509_STORE_CTX_get_error(check));
	}
	ERR_clear_error();
	X509_STORE_CTX_free(check);
	X509_STORE_free(roots);
	return chain;
}

bool pki_write_chain(const struct pki_store *store, const char *file, STACK_OF(X509) * chain)
{
	BIO *bio = BIO_new(BIO_s_mem());
	bool is_good = bio != NULL;

	/* Whoever checks us has the root, or does not believe it; ours goes with the chain even if it is one. */
	for (int i = 0; is_good && i < sk_X509_num(chain); i++)
		if (i == 0 || i + 1 < sk_X509_num(chain))
			is_good = PEM_write_bio_X509(bio, sk_X509_value(chain, i));
	if (!is_good)
		pki_complain_openssl(file);
	is_good = is_good && pki_write(store, file, false, bio);
	BIO_free(bio);
	return is_good;
}
