/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Addresses as text, as socket addresses and as they are in messages. Pure functions, any thread.
 * Of a sockaddr_storage only family, address and port are looked at; family 0 means "none".
 */
#ifndef VPNSIP_ADDRESS_H
#define VPNSIP_ADDRESS_H

#include <netinet/in.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "shared.pb-c.h"

/** Room for the longest text of the functions below. */
#define ADDRESS_TEXT_SIZE 64

/** "192.0.2.1" or "2001:db8::1", "" for none. Returns `text`. */
const char *address_format(const struct sockaddr_storage *address, char text[ADDRESS_TEXT_SIZE]);

/** "192.0.2.1:5060" or "[2001:db8::1]:5060", "" for none. Returns `text`. */
const char *address_format_port(const struct sockaddr_storage *address,
                                char text[ADDRESS_TEXT_SIZE]);

/** "10.2.0.0/24". Returns `text`. */
const char *address_format_prefix(const struct sockaddr_storage *address, unsigned length,
                                  char text[ADDRESS_TEXT_SIZE]);

/** Reads an IPv4 or IPv6 address; the port becomes 0. */
bool address_parse(const char *text, struct sockaddr_storage *address);

/** Reads "address" or "address:port" ("[address]:port" for IPv6). */
bool address_parse_port(const char *text, uint16_t default_port, struct sockaddr_storage *address);

/** Reads "address/length"; without a length it is the whole address (32 or 128). */
bool address_parse_prefix(const char *text, struct sockaddr_storage *address, unsigned *length);

/** Bits of an address of this family: 32 or 128, 0 for none. */
unsigned address_bits(const struct sockaddr_storage *address);

/** Octets of the address, network order; `size` becomes 4 or 16, or 0 with NULL returned for none. */
const uint8_t *address_octets(const struct sockaddr_storage *address, size_t *size);

/** From 4 or 16 octets, network order; false (and none) for another size. */
bool address_from_octets(const uint8_t *octets, size_t size, uint16_t port,
                         struct sockaddr_storage *address);

/** Length for bind(2), sendto(2): 0 for none. */
socklen_t address_socket_length(const struct sockaddr_storage *address);

uint16_t address_port(const struct sockaddr_storage *address);
void address_set_port(struct sockaddr_storage *address, uint16_t port);

/** Same family and address, whatever the port. */
bool address_is_equal(const struct sockaddr_storage *a, const struct sockaddr_storage *b);

/** Same family, address and port. */
bool address_is_same_endpoint(const struct sockaddr_storage *a, const struct sockaddr_storage *b);

/** 0.0.0.0, ::, or none. */
bool address_is_any(const struct sockaddr_storage *address);

/** Whether the first `length` bits are the same. */
bool address_is_in_prefix(const struct sockaddr_storage *address,
                          const struct sockaddr_storage *prefix, unsigned length);

/** Zeroes the bits behind the prefix. */
void address_mask(struct sockaddr_storage *address, unsigned length);

/** From a message; NULL or an address of a wrong size gives none and false. */
bool address_from_proto(const Vpnsip__SocketAddress *message, struct sockaddr_storage *address);

/**
 * Fills an initialised message. Its octets point into `address`, which must live as long: pack or publish the
 * message before `address` changes, and do not free it.
 */
void address_to_proto(const struct sockaddr_storage *address, Vpnsip__SocketAddress *message);

/** The octets as a bytes field; they point into `address`. */
ProtobufCBinaryData address_to_bytes(const struct sockaddr_storage *address);

/** From a bytes field of 4 or 16 octets; anything else gives none and false. */
bool address_from_bytes(ProtobufCBinaryData bytes, struct sockaddr_storage *address);

#endif
