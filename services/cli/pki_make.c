/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pki key, self-signed, request: what we make ourselves. */
#include <errno.h>
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

#include "services/cli/pki.h"

#define DEFAULT_KEY  "ec:p256"
#define SCEP_KEY     "rsa:2048" /* the key also decrypts (RFC 8894 section 3.1) */
#define DEFAULT_DAYS 1825

static bool has_key_file(const struct pki_store *store)
{
	if (store->key_file)
		return true;
	command_complain("trustpoint \"%s\" has no key-file", store->name);
	return false;
}

EVP_PKEY *pki_own_key(const struct pki_store *store)
{
	EVP_PKEY *key = has_key_file(store) ? pki_read_key(store->key_file) : NULL;

	if (!key && store->key_file && errno == ENOENT)
		command_complain("%s does not exist: vpnsip pki key %s --for %s makes a key",
		                 store->key_file, store->name, store->purpose->name);
	else if (!key && store->key_file)
		command_complain("%s cannot be read: %s", store->key_file, strerror(errno));
	return key;
}

bool pki_write_key(const struct pki_store *store, const char *file, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	bool is_good = bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);

	if (!is_good)
		pki_complain_openssl("the key could not be written");
	is_good = is_good && pki_write(store, file, true, bio);
	BIO_free(bio); /* memory of a BIO is wiped when it is freed */
	return is_good;
}

static int make_key(const struct cli *cli, const struct pki_store *store)
{
	const char *type = options_get(cli, "type");
	EVP_PKEY *key = NULL;
	int status = CLI_FAILED;
	char name[32];

	if (!has_key_file(store))
		goto out;
	if (access(store->key_file, F_OK) == 0 &&
	    !pki_ask(cli, "There is a key already, and a certificate of it is worth nothing "
	                  "afterwards. Replace it?")) {
		command_complain("nothing was done");
		goto out;
	}
	if (!type)
		type = store->trustpoint->enrollment == ENROLLMENT_SCEP ? SCEP_KEY : DEFAULT_KEY;
	key = pki_new_key(type);
	if (!key || !pki_write_key(store, store->key_file, key))
		goto out;
	printf("%s: a new key, %s\n", store->key_file, pki_key_name(key, name));
	status = CLI_DONE;
out:
	EVP_PKEY_free(key);
	return status;
}

static void print_fingerprints(const X509 *certificate)
{
	char text[PKI_FINGERPRINT_SIZE];

	printf("  Fingerprint SHA-256: %s\n", pki_fingerprint(certificate, EVP_sha256(), text));
	printf("  Fingerprint SHA-1  : %s\n", pki_fingerprint(certificate, EVP_sha1(), text));
}

static int self_sign(const struct cli *cli, const struct pki_store *store)
{
	unsigned long long days;
	EVP_PKEY *key = pki_own_key(store);
	X509 *certificate = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	int status = CLI_FAILED;

	if (!store->certificate_file)
		command_complain("trustpoint \"%s\" has no certificate-file", store->name);
	if (!store->certificate_file || !key || !bio ||
	    !options_number(cli, "days", 1, 36500, DEFAULT_DAYS, &days))
		goto out;
	if (access(store->certificate_file, F_OK) == 0 &&
	    !pki_ask(cli, "There is a certificate already. Replace it?")) {
		command_complain("nothing was done");
		goto out;
	}
	if (!pki_self_sign(cli, key, store->subject, (unsigned)days, &certificate))
		goto out;
	if (!PEM_write_bio_X509(bio, certificate) ||
	    !pki_write(store, store->certificate_file, false, bio))
		goto out;
	printf("%s: a self-signed certificate, for %llu days\n", store->certificate_file, days);
	print_fingerprints(certificate);
	status = CLI_DONE;
out:
	X509_free(certificate);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return status;
}

static int request(const struct cli *cli, const struct pki_store *store)
{
	const struct pki_wish wish = {.subject = store->subject};
	EVP_PKEY *key = pki_own_key(store);
	X509_REQ *request = NULL;
	int status = CLI_FAILED;

	if (key && pki_request(cli, key, &wish, &request) && PEM_write_X509_REQ(stdout, request) &&
	    fflush(stdout) == 0)
		status = CLI_DONE;
	X509_REQ_free(request);
	EVP_PKEY_free(key);
	return status;
}

static int with_store(const struct cli *cli, const struct words *words,
                      int (*act)(const struct cli *cli, const struct pki_store *store))
{
	struct config *config = pki_config(cli);
	struct pki_store store;
	int status = CLI_FAILED;

	if (config && pki_find(cli, config, words_get(words, "TRUSTPOINT"), &store))
		status = act(cli, &store);
	config_free(config);
	return status;
}

int command_pki_key(const struct cli *cli, const struct words *words)
{
	return with_store(cli, words, make_key);
}

int command_pki_self_signed(const struct cli *cli, const struct words *words)
{
	return with_store(cli, words, self_sign);
}

int command_pki_request(const struct cli *cli, const struct words *words)
{
	return with_store(cli, words, request);
}
