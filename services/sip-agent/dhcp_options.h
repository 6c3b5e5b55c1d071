/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The DHCPv4 options that a carrier tells its SIP service with, from the octets of their values. Pure; whatever arrives,
 * nothing outside the value is read. A value that is malformed anywhere is refused as a whole.
 */
#ifndef VPNSIP_SIP_DHCP_OPTIONS_H
#define VPNSIP_SIP_DHCP_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DHCP_OPTION_SIP_SERVERS      120 /* RFC 3361 */
#define DHCP_OPTION_CLASSLESS_ROUTES 121 /* RFC 3442 */
#define DHCP_OPTION_VENDOR_CLASS     124 /* RFC 3925 */
#define DHCP_OPTION_VENDOR           125 /* RFC 3925 */

#define DHCP_ENTERPRISE_NTT 210

#define DHCP_SERVERS_MAXIMUM 16
#define DHCP_ROUTES_MAXIMUM  64
#define DHCP_NUMBERS_MAXIMUM 4
#define DHCP_NAME_SIZE       254
#define DHCP_NUMBER_SIZE     33
#define DHCP_VALUE_MAXIMUM   4096 /* of one option, all its instances together */

/** Option 120: names, to be looked up in this order, or addresses in order of preference; never both. */
struct dhcp_sip_servers {
	char names[DHCP_SERVERS_MAXIMUM][DHCP_NAME_SIZE];
	size_t name_count;
	struct in_addr addresses[DHCP_SERVERS_MAXIMUM];
	size_t address_count;
};

/** One route of option 121; gateway 0.0.0.0 = on-link. */
struct dhcp_route {
	struct in_addr destination; /* bits behind the prefix are 0 */
	unsigned prefix_length;
	struct in_addr gateway;
};

struct dhcp_routes {
	struct dhcp_route routes[DHCP_ROUTES_MAXIMUM];
	size_t count;
};

/** The sub-options of enterprise 210 in option 125; "" or a count of 0 for what is absent. */
struct dhcp_vendor {
	bool is_present;
	uint8_t client_mac[6];
	bool has_client_mac;                                             /* 201 */
	char main_number[DHCP_NUMBER_SIZE];                              /* 202 */
	char additional_numbers[DHCP_NUMBERS_MAXIMUM][DHCP_NUMBER_SIZE]; /* 203 */
	size_t additional_count;
	char domain[DHCP_NAME_SIZE];          /* 204 */
	char firmware_server[DHCP_NAME_SIZE]; /* 210 */
};

/**
 * Puts together the value of an option that comes in several instances (RFC 3396) in an options field: tag, length, value and
 * so on, 0 for padding, 255 for the end. Returns its size, at most `room`; -1 when the option is absent, the field is cut short, or
 * the value does not fit.
 */
int dhcp_options_collect(const uint8_t *field, size_t size, uint8_t tag, uint8_t *value,
                         size_t room);

/** Servers beyond the maximum are left out. False for a malformed value, or one without any server. */
bool dhcp_read_sip_servers(const uint8_t *value, size_t size, struct dhcp_sip_servers *servers);

/** False for a malformed value. Routes beyond the maximum are left out. */
bool dhcp_read_routes(const uint8_t *value, size_t size, struct dhcp_routes *routes);

/** Without enterprise 210 true, and `vendor->is_present` is false. False for a malformed value. */
bool dhcp_read_vendor(const uint8_t *value, size_t size, struct dhcp_vendor *vendor);

/**
 * Reads one RFC 1035 name at `*offset`, which then stands behind it. Pointers lead backwards only (RFC 1035 section 4.1.4). The
 * name has letters, digits, '-' and '_' only: it comes into SIP headers.
 */
bool dhcp_read_name(const uint8_t *value, size_t size, size_t *offset, char name[DHCP_NAME_SIZE]);

/** Whether this can be one host's address: no loopback, multicast or broadcast. */
bool dhcp_is_host(struct in_addr address);

/** Whether the text is a host name as dhcp_read_name() gives it. */
bool dhcp_is_name(const char *text);

#endif
