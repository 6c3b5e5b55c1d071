/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where keys and certificates are: trustpoints, their files, passphrases. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/cli/pki.h"

#define LARGEST_FILE (16 << 20) /* a revocation list of a large CA */

static bool is_for_sip(const struct config *config, const struct config_trustpoint *trustpoint)
{
	for (size_t i = 0; i < config->crypto_signaling_count; i++)
		if (config->crypto_signalings[i].trustpoint == trustpoint)
			return true;
	return false;
}

static bool is_for_ike(const struct config *config, const struct config_trustpoint *trustpoint)
{
	for (size_t i = 0; i < config->ike_profile_count; i++)
		if (config->ike_profiles[i].trustpoint == trustpoint)
			return true;
	return false;
}

static const struct pki_purpose purposes[] = {
	{"sip", "vpnsip-sip", is_for_sip},
	{"ike", "vpnsip-ike", is_for_ike},
};

#define PURPOSES (sizeof(purposes) / sizeof(purposes[0]))

const struct pki_purpose *pki_purpose(const struct cli *cli)
{
	const char *name = options_get(cli, "for");

	for (size_t i = 0; name && i < PURPOSES; i++)
		if (!strcmp(purposes[i].name, name))
			return &purposes[i];
	if (name)
		command_complain("--for %s: certificates are for: sip, ike", name);
	else
		command_complain("--for is missing: certificates are for: sip, ike");
	return NULL;
}

const struct pki_purpose *pki_purpose_of(const struct config *config,
                                         const struct config_trustpoint *trustpoint)
{
	for (size_t i = 0; i < PURPOSES; i++)
		if (purposes[i].uses(config, trustpoint))
			return &purposes[i];
	return &purposes[0];
}

/* One that nothing uses yet is anybody's. */
static bool serves_others_alone(const struct config *config, const struct pki_purpose *purpose,
                                const struct config_trustpoint *trustpoint)
{
	return !purpose->uses(config, trustpoint) &&
	       pki_purpose_of(config, trustpoint)->uses(config, trustpoint);
}

/* As configured, else the number of the first peer that uses it for IKE: his identity. */
static void set_default_subject(const struct config *config, struct pki_store *store)
{
	const struct config_trustpoint *trustpoint = store->trustpoint;
	const char *name = trustpoint->name;

	for (size_t i = config->peer_count; i-- > 0;)
		if (config->peers[i].ike_profile->trustpoint == trustpoint)
			name = config->peers[i].line->number;
	if (trustpoint->subject)
		snprintf(store->subject, sizeof(store->subject), "%s", trustpoint->subject);
	else
		snprintf(store->subject, sizeof(store->subject), "CN=%s", name);
}

bool pki_store_at(const struct config *config, const struct pki_purpose *purpose, size_t index,
                  struct pki_store *store)
{
	const struct config_trustpoint *trustpoint;

	if (index >= config->trustpoint_count)
		return false;
	trustpoint = &config->trustpoints[index];
	if (serves_others_alone(config, purpose, trustpoint))
		return false;
	*store = (struct pki_store){
		.name = trustpoint->name,
		.certificate_file = trustpoint->certificate_file,
		.key_file = trustpoint->key_file,
		.ca_file = trustpoint->ca_file,
		.crl_file = trustpoint->crl_file,
		.purpose = purpose,
		.trustpoint = trustpoint,
	};
	set_default_subject(config, store);
	return true;
}

struct config *pki_config(const struct cli *cli)
{
	return config_load(cli->config_file ? cli->config_file : CONFIG_DEFAULT_FILE,
	                   config_report_to_stream, stderr);
}

/* A key is 0600: it has one owner. */
static void warn_of_two_owners(const struct config *config, const struct pki_store *store)
{
	size_t users = 0;

	for (size_t i = 0; i < PURPOSES; i++)
		users += purposes[i].uses(config, store->trustpoint);
	if (users > 1 && store->key_file)
		command_complain(
			"trustpoint \"%s\" is used by SIP and by IKE, but %s alone can read "
			"its key: give each a trustpoint of its own",
			store->name, store->purpose->owner);
}

bool pki_find(const struct cli *cli, const struct config *config, const char *name,
              struct pki_store *store)
{
	const struct pki_purpose *purpose = pki_purpose(cli);

	if (!purpose)
		return false;
	for (size_t i = 0; i < config->trustpoint_count; i++) {
		if (strcmp(config->trustpoints[i].name, name) != 0)
			continue;
		if (pki_store_at(config, purpose, i, store)) {
			warn_of_two_owners(config, store);
			return true;
		}
		command_complain("trustpoint \"%s\" is not used so: --for %s", name,
		                 pki_purpose_of(config, &config->trustpoints[i])->name);
		return false;
	}
	command_complain("%s has no trustpoint \"%s\"", config->file, name);
	return false;
}

char *pki_read(const char *file, size_t *size)
{
	int descriptor = open(file, O_RDONLY | O_CLOEXEC);
	char *content = descriptor < 0 ? NULL : malloc(LARGEST_FILE + 1);
	ssize_t part = 0;

	*size = 0;
	while (content && *size < LARGEST_FILE &&
	       (part = read(descriptor, content + *size, LARGEST_FILE - *size)) > 0)
		*size += (size_t)part;
	if (content && part < 0) {
		free(content);
		content = NULL;
	}
	if (content)
		content[*size] = '\0';
	if (descriptor >= 0)
		close(descriptor);
	return content;
}

/* Root gives it to the service; anybody else can only keep it, and then is the one who may use it. */
static bool hand_over(int descriptor, const struct pki_store *store)
{
	const struct passwd *user;

	if (geteuid() != 0 || !store)
		return true;
	user = getpwnam(store->purpose->owner);
	return !user || fchown(descriptor, user->pw_uid, user->pw_gid) == 0;
}

static bool write_content(int descriptor, BIO *content)
{
	char *octets;
	long size = BIO_get_mem_data(content, &octets);

	while (size > 0) {
		ssize_t written = write(descriptor, octets, (size_t)size);

		if (written < 0)
			return false;
		octets += written;
		size -= written;
	}
	return fsync(descriptor) == 0;
}

bool pki_write(const struct pki_store *store, const char *file, bool is_secret, BIO *content)
{
	char temporary[PATH_MAX];
	int descriptor, length = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", file);
	bool is_written;

	if (length < 0 || (size_t)length >= sizeof(temporary)) {
		command_complain("%s: the name is too long", file);
		return false;
	}
	descriptor = mkostemp(temporary, O_CLOEXEC); /* 0600 */
	if (descriptor < 0) {
		command_complain("%s cannot be written: %s", file, strerror(errno));
		return false;
	}
	is_written = hand_over(descriptor, store) &&
	             fchmod(descriptor, is_secret ? 0600 : 0644) == 0 &&
	             write_content(descriptor, content) && rename(temporary, file) == 0;
	if (!is_written) {
		command_complain("%s cannot be written: %s", file, strerror(errno));
		unlink(temporary);
	}
	close(descriptor);
	return is_written;
}

bool pki_passphrase(const struct cli *cli, bool is_new, char passphrase[PKI_PASSPHRASE_SIZE])
{
	const char *file = options_get(cli, "passphrase-file");
	char *content;
	size_t size, length;

	if (!file) {
		if (EVP_read_pw_string_min(passphrase, is_new ? 8 : 0, PKI_PASSPHRASE_SIZE - 1,
		                           "Passphrase: ", is_new) == 0)
			return true;
		command_complain("no passphrase: it is read from the terminal, or from "
		                 "--passphrase-file");
		return false;
	}
	content = pki_read(file, &size);
	if (!content) {
		command_complain("%s cannot be read: %s", file, strerror(errno));
		return false;
	}
	length = strcspn(content, "\r\n");
	if (length > 0 && length < PKI_PASSPHRASE_SIZE) {
		memcpy(passphrase, content, length);
		passphrase[length] = '\0';
	} else {
		command_complain("%s: its first line must be a passphrase of 1 to %d octets", file,
		                 PKI_PASSPHRASE_SIZE - 1);
	}
	OPENSSL_cleanse(content, size);
	free(content);
	return length > 0 && length < PKI_PASSPHRASE_SIZE;
}

bool pki_ask(const struct cli *cli, const char *question)
{
	char answer[16] = "";

	if (cli && cli->is_sure)
		return true;
	printf("%% %s [yes/no]: ", question);
	fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin))
		return false;
	answer[strcspn(answer, "\n")] = '\0';
	return strcmp(answer, "yes") == 0;
}
