/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What only the machine can tell: interfaces, their MTU, and the files with secrets. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/common/config_internal.h"

#define WEAK_KEY_BITS 128

/* 0 = there is no such interface. */
static unsigned interface_mtu(const char *name)
{
	struct ifreq request = {0};
	int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned mtu = 0;

	if (handle < 0)
		return 0;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(handle, SIOCGIFMTU, &request) == 0)
		mtu = (unsigned)request.ifr_mtu;
	close(handle);
	return mtu;
}

/* Interfaces may come later (a modem, DHCP): their absence is a warning. */
static void check_interface(struct config_reading *reading, int line, const char *option,
                            const char *name)
{
	if (name && interface_mtu(name) == 0)
		config_warning(reading, line, "%s \"%s\" is not on this machine", option, name);
}

static void check_interfaces(struct config_reading *reading, const struct config *config)
{
	for (size_t i = 0; i < config->line_count; i++)
		check_interface(reading, config->lines[i].line_number, "wan-interface",
		                config->lines[i].wan_interface);
	for (size_t i = 0; i < config->sla_count; i++)
		check_interface(reading, config->slas[i].line_number, "interface",
		                config->slas[i].interface);
	for (size_t i = 0; i < config->route_count; i++)
		check_interface(reading, config->routes[i].line_number, "interface",
		                config->routes[i].interface);
	for (size_t i = 0; i < config->peer_count; i++) {
		const struct config_peer *peer = &config->peers[i];
		unsigned wan_mtu = interface_mtu(peer->line->wan_interface);

		check_interface(reading, peer->line_number, "unnumbered", peer->unnumbered);
		if (wan_mtu && peer->mtu >= wan_mtu)
			config_warning(
				reading, peer->line_number,
				"mtu = %u is not below %u, the MTU of \"%s\": packets would be "
				"fragmented",
				peer->mtu, wan_mtu, peer->line->wan_interface);
	}
}

/* Whether the file can be read by us; findings are about the configuration line that names it. */
static bool check_secret_file(struct config_reading *reading, int line, const char *file)
{
	struct stat status;

	if (access(file, R_OK) != 0 && errno == EACCES) {
		config_notice(reading, line, "%s may not be read by this user and is not checked",
		              file);
		return false;
	}
	if (stat(file, &status) != 0) {
		config_error(reading, line, "%s cannot be read: %m", file);
		return false;
	}
	if (status.st_mode & S_IRWXO)
		config_warning(reading, line, "%s is open to every user: chmod o= %s", file, file);
	return true;
}

static void check_keys(struct config_reading *reading, const struct config *config,
                       const struct config_keyring *keyring)
{
	struct config_reading in_keyring = *reading;

	in_keyring.file = config->keyring_file;
	for (size_t i = 0; i < config->peer_count; i++) {
		const struct config_peer *peer = &config->peers[i];
		const struct config_key *key = config_key_for(keyring, peer->number);
		unsigned bits;

		if (peer->ike_profile->authentication != AUTHENTICATION_PSK)
			continue;
		if (!key) {
			config_warning(reading, peer->line_number,
			               "peer \"%s\" has no key: no identity-key-id = \"%s\" in %s",
			               peer->number, peer->number, config->keyring_file);
			continue;
		}
		bits = config_estimate_key_bits(key->key, key->key_size);
		if (bits < WEAK_KEY_BITS)
			config_warning(&in_keyring, key->line_number,
			               "the key of \"%s\" is weak (about %u bits, %u are wanted): "
			               "openssl rand -base64 24 makes a good one",
			               key->key_id, bits, WEAK_KEY_BITS);
	}
}

int config_check_reality(const struct config *config, config_report_fn *report, void *context)
{
	struct config_reading reading = {
		.file = config->file, .report = report, .context = context};
	struct config_keyring *keyring;

	check_interfaces(&reading, config);
	config_check_certificates(&reading, config);
	for (size_t i = 0; i < config->line_count; i++)
		if (config->lines[i].credentials_file)
			check_secret_file(&reading, config->lines[i].line_number,
			                  config->lines[i].credentials_file);
	if (config->keyring_file && check_secret_file(&reading, 0, config->keyring_file)) {
		keyring = config_load_keyring(config->keyring_file, report, context);
		if (!keyring)
			reading.errors++;
		else
			check_keys(&reading, config, keyring);
		config_free_keyring(keyring);
	}
	return (int)reading.errors;
}
