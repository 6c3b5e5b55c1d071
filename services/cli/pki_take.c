/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pki authenticate, import: what comes from outside is looked at before it is believed. */
#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <stdlib.h>
#include <string.h>

#include "services/cli/pki.h"
#include "services/cli/pki_enroll.h"

static void print_authority(const X509 *certificate)
{
	char sha256[PKI_FINGERPRINT_SIZE], sha1[PKI_FINGERPRINT_SIZE], from[32], until[32];
	char *subject = pki_name_text(X509_get_subject_name(certificate));
	char *issuer = pki_name_text(X509_get_issuer_name(certificate));

	printf("Certificate has the following attributes:\n"
	       "  Subject            : %s\n  Issuer             : %s\n"
	       "  Validity           : %s to %s\n"
	       "  Fingerprint SHA-256: %s\n  Fingerprint SHA-1  : %s\n",
	       subject, issuer, pki_time_text(X509_get0_notBefore(certificate), from),
	       pki_time_text(X509_get0_notAfter(certificate), until),
	       pki_fingerprint(certificate, EVP_sha256(), sha256),
	       pki_fingerprint(certificate, EVP_sha1(), sha1));
	OPENSSL_free(subject);
	OPENSSL_free(issuer);
}

/* Hexadecimal digits alone, upper case; false when there is anything else but colons and blanks. */
static bool only_digits(const char *text, char digits[65])
{
	size_t count = 0;

	for (; *text; text++) {
		if (*text == ':' || *text == ' ')
			continue;
		if (!isxdigit((unsigned char)*text) || count == 64)
			return false;
		digits[count++] = (char)toupper((unsigned char)*text);
	}
	digits[count] = '\0';
	return count == 64 || count == 40;
}

/* SHA-256 or SHA-1, by its length. */
static bool is_expected(const X509 *certificate, const char *expected)
{
	char text[PKI_FINGERPRINT_SIZE], wanted[65], shown[65];

	if (!only_digits(expected, wanted)) {
		command_complain("--fingerprint \"%s\": expected the 64 hexadecimal digits of "
		                 "SHA-256 or the 40 of SHA-1",
		                 expected);
		return false;
	}
	pki_fingerprint(certificate, strlen(wanted) == 64 ? EVP_sha256() : EVP_sha1(), text);
	if (only_digits(text, shown) && !strcmp(wanted, shown))
		return true;
	command_complain("the fingerprint is %s, not the one that was expected: it is not believed",
	                 text);
	return false;
}

/* Whether it can be a root: it signed itself, and its time has not passed. */
static bool can_be_root(X509 *certificate, const char *file)
{
	if (!pki_is_issued_by(certificate, certificate)) {
		command_complain("%s: not a root: another one signed it", file);
		return false;
	}
	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0) {
		command_complain("%s: it is no longer valid", file);
		return false;
	}
	return true;
}

static bool has_certificate(const STACK_OF(X509) * certificates, const X509 *certificate)
{
	for (int i = 0; certificates && i < sk_X509_num(certificates); i++)
		if (!X509_cmp(sk_X509_value(certificates, i), certificate))
			return true;
	return false;
}

static bool add_authority(const struct pki_store *store, X509 *certificate)
{
	STACK_OF(X509) *believed = pki_read_certificates(store->ca_file);
	BIO *bio = BIO_new(BIO_s_mem());
	bool is_good = bio != NULL;

	if (has_certificate(believed, certificate)) {
		printf("%% Trustpoint CA certificate was accepted before.\n");
	} else {
		for (int i = 0; is_good && believed && i < sk_X509_num(believed); i++)
			is_good = PEM_write_bio_X509(bio, sk_X509_value(believed, i));
		is_good = is_good && PEM_write_bio_X509(bio, certificate) &&
		          pki_write(store, store->ca_file, false, bio);
		if (is_good)
			printf("%% Trustpoint CA certificate accepted.\n");
	}
	sk_X509_pop_free(believed, X509_free);
	BIO_free(bio);
	return is_good;
}

bool pki_believe(const struct cli *cli, const struct pki_store *store, X509 *root,
                 const char *origin)
{
	const char *expected = options_get(cli, "fingerprint");

	if (!store->ca_file) {
		command_complain("trustpoint \"%s\" has no ca-file", store->name);
		return false;
	}
	print_authority(root);
	if (!can_be_root(root, origin))
		return false;
	if (expected ? !is_expected(root, expected)
	             : !pki_ask(NULL, "Do you accept this certificate?")) {
		command_complain("nothing was done");
		return false;
	}
	return add_authority(store, root);
}

static int authenticate(const struct cli *cli, const struct pki_store *store, const char *file)
{
	STACK_OF(X509) * offered;
	int status = CLI_FAILED;
	size_t size;
	char *content = pki_read(file, &size);

	if (!content) {
		command_complain("%s cannot be read: %s", file, strerror(errno));
		return CLI_FAILED;
	}
	offered = pki_parse_certificates(content, size);
	free(content);
	if (!offered || sk_X509_num(offered) != 1)
		command_complain("%s: expected one certificate, that of the root, and nothing else",
		                 file);
	else if (pki_believe(cli, store, sk_X509_value(offered, 0), file))
		status = CLI_DONE;
	sk_X509_pop_free(offered, X509_free);
	return status;
}

int command_pki_authenticate(const struct cli *cli, const struct words *words)
{
	const char *file = words_get(words, "FILE");
	struct config *config = pki_config(cli);
	struct pki_store store;
	int status = CLI_FAILED;

	if (config && pki_find(cli, config, words_get(words, "TRUSTPOINT"), &store))
		status = file ? authenticate(cli, &store, file)
		              : pki_authenticate_server(cli, config, &store);
	config_free(config);
	return status;
}

/** What an imported file holds. */
struct bundle {
	EVP_PKEY *key; /* NULL = none: ours stays */
	STACK_OF(X509) * chain;
};

static void free_bundle(struct bundle *bundle)
{
	EVP_PKEY_free(bundle->key);
	sk_X509_pop_free(bundle->chain, X509_free);
}

static bool open_pkcs12(const struct cli *cli, const char *file, PKCS12 *container,
                        struct bundle *bundle)
{
	char passphrase[PKI_PASSPHRASE_SIZE];
	STACK_OF(X509) *others = NULL;
	X509 *own = NULL;
	bool is_open;

	if (!pki_passphrase(cli, false, passphrase))
		return false;
	is_open = PKCS12_parse(container, passphrase, &bundle->key, &own, &others);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	if (!is_open) {
		pki_complain_openssl(file);
		return false;
	}
	bundle->chain = others ? others : sk_X509_new_null();
	if (!own || !bundle->key || !bundle->chain || !sk_X509_insert(bundle->chain, own, 0)) {
		X509_free(own);
		command_complain("%s: it holds no key with its certificate", file);
		return false;
	}
	return true;
}

static int give_passphrase(char *buffer, int size, int writes, void *context)
{
	char passphrase[PKI_PASSPHRASE_SIZE];
	int length;

	(void)writes;
	if (!pki_passphrase(context, false, passphrase))
		return -1;
	length = (int)strlen(passphrase);
	if (length > size)
		length = -1;
	else
		memcpy(buffer, passphrase, (size_t)length);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	return length;
}

static bool open_pem(const struct cli *cli, const char *file, const char *content, size_t size,
                     struct bundle *bundle)
{
	BIO *bio;

	bundle->chain = pki_parse_certificates(content, size);
	if (!bundle->chain) {
		command_complain("%s: no certificate in it", file);
		return false;
	}
	if (!strstr(content, "PRIVATE KEY-----"))
		return true;
	bio = BIO_new_mem_buf(content, (int)size);
	bundle->key = bio ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, (void *)cli) : NULL;
	BIO_free(bio);
	if (!bundle->key)
		pki_complain_openssl(file);
	return bundle->key != NULL;
}

static bool open_bundle(const struct cli *cli, const char *file, struct bundle *bundle)
{
	size_t size;
	char *content = pki_read(file, &size);
	const unsigned char *at = (const unsigned char *)content;
	PKCS12 *container;
	bool is_open;

	if (!content) {
		command_complain("%s cannot be read: %s", file, strerror(errno));
		return false;
	}
	container = d2i_PKCS12(NULL, &at, (long)size);
	ERR_clear_error();
	is_open = container ? open_pkcs12(cli, file, container, bundle)
	                    : open_pem(cli, file, content, size, bundle);
	PKCS12_free(container);
	OPENSSL_cleanse(content, size);
	free(content);
	return is_open;
}

static X509 *take_issuer(STACK_OF(X509) * certificates, X509 *certificate)
{
	for (int i = 0; i < sk_X509_num(certificates); i++)
		if (pki_is_issued_by(certificate, sk_X509_value(certificates, i)))
			return sk_X509_delete(certificates, i);
	return NULL;
}

/*
 * Ours first, then each one's issuer, as they are sent. A root at the end is left out: whoever checks us has it, or does not
 * believe it. What belongs to none of them is refused.
 */
static bool order_chain(STACK_OF(X509) * chain, const char *file)
{
	STACK_OF(X509) *rest = sk_X509_new_null();
	X509 *last = sk_X509_value(chain, 0), *issuer;
	bool is_complete;

	if (!rest)
		return false;
	while (sk_X509_num(chain) > 1)
		sk_X509_push(rest, sk_X509_delete(chain, 1));
	while ((issuer = take_issuer(rest, last))) {
		if (pki_is_issued_by(issuer, issuer)) {
			X509_free(issuer);
			break;
		}
		sk_X509_push(chain, issuer);
		last = issuer;
	}
	is_complete = sk_X509_num(rest) == 0;
	if (!is_complete)
		command_complain("%s: a certificate in it belongs to no other: expected ours, then "
		                 "those that signed it",
		                 file);
	sk_X509_pop_free(rest, X509_free);
	return is_complete;
}

static bool matches_key(const struct pki_store *store, const struct bundle *bundle)
{
	EVP_PKEY *key = bundle->key ? bundle->key : pki_read_key(store->key_file);
	bool does_match = key && X509_check_private_key(sk_X509_value(bundle->chain, 0), key) == 1;

	if (!key)
		command_complain("%s cannot be read: %s", store->key_file, strerror(errno));
	else if (!does_match)
		command_complain("the certificate is of another key than %s",
		                 bundle->key ? "the one beside it" : store->key_file);
	ERR_clear_error();
	if (!bundle->key)
		EVP_PKEY_free(key);
	return does_match;
}

static bool write_bundle(const struct pki_store *store, const struct bundle *bundle)
{
	BIO *key = BIO_new(BIO_s_mem()), *chain = BIO_new(BIO_s_mem());
	bool is_good = key && chain &&
	               (!bundle->key ||
	                PEM_write_bio_PKCS8PrivateKey(key, bundle->key, NULL, NULL, 0, NULL, NULL));

	for (int i = 0; is_good && i < sk_X509_num(bundle->chain); i++)
		is_good = PEM_write_bio_X509(chain, sk_X509_value(bundle->chain, i));
	if (!is_good)
		pki_complain_openssl("it could not be written");
	is_good = is_good && (!bundle->key || pki_write(store, store->key_file, true, key)) &&
	          pki_write(store, store->certificate_file, false, chain);
	BIO_free(key);
	BIO_free(chain);
	return is_good;
}

static int import(const struct cli *cli, const struct pki_store *store, const char *file)
{
	struct bundle bundle = {0};
	int status = CLI_FAILED;
	char text[PKI_FINGERPRINT_SIZE];

	if (!store->certificate_file)
		command_complain("trustpoint \"%s\" has no certificate-file", store->name);
	else if (open_bundle(cli, file, &bundle) && matches_key(store, &bundle) &&
	         order_chain(bundle.chain, file) && write_bundle(store, &bundle)) {
		printf("%s: %d certificates%s\n  Fingerprint SHA-256: %s\n",
		       store->certificate_file, sk_X509_num(bundle.chain),
		       bundle.key ? " and their key" : "",
		       pki_fingerprint(sk_X509_value(bundle.chain, 0), EVP_sha256(), text));
		status = CLI_DONE;
	}
	free_bundle(&bundle);
	return status;
}

int command_pki_import(const struct cli *cli, const struct words *words)
{
	struct config *config = pki_config(cli);
	struct pki_store store;
	int status = CLI_FAILED;

	if (config && pki_find(cli, config, words_get(words, "TRUSTPOINT"), &store))
		status = import(cli, &store, words_get(words, "FILE"));
	config_free(config);
	return status;
}
