/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "services/sip-agent/sdp.h"

struct writer {
	char *text;
	size_t size, length;
	bool is_full;
};

static void put(struct writer *writer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void put(struct writer *writer, const char *format, ...)
{
	va_list arguments;
	size_t room = writer->size - writer->length;

	va_start(arguments, format);
	int length = vsnprintf(writer->text + writer->length, room, format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= room)
		writer->is_full = true;
	else
		writer->length += (size_t)length;
}

static const char *role_name(enum sdp_role role)
{
	static const char *const names[] = {
		[SDP_ACTIVE] = "active",
		[SDP_PASSIVE] = "passive",
		[SDP_ACTPASS] = "actpass",
	};

	return names[role];
}

static void put_fingerprint(struct writer *writer, const struct sdp_fingerprint *fingerprint)
{
	put(writer, "a=%s:%s ",
	    fingerprint->subject == SDP_PRE_SHARED_KEY ? "psk-fingerprint" : "fingerprint",
	    fingerprint->hash);
	for (size_t i = 0; i < fingerprint->size; i++)
		put(writer, i ? ":%02X" : "%02X", fingerprint->value[i]);
	put(writer, "\r\n");
}

static void put_tunnel(struct writer *writer, const struct sdp_tunnel *tunnel, const char *address)
{
	put(writer, "m=application %u udp ike-esp-udpencap\r\n", tunnel->port);
	put(writer, "c=IN IP4 %s\r\n", address);
	put(writer, "b=AS:%u\r\n", tunnel->bandwidth_kbit);
	if (tunnel->role != SDP_ROLE_ABSENT)
		put(writer, "a=ike-setup:%s\r\n", role_name(tunnel->role));
	for (size_t i = 0; i < tunnel->fingerprint_count; i++)
		put_fingerprint(writer, &tunnel->fingerprints[i]);
}

static void put_refused_media(struct writer *writer, const struct sdp_media *media)
{
	put(writer, "m=%.*s 0 %.*s %.*s\r\n", (int)media->type.size, media->type.text,
	    (int)media->protocol.size, media->protocol.text, (int)media->formats.size,
	    media->formats.text);
}

// NOLINTNEXTLINE(readability-non-const-parameter): the writer writes into it
size_t sdp_write(char *text, size_t size, const struct sdp_origin *origin,
                 const struct sdp_tunnel *tunnel, const struct sdp_description *offer,
                 size_t media_index)
{
	struct writer writer = {.text = text, .size = size};
	char address[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &tunnel->address, address, sizeof(address));
	put(&writer, "v=0\r\n");
	put(&writer, "o=- %llu %llu IN IP4 %s\r\n", (unsigned long long)origin->session_id,
	    (unsigned long long)origin->version, address);
	put(&writer, "s=-\r\n");
	put(&writer, "c=IN IP4 %s\r\n", address);
	put(&writer, "t=0 0\r\n");
	if (!offer)
		put_tunnel(&writer, tunnel, address);
	for (size_t i = 0; offer && i < offer->media_count; i++) {
		if (i == media_index)
			put_tunnel(&writer, tunnel, address);
		else
			put_refused_media(&writer, &offer->media[i]);
	}
	return writer.is_full ? 0 : writer.length;
}
