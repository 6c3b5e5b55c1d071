/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/xfrm_message.h"

#include <linux/udp.h>
#include <linux/xfrm.h>
#include <string.h>

#include "services/tunnel-agent/xfrm_algorithms.h"

#define KEY_MAXIMUM 64
#define WORD_BITS   32

/* Without extended numbers the last one is never reached: a new SA is asked for when so many are left. */
#define SEQUENCE_RESERVE (UINT64_C(1) << 28)

/* tunnel-agent ends an SA and tells IKE; the kernel does it should that process be dead. */
#define LIFETIME_GRACE_SEC 2

#define MARK_ALL UINT32_MAX

static struct nlmsghdr *begin(void *buffer, uint16_t type, size_t size, void *body)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	void **result = body;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	*result = mnl_nlmsg_put_extra_header(message, size);
	memset(*result, 0, size);
	return message;
}

static uint64_t limit_of(uint64_t value)
{
	return value ? value : XFRM_INF;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void set_limits(struct xfrm_lifetime_cfg *lifetime, const struct sa_order *order)
{
	const struct sa_limits *limits = &order->terms.limits;

	lifetime->soft_byte_limit = limit_of(limits->soft_bytes);
	lifetime->hard_byte_limit = limit_of(limits->hard_bytes);
	lifetime->soft_packet_limit = limit_of(limits->soft_packets);
	lifetime->hard_packet_limit = limit_of(limits->hard_packets);
	if (limits->lifetime_usec)
		lifetime->hard_add_expires_seconds = limits->lifetime_usec / 1000000 +
		                                     LIFETIME_GRACE_SEC;
	if (!order->options.is_inbound && !order->options.has_extended_sequence) {
		lifetime->soft_packet_limit = smaller(lifetime->soft_packet_limit,
		                                      UINT32_MAX - SEQUENCE_RESERVE);
		lifetime->hard_packet_limit = smaller(lifetime->hard_packet_limit, UINT32_MAX);
	}
}

static uint8_t flags_of(const struct xfrm_ends *ends, const struct sa_order *order,
                        const struct config_ipsec_profile *profile)
{
	uint8_t flags = XFRM_STATE_AF_UNSPEC; /* IPv4 and IPv6 inside */

	/*
	 * The outer header's DF is clear, else it is the inner one's, and set for all of IPv6. A router that takes less than 1280 octets
	 * would drop what no IPv6 sender may make smaller (RFC 4213 section 3.2), and the kernel refuse the next ones for what it was told.
	 */
	if (ends->has_ipv6 || profile->df_bit == DF_CLEAR)
		flags |= XFRM_STATE_NOPMTUDISC;
	if (profile->ecn == ECN_DISCARD)
		flags |= XFRM_STATE_NOECN;
	if (order->options.has_extended_sequence)
		flags |= XFRM_STATE_ESN;
	return flags;
}

static void put_aead(struct nlmsghdr *message, const struct xfrm_cipher *cipher,
                     const struct esp_options *options)
{
	struct {
		struct xfrm_algo_aead header;
		char key[KEY_MAXIMUM];
	} algorithm = {.header = {.alg_icv_len = cipher->icv_bits}};

	strncpy(algorithm.header.alg_name, cipher->kernel_name,
	        sizeof(algorithm.header.alg_name) - 1);
	algorithm.header.alg_key_len = (unsigned)options->encryption_key_size * 8;
	memcpy(algorithm.key, options->encryption_key, options->encryption_key_size);
	mnl_attr_put(message, XFRMA_ALG_AEAD,
	             sizeof(algorithm.header) + options->encryption_key_size, &algorithm);
	explicit_bzero(&algorithm, sizeof(algorithm));
}

static void put_cipher(struct nlmsghdr *message, const struct xfrm_cipher *cipher,
                       const struct esp_options *options)
{
	struct {
		struct xfrm_algo header;
		char key[KEY_MAXIMUM];
	} algorithm = {0};

	strncpy(algorithm.header.alg_name, cipher->kernel_name,
	        sizeof(algorithm.header.alg_name) - 1);
	algorithm.header.alg_key_len = (unsigned)options->encryption_key_size * 8;
	memcpy(algorithm.key, options->encryption_key, options->encryption_key_size);
	mnl_attr_put(message, XFRMA_ALG_CRYPT,
	             sizeof(algorithm.header) + options->encryption_key_size, &algorithm);
	explicit_bzero(&algorithm, sizeof(algorithm));
}

static void put_digest(struct nlmsghdr *message, const struct esp_options *options)
{
	const struct xfrm_digest *digest = xfrm_find_digest(options->integrity);
	struct {
		struct xfrm_algo_auth header;
		char key[KEY_MAXIMUM];
	} algorithm = {.header = {.alg_trunc_len = digest->icv_bits}};

	strncpy(algorithm.header.alg_name, digest->kernel_name,
	        sizeof(algorithm.header.alg_name) - 1);
	algorithm.header.alg_key_len = (unsigned)options->integrity_key_size * 8;
	memcpy(algorithm.key, options->integrity_key, options->integrity_key_size);
	mnl_attr_put(message, XFRMA_ALG_AUTH_TRUNC,
	             sizeof(algorithm.header) + options->integrity_key_size, &algorithm);
	explicit_bzero(&algorithm, sizeof(algorithm));
}

static void put_algorithms(struct nlmsghdr *message, const struct esp_options *options)
{
	const struct xfrm_cipher *cipher = xfrm_find_cipher(options->encryption);

	if (cipher->icv_bits > 0) {
		put_aead(message, cipher, options);
	} else {
		put_cipher(message, cipher, options);
		put_digest(message, options);
	}
}

/* The bitmap form of the window, for any size and for extended numbers; without either there is no check. */
static void put_replay(struct nlmsghdr *message, const struct sa_order *order)
{
	struct {
		struct xfrm_replay_state_esn header;
		uint32_t bitmap[REPLAY_WINDOW_MAXIMUM / WORD_BITS];
	} replay = {0};
	unsigned window = order->options.is_inbound ? order->terms.replay_window : 0;

	/* An outbound SA checks nothing, but the kernel counts extended numbers in this form alone. */
	if (order->options.has_extended_sequence && window == 0)
		window = WORD_BITS;
	if (window == 0)
		return;
	replay.header.bmp_len = (window + WORD_BITS - 1) / WORD_BITS;
	replay.header.replay_window = window;
	mnl_attr_put(message, XFRMA_REPLAY_ESN_VAL,
	             sizeof(replay.header) + replay.header.bmp_len * sizeof(uint32_t), &replay);
}

/* Outbound every packet gets the session's mark; inbound it is taken off again, for the inner packet is anybody's. */
static void put_marks(struct nlmsghdr *message, uint32_t if_id, bool is_inbound)
{
	const struct xfrm_mark wanted = {.v = if_id, .m = MARK_ALL};

	if (is_inbound)
		mnl_attr_put(message, XFRMA_MARK, sizeof(wanted), &wanted);
	mnl_attr_put_u32(message, XFRMA_SET_MARK, is_inbound ? 0 : if_id);
	mnl_attr_put_u32(message, XFRMA_SET_MARK_MASK, MARK_ALL);
	mnl_attr_put_u32(message, XFRMA_IF_ID, if_id);
}

struct nlmsghdr *xfrm_put_state(void *buffer, const struct xfrm_ends *ends,
                                const struct sa_order *order,
                                const struct config_ipsec_profile *profile)
{
	bool is_inbound = order->options.is_inbound;
	const struct sockaddr_in *source = is_inbound ? &ends->remote : &ends->local;
	const struct sockaddr_in *destination = is_inbound ? &ends->local : &ends->remote;
	const struct xfrm_encap_tmpl encapsulation = {
		.encap_type = UDP_ENCAP_ESPINUDP,
		.encap_sport = source->sin_port,
		.encap_dport = destination->sin_port,
	};
	struct xfrm_usersa_info *info;
	struct nlmsghdr *message = begin(buffer, XFRM_MSG_NEWSA, sizeof(*info), &info);

	info->id.daddr.a4 = destination->sin_addr.s_addr;
	info->id.spi = htonl(order->spi);
	info->id.proto = IPPROTO_ESP;
	info->saddr.a4 = source->sin_addr.s_addr;
	info->family = AF_INET;
	info->mode = XFRM_MODE_TUNNEL;
	info->reqid = ends->if_id;
	info->flags = flags_of(ends, order, profile);
	set_limits(&info->lft, order);
	put_algorithms(message, &order->options);
	put_replay(message, order);
	put_marks(message, ends->if_id, is_inbound);
	mnl_attr_put(message, XFRMA_ENCAP, sizeof(encapsulation), &encapsulation);
	if (!profile->copies_dscp)
		mnl_attr_put_u32(message, XFRMA_SA_EXTRA_FLAGS, XFRM_SA_XFLAG_DONT_ENCAP_DSCP);
	return message;
}

static struct nlmsghdr *put_state_id(void *buffer, uint16_t type, const struct xfrm_ends *ends,
                                     bool is_inbound, uint32_t spi)
{
	const struct sockaddr_in *destination = is_inbound ? &ends->local : &ends->remote;
	const struct xfrm_mark mark = {.v = ends->if_id, .m = MARK_ALL};
	struct xfrm_usersa_id *id;
	struct nlmsghdr *message = begin(buffer, type, sizeof(*id), &id);

	id->daddr.a4 = destination->sin_addr.s_addr;
	id->spi = htonl(spi);
	id->family = AF_INET;
	id->proto = IPPROTO_ESP;
	mnl_attr_put(message, XFRMA_MARK, sizeof(mark), &mark);
	return message;
}

struct nlmsghdr *xfrm_put_state_deletion(void *buffer, const struct xfrm_ends *ends,
                                         bool is_inbound, uint32_t spi)
{
	return put_state_id(buffer, XFRM_MSG_DELSA, ends, is_inbound, spi);
}

struct nlmsghdr *xfrm_put_state_question(void *buffer, const struct xfrm_ends *ends,
                                         bool is_inbound, uint32_t spi)
{
	return put_state_id(buffer, XFRM_MSG_GETSA, ends, is_inbound, spi);
}

static const uint8_t policy_directions[] = {XFRM_POLICY_OUT, XFRM_POLICY_IN, XFRM_POLICY_FWD};
#define DIRECTIONS (sizeof(policy_directions) / sizeof(policy_directions[0]))

unsigned xfrm_policy_count(const struct xfrm_ends *ends)
{
	return ends->has_ipv6 ? XFRM_POLICIES_MAXIMUM : XFRM_POLICIES_MAXIMUM / 2;
}

static uint16_t policy_family(unsigned index)
{
	return index < DIRECTIONS ? AF_INET : AF_INET6;
}

/* Everything that goes through the tunnel's interface, and comes through it. */
struct nlmsghdr *xfrm_put_policy(void *buffer, const struct xfrm_ends *ends, unsigned index)
{
	uint8_t direction = policy_directions[index % DIRECTIONS];
	struct xfrm_user_tmpl template = {
		.id = {.proto = IPPROTO_ESP},
		.family = AF_INET,
		.reqid = ends->if_id,
		.mode = XFRM_MODE_TUNNEL,
		.aalgos = UINT32_MAX,
		.ealgos = UINT32_MAX,
		.calgos = UINT32_MAX,
	};
	struct xfrm_userpolicy_info *info;
	struct nlmsghdr *message = begin(buffer, XFRM_MSG_UPDPOLICY, sizeof(*info), &info);

	if (direction == XFRM_POLICY_OUT) {
		template.saddr.a4 = ends->local.sin_addr.s_addr;
		template.id.daddr.a4 = ends->remote.sin_addr.s_addr;
	} else {
		/* Any source: a peer whose address changes is known by its SA. */
		template.id.daddr.a4 = ends->local.sin_addr.s_addr;
	}
	info->sel.family = policy_family(index);
	info->lft = (struct xfrm_lifetime_cfg){
		.soft_byte_limit = XFRM_INF,
		.hard_byte_limit = XFRM_INF,
		.soft_packet_limit = XFRM_INF,
		.hard_packet_limit = XFRM_INF,
	};
	info->dir = direction;
	info->action = XFRM_POLICY_ALLOW;
	mnl_attr_put(message, XFRMA_TMPL, sizeof(template), &template);
	mnl_attr_put_u32(message, XFRMA_IF_ID, ends->if_id);
	return message;
}

struct nlmsghdr *xfrm_put_policy_deletion(void *buffer, const struct xfrm_ends *ends,
                                          unsigned index)
{
	struct xfrm_userpolicy_id *id;
	struct nlmsghdr *message = begin(buffer, XFRM_MSG_DELPOLICY, sizeof(*id), &id);

	id->sel.family = policy_family(index);
	id->dir = policy_directions[index % DIRECTIONS];
	mnl_attr_put_u32(message, XFRMA_IF_ID, ends->if_id);
	return message;
}

struct nlmsghdr *xfrm_put_dump(void *buffer, uint16_t type)
{
	struct xfrm_usersa_id *id;
	struct nlmsghdr *message;

	if (type == XFRM_MSG_GETPOLICY) {
		struct xfrm_userpolicy_id *policy;

		message = begin(buffer, type, sizeof(*policy), &policy);
	} else {
		message = begin(buffer, type, sizeof(*id), &id);
	}
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	return message;
}

/* The attributes of a message, by type; NULL = not there. */
struct attributes {
	const struct nlattr *list[XFRMA_MAX + 1];
};

static int note_attribute(const struct nlattr *attribute, void *context)
{
	struct attributes *attributes = context;

	if (mnl_attr_type_valid(attribute, XFRMA_MAX) > 0)
		attributes->list[mnl_attr_get_type(attribute)] = attribute;
	return MNL_CB_OK;
}

static const void *payload(const struct attributes *attributes, unsigned type, size_t size)
{
	const struct nlattr *attribute = attributes->list[type];

	return attribute && mnl_attr_get_payload_len(attribute) >= size
	               ? mnl_attr_get_payload(attribute)
	               : NULL;
}

static uint64_t limit_read(uint64_t value)
{
	return value == XFRM_INF ? 0 : value;
}

static void read_algorithms(const struct attributes *attributes, struct xfrm_state *state)
{
	const struct xfrm_algo_aead *aead = payload(attributes, XFRMA_ALG_AEAD, sizeof(*aead));
	const struct xfrm_algo *crypt = payload(attributes, XFRMA_ALG_CRYPT, sizeof(*crypt));
	const struct xfrm_algo_auth *auth = payload(attributes, XFRMA_ALG_AUTH_TRUNC,
	                                            sizeof(*auth));
	const struct xfrm_cipher *cipher = NULL;
	unsigned key_octets = 0;

	if (aead) {
		cipher = xfrm_find_cipher_name(aead->alg_name);
		key_octets = aead->alg_key_len / 8;
	} else if (crypt) {
		cipher = xfrm_find_cipher_name(crypt->alg_name);
		key_octets = crypt->alg_key_len / 8;
	}
	if (cipher)
		xfrm_print_algorithms(cipher, auth ? xfrm_find_digest_name(auth->alg_name) : NULL,
		                      key_octets, state->is_extended, state->algorithms,
		                      sizeof(state->algorithms));
}

static void read_replay(const struct attributes *attributes, struct xfrm_state *state)
{
	const struct xfrm_replay_state_esn *extended = payload(attributes, XFRMA_REPLAY_ESN_VAL,
	                                                       sizeof(*extended));
	const struct xfrm_replay_state *plain = payload(attributes, XFRMA_REPLAY_VAL,
	                                                sizeof(*plain));

	if (extended) {
		state->replay_window = extended->replay_window;
		state->sequence_sent = (uint64_t)extended->oseq_hi << 32 | extended->oseq;
		state->sequence_received = (uint64_t)extended->seq_hi << 32 | extended->seq;
	} else if (plain) {
		state->sequence_sent = plain->oseq;
		state->sequence_received = plain->seq;
	}
}

static bool read_info(const struct xfrm_usersa_info *info, const struct attributes *attributes,
                      struct xfrm_state *state)
{
	const struct xfrm_encap_tmpl *encapsulation = payload(attributes, XFRMA_ENCAP,
	                                                      sizeof(*encapsulation));
	const uint32_t *if_id = payload(attributes, XFRMA_IF_ID, sizeof(*if_id));

	if (info->family != AF_INET || info->id.proto != IPPROTO_ESP || !if_id || !encapsulation)
		return false;
	*state = (struct xfrm_state){
		.if_id = *if_id,
		.spi = ntohl(info->id.spi),
		.source = {.sin_family = AF_INET,
	                   .sin_port = encapsulation->encap_sport,
	                   .sin_addr.s_addr = info->saddr.a4},
		.destination = {.sin_family = AF_INET,
	                        .sin_port = encapsulation->encap_dport,
	                        .sin_addr.s_addr = info->id.daddr.a4},
		.is_extended = info->flags & XFRM_STATE_ESN,
		.packets = info->curlft.packets,
		.bytes = info->curlft.bytes,
		.replay_drops = info->stats.replay,
		.integrity_drops = info->stats.integrity_failed,
		.added_at_sec = info->curlft.add_time,
		.hard_lifetime_sec = info->lft.hard_add_expires_seconds,
		.soft_bytes = limit_read(info->lft.soft_byte_limit),
		.hard_bytes = limit_read(info->lft.hard_byte_limit),
		.soft_packets = limit_read(info->lft.soft_packet_limit),
		.hard_packets = limit_read(info->lft.hard_packet_limit),
	};
	read_replay(attributes, state);
	read_algorithms(attributes, state);
	return true;
}

bool xfrm_read_state(const struct nlmsghdr *message, struct xfrm_state *state)
{
	struct attributes attributes = {0};

	if (message->nlmsg_type != XFRM_MSG_NEWSA ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct xfrm_usersa_info))
		return false;
	mnl_attr_parse(message, sizeof(struct xfrm_usersa_info), note_attribute, &attributes);
	return read_info(mnl_nlmsg_get_payload(message), &attributes, state);
}

/* The kernel tells of the state, without its attributes but mark and if_id. */
bool xfrm_read_expiry(const struct nlmsghdr *message, struct xfrm_state *state, bool *is_hard)
{
	const struct xfrm_user_expire *expiry = mnl_nlmsg_get_payload(message);
	struct attributes attributes = {0};
	const uint32_t *if_id;

	if (message->nlmsg_type != XFRM_MSG_EXPIRE ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*expiry))
		return false;
	mnl_attr_parse(message, sizeof(*expiry), note_attribute, &attributes);
	if_id = payload(&attributes, XFRMA_IF_ID, sizeof(*if_id));
	if (!if_id || expiry->state.id.proto != IPPROTO_ESP)
		return false;
	*state = (struct xfrm_state){
		.if_id = *if_id,
		.spi = ntohl(expiry->state.id.spi),
		.destination = {.sin_family = AF_INET,
	                        .sin_addr.s_addr = expiry->state.id.daddr.a4},
	};
	*is_hard = expiry->hard;
	return true;
}

uint32_t xfrm_read_policy(const struct nlmsghdr *message)
{
	struct attributes attributes = {0};
	const uint32_t *if_id;

	if (message->nlmsg_type != XFRM_MSG_NEWPOLICY)
		return 0;
	mnl_attr_parse(message, sizeof(struct xfrm_userpolicy_info), note_attribute, &attributes);
	if_id = payload(&attributes, XFRMA_IF_ID, sizeof(*if_id));
	return if_id ? *if_id : 0;
}
