/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * libcharon's IPsec stack: SAs are installed in tunnel-agent through the host. The table here knows what is installed
 * and how it was last said to be used, and raises the time lifetimes, which libcharon leaves to its kernel.
 */
#include "services/ike-agent/charon_internal.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/random.h>

#define BUCKETS            256
#define REKEY_INTERVAL_SEC 2 /* between two attempts to replace a missing SA */

struct installed_sa {
	struct installed_sa *next;
	uint32_t if_id;
	uint32_t spi; /* host order */
	bool is_inbound;
	host_t *destination;          /* an SPI is unique per destination (RFC 4301 section 4.1) */
	uint32_t serial;              /* tells a later SA with the same SPI apart */
	uint64_t rekey_sec, life_sec; /* time lifetimes; 0 = none */
	uint64_t installed_usec;
	time_t rekey_asked_at;
	bool is_missing;
	bool has_usage;
	struct engine_sa_usage usage;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct installed_sa *buckets[BUCKETS];
static uint32_t last_serial;

#define KEY_SIZE_MAX 64

/**
 * An inbound SA that waits for its child's outbound one, so that one order installs both. libcharon adds the SAs of a
 * child in this sequence, and then, always, its policies, in one thread; before that it sends nothing.
 */
struct waiting_sa {
	struct installed_sa *entry; /* NULL = none waits */
	struct engine_sa sa;
	uint8_t encryption_key[KEY_SIZE_MAX], integrity_key[KEY_SIZE_MAX];
};

static _Thread_local struct waiting_sa waiting;

/** The link that holds the SA, or the one at the end of its chain. The mutex is held. */
static struct installed_sa **find(const kernel_ipsec_sa_id_t *id)
{
	struct installed_sa **link = &buckets[id->if_id % BUCKETS];

	while (*link && ((*link)->if_id != id->if_id || (*link)->spi != ntohl(id->spi) ||
	                 !id->dst->equals(id->dst, (*link)->destination)))
		link = &(*link)->next;
	return link;
}

/** The SA of either direction with this SPI, or NULL. The mutex is held. */
static struct installed_sa *find_spi(uint32_t if_id, uint32_t spi)
{
	struct installed_sa *sa = buckets[if_id % BUCKETS];

	while (sa && (sa->if_id != if_id || sa->spi != spi))
		sa = sa->next;
	return sa;
}

/** Asks libcharon to rekey (soft) or delete (hard) the child SA of an inbound SPI. */
static void expire(uint32_t spi, host_t *destination, bool is_hard)
{
	charon->kernel->expire(charon->kernel, IPPROTO_ESP, htonl(spi), destination, is_hard);
}

/** The end of a time lifetime. */
static void meet_deadline(uint64_t owner, bool is_hard)
{
	uint32_t if_id = owner >> 32, serial = (uint32_t)owner;
	host_t *destination = NULL;
	struct installed_sa *sa;
	uint32_t spi = 0;

	pthread_mutex_lock(&mutex);
	sa = buckets[if_id % BUCKETS];
	while (sa && sa->serial != serial)
		sa = sa->next;
	if (sa) {
		spi = sa->spi;
		destination = sa->destination->clone(sa->destination);
	}
	pthread_mutex_unlock(&mutex);
	if (destination) {
		expire(spi, destination, is_hard);
		destination->destroy(destination);
	}
}

static uint64_t owner_of(const struct installed_sa *sa)
{
	return (uint64_t)sa->if_id << 32 | sa->serial;
}

static void free_sa(struct installed_sa *sa)
{
	if (!sa)
		return;
	charon_drop_deadlines(meet_deadline, owner_of(sa));
	sa->destination->destroy(sa->destination);
	free(sa);
}

/** CLOCK_MONOTONIC, as the bus stamps it on reports. */
static uint64_t now_usec(void)
{
	timeval_t now;

	time_monotonic(&now);
	return now.tv_sec * 1000000ull + now.tv_usec;
}

static struct installed_sa *new_entry(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
	struct installed_sa *sa;

	INIT(sa, .if_id = id->if_id, .spi = ntohl(id->spi), .is_inbound = data->inbound,
	     .destination = id->dst->clone(id->dst), .rekey_sec = data->lifetime->time.rekey,
	     .life_sec = data->lifetime->time.life, );
	return sa;
}

/** Enters the SA and sets the clock for the child: one of its two SAs, the inbound one, is enough. */
static void enter(struct installed_sa *sa)
{
	kernel_ipsec_sa_id_t id = {
		.if_id = sa->if_id, .spi = htonl(sa->spi), .dst = sa->destination};
	struct installed_sa **link, *known;

	pthread_mutex_lock(&mutex);
	sa->installed_usec = now_usec();
	sa->serial = ++last_serial;
	link = find(&id);
	known = *link;
	sa->next = known ? known->next : NULL;
	*link = sa;
	if (sa->is_inbound) {
		charon_set_deadline(meet_deadline, owner_of(sa), false, sa->rekey_sec);
		charon_set_deadline(meet_deadline, owner_of(sa), true, sa->life_sec);
	}
	pthread_mutex_unlock(&mutex);
	free_sa(known);
}

static void forget_waiting(void)
{
	explicit_bzero(waiting.encryption_key, sizeof(waiting.encryption_key));
	explicit_bzero(waiting.integrity_key, sizeof(waiting.integrity_key));
	waiting.entry = NULL;
}

static status_t let_wait(const struct engine_sa *sa, struct installed_sa *entry)
{
	if (sa->encryption_key_size > KEY_SIZE_MAX || sa->integrity_key_size > KEY_SIZE_MAX) {
		free_sa(entry);
		return NOT_SUPPORTED;
	}
	free_sa(waiting.entry);
	waiting.entry = entry;
	waiting.sa = *sa;
	waiting.sa.encryption_key = waiting.encryption_key;
	waiting.sa.integrity_key = waiting.integrity_key;
	memcpy(waiting.encryption_key, sa->encryption_key, sa->encryption_key_size);
	memcpy(waiting.integrity_key, sa->integrity_key, sa->integrity_key_size);
	return SUCCESS;
}

/** Installs the inbound SA that waits, if any, and the outbound SA, unless NULL: one at least. Takes the entry. */
static status_t install(const struct engine_sa *outbound, struct installed_sa *entry)
{
	const struct engine_host *host = charon_engine.host;
	struct installed_sa *inbound = waiting.entry;
	char why[ENGINE_CAUSE_SIZE] = "ike-agent is leaving";
	bool is_installed = !charon_engine.is_leaving &&
	                    host->install_sa(host->context, inbound ? &waiting.sa : outbound,
	                                     inbound ? outbound : NULL, why, sizeof(why));

	forget_waiting();
	if (!is_installed) {
		free_sa(inbound);
		free_sa(entry);
		charon_report_verdict(IKE_GUARD_NONE, "the SA could not be installed: %s", why);
		return FAILED;
	}
	if (inbound)
		enter(inbound);
	if (entry)
		enter(entry);
	return SUCCESS;
}

static bool translate_encryption(uint16_t algorithm, enum engine_encryption *encryption)
{
	switch (algorithm) {
	case ENCR_AES_GCM_ICV16:
		*encryption = ENGINE_AES_GCM_16;
		return true;
	case ENCR_AES_CBC:
		*encryption = ENGINE_AES_CBC;
		return true;
	case ENCR_CHACHA20_POLY1305:
		*encryption = ENGINE_CHACHA20_POLY1305;
		return true;
	default:
		return false;
	}
}

static bool translate_integrity(uint16_t algorithm, enum engine_integrity *integrity)
{
	switch (algorithm) {
	case AUTH_UNDEFINED:
		*integrity = ENGINE_INTEGRITY_NONE;
		return true;
	case AUTH_HMAC_SHA2_256_128:
		*integrity = ENGINE_HMAC_SHA2_256_128;
		return true;
	case AUTH_HMAC_SHA2_384_192:
		*integrity = ENGINE_HMAC_SHA2_384_192;
		return true;
	case AUTH_HMAC_SHA2_512_256:
		*integrity = ENGINE_HMAC_SHA2_512_256;
		return true;
	case AUTH_HMAC_SHA1_96:
		*integrity = ENGINE_HMAC_SHA1_96;
		return true;
	default:
		return false;
	}
}

METHOD(kernel_ipsec_t, get_features, kernel_feature_t, kernel_ipsec_t *this)
{
	return KERNEL_REQUIRE_UDP_ENCAPSULATION | KERNEL_NO_POLICY_UPDATES;
}

/* Unique enough: tunnel-agent tells SAs apart by if_id and SPI. */
METHOD(kernel_ipsec_t, get_spi, status_t, kernel_ipsec_t *this, host_t *src, host_t *dst,
       uint8_t protocol, uint32_t *spi)
{
	uint32_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return FAILED;
	*spi = htonl(KERNEL_SPI_MIN + random % (KERNEL_SPI_MAX - KERNEL_SPI_MIN + 1));
	return SUCCESS;
}

METHOD(kernel_ipsec_t, add_sa, status_t, kernel_ipsec_t *this, kernel_ipsec_sa_id_t *id,
       kernel_ipsec_add_sa_t *data)
{
	struct engine_sa sa = {
		.if_id = id->if_id,
		.spi = ntohl(id->spi),
		.is_inbound = data->inbound,
		.encryption_key = data->enc_key.ptr,
		.encryption_key_size = data->enc_key.len,
		.integrity_key = data->int_key.ptr,
		.integrity_key_size = data->int_key.len,
		.has_extended_sequence = data->esn,
		.replay_window = data->replay_window,
		.hard_lifetime_sec = (uint32_t)charon_limit_by_certificates(
			charon->bus->get_sa(charon->bus), data->lifetime->time.life),
		.soft_byte_limit = data->lifetime->bytes.rekey,
		.hard_byte_limit = data->lifetime->bytes.life,
		.soft_packet_limit = data->lifetime->packets.rekey,
		.hard_packet_limit = data->lifetime->packets.life,
	};

	if (!translate_encryption(data->enc_alg, &sa.encryption) ||
	    !translate_integrity(data->int_alg, &sa.integrity))
		return NOT_SUPPORTED;
	return data->inbound ? let_wait(&sa, new_entry(id, data))
	                     : install(&sa, new_entry(id, data));
}

/* Of a child that is rekeyed by the peer the inbound SA comes alone; the outbound one follows when the old child ends. */
METHOD(kernel_ipsec_t, add_policy, status_t, kernel_ipsec_t *this, kernel_ipsec_policy_id_t *id,
       kernel_ipsec_manage_policy_t *data)
{
	return waiting.entry ? install(NULL, NULL) : SUCCESS;
}

/* The peer's address is tunnel-agent's affair; only our own end matters, as the key of expire(). */
METHOD(kernel_ipsec_t, update_sa, status_t, kernel_ipsec_t *this, kernel_ipsec_sa_id_t *id,
       kernel_ipsec_update_sa_t *data)
{
	struct installed_sa *sa;

	pthread_mutex_lock(&mutex);
	sa = *find(id);
	if (sa) {
		sa->destination->destroy(sa->destination);
		sa->destination = data->new_dst->clone(data->new_dst);
	}
	pthread_mutex_unlock(&mutex);
	return SUCCESS;
}

METHOD(kernel_ipsec_t, query_sa, status_t, kernel_ipsec_t *this, kernel_ipsec_sa_id_t *id,
       kernel_ipsec_query_sa_t *data, uint64_t *bytes, uint64_t *packets, time_t *time)
{
	const struct installed_sa *sa;
	status_t status = NOT_FOUND;

	pthread_mutex_lock(&mutex);
	sa = *find(id);
	if (sa && sa->has_usage) {
		if (bytes)
			*bytes = sa->usage.bytes;
		if (packets)
			*packets = sa->usage.packets;
		if (time)
			*time = sa->usage.last_used_mono_usec / 1000000;
		status = SUCCESS;
	}
	pthread_mutex_unlock(&mutex);
	return status;
}

METHOD(kernel_ipsec_t, del_sa, status_t, kernel_ipsec_t *this, kernel_ipsec_sa_id_t *id,
       kernel_ipsec_del_sa_t *data)
{
	struct installed_sa **link, *sa;

	if (waiting.entry && waiting.sa.if_id == id->if_id && waiting.sa.spi == ntohl(id->spi)) {
		free_sa(waiting.entry);
		forget_waiting();
	}
	pthread_mutex_lock(&mutex);
	link = find(id);
	sa = *link;
	if (sa)
		*link = sa->next;
	pthread_mutex_unlock(&mutex);
	/* An SPI that was only allocated was never installed anywhere. */
	if (sa && !charon_engine.is_leaving)
		charon_engine.host->remove_sa(charon_engine.host->context, sa->if_id,
		                              sa->is_inbound, sa->spi);
	free_sa(sa);
	return SUCCESS;
}

void charon_remove_outbound(uint32_t if_id, uint32_t spi)
{
	struct installed_sa **link, *sa;

	pthread_mutex_lock(&mutex);
	link = &buckets[if_id % BUCKETS];
	while (*link && ((*link)->if_id != if_id || (*link)->spi != spi || (*link)->is_inbound))
		link = &(*link)->next;
	sa = *link;
	if (sa)
		*link = sa->next;
	pthread_mutex_unlock(&mutex);
	if (sa && !charon_engine.is_leaving)
		charon_engine.host->remove_sa(charon_engine.host->context, if_id, false, spi);
	free_sa(sa);
}

METHOD(kernel_ipsec_t, succeed, status_t, kernel_ipsec_t *this)
{
	return SUCCESS;
}

METHOD(kernel_ipsec_t, refuse, status_t, kernel_ipsec_t *this)
{
	return NOT_SUPPORTED;
}

METHOD(kernel_ipsec_t, destroy, void, kernel_ipsec_t *this)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (buckets[i]) {
			struct installed_sa *sa = buckets[i];

			buckets[i] = sa->next;
			free_sa(sa);
		}
	}
	free(this);
}

kernel_ipsec_t *charon_kernel_ipsec_create(void)
{
	kernel_ipsec_t *this;

	INIT(this, .get_features = _get_features, .get_spi = _get_spi, .get_cpi = (void *)_refuse,
	     .add_sa = _add_sa, .update_sa = _update_sa, .query_sa = _query_sa, .del_sa = _del_sa,
	     .flush_sas = (void *)_succeed, .add_policy = _add_policy,
	     .query_policy = (void *)_refuse, .del_policy = (void *)_succeed,
	     .flush_policies = (void *)_succeed, .bypass_socket = (void *)return_true,
	     .enable_udp_decap = (void *)return_true, .destroy = _destroy, );
	return this;
}

struct engine_difference engine_note_usage(uint32_t if_id, const struct engine_sa_usage *usage,
                                           size_t count, uint64_t reported_mono_usec)
{
	struct engine_difference difference = {.strange = count};

	pthread_mutex_lock(&mutex);
	for (struct installed_sa *sa = buckets[if_id % BUCKETS]; sa; sa = sa->next) {
		bool is_there = false;

		if (sa->if_id != if_id)
			continue;
		for (size_t i = 0; i < count && !is_there; i++) {
			if (usage[i].spi != sa->spi || usage[i].is_inbound != sa->is_inbound)
				continue;
			is_there = true;
			difference.strange--;
			sa->usage = usage[i];
			sa->has_usage = true;
		}
		sa->is_missing = !is_there && sa->is_inbound &&
		                 sa->installed_usec < reported_mono_usec;
		difference.missing += sa->is_missing;
	}
	pthread_mutex_unlock(&mutex);
	return difference;
}

void engine_rekey_children(uint32_t if_id, bool is_each)
{
	time_t now = time_monotonic(NULL);

	pthread_mutex_lock(&mutex);
	for (struct installed_sa *sa = buckets[if_id % BUCKETS]; sa; sa = sa->next) {
		if (sa->if_id != if_id || !(sa->is_missing || (is_each && sa->is_inbound)) ||
		    (sa->rekey_asked_at && now - sa->rekey_asked_at < REKEY_INTERVAL_SEC))
			continue;
		sa->rekey_asked_at = now;
		expire(sa->spi, sa->destination, false);
	}
	pthread_mutex_unlock(&mutex);
}

unsigned engine_half_open(void)
{
	return charon->ike_sa_manager->get_half_open_count(charon->ike_sa_manager, NULL, TRUE);
}

struct engine_counts engine_count(void)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	struct engine_counts counts = {
		.ike_sas = manager->get_count(manager),
		.half_open = manager->get_half_open_count(manager, NULL, FALSE),
		.refused_proposals = charon_engine.refused_proposals,
		.repeated_messages = charon_engine.repeated_messages,
		.messages_of_no_sa = charon_engine.messages_of_no_sa,
	};

	pthread_mutex_lock(&mutex);
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct installed_sa *sa = buckets[i]; sa; sa = sa->next)
			(*(sa->is_inbound ? &counts.inbound_sas : &counts.outbound_sas))++;
	pthread_mutex_unlock(&mutex);
	return counts;
}

bool engine_expire(uint32_t if_id, uint32_t spi, bool is_hard)
{
	host_t *destination = NULL;
	struct installed_sa *sa;

	pthread_mutex_lock(&mutex);
	sa = find_spi(if_id, spi);
	if (sa)
		destination = sa->destination->clone(sa->destination);
	pthread_mutex_unlock(&mutex);
	if (!destination)
		return false;
	expire(spi, destination, is_hard);
	destination->destroy(destination);
	return true;
}
