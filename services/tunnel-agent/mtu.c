/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/mtu.h"

#include <string.h>

#define OUTER_SIZE       (20 + 8 + 8) /* IPv4, UDP, SPI and sequence number */
#define TRAILER_SIZE     2
#define IPV4_MTU_MINIMUM 68

static const struct mtu_suite gcm = {.block_size = 4, .iv_size = 8, .icv_size = 16};
static const struct mtu_suite cbc_sha256 = {.block_size = 16, .iv_size = 16, .icv_size = 16};
static const struct mtu_suite cbc_sha384 = {.block_size = 16, .iv_size = 16, .icv_size = 24};
static const struct mtu_suite cbc_sha512 = {.block_size = 16, .iv_size = 16, .icv_size = 32};

unsigned mtu_of_suite(unsigned path_mtu, const struct mtu_suite *suite)
{
	unsigned overhead = OUTER_SIZE + suite->iv_size + suite->icv_size;
	unsigned text_size;

	if (path_mtu < overhead + TRAILER_SIZE + IPV4_MTU_MINIMUM + suite->block_size)
		return IPV4_MTU_MINIMUM;
	text_size = path_mtu - overhead;
	return text_size - text_size % suite->block_size - TRAILER_SIZE;
}

/* The suite of one proposal: an AEAD, or AES-CBC with the longest ICV that is named. */
static const struct mtu_suite *find_suite(const char *proposal, size_t length)
{
	char text[128];

	if (length >= sizeof(text))
		length = sizeof(text) - 1;
	memcpy(text, proposal, length);
	text[length] = '\0';
	if (strstr(text, "gcm"))
		return &gcm;
	if (strstr(text, "sha512"))
		return &cbc_sha512;
	if (strstr(text, "sha384"))
		return &cbc_sha384;
	return &cbc_sha256;
}

unsigned mtu_of_proposals(unsigned path_mtu, const char *proposals)
{
	unsigned smallest = path_mtu;

	while (*proposals) {
		size_t length = strcspn(proposals, ",");
		unsigned mtu = mtu_of_suite(path_mtu, find_suite(proposals, length));

		if (mtu < smallest)
			smallest = mtu;
		proposals += length;
		proposals += strspn(proposals, ", ");
	}
	return smallest;
}
