/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const uint8_t *address_octets(const struct sockaddr_storage *address, size_t *size)
{
	switch (address->ss_family) {
	case AF_INET:
		*size = 4;
		return (const uint8_t *)&((const struct sockaddr_in *)address)->sin_addr;
	case AF_INET6:
		*size = 16;
		return ((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr;
	default:
		*size = 0;
		return NULL;
	}
}

bool address_from_octets(const uint8_t *octets, size_t size, uint16_t port,
                         struct sockaddr_storage *address)
{
	*address = (struct sockaddr_storage){0};
	if (size == 4) {
		address->ss_family = AF_INET;
		memcpy(&((struct sockaddr_in *)address)->sin_addr, octets, size);
	} else if (size == 16) {
		address->ss_family = AF_INET6;
		memcpy(&((struct sockaddr_in6 *)address)->sin6_addr, octets, size);
	} else {
		return false;
	}
	address_set_port(address, port);
	return true;
}

unsigned address_bits(const struct sockaddr_storage *address)
{
	size_t size;

	address_octets(address, &size);
	return (unsigned)size * 8;
}

socklen_t address_socket_length(const struct sockaddr_storage *address)
{
	switch (address->ss_family) {
	case AF_INET:
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	default:
		return 0;
	}
}

uint16_t address_port(const struct sockaddr_storage *address)
{
	switch (address->ss_family) {
	case AF_INET:
		return ntohs(((const struct sockaddr_in *)address)->sin_port);
	case AF_INET6:
		return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
	default:
		return 0;
	}
}

void address_set_port(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET)
		((struct sockaddr_in *)address)->sin_port = htons(port);
	else if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_port = htons(port);
}

const char *address_format(const struct sockaddr_storage *address, char text[ADDRESS_TEXT_SIZE])
{
	size_t size;
	const uint8_t *octets = address_octets(address, &size);

	text[0] = '\0';
	if (octets)
		inet_ntop(address->ss_family, octets, text, ADDRESS_TEXT_SIZE);
	return text;
}

const char *address_format_port(const struct sockaddr_storage *address,
                                char text[ADDRESS_TEXT_SIZE])
{
	char host[INET6_ADDRSTRLEN];
	size_t size;
	const uint8_t *octets = address_octets(address, &size);

	text[0] = '\0';
	if (octets && inet_ntop(address->ss_family, octets, host, sizeof(host)))
		snprintf(text, ADDRESS_TEXT_SIZE,
		         address->ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
		         address_port(address));
	return text;
}

const char *address_format_prefix(const struct sockaddr_storage *address, unsigned length,
                                  char text[ADDRESS_TEXT_SIZE])
{
	size_t used = strlen(address_format(address, text));

	if (used)
		snprintf(text + used, ADDRESS_TEXT_SIZE - used, "/%u", length);
	return text;
}

bool address_parse(const char *text, struct sockaddr_storage *address)
{
	*address = (struct sockaddr_storage){0};
	if (inet_pton(AF_INET, text, &((struct sockaddr_in *)address)->sin_addr) == 1)
		address->ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)address)->sin6_addr) == 1)
		address->ss_family = AF_INET6;
	return address->ss_family != 0;
}

static bool parse_decimal(const char *text, unsigned long maximum, unsigned long *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	*value = strtoul(text, &end, 10);
	return *end == '\0' && *value <= maximum;
}

bool address_parse_port(const char *text, uint16_t default_port, struct sockaddr_storage *address)
{
	char host[ADDRESS_TEXT_SIZE];
	const char *end, *port_text;
	unsigned long port = default_port;

	if (text[0] == '[') {
		end = strchr(++text, ']');
		port_text = end && end[1] == ':' ? end + 2 : NULL;
		if (!end || (end[1] && !port_text))
			return false;
	} else {
		end = strchr(text, ':');
		if (!end || strchr(end + 1, ':')) /* no port, or a bare IPv6 address */
			end = text + strlen(text);
		port_text = *end ? end + 1 : NULL;
	}
	if ((size_t)(end - text) >= sizeof(host))
		return false;
	memcpy(host, text, (size_t)(end - text));
	host[end - text] = '\0';
	if (port_text && (!parse_decimal(port_text, UINT16_MAX, &port) || port == 0))
		return false;
	if (!address_parse(host, address))
		return false;
	address_set_port(address, (uint16_t)port);
	return true;
}

bool address_parse_prefix(const char *text, struct sockaddr_storage *address, unsigned *length)
{
	char host[ADDRESS_TEXT_SIZE];
	const char *slash = strchrnul(text, '/');
	unsigned long value;

	if ((size_t)(slash - text) >= sizeof(host))
		return false;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (!address_parse(host, address))
		return false;
	value = address_bits(address);
	if (*slash && !parse_decimal(slash + 1, value, &value))
		return false;
	*length = (unsigned)value;
	return true;
}

bool address_is_equal(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	return a->ss_family == b->ss_family && address_is_in_prefix(a, b, address_bits(b));
}

bool address_is_same_endpoint(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	return address_is_equal(a, b) && address_port(a) == address_port(b);
}

bool address_is_any(const struct sockaddr_storage *address)
{
	static const uint8_t zeroes[16];
	size_t size;
	const uint8_t *octets = address_octets(address, &size);

	return !octets || memcmp(octets, zeroes, size) == 0;
}

bool address_is_in_prefix(const struct sockaddr_storage *address,
                          const struct sockaddr_storage *prefix, unsigned length)
{
	size_t size, prefix_size;
	const uint8_t *octets = address_octets(address, &size);
	const uint8_t *wanted = address_octets(prefix, &prefix_size);
	unsigned whole = length / 8, rest = length % 8;

	if (size != prefix_size || length > size * 8)
		return false;
	if (size == 0)
		return true;
	if (memcmp(octets, wanted, whole) != 0)
		return false;
	return rest == 0 || (octets[whole] ^ wanted[whole]) >> (8 - rest) == 0;
}

void address_mask(struct sockaddr_storage *address, unsigned length)
{
	size_t size;
	uint8_t *octets = (uint8_t *)address_octets(address, &size);

	for (size_t i = 0; i < size; i++) {
		unsigned kept = length > i * 8 ? length - (unsigned)i * 8 : 0;

		if (kept < 8)
			octets[i] &= (uint8_t)(0xff00u >> kept);
	}
}

bool address_from_bytes(ProtobufCBinaryData bytes, struct sockaddr_storage *address)
{
	return address_from_octets(bytes.data, bytes.len, 0, address);
}

ProtobufCBinaryData address_to_bytes(const struct sockaddr_storage *address)
{
	ProtobufCBinaryData bytes;

	bytes.data = (uint8_t *)address_octets(address, &bytes.len);
	return bytes;
}

bool address_from_proto(const Vpnsip__SocketAddress *message, struct sockaddr_storage *address)
{
	*address = (struct sockaddr_storage){0};
	if (!message || message->port > UINT16_MAX)
		return false;
	return address_from_octets(message->address.data, message->address.len,
	                           (uint16_t)message->port, address);
}

void address_to_proto(const struct sockaddr_storage *address, Vpnsip__SocketAddress *message)
{
	message->address = address_to_bytes(address);
	message->port = address_port(address);
}
