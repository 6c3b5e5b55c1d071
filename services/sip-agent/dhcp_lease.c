/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/dhcp_lease.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_SIZE (DHCP_NAME_SIZE + 8)

/* Copies the next word and moves behind it; false at the end. A word that is too long comes cut, and is then no name. */
static bool next_word(const char **text, const char *separators, char word[WORD_SIZE])
{
	*text += strspn(*text, separators);
	const size_t size = strcspn(*text, separators);

	snprintf(word, WORD_SIZE, "%.*s", (int)(size < WORD_SIZE ? size : WORD_SIZE - 1), *text);
	*text += size;
	return size > 0;
}

static int digit(char character)
{
	if (character >= '0' && character <= '9')
		return character - '0';
	if (character >= 'a' && character <= 'f')
		return character - 'a' + 10;
	if (character >= 'A' && character <= 'F')
		return character - 'A' + 10;
	return -1;
}

/* The octets of a hexadecimal text; false when it is none or does not fit. */
static bool read_hexadecimal(const char *text, uint8_t octets[DHCP_VALUE_MAXIMUM], size_t *size)
{
	for (*size = 0; *text; text += 2) {
		if (*size == DHCP_VALUE_MAXIMUM || digit(text[0]) < 0 || digit(text[1]) < 0)
			return false;
		octets[(*size)++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
	}
	return true;
}

bool dhcp_lease_is_same(const struct dhcp_lease *a, const struct dhcp_lease *b)
{
	/* What option 125 says follows from its text. */
	return a->written_at_usec == b->written_at_usec && a->malformed == b->malformed &&
	       a->address.s_addr == b->address.s_addr && strcmp(a->client, b->client) == 0 &&
	       a->dns_count == b->dns_count && memcmp(a->dns, b->dns, sizeof(a->dns)) == 0 &&
	       memcmp(&a->servers, &b->servers, sizeof(a->servers)) == 0 &&
	       memcmp(&a->routes, &b->routes, sizeof(a->routes)) == 0 &&
	       strcmp(a->vendor_text, b->vendor_text) == 0;
}

static void read_client(const char *text, struct dhcp_lease *lease)
{
	snprintf(lease->client, sizeof(lease->client), "%.*s", DHCP_CLIENT_SIZE - 1, text);
}

static void read_address(const char *text, struct dhcp_lease *lease)
{
	if (inet_pton(AF_INET, text, &lease->address) != 1)
		lease->malformed++;
}

static void read_dns(const char *text, struct dhcp_lease *lease)
{
	char word[WORD_SIZE];

	while (lease->dns_count < DHCP_DNS_MAXIMUM && next_word(&text, " ", word))
		if (inet_pton(AF_INET, word, &lease->dns[lease->dns_count]) == 1)
			lease->dns_count++;
}

/* The client has decoded option 120 already. */
static void read_sip(const char *text, struct dhcp_lease *lease)
{
	struct dhcp_sip_servers *servers = &lease->servers;
	char word[WORD_SIZE];

	if (servers->name_count || servers->address_count)
		return;
	while (next_word(&text, " ", word)) {
		const size_t size = strlen(word);

		if (word[size - 1] == '.')
			word[size - 1] = '\0';
		if (servers->address_count < DHCP_SERVERS_MAXIMUM &&
		    inet_pton(AF_INET, word, &servers->addresses[servers->address_count]) == 1)
			servers->address_count++;
		else if (servers->name_count < DHCP_SERVERS_MAXIMUM && dhcp_is_name(word))
			memcpy(servers->names[servers->name_count++], word, DHCP_NAME_SIZE);
	}
	if (servers->name_count)
		servers->address_count = 0; /* one or the other */
}

/* "10.0.0.0/8"; false for anything else. */
static bool read_prefix(char *text, struct dhcp_route *route)
{
	char *slash = strchr(text, '/'), *end;

	if (!slash)
		return false;
	*slash = '\0';
	const unsigned long length = strtoul(slash + 1, &end, 10);

	if (*end || end == slash + 1 || length > 32 ||
	    inet_pton(AF_INET, text, &route->destination) != 1)
		return false;
	route->prefix_length = (unsigned)length;
	route->destination.s_addr &= length ? htonl(UINT32_MAX << (32 - length)) : 0;
	return true;
}

static void read_routes(const char *text, struct dhcp_lease *lease)
{
	char prefix[WORD_SIZE], gateway[WORD_SIZE];

	if (lease->routes.count)
		return;
	while (lease->routes.count < DHCP_ROUTES_MAXIMUM && next_word(&text, " ,", prefix) &&
	       next_word(&text, " ,", gateway)) {
		struct dhcp_route route;

		if (!read_prefix(prefix, &route) ||
		    inet_pton(AF_INET, gateway, &route.gateway) != 1) {
			lease->routes.count = 0;
			lease->malformed++;
			return;
		}
		lease->routes.routes[lease->routes.count++] = route;
	}
}

static void read_option(const char *text, unsigned code, struct dhcp_lease *lease)
{
	uint8_t octets[DHCP_VALUE_MAXIMUM];
	size_t size;
	bool is_read = read_hexadecimal(text, octets, &size);

	if (is_read && code == DHCP_OPTION_SIP_SERVERS)
		is_read = dhcp_read_sip_servers(octets, size, &lease->servers);
	else if (is_read && code == DHCP_OPTION_CLASSLESS_ROUTES)
		is_read = dhcp_read_routes(octets, size, &lease->routes);
	else if (is_read && code == DHCP_OPTION_VENDOR) {
		snprintf(lease->vendor_text, sizeof(lease->vendor_text), "%s", text);
		is_read = dhcp_read_vendor(octets, size, &lease->vendor);
	}
	lease->malformed += !is_read;
}

static void read_option_120(const char *text, struct dhcp_lease *lease)
{
	read_option(text, DHCP_OPTION_SIP_SERVERS, lease);
}

static void read_option_121(const char *text, struct dhcp_lease *lease)
{
	read_option(text, DHCP_OPTION_CLASSLESS_ROUTES, lease);
}

static void read_option_125(const char *text, struct dhcp_lease *lease)
{
	read_option(text, DHCP_OPTION_VENDOR, lease);
}

struct key {
	const char *name;
	void (*read)(const char *text, struct dhcp_lease *lease);
};

/* The value of the key's line; false when there is none. */
static bool find_value(const char *text, const char *key, char *value, size_t size)
{
	const size_t key_size = strlen(key);

	while (*text) {
		const size_t line = strcspn(text, "\n");

		if (line > key_size && memcmp(text, key, key_size) == 0 && text[key_size] == '=' &&
		    line - key_size - 1 < size) {
			snprintf(value, size, "%.*s", (int)(line - key_size - 1),
			         text + key_size + 1);
			return true;
		}
		text += line + (text[line] == '\n');
	}
	return false;
}

/* In the order of the keys, not of the file: raw options before what a client made of them. */
static void read_keys(const char *text, const struct key *keys, size_t count,
                      struct dhcp_lease *lease)
{
	char value[DHCP_VENDOR_TEXT_SIZE];

	memset(lease, 0, sizeof(*lease));
	for (size_t i = 0; i < count; i++)
		if (find_value(text, keys[i].name, value, sizeof(value)) && value[0])
			keys[i].read(value, lease);
}

void dhcp_lease_read(const char *text, struct dhcp_lease *lease)
{
	static const struct key keys[] = {
		{"client", read_client},
		{"address", read_address},
		{"dns", read_dns},
		{"option120", read_option_120},
		{"option121", read_option_121},
		{"option125", read_option_125},
		{"sip", read_sip},
		{"routes", read_routes},
	};

	read_keys(text, keys, sizeof(keys) / sizeof(*keys), lease);
}

void dhcp_lease_read_networkd(const char *text, struct dhcp_lease *lease)
{
	static const struct key keys[] = {
		{"ADDRESS", read_address},         {"DNS", read_dns},
		{"OPTION_120", read_option_120},   {"OPTION_121", read_option_121},
		{"OPTION_125", read_option_125},   {"SIP", read_sip},
		{"CLASSLESS_ROUTES", read_routes}, {"ROUTES", read_routes},
	};

	read_keys(text, keys, sizeof(keys) / sizeof(*keys), lease);
	read_client("systemd-networkd", lease);
}
