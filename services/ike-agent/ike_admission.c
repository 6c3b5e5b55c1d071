/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/ike_admission.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "services/ike-agent/ike_message.h"

/* RFC 7296 sections 3.2 and 3.10. */
#define NOTIFY_HEADER_SIZE 8
#define PAYLOAD_NOTIFY     41
#define PAYLOAD_NONCE      40
#define NOTIFY_COOKIE      16390

#define COOKIE_SIZE           33 /* the secret's version, and a hash */
#define SECRET_LIFE_USEC      (120 * 1000000ull)
/* Session of few half-open IKE_SAs: its peer begins one, and perhaps another after a restart. */
#define SESSION_HALF_OPEN_FEW 3
/*
 * Cookies are demanded for some time after the last reason for it: who is asked for one in the midst of its retransmissions could
 * not tell to which of them an answer belongs.
 */
#define CALM_DOWN_USEC        (10 * 1000000ull)
/* As long as an IKE_SA may be half-open. */
#define REPETITION_USEC       (30 * 1000000ull)

void ike_admission_init(struct ike_admission *admission, unsigned cookie_threshold,
                        unsigned maximum_half_open, const uint8_t secret[IKE_COOKIE_SECRET_SIZE])
{
	*admission = (struct ike_admission){
		.cookie_threshold = cookie_threshold,
		.maximum_half_open = maximum_half_open,
	};
	memcpy(admission->secrets[0], secret, IKE_COOKIE_SECRET_SIZE);
	memcpy(admission->secrets[1], secret, IKE_COOKIE_SECRET_SIZE);
}

void ike_admission_change_secret(struct ike_admission *admission,
                                 const uint8_t secret[IKE_COOKIE_SECRET_SIZE], uint64_t now_usec)
{
	memcpy(admission->secrets[1], admission->secrets[0], IKE_COOKIE_SECRET_SIZE);
	memcpy(admission->secrets[0], secret, IKE_COOKIE_SECRET_SIZE);
	admission->version++;
	admission->secret_since_usec = now_usec;
}

bool ike_admission_wants_secret(const struct ike_admission *admission, uint64_t now_usec)
{
	return now_usec - admission->secret_since_usec > SECRET_LIFE_USEC;
}

/** The body of the message's first payload of a type, or NULL. */
static const uint8_t *find_payload(const uint8_t *packet, size_t size, uint8_t type,
                                   size_t *body_size)
{
	uint8_t next = packet[IKE_NEXT_PAYLOAD_OFFSET];
	size_t at = IKE_HEADER_SIZE;

	while (next && at + IKE_PAYLOAD_HEADER_SIZE <= size) {
		size_t length = ike_read_16(packet + at + 2);

		if (length < IKE_PAYLOAD_HEADER_SIZE || length > size - at)
			return NULL;
		if (next == type) {
			*body_size = length - IKE_PAYLOAD_HEADER_SIZE;
			return packet + at + IKE_PAYLOAD_HEADER_SIZE;
		}
		next = packet[at];
		at += length;
	}
	return NULL;
}

/** Cookie = version | HMAC-SHA-256(secret, address | SPIi | Ni). False without a nonce. */
static bool make_cookie(const struct ike_admission *admission, bool is_last_secret,
                        const struct sockaddr_storage *remote, const uint8_t *packet, size_t size,
                        uint8_t cookie[COOKIE_SIZE])
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)remote;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)remote;
	const bool is_v6 = remote->ss_family == AF_INET6;
	const size_t address_size = is_v6 ? sizeof(in6->sin6_addr) : sizeof(in->sin_addr);
	uint8_t hashed[sizeof(in6->sin6_addr) + IKE_SPI_SIZE + 256];
	size_t nonce_size, used = 0;
	const uint8_t *nonce = find_payload(packet, size, PAYLOAD_NONCE, &nonce_size);

	if (!nonce || nonce_size > 256)
		return false;
	memcpy(hashed, is_v6 ? (const void *)&in6->sin6_addr : (const void *)&in->sin_addr,
	       address_size);
	used = address_size;
	memcpy(hashed + used, packet, IKE_SPI_SIZE);
	used += IKE_SPI_SIZE;
	memcpy(hashed + used, nonce, nonce_size);
	used += nonce_size;
	cookie[0] = (uint8_t)(admission->version - is_last_secret);
	return HMAC(EVP_sha256(), admission->secrets[is_last_secret], IKE_COOKIE_SECRET_SIZE,
	            hashed, used, cookie + 1, NULL) != NULL;
}

/** The cookie that is returned is the first payload (RFC 7296 section 2.6). */
static bool has_cookie(const struct ike_admission *admission, const struct sockaddr_storage *remote,
                       const uint8_t *packet, size_t size)
{
	const uint8_t *notify = packet + IKE_HEADER_SIZE, *cookie = notify + NOTIFY_HEADER_SIZE;
	uint8_t expected[COOKIE_SIZE];
	uint8_t age;

	if (size < IKE_HEADER_SIZE + NOTIFY_HEADER_SIZE + COOKIE_SIZE ||
	    packet[IKE_NEXT_PAYLOAD_OFFSET] != PAYLOAD_NOTIFY ||
	    ike_read_16(notify + 2) != NOTIFY_HEADER_SIZE + COOKIE_SIZE ||
	    ike_read_16(notify + 6) != NOTIFY_COOKIE)
		return false;
	age = (uint8_t)(admission->version - cookie[0]);
	return age <= 1 && make_cookie(admission, age == 1, remote, packet, size, expected) &&
	       CRYPTO_memcmp(expected, cookie, COOKIE_SIZE) == 0;
}

static void write_16(uint8_t *octets, unsigned value)
{
	octets[0] = (uint8_t)(value >> 8);
	octets[1] = (uint8_t)value;
}

/** The response that demands the cookie. False if none can be made: the request has no nonce. */
static bool write_demand(const struct ike_admission *admission,
                         const struct sockaddr_storage *remote, const uint8_t *packet, size_t size,
                         uint8_t reply[IKE_COOKIE_REPLY_SIZE])
{
	uint8_t *notify = reply + IKE_HEADER_SIZE;

	_Static_assert(IKE_COOKIE_REPLY_SIZE == IKE_HEADER_SIZE + NOTIFY_HEADER_SIZE + COOKIE_SIZE,
	               "the reply has one payload");
	memset(reply, 0, IKE_COOKIE_REPLY_SIZE);
	memcpy(reply, packet, IKE_SPI_SIZE);
	reply[IKE_NEXT_PAYLOAD_OFFSET] = PAYLOAD_NOTIFY;
	reply[IKE_VERSION_OFFSET] = IKE_VERSION_2_0;
	reply[IKE_EXCHANGE_TYPE_OFFSET] = IKE_EXCHANGE_SA_INIT;
	reply[IKE_FLAGS_OFFSET] = IKE_FLAG_RESPONSE;
	write_16(reply + IKE_LENGTH_OFFSET + 2, IKE_COOKIE_REPLY_SIZE);
	write_16(notify + 2, NOTIFY_HEADER_SIZE + COOKIE_SIZE);
	write_16(notify + 6, NOTIFY_COOKIE);
	return make_cookie(admission, false, remote, packet, size, notify + NOTIFY_HEADER_SIZE);
}

/**
 * What this very message of this very sender is known by. Its SPI alone would not do: whoever has overheard it could begin more with it,
 * past limit and cookie. False without memory.
 */
static bool make_digest(const struct sockaddr_storage *remote, const uint8_t *packet, size_t size,
                        uint8_t digest[IKE_DIGEST_SIZE])
{
	const size_t remote_size = remote->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
	                                                         : sizeof(struct sockaddr_in);
	uint8_t whole[EVP_MAX_MD_SIZE] = {0};
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool is_made = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
	               EVP_DigestUpdate(context, remote, remote_size) == 1 &&
	               EVP_DigestUpdate(context, packet, size) == 1 &&
	               EVP_DigestFinal_ex(context, whole, NULL) == 1;

	EVP_MD_CTX_free(context);
	memcpy(digest, whole, IKE_DIGEST_SIZE);
	return is_made;
}

enum ike_verdict ike_admission_judge(struct ike_admission *admission,
                                     const struct sockaddr_storage *remote, const uint8_t *packet,
                                     size_t size, const struct ike_situation *situation,
                                     uint8_t reply[IKE_COOKIE_REPLY_SIZE])
{
	uint8_t digest[IKE_DIGEST_SIZE];
	struct ike_admitted *slot;
	bool is_digested;

	if (ike_message_kind(packet, size) != IKE_MESSAGE_BEGINS_SA)
		return IKE_ADMITTED;
	is_digested = make_digest(remote, packet, size, digest);
	slot = &admission->admitted[ike_read_16(digest) % IKE_ADMITTED_SLOTS];
	if (is_digested && situation->now_usec < slot->until_usec &&
	    memcmp(slot->digest, digest, sizeof(digest)) == 0)
		return IKE_ADMITTED;
	if (situation->half_open >= admission->cookie_threshold ||
	    situation->session_half_open >= SESSION_HALF_OPEN_FEW)
		admission->demanding_until_usec = situation->now_usec + CALM_DOWN_USEC;
	if (situation->now_usec < admission->demanding_until_usec) {
		if (!has_cookie(admission, remote, packet, size)) {
			if (!write_demand(admission, remote, packet, size, reply))
				return IKE_TOO_MANY;
			admission->cookies_demanded++;
			return IKE_COOKIE_DEMANDED;
		}
		admission->cookies_proven++;
	}
	if (situation->half_open >= admission->maximum_half_open) {
		admission->rejected_by_half_open++;
		return IKE_TOO_MANY;
	}
	admission->accepted++;
	if (is_digested) {
		memcpy(slot->digest, digest, sizeof(digest));
		slot->until_usec = situation->now_usec + REPETITION_USEC;
	}
	return IKE_ADMITTED;
}
