/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The session descriptions of VPN-SIP (RFC 4566, RFC 6193 with the restrictions of the SIP-VPN
 * guide): text to fields, fields to verdict, fields to text. Pure: no socket, no clock, no
 * allocation.
 */
#ifndef VPNSIP_SIP_SDP_H
#define VPNSIP_SIP_SDP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SDP_MEDIA_MAXIMUM          8
#define SDP_FINGERPRINTS_MAXIMUM   4
#define SDP_DIGEST_MAXIMUM         64   /* octets of SHA-512 */
#define SDP_TEXT_SIZE              4096 /* longest description, read or written */
#define SDP_BANDWIDTH_MAXIMUM_KBIT 1000000

enum sdp_role { SDP_ROLE_ABSENT, SDP_ACTIVE, SDP_PASSIVE, SDP_ACTPASS };

enum sdp_fingerprint_subject { SDP_CERTIFICATE = 1, SDP_PRE_SHARED_KEY };

struct sdp_fingerprint {
	enum sdp_fingerprint_subject subject;
	char hash[16]; /* upper case: "SHA-256" */
	uint8_t value[SDP_DIGEST_MAXIMUM];
	size_t size;
};

/** What one side says about its end of the tunnel. */
struct sdp_tunnel {
	struct in_addr address;
	uint16_t port;
	uint32_t bandwidth_kbit;
	enum sdp_role role;
	struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAXIMUM];
	size_t fingerprint_count;
};

/** A piece of the text; not terminated by NUL. */
struct sdp_span {
	const char *text;
	size_t size;
};

/** Whether the piece is this word, in any case (RFC 5234 literals). */
bool sdp_span_is(struct sdp_span span, const char *word);

/** A fingerprint attribute as it stands in the text. */
struct sdp_fingerprint_line {
	enum sdp_fingerprint_subject subject;
	struct sdp_span value; /* after the name and its colon */
	struct sdp_span
		rest; /* the octets, where a folded line goes on later; text NULL if it does not */
};

/** One section (session or media level): what VPN-SIP looks at. */
struct sdp_section {
	struct sdp_span connection; /* after "c="; text NULL if absent */
	bool has_bandwidth;         /* b=AS */
	uint64_t bandwidth_kbit;
	bool has_other_bandwidth;
	struct sdp_span setup; /* after "a=ike-setup:"; text NULL if absent */
	struct sdp_fingerprint_line fingerprints[SDP_FINGERPRINTS_MAXIMUM * 2];
	size_t fingerprint_count;
};

/** An m= line and its section. */
struct sdp_media {
	struct sdp_span type, protocol, formats;
	uint32_t port;
	struct sdp_section section;
};

/** A parsed description; its spans point into the text it was read from. */
struct sdp_description {
	struct sdp_span origin; /* after "o=" */
	struct sdp_section session;
	struct sdp_media media[SDP_MEDIA_MAXIMUM];
	size_t media_count;
};

/** Why a description is refused: how the INVITE that brought it is answered. */
struct sdp_problem {
	unsigned sip_status;   /* 400 or 488 */
	unsigned warning_code; /* RFC 3261 section 20.43; 0 = none */
	const char *text;      /* constant */
};

/**
 * Reads `size` octets (CRLF or LF lines, as RFC 4566 section 5 asks of parsers). False with a 400
 * in `problem` when the grammar is broken, a line that may stand once in a section stands twice,
 * or a bound is exceeded. Unknown lines and attributes are passed over. A fingerprint that ends in a
 * backslash goes on in a line that has nothing but octets: printed samples fold it so.
 */
bool sdp_read(const char *text, size_t size, struct sdp_description *description,
              struct sdp_problem *problem);

/**
 * Finds the media line that offers IKE with UDP encapsulation and checks it. On success fills
 * `tunnel` (the role never absent: `active` by default, RFC 6193 section 4) and the index of its
 * m= line. Fingerprints are optional (RFC 6193 section 8.2), but one that is there must be usable.
 */
bool sdp_check_offer(const struct sdp_description *description, struct sdp_tunnel *tunnel,
                     size_t *media_index, struct sdp_problem *problem);

/** The same for an answer to an offer whose sole media line had the role `offered`. */
bool sdp_check_answer(const struct sdp_description *description, enum sdp_role offered,
                      struct sdp_tunnel *tunnel, struct sdp_problem *problem);

/** Which fingerprints are believed; by the peer's configuration. */
struct sdp_policy {
	enum sdp_fingerprint_subject subject; /* what the peer authenticates with */
	bool takes_plain_for_key;             /* a=fingerprint is that of the pre-shared key */
	bool allows_sha1;
	const char *preferred_hash; /* of the pin; "" = none */
};

/**
 * Leaves in `tunnel` the fingerprints that the peer's key or certificate must match one of: those of our subject, of the
 * hash that we prefer among the ones shown (RFC 8122 section 5.1): the pin's, then SHA-256, SHA-512, SHA-384, SHA-224, and
 * SHA-1 only if it is allowed. False when some are shown and none is left: nothing usable is not the same as nothing shown.
 */
bool sdp_apply_policy(struct sdp_tunnel *tunnel, const struct sdp_policy *policy,
                      struct sdp_problem *problem);

/** The o= line: numbers chosen by the writer, address of the writer. */
struct sdp_origin {
	uint64_t session_id;
	uint64_t version;
};

/**
 * Writes a description in the order v o s c t m c b a. `offer` NULL makes an offer; otherwise an
 * answer to it with the tunnel at `media_index` and every other media line refused (port 0, RFC
 * 3264 section 6). Returns the length without NUL, or 0 if `size` is too small.
 */
size_t sdp_write(char *text, size_t size, const struct sdp_origin *origin,
                 const struct sdp_tunnel *tunnel, const struct sdp_description *offer,
                 size_t media_index);

/**
 * Octets of the digest of a hash name as written in SDP (any case), 0 if the hash is unknown or
 * must not be used (MD5, MD2).
 */
size_t sdp_hash_size(const char *name, size_t size);

/** Whether two sides show the same keys, in the same order. */
bool sdp_fingerprints_equal(const struct sdp_tunnel *one, const struct sdp_tunnel *other);

#endif
