/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pki export: our chain, the root that signed us, or all with the key as PKCS#12. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <string.h>

#include "services/cli/pki.h"

static STACK_OF(X509) * own_chain(const struct pki_store *store)
{
	STACK_OF(X509) *chain = pki_read_certificates(store->certificate_file);

	if (!chain)
		command_complain("trustpoint \"%s\": no certificate of ours can be read",
		                 store->name);
	return chain;
}

/* The root above the last of our chain: itself when we signed it, else one that we believe. */
static X509 *find_root(const struct pki_store *store, STACK_OF(X509) * chain,
                       STACK_OF(X509) * believed)
{
	X509 *last = sk_X509_value(chain, sk_X509_num(chain) - 1);

	if (pki_is_issued_by(last, last))
		return last;
	for (int i = 0; believed && i < sk_X509_num(believed); i++)
		if (pki_is_issued_by(last, sk_X509_value(believed, i)))
			return sk_X509_value(believed, i);
	command_complain("the root that signed us is not in %s: authenticate it first",
	                 store->ca_file);
	return NULL;
}

static int export_chain(const struct pki_store *store, bool is_root)
{
	STACK_OF(X509) *chain = own_chain(store);
	STACK_OF(X509) *believed = pki_read_certificates(store->ca_file);
	X509 *root = chain && is_root ? find_root(store, chain, believed) : NULL;
	bool is_good = chain && (!is_root || root);

	if (is_good && is_root)
		is_good = PEM_write_X509(stdout, root);
	for (int i = 0; is_good && !is_root && i < sk_X509_num(chain); i++)
		is_good = PEM_write_X509(stdout, sk_X509_value(chain, i));
	sk_X509_pop_free(chain, X509_free);
	sk_X509_pop_free(believed, X509_free);
	return is_good && fflush(stdout) == 0 ? CLI_DONE : CLI_FAILED;
}

static bool write_pkcs12(const struct cli *cli, const struct pki_store *store, const char *file,
                         EVP_PKEY *key, STACK_OF(X509) * chain)
{
	char passphrase[PKI_PASSPHRASE_SIZE];
	STACK_OF(X509) *others = sk_X509_dup(chain);
	X509 *own = others ? sk_X509_shift(others) : NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	PKCS12 *container = NULL;
	bool is_good = false;

	if (!own || !bio || !pki_passphrase(cli, true, passphrase))
		goto out;
	/* Of OpenSSL 3: AES-256 and PBKDF2. */
	container = PKCS12_create(passphrase, store->name, key, own, others, 0, 0, 0, 0, 0);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	is_good = container && i2d_PKCS12_bio(bio, container);
	if (!is_good)
		pki_complain_openssl(file);
	is_good = is_good && pki_write(NULL, file, true, bio);
out:
	PKCS12_free(container);
	BIO_free(bio);
	sk_X509_free(others);
	return is_good;
}

static int export_pkcs12(const struct cli *cli, const struct pki_store *store, const char *file)
{
	STACK_OF(X509) *chain = own_chain(store);
	EVP_PKEY *key = chain ? pki_read_key(store->key_file) : NULL;
	int status = CLI_FAILED;

	if (chain && !key)
		command_complain("%s cannot be read: %s", store->key_file, strerror(errno));
	else if (key && X509_check_private_key(sk_X509_value(chain, 0), key) != 1)
		command_complain("the certificate is of another key than %s", store->key_file);
	else if (key && write_pkcs12(cli, store, file, key, chain))
		status = CLI_DONE;
	if (status == CLI_DONE)
		printf("%s: our key and %d certificates, under the passphrase\n", file,
		       sk_X509_num(chain));
	ERR_clear_error();
	EVP_PKEY_free(key);
	sk_X509_pop_free(chain, X509_free);
	return status;
}

int command_pki_export(const struct cli *cli, const struct words *words)
{
	const char *pkcs12 = options_get(cli, "pkcs12");
	struct config *config = pki_config(cli);
	struct pki_store store;
	int status = CLI_FAILED;

	if (config && pki_find(cli, config, words_get(words, "TRUSTPOINT"), &store))
		status = pkcs12 ? export_pkcs12(cli, &store, pkcs12)
		                : export_chain(&store, words_has(words, "root"));
	config_free(config);
	return status;
}
