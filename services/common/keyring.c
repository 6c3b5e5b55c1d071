/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The keyring file: peer "name" { identity-key-id = "NUMBER"  pre-shared-key = "..." }; identity-any = true for all other numbers. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/config_internal.h"

/* Known so that a keyring shared with other uses is accepted; only key-id names a SIP number. */
static const char *const other_identities[] = {"identity-address", "identity-fqdn",
                                               "identity-email"};

#define OTHER_COUNT (sizeof(other_identities) / sizeof(other_identities[0]))

static cfg_t *parse(struct config_reading *reading, const char *text)
{
	cfg_opt_t end = CFG_END();
	cfg_opt_t peer[OTHER_COUNT + 5];
	size_t count = 0;

	peer[count++] = config_line_option();
	peer[count++] = config_value_option("identity-key-id", false);
	peer[count++] = config_value_option("identity-any", false);
	peer[count++] = config_value_option("pre-shared-key", false);
	for (size_t i = 0; i < OTHER_COUNT; i++)
		peer[count++] = config_value_option(other_identities[i], false);
	peer[count] = end;
	{
		cfg_opt_t root[] = {
			CFG_SEC("peer", peer, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
			config_end_option(),
			CFG_END(),
		};

		return config_parse(reading, root, text);
	}
}

/* The entry is for this number; "*": for all that have none. NULL = for nobody, which is reported. */
static const char *read_identity(struct config_reading *reading, cfg_t *section)
{
	const struct config_value *key_id = config_value(section, "identity-key-id", 0);
	const struct config_value *any = config_value(section, "identity-any", 0);

	for (size_t i = 0; !key_id && !any && i < OTHER_COUNT; i++) {
		if (!config_value(section, other_identities[i], 0))
			continue;
		config_notice(reading, config_section_line(section),
		              "peer \"%s\" is skipped: only identity-key-id and identity-any are "
		              "used",
		              cfg_title(section));
		return NULL;
	}
	if (any && (key_id || strcmp(any->text, "true") != 0)) {
		config_error(reading, any->line,
		             "identity-any = true stands for every number without an entry of its "
		             "own: nothing else goes with it");
		return NULL;
	}
	if (!key_id && !any)
		config_error(reading, config_section_line(section),
		             "peer \"%s\": identity-key-id is missing", cfg_title(section));
	return any ? CONFIG_KEY_ANY : key_id ? key_id->text : NULL;
}

static bool read_key(struct config_reading *reading, struct config_keyring *keyring, cfg_t *section)
{
	const struct config_value *key = config_value(section, "pre-shared-key", 0);
	const char *key_id = read_identity(reading, section);
	struct config_key *entry = &keyring->keys[keyring->key_count], *known;
	int line = config_section_line(section);

	if (!key_id)
		return true;
	if (!key || !key->text[0]) {
		config_error(reading, line, "peer \"%s\": pre-shared-key is missing",
		             cfg_title(section));
		return true;
	}
	HASH_FIND_STR(keyring->by_id, key_id, known);
	if (known)
		config_error(reading, line, "identity \"%s\" already has a key in line %d", key_id,
		             known->line_number);
	keyring->key_count++;
	entry->line_number = line;
	entry->key_size = strlen(key->text);
	entry->name = strdup(cfg_title(section));
	entry->key_id = strdup(key_id);
	entry->key = malloc(entry->key_size);
	if (!entry->name || !entry->key_id || !entry->key)
		return false;
	memcpy(entry->key, key->text, entry->key_size);
	HASH_ADD_KEYPTR(hh, keyring->by_id, entry->key_id, strlen(entry->key_id), entry);
	return true;
}

const struct config_key *config_key_for(const struct config_keyring *keyring, const char *number)
{
	const struct config_key *key;

	HASH_FIND_STR(keyring->by_id, number, key);
	if (!key)
		HASH_FIND_STR(keyring->by_id, CONFIG_KEY_ANY, key);
	return key;
}

struct config_keyring *config_load_keyring(const char *file, config_report_fn *report,
                                           void *context)
{
	struct config_reading reading = {.file = file, .report = report, .context = context};
	struct config_keyring *keyring = NULL;
	cfg_t *root = NULL;
	unsigned count;
	char *text = config_read_file(&reading, NULL);

	if (!text)
		return NULL;
	root = parse(&reading, text);
	if (!root)
		goto out;
	count = cfg_size(root, "peer");
	keyring = calloc(1, sizeof(*keyring));
	if (!keyring || !(keyring->keys = calloc(count + 1, sizeof(*keyring->keys)))) {
		config_error(&reading, 0, "out of memory");
		goto out;
	}
	for (unsigned i = 0; i < count; i++)
		if (!read_key(&reading, keyring, cfg_getnsec(root, "peer", i)))
			config_error(&reading, 0, "out of memory");
out:
	if (root)
		cfg_free(root);
	explicit_bzero(text, strlen(text));
	free(text);
	if (reading.errors) {
		config_free_keyring(keyring);
		keyring = NULL;
	}
	return keyring;
}

void config_free_keyring(struct config_keyring *keyring)
{
	if (!keyring)
		return;
	HASH_CLEAR(hh, keyring->by_id);
	for (size_t i = 0; i < keyring->key_count; i++) {
		struct config_key *key = &keyring->keys[i];

		if (key->key)
			explicit_bzero(key->key, key->key_size);
		free(key->key);
		free(key->key_id);
		free(key->name);
	}
	free(keyring->keys);
	free(keyring);
}

unsigned config_estimate_key_bits(const uint8_t *key, size_t size)
{
	bool has_lower = false, has_upper = false, has_digit = false, has_other = false;
	bool is_hexadecimal = true;
	unsigned alphabet = 0;
	size_t counted = 0;

	for (size_t i = 0; i < size; i++) {
		has_lower |= islower(key[i]) != 0;
		has_upper |= isupper(key[i]) != 0;
		has_digit |= isdigit(key[i]) != 0;
		has_other |= !isalnum(key[i]);
		is_hexadecimal &= isxdigit(key[i]) != 0;
		/* A repetition or the next in order (aaaa, 1234, abcd) adds nothing. */
		if (i == 0 || (uint8_t)(key[i] - key[i - 1]) > 1)
			counted++;
	}
	alphabet = (has_lower ? 26 : 0) + (has_upper ? 26 : 0) + (has_digit ? 10 : 0) +
	           (has_other ? 33 : 0);
	if (is_hexadecimal && has_digit && !(has_lower && has_upper))
		alphabet = has_lower || has_upper ? 16 : 10;
	return alphabet ? (unsigned)(counted * log2(alphabet)) : 0;
}
