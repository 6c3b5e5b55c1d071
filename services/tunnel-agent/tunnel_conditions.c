/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inbound packets of a tunnel, what time does to it, and the conditions that follow. */
#include <math.h>

#include "services/common/address.h"
#include "services/tunnel-agent/tunnel_core.h"

#define IPV4_HEADER_MINIMUM 20
#define IPV6_HEADER_SIZE    40
#define ESP_HEADER_SIZE     8

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool drop(struct tunnel *tunnel, enum drop_reason reason)
{
	tunnel->drops[reason]++;
	return false;
}

/* Counts a packet that esp_open() refused. */
static bool drop_unopened(struct tunnel *tunnel, struct sa *sa, enum esp_result result)
{
	switch (result) {
	case ESP_MALFORMED:
		return drop(tunnel, DROP_TOO_SHORT);
	case ESP_BAD_PADDING:
		return drop(tunnel, DROP_PADDING);
	default:
		sa->integrity_drops++;
		return drop(tunnel, DROP_INTEGRITY);
	}
}

/* The IPv4 packet may be followed by traffic-flow padding (RFC 4303 section 2.7), which is cut off. */
static bool trim_ipv4(const uint8_t *inner, size_t *inner_size)
{
	size_t total;

	if (*inner_size < IPV4_HEADER_MINIMUM || inner[0] >> 4 != 4)
		return false;
	total = (size_t)inner[2] << 8 | inner[3];
	if (total < IPV4_HEADER_MINIMUM || total > *inner_size)
		return false;
	*inner_size = total;
	return true;
}

static bool trim_ipv6(const uint8_t *inner, size_t *inner_size)
{
	size_t total;

	if (*inner_size < IPV6_HEADER_SIZE || inner[0] >> 4 != 6)
		return false;
	total = IPV6_HEADER_SIZE + ((size_t)inner[4] << 8 | inner[5]);
	if (total > *inner_size)
		return false;
	*inner_size = total;
	return true;
}

static bool trim(const struct tunnel *tunnel, uint8_t next_header, const uint8_t *inner,
                 size_t *inner_size)
{
	switch (next_header) {
	case ESP_NEXT_IPV4:
		return trim_ipv4(inner, inner_size);
	case ESP_NEXT_IPV6:
		return tunnel->options.is_dual_overlay && trim_ipv6(inner, inner_size);
	default:
		return false;
	}
}

/* Who sends on an SA that we lost has not heard of it: IKE is to ask. A session on its way up has its own answers. */
static void note_unknown_spi(struct tunnel *tunnel, uint32_t spi, uint64_t now_usec)
{
	if (!tunnel->options.recovers_unknown_spi || !tunnel_has_session(tunnel) ||
	    (tunnel->unknown_spi_usec &&
	     now_usec < tunnel->unknown_spi_usec + TUNNEL_SPI_REPORT_USEC))
		return;
	tunnel->unknown_spi = spi;
	tunnel->has_unknown_spi = true;
	tunnel->unknown_spi_usec = now_usec;
	tunnel->unknown_spi_reports++;
}

static void expire_early(struct tunnel *tunnel, uint64_t now_usec)
{
	uint32_t spi = tunnel->early.packets ? tunnel->early.packets->spi : 0;
	unsigned dropped = early_expire(&tunnel->early, now_usec);

	tunnel->drops[DROP_UNKNOWN_SPI] += dropped;
	if (dropped > 0)
		note_unknown_spi(tunnel, spi, now_usec);
}

bool tunnel_next_unknown_spi(struct tunnel *tunnel, uint32_t *spi)
{
	bool is_told = tunnel->has_unknown_spi;

	*spi = tunnel->unknown_spi;
	tunnel->has_unknown_spi = false;
	return is_told;
}

/* Only what may be the peer's own packet: others have no claim on the room. */
bool tunnel_keep_early(struct tunnel *tunnel, const struct sockaddr_storage *source,
                       const uint8_t *packet, size_t size, uint64_t now_usec)
{
	if (!tunnel->attempt || size < ESP_HEADER_SIZE ||
	    !address_is_equal(source, &tunnel->remote) ||
	    sa_find(&tunnel->sas, true, esp_spi(packet)))
		return false;
	expire_early(tunnel, now_usec);
	return early_keep(&tunnel->early, esp_spi(packet), packet, size, now_usec);
}

size_t tunnel_take_early(struct tunnel *tunnel, uint32_t spi, uint8_t *packet)
{
	size_t size = early_take(&tunnel->early, spi, packet);

	if (size > 0)
		tunnel->early_packets++;
	return size;
}

bool tunnel_unseal(struct tunnel *tunnel, uint8_t *packet, size_t packet_size, uint64_t now_usec,
                   uint8_t **inner, size_t *inner_size)
{
	enum esp_result result;
	struct sa *sa;
	uint64_t sequence;
	uint8_t next_header;

	tunnel->is_newest = false;
	if (!tunnel->attempt)
		return drop(tunnel, DROP_NO_PEER);
	if (packet_size < ESP_HEADER_SIZE)
		return drop(tunnel, DROP_TOO_SHORT);
	sa = sa_find(&tunnel->sas, true, esp_spi(packet));
	if (!sa)
		return drop(tunnel, DROP_UNKNOWN_SPI);
	if (!sa_is_usable(sa, now_usec))
		return drop(tunnel, DROP_LIFETIME);
	sequence = replay_infer(&sa->replay, esp_sequence(packet));
	if (!replay_is_fresh(&sa->replay, sequence)) {
		sa->replay_drops++;
		return drop(tunnel, DROP_REPLAY);
	}
	result = esp_open(sa->esp, sequence, packet, packet_size, inner, inner_size, &next_header);
	if (result != ESP_OK)
		return drop_unopened(tunnel, sa, result);
	/* Without a window a captured packet would count as new. */
	tunnel->is_newest = sa->replay.window_size > 0 && sequence > sa->replay.top;
	replay_accept(&sa->replay, sequence);
	tunnel->last_received_usec = now_usec;
	if (next_header == ESP_NEXT_DUMMY) {
		tunnel->has_sa_reports |= sa_count(sa, 0, now_usec);
		return drop(tunnel, DROP_DUMMY);
	}
	if (!trim(tunnel, next_header, *inner, inner_size))
		return drop(tunnel, DROP_NOT_IPV4);
	if (sa_count(sa, *inner_size, now_usec))
		tunnel->has_sa_reports = true;
	tunnel->in.packets++;
	tunnel->in.bytes += *inner_size;
	if (classify_packet(&tunnel->classify, *inner, *inner_size) == CLASSIFY_PAYLOAD)
		tunnel->in.last_usec = now_usec;
	return true;
}

bool tunnel_follow_peer(struct tunnel *tunnel, const struct sockaddr_storage *from,
                        const struct sockaddr_storage *to)
{
	if (!tunnel->attempt || !address_is_same_endpoint(from, &tunnel->remote) ||
	    address_is_same_endpoint(to, &tunnel->remote))
		return false;
	tunnel->remote = *to;
	tunnel->revision++;
	return true;
}

bool tunnel_hear_from(struct tunnel *tunnel, const struct sockaddr_storage *source)
{
	const struct sockaddr_storage before = tunnel->heard_from;

	if (!tunnel->is_newest || address_is_same_endpoint(source, &before))
		return false;
	tunnel->heard_from = *source;
	return before.ss_family && tunnel_follow_peer(tunnel, &before, source);
}

/* What was sent with the SA, and not long ago. */
static bool has_just_sent(const struct sa *sa, uint32_t sequence)
{
	int32_t age = (int32_t)((uint32_t)sa->sequence - sequence);
	/* Whose packets the kernel carries is counted once a second. */
	int32_t youngest = sa->esp ? 0 : -TUNNEL_PATH_REPORT_WINDOW;

	return age >= youngest && age <= TUNNEL_PATH_REPORT_WINDOW &&
	       (age <= 0 || (uint64_t)age < sa->sequence);
}

static bool is_credible(const struct tunnel *tunnel, const struct path_report *report,
                        enum drop_reason *why)
{
	const struct sa *sa = sa_find(&tunnel->sas, false, report->spi);

	if (!tunnel->attempt || !address_is_same_endpoint(&report->remote, &tunnel->remote))
		*why = DROP_REPORT_PEER;
	else if (!sa)
		*why = DROP_REPORT_SPI;
	else if (!has_just_sent(sa, report->sequence))
		*why = DROP_REPORT_SEQUENCE;
	else if (report->mtu >= report->packet_size)
		*why = DROP_REPORT_SIZE;
	else
		return true;
	return false;
}

enum path_report_result tunnel_take_path_report(struct tunnel *tunnel,
                                                const struct path_report *report, uint64_t now_usec,
                                                enum drop_reason *why)
{
	if (!is_credible(tunnel, report, why))
		return PATH_REPORT_REFUSED;
	if (tunnel->path_mtu && report->mtu >= tunnel->path_mtu)
		return PATH_REPORT_KNOWN;
	tunnel->path_mtu = report->mtu;
	tunnel->path_mtu_usec = now_usec;
	tunnel->revision++;
	return PATH_REPORT_NARROWS;
}

bool tunnel_take_ecn(struct tunnel *tunnel, uint8_t outer_tos, uint8_t *inner)
{
	switch (outer_header_take_ecn(&tunnel->options.outer, outer_tos, inner)) {
	case ECN_CHANGED:
		tunnel->ecn_marked++;
		return true;
	case ECN_LOST:
		return drop(tunnel, DROP_ECN);
	default:
		return true;
	}
}

void tunnel_note_received(struct tunnel *tunnel, uint64_t now_usec)
{
	tunnel->last_received_usec = now_usec;
}

void tunnel_note_sent(struct tunnel *tunnel, uint64_t now_usec)
{
	tunnel->last_sent_usec = now_usec;
}

bool tunnel_needs_keepalive(const struct tunnel *tunnel, uint64_t now_usec)
{
	return tunnel->attempt && tunnel->options.keepalive_usec &&
	       now_usec >= tunnel->last_sent_usec + tunnel->options.keepalive_usec;
}

static void expire_sas(struct tunnel *tunnel, struct sa **list, unsigned count, uint64_t now_usec)
{
	for (unsigned i = 0; i < count; i++) {
		if (sa_expires_usec(list[i]) > now_usec || list[i]->is_hard_reached)
			continue;
		list[i]->is_hard_reached = true;
		tunnel->has_sa_reports = true;
		tunnel->revision++;
	}
}

void tunnel_note_limit(struct tunnel *tunnel, bool is_inbound, uint32_t spi, bool is_hard)
{
	struct sa **list = is_inbound ? tunnel->sas.inbound : tunnel->sas.outbound;
	unsigned count = is_inbound ? tunnel->sas.inbound_count : tunnel->sas.outbound_count;

	for (unsigned i = 0; i < count; i++) {
		if (list[i]->spi != spi)
			continue;
		list[i]->is_soft_reached = true;
		list[i]->is_hard_reached |= is_hard;
		tunnel->has_sa_reports = true;
		tunnel->revision++;
	}
}

static bool is_over(const struct sa *sa, uint64_t now_usec)
{
	return sa->is_hard_reported ||
	       (sa->retired_usec && now_usec >= sa->retired_usec + SA_RETIRED_USEC);
}

/* What has ended and was told, or was replaced, is wiped; IKE's own removal finds nothing, which is fine. */
static void remove_ended_sas(struct tunnel *tunnel, struct sa **list, const unsigned *count,
                             uint64_t now_usec)
{
	for (unsigned i = *count; i-- > 0;)
		if (is_over(list[i], now_usec))
			tunnel_remove_sa(tunnel, list[i]->is_inbound, list[i]->spi, now_usec);
}

static void set_condition(struct tunnel *tunnel, bool *condition, bool value)
{
	if (*condition == value)
		return;
	*condition = value;
	tunnel->revision++;
}

static void evaluate_conditions(struct tunnel *tunnel, uint64_t now_usec)
{
	const struct tunnel_options *options = &tunnel->options;
	uint64_t in_usec = later(tunnel->in.last_usec, tunnel->opened_usec);
	uint64_t out_usec = later(tunnel->out.last_usec, tunnel->opened_usec);
	uint64_t heard_usec = later(tunnel->last_received_usec, tunnel->opened_usec);
	bool has_session = tunnel_has_session(tunnel);
	bool is_idle = now_usec >= later(in_usec, out_usec) + options->idle_usec;
	bool is_in_silent = now_usec >= in_usec + 2 * options->idle_usec;
	bool is_out_silent = now_usec >= out_usec + 2 * options->idle_usec;

	set_condition(tunnel, &tunnel->is_idle, has_session && is_idle);
	set_condition(tunnel, &tunnel->is_one_way,
	              has_session && !is_idle && is_in_silent != is_out_silent);
	set_condition(tunnel, &tunnel->is_dead,
	              has_session && options->dead_usec &&
	                      now_usec >= heard_usec + options->dead_usec);
}

void tunnel_advance(struct tunnel *tunnel, uint64_t now_usec)
{
	struct sa_table *sas = &tunnel->sas;
	unsigned expired = hold_expire(&tunnel->hold, now_usec);

	expire_early(tunnel, now_usec);
	if (expired) {
		tunnel->drops[DROP_HOLD_EXPIRED] += expired;
		tunnel_settle_hold(tunnel, now_usec);
	}
	remove_ended_sas(tunnel, sas->inbound, &sas->inbound_count, now_usec);
	remove_ended_sas(tunnel, sas->outbound, &sas->outbound_count, now_usec);
	expire_sas(tunnel, sas->inbound, sas->inbound_count, now_usec);
	expire_sas(tunnel, sas->outbound, sas->outbound_count, now_usec);
	if (tunnel->orphaned_usec && now_usec >= tunnel->orphaned_usec + TUNNEL_ORPHAN_SA_USEC) {
		sa_remove_all(sas);
		tunnel->orphaned_usec = 0;
		tunnel->orphans_removed++;
		tunnel->revision++;
	}
	if (tunnel->path_mtu && now_usec >= tunnel->path_mtu_usec + TUNNEL_PATH_MTU_USEC) {
		tunnel->path_mtu = 0;
		tunnel->revision++;
	}
	evaluate_conditions(tunnel, now_usec);
}

uint64_t tunnel_next_deadline_usec(const struct tunnel *tunnel)
{
	uint64_t deadline = hold_expires_usec(&tunnel->hold);
	uint64_t payload_usec = later(tunnel->in.last_usec, tunnel->out.last_usec);

	if (!tunnel_has_session(tunnel))
		return deadline;
	if (!tunnel->is_idle)
		deadline = earlier(deadline, later(payload_usec, tunnel->opened_usec) +
		                                     tunnel->options.idle_usec);
	if (!tunnel->is_dead && tunnel->options.dead_usec)
		deadline = earlier(deadline,
		                   later(tunnel->last_received_usec, tunnel->opened_usec) +
		                           tunnel->options.dead_usec);
	return deadline;
}

static bool sample_direction(struct tunnel_traffic *traffic, double elapsed_sec, double weight)
{
	uint64_t packets = traffic->packets - traffic->sampled_packets;
	uint64_t bytes = traffic->bytes - traffic->sampled_bytes;

	traffic->sampled_packets = traffic->packets;
	traffic->sampled_bytes = traffic->bytes;
	traffic->packet_rate += weight * ((double)packets / elapsed_sec - traffic->packet_rate);
	traffic->bit_rate += weight * ((double)bytes * 8 / elapsed_sec - traffic->bit_rate);
	return packets > 0;
}

bool tunnel_sample(struct tunnel *tunnel, uint64_t now_usec)
{
	double elapsed_sec = (double)(now_usec - tunnel->sampled_usec) / 1e6;
	double interval_sec = tunnel->options.load_interval_sec ? tunnel->options.load_interval_sec
	                                                        : 1;
	double weight;
	bool has_moved;

	if (elapsed_sec <= 0)
		return false;
	/* The exponentially weighted average that routers show as "N-second rate". */
	weight = 1 - exp(-elapsed_sec / interval_sec);
	has_moved = sample_direction(&tunnel->in, elapsed_sec, weight);
	has_moved |= sample_direction(&tunnel->out, elapsed_sec, weight);
	has_moved |= tunnel->dummies_sent != tunnel->sampled_dummies;
	tunnel->sampled_dummies = tunnel->dummies_sent;
	tunnel->sampled_usec = now_usec;
	return has_moved;
}

static const struct sa *find_sa_report(struct sa **list, unsigned count, bool *is_hard)
{
	for (unsigned i = 0; i < count; i++) {
		struct sa *sa = list[i];

		if (sa->is_hard_reached && !sa->is_hard_reported) {
			sa->is_hard_reported = sa->is_soft_reported = true;
			*is_hard = true;
			return sa;
		}
		if (sa->is_soft_reached && !sa->is_soft_reported) {
			sa->is_soft_reported = true;
			*is_hard = false;
			return sa;
		}
	}
	return NULL;
}

const struct sa *tunnel_next_sa_report(struct tunnel *tunnel, bool *is_hard)
{
	const struct sa *sa;

	if (!tunnel->has_sa_reports)
		return NULL;
	sa = find_sa_report(tunnel->sas.inbound, tunnel->sas.inbound_count, is_hard);
	if (!sa)
		sa = find_sa_report(tunnel->sas.outbound, tunnel->sas.outbound_count, is_hard);
	if (!sa)
		tunnel->has_sa_reports = false;
	return sa;
}
