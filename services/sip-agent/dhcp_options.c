/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/dhcp_options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LABEL_MAXIMUM       63
#define LABEL_POINTER       0xc0
#define ENCODING_NAMES      0
#define ENCODING_ADDRESSES  1
#define VENDOR_CLIENT_MAC   201
#define VENDOR_MAIN_NUMBER  202
#define VENDOR_OTHER_NUMBER 203
#define VENDOR_DOMAIN       204
#define VENDOR_FIRMWARE     210
#define OPTION_PAD          0
#define OPTION_END          255

int dhcp_options_collect(const uint8_t *field, size_t size, uint8_t tag, uint8_t *value,
                         size_t room)
{
	size_t at = 0, length = 0;
	bool is_found = false;

	while (at < size && field[at] != OPTION_END) {
		if (field[at] == OPTION_PAD) {
			at++;
			continue;
		}
		if (size - at < 2 || size - at - 2 < field[at + 1])
			return -1;
		if (field[at] == tag) {
			if (room - length < field[at + 1])
				return -1;
			memcpy(value + length, field + at + 2, field[at + 1]);
			length += field[at + 1];
			is_found = true;
		}
		at += 2u + field[at + 1];
	}
	return is_found ? (int)length : -1;
}

static bool is_name_character(uint8_t octet)
{
	return (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'z') ||
	       (octet >= 'A' && octet <= 'Z') || octet == '-' || octet == '_';
}

bool dhcp_is_name(const char *text)
{
	size_t label = 0;

	if (strlen(text) >= DHCP_NAME_SIZE)
		return false;
	for (const char *at = text; *at; at++) {
		if (*at == '.' && label == 0)
			return false;
		if (*at != '.' && !is_name_character((uint8_t)*at))
			return false;
		label = *at == '.' ? 0 : label + 1;
		if (label > LABEL_MAXIMUM)
			return false;
	}
	return label > 0;
}

/* Appends a label; `*length` is the name's. */
static bool append_label(char name[DHCP_NAME_SIZE], size_t *length, const uint8_t *label,
                         size_t size)
{
	if (*length + (*length > 0) + size >= DHCP_NAME_SIZE)
		return false;
	if (*length > 0)
		name[(*length)++] = '.';
	for (size_t i = 0; i < size; i++) {
		if (!is_name_character(label[i]))
			return false;
		name[(*length)++] = (char)label[i];
	}
	name[*length] = '\0';
	return true;
}

bool dhcp_read_name(const uint8_t *value, size_t size, size_t *offset, char name[DHCP_NAME_SIZE])
{
	size_t at = *offset, length = 0;
	size_t bound = *offset; /* a pointer must lead before it: none can go round */
	bool has_jumped = false;

	name[0] = '\0';
	while (at < size && value[at] != 0) {
		if ((value[at] & LABEL_POINTER) == LABEL_POINTER) {
			if (size - at < 2)
				return false;
			size_t target = (size_t)(value[at] & ~LABEL_POINTER) << 8 | value[at + 1];
			if (target >= bound)
				return false;
			if (!has_jumped)
				*offset = at + 2;
			has_jumped = true;
			bound = at = target;
			continue;
		}
		/* The two other kinds of label begin with 01 and 10. */
		if (value[at] > LABEL_MAXIMUM || size - at - 1 < value[at] ||
		    !append_label(name, &length, value + at + 1, value[at]))
			return false;
		at += 1u + value[at];
	}
	if (at >= size || length == 0)
		return false;
	if (!has_jumped)
		*offset = at + 1;
	return true;
}

bool dhcp_is_host(struct in_addr address)
{
	const uint32_t host = ntohl(address.s_addr);

	return host >> 24 != 0 && host >> 24 != 127 && host >> 28 < 14;
}

static bool read_names(const uint8_t *names, size_t size, struct dhcp_sip_servers *servers)
{
	size_t offset = 0;
	char name[DHCP_NAME_SIZE];

	while (offset < size) {
		if (!dhcp_read_name(names, size, &offset, name))
			return false;
		if (servers->name_count < DHCP_SERVERS_MAXIMUM)
			memcpy(servers->names[servers->name_count++], name, sizeof(name));
	}
	return servers->name_count > 0;
}

bool dhcp_read_sip_servers(const uint8_t *value, size_t size, struct dhcp_sip_servers *servers)
{
	memset(servers, 0, sizeof(*servers));
	if (size < 3)
		return false;
	if (value[0] == ENCODING_NAMES) {
		if (read_names(value + 1, size - 1, servers))
			return true;
		memset(servers, 0, sizeof(*servers));
		return false;
	}
	if (value[0] != ENCODING_ADDRESSES || (size - 1) % sizeof(struct in_addr) != 0)
		return false;
	for (size_t at = 1; at < size; at += sizeof(struct in_addr)) {
		struct in_addr address;

		memcpy(&address, value + at, sizeof(address));
		if (dhcp_is_host(address) && servers->address_count < DHCP_SERVERS_MAXIMUM)
			servers->addresses[servers->address_count++] = address;
	}
	return servers->address_count > 0;
}

bool dhcp_read_routes(const uint8_t *value, size_t size, struct dhcp_routes *routes)
{
	size_t at = 0;

	routes->count = 0;
	while (at < size) {
		struct dhcp_route route = {.prefix_length = value[at++]};
		const size_t octets = (route.prefix_length + 7) / 8;

		if (route.prefix_length > 32 || size - at < octets + sizeof(route.gateway)) {
			routes->count = 0;
			return false;
		}
		memcpy(&route.destination, value + at, octets);
		memcpy(&route.gateway, value + at + octets, sizeof(route.gateway));
		at += octets + sizeof(route.gateway);
		route.destination.s_addr &=
			route.prefix_length ? htonl(UINT32_MAX << (32 - route.prefix_length)) : 0;
		if (routes->count < DHCP_ROUTES_MAXIMUM)
			routes->routes[routes->count++] = route;
	}
	return true;
}

/* A telephone number or, behind a home gateway, an extension. */
static bool read_number(const uint8_t *value, size_t size, char number[DHCP_NUMBER_SIZE])
{
	if (size == 0 || size >= DHCP_NUMBER_SIZE)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (!isdigit(value[i]) && value[i] != '*' && value[i] != '#' && value[i] != '+')
			return false;
		number[i] = (char)value[i];
	}
	number[size] = '\0';
	return true;
}

static bool read_whole_name(const uint8_t *value, size_t size, char name[DHCP_NAME_SIZE])
{
	size_t offset = 0;

	return dhcp_read_name(value, size, &offset, name) && offset == size;
}

static bool read_suboption(uint8_t code, const uint8_t *value, size_t size,
                           struct dhcp_vendor *vendor)
{
	switch (code) {
	case VENDOR_CLIENT_MAC:
		if (size != sizeof(vendor->client_mac))
			return false;
		memcpy(vendor->client_mac, value, size);
		vendor->has_client_mac = true;
		return true;
	case VENDOR_MAIN_NUMBER:
		return read_number(value, size, vendor->main_number);
	case VENDOR_OTHER_NUMBER:
		/* More than are ever sent are no fault of those that came first. */
		if (vendor->additional_count == DHCP_NUMBERS_MAXIMUM)
			return true;
		if (!read_number(value, size, vendor->additional_numbers[vendor->additional_count]))
			return false;
		vendor->additional_count++;
		return true;
	case VENDOR_DOMAIN:
		return read_whole_name(value, size, vendor->domain);
	case VENDOR_FIRMWARE:
		return read_whole_name(value, size, vendor->firmware_server);
	default:
		return true;
	}
}

static bool read_enterprise(const uint8_t *data, size_t size, struct dhcp_vendor *vendor)
{
	size_t at = 0;

	vendor->is_present = true;
	while (at < size) {
		if (size - at < 2 || size - at - 2 < data[at + 1] ||
		    !read_suboption(data[at], data + at + 2, data[at + 1], vendor))
			return false;
		at += 2u + data[at + 1];
	}
	return true;
}

bool dhcp_read_vendor(const uint8_t *value, size_t size, struct dhcp_vendor *vendor)
{
	size_t at = 0;

	memset(vendor, 0, sizeof(*vendor));
	while (at < size) {
		if (size - at < 5 || size - at - 5 < value[at + 4])
			goto malformed;
		const uint32_t enterprise = (uint32_t)value[at] << 24 | value[at + 1] << 16 |
		                            value[at + 2] << 8 | value[at + 3];
		/* Each enterprise stands at most once. */
		if (enterprise == DHCP_ENTERPRISE_NTT &&
		    (vendor->is_present || !read_enterprise(value + at + 5, value[at + 4], vendor)))
			goto malformed;
		at += 5u + value[at + 4];
	}
	return true;
malformed:
	memset(vendor, 0, sizeof(*vendor));
	return false;
}
