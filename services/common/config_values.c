/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One value: from the text that was written into its member, with an error that says what was expected. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/config_internal.h"
#include "services/common/suggest.h"

#define LONGEST_NUMBER 32

/** What one value needs to be read. */
struct value_reading {
	struct config_reading *reading;
	const struct config *config;
	const struct config_option *option;
	const char *text;
	int line;
};

static bool refuse(const struct value_reading *value, const char *expected)
{
	config_error(value->reading, value->line, "%s = \"%s\": expected %s", value->option->name,
	             value->text, expected);
	return false;
}

static bool refuse_word(const struct value_reading *value, const char *const *known, size_t count)
{
	const char *near = suggest_word(value->text, known, count);
	char expected[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < count && used < sizeof(expected); i++)
		used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%s%s",
		                         i == 0           ? ""
		                         : i + 1 == count ? " or "
		                                          : ", ",
		                         known[i]);
	config_error(value->reading, value->line, "%s = \"%s\": expected %s%s%s%s",
	             value->option->name, value->text, expected, near ? "; did you mean '" : "",
	             near ? near : "", near ? "'?" : "");
	return false;
}

static bool set_string(const struct value_reading *value, char **member, const char *text)
{
	free(*member);
	*member = strdup(text);
	if (!*member)
		config_error(value->reading, value->line, "out of memory");
	return *member != NULL;
}

static bool read_text(const struct value_reading *value, char **member)
{
	for (const char *c = value->text; *c; c++)
		if (iscntrl((unsigned char)*c))
			return refuse(value, "text on one line without control characters");
	return set_string(value, member, value->text);
}

static bool is_number(const char *text)
{
	size_t length = strlen(text);

	return length > 0 && length <= LONGEST_NUMBER && strspn(text, "0123456789") == length;
}

static bool read_interface(const struct value_reading *value, char **member)
{
	size_t length = strlen(value->text);

	if (length == 0 || length >= IFNAMSIZ)
		return refuse(value, "an interface name of 1 to 15 characters");
	for (const char *c = value->text; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_-.@", *c))
			return refuse(value,
			              "an interface name of letters, digits, '-', '_' and '.'");
	return set_string(value, member, value->text);
}

static bool read_bool(const struct value_reading *value, bool *member)
{
	static const char *const known[] = {"true", "false", "yes", "no", "on", "off"};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(value->text, known[i]) == 0) {
			*member = i % 2 == 0;
			return true;
		}
	}
	return refuse_word(value, known, 2);
}

/* The number as written, within the option's range; `decimals` are allowed when `scale` is above 1. */
static bool read_scaled(const struct value_reading *value, double type_maximum, double scale,
                        double *number)
{
	const struct config_option *option = value->option;
	bool has_range = option->maximum > 0;
	double maximum = has_range ? option->maximum : type_maximum;
	char *end, expected[128];

	errno = 0;
	*number = strtod(value->text, &end);
	if (isdigit((unsigned char)value->text[0]) && *end == '\0' &&
	    strspn(value->text, "0123456789.") == strlen(value->text) && errno == 0 &&
	    (scale > 1 || floor(*number) == *number) && *number >= option->minimum &&
	    *number <= maximum)
		return true;
	snprintf(expected, sizeof(expected), "a %snumber%s from %.15g to %.15g",
	         scale > 1 ? "" : "whole ", scale > 1 ? " of seconds" : "", option->minimum,
	         maximum);
	return refuse(value, expected);
}

static bool read_word(const struct value_reading *value, int *member)
{
	const char *known[16];
	size_t count = 0;

	for (const struct option_word *word = value->option->words; word->text; word++) {
		if (strcmp(value->text, word->text) == 0) {
			*member = word->value;
			return true;
		}
		known[count++] = word->text;
	}
	return refuse_word(value, known, count);
}

static bool read_word_into_set(const struct value_reading *value, unsigned *set)
{
	int word;

	if (!read_word(value, &word))
		return false;
	*set |= 1u << word;
	return true;
}

static int hexadecimal_digit(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
	                                    : -1;
}

/* "SHA-256 C6:4C:...": as in SDP (RFC 8122 section 5), with a blank between hash and octets. */
static bool read_fingerprint(const struct value_reading *value, struct config_peer *peer)
{
	static const struct {
		const char *name;
		size_t size;
	} hashes[] = {{"SHA-1", 20}, {"SHA-256", 32}, {"SHA-384", 48}, {"SHA-512", 64}};
	const char *octets = strchrnul(value->text, ' ');
	size_t name_length = (size_t)(octets - value->text);

	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
		if (strlen(hashes[i].name) != name_length ||
		    strncasecmp(value->text, hashes[i].name, name_length) != 0)
			continue;
		octets += strspn(octets, " ");
		peer->fingerprint_size = 0;
		while (peer->fingerprint_size < hashes[i].size) {
			int high = hexadecimal_digit(octets[0]);
			int low = high < 0 ? -1 : hexadecimal_digit(octets[1]);

			if (low < 0)
				break;
			peer->fingerprint[peer->fingerprint_size++] = (uint8_t)(high << 4 | low);
			octets += octets[2] == ':' ? 3 : 2;
		}
		if (peer->fingerprint_size != hashes[i].size || *octets || octets[-1] == ':')
			return refuse(value,
			              "as many octets as the hash has: \"SHA-256 C6:4C:...\"");
		snprintf(peer->fingerprint_hash, sizeof(peer->fingerprint_hash), "%s",
		         hashes[i].name);
		peer->has_fingerprint = true;
		return true;
	}
	return refuse(value,
	              "SHA-1, SHA-256, SHA-384 or SHA-512 and the octets: \"SHA-256 C6:4C:...\"");
}

/* The sections that are there are what could have been meant. */
static bool refuse_reference(const struct value_reading *value, const char *section,
                             const char *const *known, size_t count)
{
	const char *near = suggest_word(value->text, known, count);

	config_error(value->reading, value->line, "%s = \"%s\": there is no such %s%s%s%s",
	             value->option->name, value->text, section, near ? "; did you mean \"" : "",
	             near ? near : "", near ? "\"?" : "");
	return false;
}

static const struct config_section *section_of(enum option_kind kind)
{
	static const struct {
		enum option_kind kind;
		const char *section;
	} sections[] = {{OPTION_LINE, "line"},
	                {OPTION_TRUSTPOINT, "trustpoint"},
	                {OPTION_CERTIFICATE_MAP, "certificate-map"},
	                {OPTION_IKE_PROFILE, "ike-profile"},
	                {OPTION_IPSEC_PROFILE, "ipsec-profile"},
	                {OPTION_SLA, "sla"},
	                {OPTION_TRACK, "track"},
	                {OPTION_TUNNEL, "peer"}};

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		for (size_t j = 0; sections[i].kind == kind && j < config_section_count; j++)
			if (strcmp(config_sections[j].name, sections[i].section) == 0)
				return &config_sections[j];
	return NULL;
}

static bool read_reference(const struct value_reading *value, void **member)
{
	const struct config_section *section = section_of(value->option->kind);
	const char *base = (const char *)value->config;
	char *items = *(char *const *)(base + section->items_offset);
	size_t count = *(const size_t *)(base + section->count_offset);
	const char *known[64];
	size_t known_count = 0;
	char *end;
	unsigned long number = strtoul(value->text, &end, 10);
	bool has_number = end != value->text && *end == '\0';

	for (size_t i = 0; i < count; i++) {
		char *item = items + i * section->size;
		const char *name = NULL;

		if (section->title == TITLE_NUMBER) {
			if (has_number && *(unsigned *)(item + section->title_offset) == number) {
				*member = item;
				return true;
			}
			continue;
		}
		name = value->option->kind == OPTION_TUNNEL
		               ? ((struct config_peer *)(void *)item)->tunnel
		               : *(char **)(item + section->title_offset);
		if (name && strcmp(name, value->text) == 0) {
			*member = item;
			return true;
		}
		if (known_count < 64)
			known[known_count++] = name;
	}
	return refuse_reference(value,
	                        value->option->kind == OPTION_TUNNEL ? "tunnel" : section->name,
	                        known, known_count);
}

static bool read_address(const struct value_reading *value, void *member)
{
	const struct config_option *option = value->option;
	struct config_prefix *prefix = member;

	switch (option->kind) {
	case OPTION_ADDRESS:
		return address_parse(value->text, member) ||
		       refuse(value, "an IP address: 192.0.2.1");
	case OPTION_ADDRESS_PORT:
		return address_parse_port(value->text, (uint16_t)option->minimum, member) ||
		       refuse(value, "address[:port]: 192.0.2.1:5060 (names are not looked up)");
	default:
		return address_parse_prefix(value->text, &prefix->address, &prefix->length) ||
		       refuse(value, "an address with a prefix length: 10.2.0.0/24");
	}
}

/* A host name of RFC 1123 section 2.1, with at least one letter: what is all digits and dots is a mistyped address. */
static bool is_host_name(const char *text, size_t length)
{
	bool has_letter = false;

	for (size_t i = 0; i < length; i++) {
		has_letter |= isalpha((unsigned char)text[i]) != 0;
		if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '.')
			return false;
	}
	return has_letter && length <= 253 && isalnum((unsigned char)text[0]) &&
	       isalnum((unsigned char)text[length - 1]) && !memmem(text, length, "..", 2);
}

static bool read_server(const struct value_reading *value, struct config_server *server)
{
	size_t length = strcspn(value->text, ":");
	const char *port = value->text[length] ? value->text + length + 1 : NULL;

	if (strcmp(value->text, "dhcp") == 0) {
		server->kind = SERVER_DHCP;
		return true;
	}
	if (address_parse_port(value->text, 0, &server->address)) {
		server->kind = SERVER_ADDRESS;
		server->port = address_port(&server->address);
		return true;
	}
	if (!is_host_name(value->text, length) ||
	    (port && (strspn(port, "0123456789") != strlen(port) || strlen(port) > 5 ||
	              atoi(port) < 1 || atoi(port) > UINT16_MAX)))
		return refuse(value, "address[:port], name[:port] or dhcp");
	server->kind = SERVER_NAME;
	server->port = port ? (uint16_t)atoi(port) : 0;
	free(server->name);
	server->name = strndup(value->text, length);
	if (!server->name)
		config_error(value->reading, value->line, "out of memory");
	return server->name != NULL;
}

bool config_set_option(struct config_reading *reading, const struct config *config,
                       const struct config_option *option, void *item, const char *text, int line)
{
	struct value_reading value = {reading, config, option, text, line};
	void *member = (char *)item + option->offset;
	double number;

	switch (option->kind) {
	case OPTION_TEXT:
		return read_text(&value, member);
	case OPTION_DIGITS:
		return is_number(text) ? set_string(&value, member, text)
		                       : refuse(&value, "a number of 1 to 32 digits");
	case OPTION_INTERFACE:
		return read_interface(&value, member);
	case OPTION_BOOL:
		return read_bool(&value, member);
	case OPTION_UNSIGNED:
		if (!read_scaled(&value, UINT_MAX, 1, &number))
			return false;
		*(unsigned *)member = (unsigned)number;
		return true;
	case OPTION_UINT16:
	case OPTION_PORT_RANGE:
		if (!read_scaled(&value, UINT16_MAX, 1, &number))
			return false;
		*(uint16_t *)member = (uint16_t)number;
		return true;
	case OPTION_UINT64:
	case OPTION_KILOBYTE:
		if (!read_scaled(&value, 9e15, 1, &number))
			return false;
		*(uint64_t *)member = (uint64_t)number *
		                      (option->kind == OPTION_KILOBYTE ? 1024 : 1);
		return true;
	case OPTION_SECONDS:
		if (!read_scaled(&value, UINT_MAX / 1000, 1000, &number))
			return false;
		*(unsigned *)member = (unsigned)lround(number * 1000);
		return true;
	case OPTION_WORD:
		return read_word(&value, member);
	case OPTION_WORD_SET:
		return read_word_into_set(&value, member);
	case OPTION_SERVER:
		return read_server(&value, member);
	case OPTION_ADDRESS:
	case OPTION_ADDRESS_PORT:
	case OPTION_PREFIX:
		return read_address(&value, member);
	case OPTION_FINGERPRINT:
		return read_fingerprint(&value, item);
	case OPTION_LINE:
	case OPTION_TRUSTPOINT:
	case OPTION_CERTIFICATE_MAP:
	case OPTION_IKE_PROFILE:
	case OPTION_IPSEC_PROFILE:
	case OPTION_SLA:
	case OPTION_TRACK:
	case OPTION_TUNNEL:
		return read_reference(&value, member);
	}
	return false;
}

void config_clear_options(const struct config_option *options, void *item)
{
	for (const struct config_option *option = options; option->name; option++) {
		char **member = (char **)((char *)item + option->offset);

		switch (option->kind) {
		case OPTION_TEXT:
		case OPTION_DIGITS:
		case OPTION_INTERFACE:
			free(*member);
			*member = NULL;
			break;
		case OPTION_SERVER:
			free(((struct config_server *)(void *)member)->name);
			((struct config_server *)(void *)member)->name = NULL;
			break;
		default:
			break;
		}
	}
}
