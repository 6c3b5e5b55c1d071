/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The policy over a parsed description: which code and Warning answers which fault. */
#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "services/sip-agent/sdp.h"

enum warning {
	WARNING_NETWORK_PROTOCOL = 300,
	WARNING_ADDRESS_FORMAT = 301,
	WARNING_TRANSPORT = 302,
	WARNING_BANDWIDTH_UNITS = 303,
	WARNING_MEDIA_TYPE = 304,
	WARNING_FORMAT = 305,
	WARNING_ATTRIBUTE = 306,
	WARNING_BANDWIDTH = 370,
	WARNING_OTHER = 399,
};

static const struct {
	const char *name;
	size_t size;
} hashes[] = {
	{"SHA-1", 20}, {"SHA-224", 28}, {"SHA-256", 32}, {"SHA-384", 48}, {"SHA-512", 64},
};

static bool refuse(struct sdp_problem *problem, enum warning code, const char *text)
{
	*problem = (struct sdp_problem){.sip_status = 488, .warning_code = code, .text = text};
	return false;
}

size_t sdp_hash_size(const char *name, size_t size)
{
	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
		if (sdp_span_is((struct sdp_span){name, size}, hashes[i].name))
			return hashes[i].size;
	return 0;
}

/* The words of `list`, separated by spaces, contain `word`. */
static bool has_word(struct sdp_span list, const char *word)
{
	while (list.size) {
		const char *space = memchr(list.text, ' ', list.size);
		size_t size = space ? (size_t)(space - list.text) : list.size;

		if (sdp_span_is((struct sdp_span){list.text, size}, word))
			return true;
		list.text += size + (space ? 1 : 0);
		list.size -= size + (space ? 1 : 0);
	}
	return false;
}

/* How far one m= line is from being ours, and why. */
static bool check_media_line(const struct sdp_media *media, struct sdp_problem *problem)
{
	if (!sdp_span_is(media->type, "application"))
		return refuse(problem, WARNING_MEDIA_TYPE, "media type must be application");
	if (!sdp_span_is(media->protocol, "udp"))
		return refuse(problem, WARNING_TRANSPORT, "transport must be udp");
	if (!has_word(media->formats, "ike-esp-udpencap"))
		return refuse(problem, WARNING_FORMAT, "format must be ike-esp-udpencap");
	if (media->port == 0)
		return refuse(problem, WARNING_OTHER, "port 0 in m=");
	return true;
}

static const struct sdp_media *find_media(const struct sdp_description *description, size_t *index,
                                          struct sdp_problem *problem)
{
	if (description->media_count == 0) {
		refuse(problem, WARNING_MEDIA_TYPE, "no media line");
		return NULL;
	}
	for (size_t i = description->media_count; i-- > 0;)
		/* Downwards, so that the fault told is the first line's. */
		if (check_media_line(&description->media[i], problem))
			return *index = i, &description->media[i];
	return NULL;
}

/* "IN IP4 192.0.2.10": one usable host. */
static bool check_connection(struct sdp_span connection, struct in_addr *address,
                             struct sdp_problem *problem)
{
	static const char prefix[] = "IN IP4 ";
	char text[INET_ADDRSTRLEN];
	const size_t skip = sizeof(prefix) - 1;

	if (connection.size < 3 || strncasecmp(connection.text, "IN ", 3) != 0)
		return refuse(problem, WARNING_NETWORK_PROTOCOL, "network type must be IN");
	if (connection.size <= skip || strncasecmp(connection.text, prefix, skip) != 0)
		return refuse(problem, WARNING_ADDRESS_FORMAT, "address type must be IP4");
	if (connection.size - skip >= sizeof(text))
		return refuse(problem, WARNING_ADDRESS_FORMAT, "not an IPv4 address");
	memcpy(text, connection.text + skip, connection.size - skip);
	text[connection.size - skip] = '\0';
	if (inet_pton(AF_INET, text, address) != 1)
		return refuse(problem, WARNING_ADDRESS_FORMAT, "not an IPv4 address");
	if (address->s_addr == INADDR_ANY || address->s_addr == INADDR_BROADCAST ||
	    IN_MULTICAST(ntohl(address->s_addr)))
		return refuse(problem, WARNING_ADDRESS_FORMAT, "not the address of a host");
	return true;
}

static bool check_bandwidth(const struct sdp_section *session, const struct sdp_section *media,
                            uint32_t *kbit, struct sdp_problem *problem)
{
	const struct sdp_section *section = media->has_bandwidth ? media : session;

	if (!section->has_bandwidth && (media->has_other_bandwidth || session->has_other_bandwidth))
		return refuse(problem, WARNING_BANDWIDTH_UNITS, "bandwidth must be given as b=AS");
	if (!section->has_bandwidth)
		return refuse(problem, WARNING_OTHER, "b=AS is missing");
	if (section->bandwidth_kbit == 0)
		return refuse(problem, WARNING_BANDWIDTH, "b=AS is 0");
	if (section->bandwidth_kbit > SDP_BANDWIDTH_MAXIMUM_KBIT)
		return refuse(problem, WARNING_OTHER, "b=AS is out of range");
	*kbit = (uint32_t)section->bandwidth_kbit;
	return true;
}

static bool check_setup(const struct sdp_section *session, const struct sdp_section *media,
                        enum sdp_role absent, enum sdp_role *role, struct sdp_problem *problem)
{
	struct sdp_span setup = media->setup.text ? media->setup : session->setup;

	if (!setup.text)
		*role = absent;
	else if (sdp_span_is(setup, "active"))
		*role = SDP_ACTIVE;
	else if (sdp_span_is(setup, "passive"))
		*role = SDP_PASSIVE;
	else if (sdp_span_is(setup, "actpass"))
		*role = SDP_ACTPASS;
	else
		return refuse(problem, WARNING_ATTRIBUTE, "unknown ike-setup");
	return true;
}

static int hex_value(char digit)
{
	if (!isxdigit((unsigned char)digit))
		return -1;
	return digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10;
}

/* "AB:CD:..." of exactly `size` octets. */
static bool read_octets(struct sdp_span text, uint8_t *octets, size_t size)
{
	if (text.size != size * 3 - 1)
		return false;
	for (size_t i = 0; i < size; i++) {
		const char *pair = text.text + i * 3;
		int high = hex_value(pair[0]), low = hex_value(pair[1]);

		if (high < 0 || low < 0 || (i + 1 < size && pair[2] != ':'))
			return false;
		octets[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* "SHA-256 AB:CD...". A hash that is not known is passed over and makes no entry. */
static bool read_fingerprint(const struct sdp_fingerprint_line *line, struct sdp_tunnel *tunnel)
{
	const struct sdp_span value = line->value;
	struct sdp_fingerprint *fingerprint = &tunnel->fingerprints[tunnel->fingerprint_count];
	const char *space = memchr(value.text, ' ', value.size);

	if (!space)
		return false;
	struct sdp_span name = {value.text, (size_t)(space - value.text)};
	struct sdp_span digits = line->rest.text
	                                 ? line->rest
	                                 : (struct sdp_span){space + 1, value.size - name.size - 1};
	size_t size = sdp_hash_size(name.text, name.size);

	if (size == 0 || tunnel->fingerprint_count == SDP_FINGERPRINTS_MAXIMUM)
		return true;
	if (!read_octets(digits, fingerprint->value, size))
		return false;
	fingerprint->subject = line->subject;
	fingerprint->size = size;
	for (size_t i = 0; i < name.size; i++)
		fingerprint->hash[i] = (char)toupper((unsigned char)name.text[i]);
	fingerprint->hash[name.size] = '\0';
	tunnel->fingerprint_count++;
	return true;
}

static bool check_fingerprints(const struct sdp_section *session, const struct sdp_section *media,
                               struct sdp_tunnel *tunnel, struct sdp_problem *problem)
{
	const struct sdp_section *section = media->fingerprint_count ? media : session;

	tunnel->fingerprint_count = 0;
	for (size_t i = 0; i < section->fingerprint_count; i++)
		if (!read_fingerprint(&section->fingerprints[i], tunnel))
			return refuse(problem, WARNING_ATTRIBUTE, "malformed fingerprint");
	if (section->fingerprint_count && !tunnel->fingerprint_count)
		return refuse(problem, WARNING_ATTRIBUTE, "no fingerprint of a usable hash");
	return true;
}

static bool check_tunnel(const struct sdp_description *description, const struct sdp_media *media,
                         enum sdp_role absent, struct sdp_tunnel *tunnel,
                         struct sdp_problem *problem)
{
	const struct sdp_section *session = &description->session, *section = &media->section;
	struct sdp_span connection = section->connection.text ? section->connection
	                                                      : session->connection;

	memset(tunnel, 0, sizeof(*tunnel));
	if (!connection.text) {
		*problem = (struct sdp_problem){.sip_status = 400, .text = "c= is missing"};
		return false;
	}
	tunnel->port = (uint16_t)media->port;
	return check_connection(connection, &tunnel->address, problem) &&
	       check_bandwidth(session, section, &tunnel->bandwidth_kbit, problem) &&
	       check_setup(session, section, absent, &tunnel->role, problem) &&
	       check_fingerprints(session, section, tunnel, problem);
}

bool sdp_check_offer(const struct sdp_description *description, struct sdp_tunnel *tunnel,
                     size_t *media_index, struct sdp_problem *problem)
{
	const struct sdp_media *media = find_media(description, media_index, problem);

	return media && check_tunnel(description, media, SDP_ACTIVE, tunnel, problem);
}

bool sdp_check_answer(const struct sdp_description *description, enum sdp_role offered,
                      struct sdp_tunnel *tunnel, struct sdp_problem *problem)
{
	size_t index;
	const struct sdp_media *media = find_media(description, &index, problem);

	if (!media)
		return false;
	if (description->media_count != 1)
		return refuse(problem, WARNING_OTHER, "more media lines than offered");
	if (!check_tunnel(description, media, SDP_PASSIVE, tunnel, problem))
		return false;
	if (tunnel->role == SDP_ACTPASS || tunnel->role == offered)
		return refuse(problem, WARNING_ATTRIBUTE, "ike-setup does not answer the offer's");
	return true;
}

/* Place in the order of preference, 0 first; -1 = not believed. */
static int rank_hash(const char *hash, const struct sdp_policy *policy)
{
	static const char *const preference[] = {"SHA-256", "SHA-512", "SHA-384", "SHA-224",
	                                         "SHA-1"};

	if (strcasecmp(hash, "SHA-1") == 0 && !policy->allows_sha1)
		return -1;
	if (strcasecmp(hash, policy->preferred_hash) == 0)
		return 0;
	for (size_t i = 0; i < sizeof(preference) / sizeof(preference[0]); i++)
		if (strcasecmp(hash, preference[i]) == 0)
			return (int)i + 1;
	return -1;
}

bool sdp_apply_policy(struct sdp_tunnel *tunnel, const struct sdp_policy *policy,
                      struct sdp_problem *problem)
{
	const size_t shown = tunnel->fingerprint_count;
	int best = -1;

	tunnel->fingerprint_count = 0;
	for (size_t i = 0; i < shown; i++) {
		struct sdp_fingerprint one = tunnel->fingerprints[i];
		int rank = rank_hash(one.hash, policy);

		if (one.subject == SDP_CERTIFICATE && policy->takes_plain_for_key)
			one.subject = SDP_PRE_SHARED_KEY;
		if (rank < 0 || one.subject != policy->subject || (best >= 0 && rank > best))
			continue;
		if (rank < best)
			tunnel->fingerprint_count = 0;
		best = rank;
		tunnel->fingerprints[tunnel->fingerprint_count++] = one;
	}
	if (shown && !tunnel->fingerprint_count)
		return refuse(problem, WARNING_ATTRIBUTE,
		              "no fingerprint of the kind and hash that are expected");
	return true;
}

bool sdp_fingerprints_equal(const struct sdp_tunnel *one, const struct sdp_tunnel *other)
{
	if (one->fingerprint_count != other->fingerprint_count)
		return false;
	for (size_t i = 0; i < one->fingerprint_count; i++) {
		const struct sdp_fingerprint *a = &one->fingerprints[i];
		const struct sdp_fingerprint *b = &other->fingerprints[i];

		if (a->subject != b->subject || strcmp(a->hash, b->hash) != 0 ||
		    memcmp(a->value, b->value, a->size) != 0)
			return false;
	}
	return true;
}
