/* SPDX-License-Identifier: GPL-3.0-or-later */
/* State and orders of a tunnel, and its outbound packets. Inbound, time and conditions are in tunnel_conditions.c. */
#include "services/tunnel-agent/tunnel_core.h"

#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/tunnel-agent/mtu.h"

/* What a packet weighs outside: outer IPv4 and UDP header, the largest ESP overhead. */
#define ENCAPSULATION_SIZE 73

/* How late a release may be and still be counted as if it were in time. */
#define PACING_SLACK_USEC 5000
#define DUMMY_SLACK_USEC  50000
#define SECOND_USEC       1000000u

enum event {
	EVENT_PAYLOAD = 0, /* a packet that is worth a call */
	EVENT_OTHER,       /* a packet that is not */
	EVENT_SET_PEER,    /* of a new attempt */
	EVENT_OPEN,
	EVENT_CLEAR_PEER,
	EVENT_HELD,    /* the hold is not empty */
	EVENT_EMPTIED, /* the hold is empty */
	EVENT_COUNT
};

enum action {
	ACTION_NONE = 0,
	ACTION_HOLD,
	ACTION_DROP,
	ACTION_SEND,
	ACTION_ADOPT, /* take the peer */
	ACTION_START, /* the session is up */
	ACTION_FORGET,
	ACTION_REFUSE,
};

struct transition {
	enum action action;
	enum tunnel_state next;
};

static const struct transition transitions[TUNNEL_STATE_COUNT][EVENT_COUNT] =
	{
		[TUNNEL_RESTING] =
			{
				[EVENT_PAYLOAD] = {ACTION_HOLD, TUNNEL_RESTING},
				[EVENT_OTHER] = {ACTION_DROP, TUNNEL_RESTING},
				[EVENT_SET_PEER] = {ACTION_ADOPT, TUNNEL_PEERED},
				[EVENT_OPEN] = {ACTION_REFUSE, TUNNEL_RESTING},
				[EVENT_CLEAR_PEER] = {ACTION_FORGET, TUNNEL_RESTING},
				[EVENT_HELD] = {ACTION_NONE, TUNNEL_WANTING},
				[EVENT_EMPTIED] = {ACTION_NONE, TUNNEL_RESTING},
			},
		[TUNNEL_WANTING] =
			{
				[EVENT_PAYLOAD] = {ACTION_HOLD, TUNNEL_WANTING},
				[EVENT_OTHER] = {ACTION_DROP, TUNNEL_WANTING},
				[EVENT_SET_PEER] = {ACTION_ADOPT, TUNNEL_PEERED},
				[EVENT_OPEN] = {ACTION_REFUSE, TUNNEL_WANTING},
				[EVENT_CLEAR_PEER] = {ACTION_FORGET, TUNNEL_WANTING},
				[EVENT_HELD] = {ACTION_NONE, TUNNEL_WANTING},
				[EVENT_EMPTIED] = {ACTION_NONE, TUNNEL_RESTING},
			},
		[TUNNEL_PEERED] =
			{
				[EVENT_PAYLOAD] = {ACTION_HOLD, TUNNEL_PEERED},
				[EVENT_OTHER] = {ACTION_DROP, TUNNEL_PEERED},
				[EVENT_SET_PEER] = {ACTION_ADOPT, TUNNEL_PEERED},
				[EVENT_OPEN] = {ACTION_START, TUNNEL_OPEN},
				[EVENT_CLEAR_PEER] = {ACTION_FORGET, TUNNEL_RESTING},
				[EVENT_HELD] = {ACTION_NONE, TUNNEL_PEERED},
				[EVENT_EMPTIED] = {ACTION_NONE, TUNNEL_PEERED},
			},
		[TUNNEL_DRAINING] =
			{
				/* Queued behind what is held, whatever it is: order is kept. */
				[EVENT_PAYLOAD] = {ACTION_HOLD, TUNNEL_DRAINING},
				[EVENT_OTHER] = {ACTION_HOLD, TUNNEL_DRAINING},
				[EVENT_SET_PEER] = {ACTION_ADOPT, TUNNEL_PEERED},
				[EVENT_OPEN] = {ACTION_NONE, TUNNEL_DRAINING},
				[EVENT_CLEAR_PEER] = {ACTION_FORGET, TUNNEL_RESTING},
				[EVENT_HELD] = {ACTION_NONE, TUNNEL_DRAINING},
				[EVENT_EMPTIED] = {ACTION_NONE, TUNNEL_OPEN},
			},
		[TUNNEL_OPEN] =
			{
				[EVENT_PAYLOAD] = {ACTION_SEND, TUNNEL_OPEN},
				[EVENT_OTHER] = {ACTION_SEND, TUNNEL_OPEN},
				[EVENT_SET_PEER] = {ACTION_ADOPT, TUNNEL_PEERED},
				[EVENT_OPEN] = {ACTION_NONE, TUNNEL_OPEN},
				[EVENT_CLEAR_PEER] = {ACTION_FORGET, TUNNEL_RESTING},
				[EVENT_HELD] = {ACTION_NONE, TUNNEL_DRAINING},
				[EVENT_EMPTIED] = {ACTION_NONE, TUNNEL_OPEN},
			},
};

static enum action step(struct tunnel *tunnel, enum event event, uint64_t now_usec)
{
	const struct transition *transition = &transitions[tunnel->state][event];

	if (transition->next == TUNNEL_WANTING && tunnel->state != TUNNEL_WANTING)
		tunnel->wanting_since_usec = now_usec;
	if (transition->next != tunnel->state)
		tunnel->revision++;
	tunnel->state = transition->next;
	return transition->action;
}

void tunnel_settle_hold(struct tunnel *tunnel, uint64_t now_usec)
{
	step(tunnel, tunnel->hold.count > 0 ? EVENT_HELD : EVENT_EMPTIED, now_usec);
}

void tunnel_init(struct tunnel *tunnel, const struct tunnel_options *options)
{
	memset(tunnel, 0, sizeof(*tunnel));
	tunnel->options = *options;
	tunnel->classify.probe_targets = options->probe_targets;
	tunnel->classify.probe_target_count = options->probe_target_count;
	tunnel->classify.is_dual_overlay = options->is_dual_overlay;
	hold_init(&tunnel->hold, options->largest_packet, options->hold_bytes, options->hold_usec);
}

void tunnel_destroy(struct tunnel *tunnel)
{
	sa_remove_all(&tunnel->sas);
	hold_drop_all(&tunnel->hold);
	early_drop_all(&tunnel->early);
}

bool tunnel_has_session(const struct tunnel *tunnel)
{
	return tunnel->state == TUNNEL_OPEN || tunnel->state == TUNNEL_DRAINING;
}

bool tunnel_wants_sa(const struct tunnel *tunnel, uint64_t now_usec)
{
	return tunnel_has_session(tunnel) && tunnel->hold.count > 0 &&
	       !sa_find_outbound(&tunnel->sas, now_usec);
}

void tunnel_settle_orphans(struct tunnel *tunnel, uint64_t now_usec)
{
	bool has_sas = tunnel->sas.inbound_count + tunnel->sas.outbound_count > 0;

	if (!has_sas || (tunnel->attempt && tunnel->is_covered))
		tunnel->orphaned_usec = 0;
	else if (!tunnel->orphaned_usec)
		tunnel->orphaned_usec = now_usec;
}

void tunnel_set_cover(struct tunnel *tunnel, bool is_covered, uint64_t now_usec)
{
	tunnel->is_covered = is_covered;
	tunnel_settle_orphans(tunnel, now_usec);
}

/* Nothing of one session may count for the next. */
static void forget_session(struct tunnel *tunnel)
{
	tunnel->attempt = 0;
	tunnel->rate_kbit = 0;
	tunnel->next_release_usec = 0;
	tunnel->opened_usec = 0;
	tunnel->last_received_usec = 0;
	tunnel->last_sent_usec = 0;
	tunnel->sealed_usec = 0;
	tunnel->path_mtu = 0;
	tunnel->has_unknown_spi = false;
	tunnel->unknown_spi_usec = 0;
	tunnel->in.last_usec = 0;
	tunnel->out.last_usec = 0;
	tunnel->is_idle = tunnel->is_dead = tunnel->is_one_way = false;
	tunnel->drops[DROP_UNKNOWN_SPI] += early_drop_all(&tunnel->early);
	memset(&tunnel->remote, 0, sizeof(tunnel->remote));
	memset(&tunnel->heard_from, 0, sizeof(tunnel->heard_from));
}

bool tunnel_is_stale(const struct tunnel *tunnel, uint64_t attempt)
{
	return attempt < tunnel->attempt || attempt <= tunnel->cleared_attempt;
}

enum tunnel_order_result tunnel_set_peer(struct tunnel *tunnel, uint64_t attempt,
                                         const struct sockaddr_storage *remote, uint64_t now_usec)
{
	if (tunnel_is_stale(tunnel, attempt))
		return ORDER_STALE;
	if (attempt != tunnel->attempt) {
		/* SAs without a peer are this attempt's: IKE may be ahead of the coordinator after a restart. */
		if (tunnel->attempt)
			sa_remove_all(&tunnel->sas);
		step(tunnel, EVENT_SET_PEER, now_usec);
		forget_session(tunnel);
		tunnel->attempt = attempt;
		tunnel->last_sent_usec = now_usec;
		tunnel_settle_orphans(tunnel, now_usec);
	} else if (address_is_equal(remote, &tunnel->remote) ||
	           address_is_same_endpoint(&tunnel->heard_from, &tunnel->remote)) {
		/* What was announced is older than what was proven. */
		return ORDER_DONE;
	}
	tunnel->remote = *remote;
	tunnel->revision++;
	return ORDER_DONE;
}

enum tunnel_order_result tunnel_open(struct tunnel *tunnel, uint64_t attempt, uint32_t rate_kbit,
                                     uint64_t now_usec)
{
	if (tunnel_is_stale(tunnel, attempt))
		return ORDER_STALE;
	if (attempt != tunnel->attempt)
		return ORDER_NO_PEER;
	tunnel->rate_kbit = rate_kbit;
	if (step(tunnel, EVENT_OPEN, now_usec) == ACTION_START) {
		tunnel->opened_usec = now_usec;
		tunnel->sealed_usec = now_usec;
		tunnel->dummy_at_usec = now_usec;
		tunnel->next_release_usec = now_usec;
		tunnel_settle_hold(tunnel, now_usec);
		tunnel->revision++;
	}
	return ORDER_DONE;
}

static bool is_worth_a_call(void *context, const uint8_t *packet, size_t size)
{
	struct tunnel *tunnel = context;
	int class = classify_packet(&tunnel->classify, packet, size);

	if (class != CLASSIFY_PAYLOAD)
		tunnel->drops[class]++;
	return class == CLASSIFY_PAYLOAD;
}

enum tunnel_order_result tunnel_clear_peer(struct tunnel *tunnel, uint64_t attempt,
                                           uint64_t now_usec)
{
	if (attempt < tunnel->attempt)
		return ORDER_STALE;
	if (attempt > tunnel->cleared_attempt)
		tunnel->cleared_attempt = attempt;
	if (!tunnel->attempt && tunnel->sas.inbound_count + tunnel->sas.outbound_count == 0)
		return ORDER_DONE;
	step(tunnel, EVENT_CLEAR_PEER, now_usec);
	sa_remove_all(&tunnel->sas);
	/* What ike-agent still has belongs to the session that is over. */
	tunnel_set_cover(tunnel, false, now_usec);
	forget_session(tunnel);
	/* An open session that waits for its SA holds whatever comes: for a probe of our own nobody calls again. */
	hold_filter(&tunnel->hold, is_worth_a_call, tunnel);
	tunnel_settle_hold(tunnel, now_usec);
	tunnel->revision++;
	return ORDER_DONE;
}

int tunnel_install_sa(struct tunnel *tunnel, uint32_t spi, const struct esp_options *options,
                      const struct sa_terms *terms, uint64_t now_usec, const char **why)
{
	if (sa_install(&tunnel->sas, spi, options, terms, now_usec, why) != 0)
		return -1;
	tunnel_settle_orphans(tunnel, now_usec);
	tunnel->revision++;
	return 0;
}

int tunnel_enter_sa(struct tunnel *tunnel, uint32_t spi, bool is_inbound, const char *algorithms,
                    const struct sa_terms *terms, uint64_t now_usec, const char **why)
{
	if (sa_enter(&tunnel->sas, spi, is_inbound, algorithms, terms, now_usec, why) != 0)
		return -1;
	tunnel_settle_orphans(tunnel, now_usec);
	tunnel->revision++;
	return 0;
}

void tunnel_remove_sa(struct tunnel *tunnel, bool is_inbound, uint32_t spi, uint64_t now_usec)
{
	if (!sa_remove(&tunnel->sas, is_inbound, spi))
		return;
	tunnel_settle_orphans(tunnel, now_usec);
	tunnel->revision++;
}

static void hold_packet(struct tunnel *tunnel, const uint8_t *packet, size_t size,
                        uint64_t now_usec)
{
	tunnel->drops[DROP_HOLD_OVERFLOW] += hold_add(&tunnel->hold, packet, size, now_usec);
	tunnel_settle_hold(tunnel, now_usec);
}

size_t tunnel_fitting_size(const struct tunnel *tunnel, const uint8_t *inner)
{
	bool is_ipv6 = inner[0] >> 4 == 6;

	return is_ipv6 && tunnel->plain_mtu < IPV6_MTU_MINIMUM ? IPV6_MTU_MINIMUM
	                                                       : tunnel->plain_mtu;
}

struct outer_fields tunnel_outer_of(const struct tunnel *tunnel, const uint8_t *inner, size_t size)
{
	struct outer_fields fields = outer_header_of(&tunnel->options.outer, inner);

	if (size > tunnel->plain_mtu && size <= tunnel_fitting_size(tunnel, inner))
		fields.has_df = false;
	return fields;
}

/* Where the interface takes no more than what fits, the kernel fragments or tells the sender, and nothing is. */
static bool is_too_big(const struct tunnel *tunnel, const uint8_t *packet, size_t size)
{
	return tunnel->plain_mtu && size > tunnel->plain_mtu &&
	       tunnel_outer_of(tunnel, packet, size).has_df;
}

enum tunnel_verdict tunnel_take(struct tunnel *tunnel, const uint8_t *packet, size_t size,
                                uint64_t now_usec)
{
	int class = classify_packet(&tunnel->classify, packet, size);
	bool is_payload = class == CLASSIFY_PAYLOAD;

	if (class == DROP_IPV6 || class == DROP_MALFORMED) {
		tunnel->drops[class]++;
		return TUNNEL_DROPPED;
	}
	if (is_too_big(tunnel, packet, size)) {
		tunnel->drops[DROP_TOO_BIG]++;
		return TUNNEL_TOO_BIG;
	}
	if (is_payload && tunnel_has_session(tunnel))
		tunnel->out.last_usec = now_usec;
	switch (step(tunnel, is_payload ? EVENT_PAYLOAD : EVENT_OTHER, now_usec)) {
	case ACTION_SEND:
		if (sa_find_outbound(&tunnel->sas, now_usec))
			return TUNNEL_SEND;
		/* The session is up and its SA is not (yet): IKE makes one, no call is needed. */
		hold_packet(tunnel, packet, size, now_usec);
		return TUNNEL_HELD;
	case ACTION_HOLD:
		hold_packet(tunnel, packet, size, now_usec);
		return TUNNEL_HELD;
	default:
		tunnel->drops[class]++;
		return TUNNEL_DROPPED;
	}
}

bool tunnel_seal(struct tunnel *tunnel, uint8_t *inner, size_t inner_size, uint64_t now_usec,
                 uint8_t **packet, size_t *packet_size)
{
	struct sa *sa = sa_find_outbound(&tunnel->sas, now_usec);

	if (!sa) {
		tunnel->drops[DROP_NO_SA]++;
		return false;
	}
	if (esp_seal(sa->esp, sa->spi, ++sa->sequence, inner, inner_size, packet, packet_size) !=
	    ESP_OK) {
		tunnel->drops[DROP_SEAL_FAILED]++;
		return false;
	}
	if (sa_count(sa, inner_size, now_usec))
		tunnel->has_sa_reports = true;
	tunnel->out.packets++;
	tunnel->out.bytes += inner_size;
	tunnel->last_sent_usec = now_usec;
	tunnel->sealed_usec = now_usec;
	return true;
}

uint64_t tunnel_next_dummy_usec(const struct tunnel *tunnel, uint64_t now_usec)
{
	if (tunnel->state != TUNNEL_OPEN || !sa_find_outbound(&tunnel->sas, now_usec))
		return UINT64_MAX;
	if (tunnel->options.dummy_rate)
		return tunnel->dummy_at_usec;
	return tunnel->options.dummy_usec ? tunnel->sealed_usec + tunnel->options.dummy_usec
	                                  : UINT64_MAX;
}

/* They are no payload: neither idle nor the traffic counters know of them, but they use up the SA. */
bool tunnel_seal_dummy(struct tunnel *tunnel, uint8_t *inner, uint64_t now_usec, uint8_t **packet,
                       size_t *packet_size)
{
	struct sa *sa = sa_find_outbound(&tunnel->sas, now_usec);
	size_t size = arc4random_uniform(TUNNEL_DUMMY_MAXIMUM) + 1;

	if (tunnel_next_dummy_usec(tunnel, now_usec) > now_usec)
		return false;
	if (tunnel->options.dummy_rate) {
		tunnel->dummy_at_usec += SECOND_USEC / tunnel->options.dummy_rate;
		/* A late timer is made up for, a long pause is not. */
		if (tunnel->dummy_at_usec + DUMMY_SLACK_USEC < now_usec)
			tunnel->dummy_at_usec = now_usec;
	}
	memset(inner, 0, size);
	if (esp_seal_dummy(sa->esp, sa->spi, ++sa->sequence, inner, size, packet, packet_size) !=
	    ESP_OK) {
		tunnel->drops[DROP_SEAL_FAILED]++;
		return false;
	}
	if (sa_count(sa, 0, now_usec))
		tunnel->has_sa_reports = true;
	tunnel->dummies_sent++;
	tunnel->last_sent_usec = now_usec;
	tunnel->sealed_usec = now_usec;
	return true;
}

size_t tunnel_release(struct tunnel *tunnel, uint8_t *packet, uint64_t now_usec)
{
	const uint8_t *held;
	size_t size;

	if (tunnel_next_release_usec(tunnel, now_usec) > now_usec)
		return 0;
	held = hold_first(&tunnel->hold, &size);
	if (!held)
		return 0;
	memcpy(packet, held, size);
	hold_drop_first(&tunnel->hold);
	/* A late timer is made up for, a long pause is not. */
	if (tunnel->next_release_usec + PACING_SLACK_USEC < now_usec)
		tunnel->next_release_usec = now_usec - PACING_SLACK_USEC;
	if (tunnel->rate_kbit)
		tunnel->next_release_usec += (size + ENCAPSULATION_SIZE) * 8 * 1000 /
		                             tunnel->rate_kbit;
	tunnel_settle_hold(tunnel, now_usec);
	return size;
}

uint64_t tunnel_next_release_usec(const struct tunnel *tunnel, uint64_t now_usec)
{
	if (tunnel->state != TUNNEL_DRAINING || !sa_find_outbound(&tunnel->sas, now_usec))
		return UINT64_MAX;
	return tunnel->next_release_usec;
}
