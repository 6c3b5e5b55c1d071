/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two real IKEv2 engines, each in a process of its own, joined by the test: it carries their IKE packets, answers
 * for tunnel-agent, and runs the session core on their facts. No network, no bus.
 */
#ifndef VPNSIP_TEST_IKE_ENGINE_PAIR_H
#define VPNSIP_TEST_IKE_ENGINE_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "services/ike-agent/fingerprint.h"
#include "services/ike-agent/ike_core.h"
#include "services/ike-agent/ike_message.h"

#define IF_ID   7
#define ATTEMPT 12

static const char good_key[] = "example-psk-0388881001";
static const char *const numbers[2] = {"0388881001", "0388882001"};
static const char *const addresses[2] = {"10.255.0.1", "10.255.0.2"};

enum message_kind {
	PACKET = 1,
	FACT,
	INSTALL,
	REMOVE,
	INITIATE,
	END_SA,
	SUPERSEDE,
	MAKE_CHILD,
	EXPIRE,
	LEAVE,
	REFUSE,
	USAGE,
	RENEW,
	RENEW_CHILDREN,
	REAUTHENTICATE,
	READY
};

/** What travels between this program and an engine's process. */
struct message {
	enum message_kind kind;
	struct engine_fact fact;
	struct engine_sa sa;
	struct engine_sa_usage usage[4];
	size_t usage_count;
	uint32_t number;
	bool flag;
	uint64_t now_usec;
	size_t size;
	uint8_t packet[2048];
};

/** How a side deviates from the ideal. */
struct variant {
	const char *key;             /* NULL = the good one */
	const char *own_number;      /* NULL = its own */
	const char *expected_number; /* NULL = the other's */
	const char *pinned_key;      /* fingerprint of this key is pinned; NULL = none */
	const char *ike_proposals;   /* NULL = "aes128-sha256-ecp256" */
	const char *esp_proposals;   /* NULL = "aes128gcm16,aes128-sha256" */
	bool has_certificate_pin_only;
	struct config_trustpoint *trustpoint; /* NULL = pre-shared keys */
	struct config_certificate_map *map;
	const struct engine_pin *announced;  /* fingerprint in SDP; NULL = as pinned_key says */
	const struct engine_pin *configured; /* the pin of the configuration */
	bool allows_sha1, allows_weak;
	bool matches_any;
	bool refuses_sa;
	unsigned dpd_interval_sec;
	unsigned child_lifetime_sec;
	unsigned ike_lifetime_sec;
	const char *pfs;
	bool is_dual_overlay, has_no_fragmentation;
};

struct side {
	pid_t process;
	int channel;
	struct ike_session session;
	struct engine_sa installed[8];
	size_t installed_count;
	unsigned installs, removals;
	char stray[ENGINE_CAUSE_SIZE];
	enum ike_guard_class refused_for; /* of the last IKE_SA that it refused, and whose that was */
	struct sockaddr_storage refused;
	bool is_deaf; /* packets to it are lost */
	bool is_ready;
};

static struct side sides[2];
static const struct variant plain;

static inline uint64_t now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline struct sockaddr_storage address_of(int index)
{
	struct sockaddr_storage storage = {0};
	struct sockaddr_in *address = (struct sockaddr_in *)&storage;

	address->sin_family = AF_INET;
	address->sin_port = htons(50001 + index);
	inet_pton(AF_INET, addresses[index], &address->sin_addr);
	return storage;
}

/* --- in the engine's process --- */

static int engine_channel;
static atomic_bool refuses_sa;

static inline void tell(const struct message *message)
{
	if (send(engine_channel, message, sizeof(*message), 0) < 0)
		_exit(0);
}

static inline bool host_install(void *context, const struct engine_sa *sa,
                                const struct engine_sa *outbound, char *why, size_t why_size)
{
	const struct engine_sa *sas[] = {sa, outbound};

	(void)context;
	snprintf(why, why_size, "refused by the test");
	for (int i = 0; i < 2; i++) {
		struct message message = {.kind = INSTALL};

		if (!sas[i])
			continue;
		message.sa = *sas[i];
		tell(&message);
	}
	return !refuses_sa;
}

static inline void host_remove(void *context, uint32_t if_id, bool is_inbound, uint32_t spi)
{
	struct message message = {.kind = REMOVE, .number = spi, .flag = is_inbound};

	(void)context;
	assert_int_equal(if_id, IF_ID);
	tell(&message);
}

static inline void host_send(void *context, uint32_t if_id, uint64_t attempt,
                             const struct sockaddr_storage *remote, const uint8_t *packet,
                             size_t size, const struct engine_fact *then)
{
	struct message message = {.kind = PACKET, .size = size, .number = if_id};
	struct message fact = {.kind = FACT};

	(void)context;
	(void)remote;
	assert_int_equal(attempt, ATTEMPT);
	if (size > sizeof(message.packet))
		return;
	memcpy(message.packet, packet, size);
	tell(&message);
	if (!then)
		return;
	fact.fact = *then;
	tell(&fact);
}

static inline void host_report(void *context, const struct engine_fact *fact)
{
	struct message message = {.kind = FACT, .fact = *fact};

	(void)context;
	tell(&message);
}

static struct certificate_source *source;

static inline void obey(const struct message *message, int index)
{
	struct sockaddr_storage remote = address_of(!index);

	switch (message->kind) {
	case PACKET:
		engine_deliver(IF_ID, &remote, message->packet, message->size);
		break;
	case INITIATE:
		engine_initiate(IF_ID, ATTEMPT);
		break;
	case END_SA:
		engine_end_sa(message->number, message->flag);
		break;
	case SUPERSEDE:
		engine_supersede_sa(message->number, message->flag);
		break;
	case MAKE_CHILD:
		engine_make_child(message->number);
		break;
	case EXPIRE:
		engine_expire(IF_ID, message->number, message->flag);
		break;
	case REAUTHENTICATE:
		engine_reauthenticate_in(IF_ID, ATTEMPT, message->number, 0);
		break;
	case RENEW_CHILDREN:
		engine_renew_children(message->number);
		break;
	case REFUSE:
		refuses_sa = !message->flag;
		break;
	case RENEW:
		if (certificate_source_refresh(source))
			engine_judge_peers(source);
		break;
	case USAGE:
		if (engine_note_usage(IF_ID, message->usage, message->usage_count,
		                      message->now_usec)
		            .missing > 0)
			engine_rekey_children(IF_ID, false);
		break;
	default:
		break;
	}
}

static inline void pin(struct engine_pin *pin, const struct variant *variant)
{
	memset(pin, 0, sizeof(*pin));
	pin->is_pre_shared_key = !variant->has_certificate_pin_only;
	snprintf(pin->hash, sizeof(pin->hash), "SHA-256");
	pin->size = fingerprint_compute("SHA-256", (const uint8_t *)variant->pinned_key,
	                                strlen(variant->pinned_key), pin->value);
}

/** A session with certificates instead of a key. */
static inline void use_certificates(const struct variant *variant, struct config_ike_profile *ike,
                                    struct config_peer *peer, struct engine_session *session)
{
	ike->trustpoint = variant->trustpoint;
	ike->authentication = variant->trustpoint->ca_file ? AUTHENTICATION_CERTIFICATE
	                                                   : AUTHENTICATION_SELF_SIGNED;
	ike->certificate_map = variant->map;
	if (variant->map)
		ike->match_identity = MATCH_CERTIFICATE_MAP;
	ike->uses_fragmentation = true;
	source = certificate_source_new(variant->trustpoint);
	certificate_source_refresh(source);
	session->certificates = source;
	session->key = NULL;
	if (variant->announced) {
		session->pins = variant->announced;
		session->pin_count = 1;
	}
	if (variant->configured) {
		peer->has_fingerprint = true;
		memcpy(peer->fingerprint_hash, variant->configured->hash,
		       sizeof(peer->fingerprint_hash));
		memcpy(peer->fingerprint, variant->configured->value, sizeof(peer->fingerprint));
		peer->fingerprint_size = variant->configured->size;
	}
}

static inline void run_engine(int index, const struct variant *variant)
{
	const char *key = variant->key ? variant->key : good_key;
	struct config_ike_profile ike = {
		.name = "default",
		.authentication = AUTHENTICATION_PSK,
		.allows_sha1 = variant->allows_sha1,
		.allows_weak = variant->allows_weak,
		.match_identity = variant->matches_any ? MATCH_ANY : MATCH_KEY_ID,
		.proposals = (char *)(variant->ike_proposals ? variant->ike_proposals
	                                                     : "aes128-sha256-ecp256"),
		.dpd_interval_sec = variant->dpd_interval_sec,
		.uses_fragmentation = !variant->has_no_fragmentation,
		.lifetime_sec = variant->ike_lifetime_sec ? variant->ike_lifetime_sec : 86400,
	};
	struct config_ipsec_profile ipsec = {
		.name = "default",
		.proposals = (char *)(variant->esp_proposals ? variant->esp_proposals
	                                                     : "aes128gcm16,aes128-sha256"),
		.pfs = (char *)variant->pfs,
		.replay_window = 64,
		.has_extended_sequence = true,
		.lifetime_sec = variant->child_lifetime_sec ? variant->child_lifetime_sec : 3600,
	};
	struct config_peer peer = {
		.tunnel = "vsip7",
		.if_id = IF_ID,
		.is_dual_overlay = variant->is_dual_overlay,
		.ike_profile = &ike,
		.ipsec_profile = &ipsec,
	};
	struct config_key keys[] = {{.key_id = (char *)numbers[!index]}, {.key_id = "0388889999"}};
	struct config_keyring keyring = {.keys = keys, .key_count = 2};
	struct config config = {.file = "test",
	                        .ike_profiles = &ike,
	                        .ike_profile_count = 1,
	                        .ipsec_profiles = &ipsec,
	                        .ipsec_profile_count = 1};
	const struct engine_host host = {host_install, host_remove, host_send, host_report, NULL};
	struct engine_pin pins[1];
	struct engine_session session = {
		.if_id = IF_ID,
		.attempt = ATTEMPT,
		.local_number = variant->own_number ? variant->own_number : numbers[index],
		.remote_number = variant->expected_number ? variant->expected_number
	                                                  : numbers[!index],
		.local = address_of(index),
		.remote = address_of(!index),
		.peer = &peer,
		.key = (const uint8_t *)key,
		.key_size = strlen(key),
		.pins = pins,
		.pin_count = variant->pinned_key ? 1 : 0,
	};
	struct message message = {.kind = READY};
	char why[256];
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	refuses_sa = variant->refuses_sa;
	config.tunnel_source = session.local;
	engine_use_keyring(&keyring);
	if (variant->pinned_key)
		pin(&pins[0], variant);
	if (variant->trustpoint)
		use_certificates(variant, &ike, &peer, &session);
	if (!engine_open(&config, &host, why, sizeof(why)) ||
	    !engine_add_session(&session, why, sizeof(why))) {
		fprintf(stderr, "engine %d: %s\n", index, why);
		_exit(1);
	}
	tell(&message);
	while (recv(engine_channel, &message, sizeof(message), 0) == sizeof(message) &&
	       message.kind != LEAVE)
		obey(&message, index);
	engine_close();
	certificate_source_free(source);
	_exit(0);
}

/* --- in the test's process --- */

static inline void order(struct side *side, const struct message *message)
{
	if (send(side->channel, message, sizeof(*message), MSG_NOSIGNAL) < 0)
		side->is_deaf = true;
}

static inline void forget_installed(struct side *side, uint32_t spi, bool is_inbound)
{
	for (size_t i = 0; i < side->installed_count; i++)
		if (side->installed[i].spi == spi && side->installed[i].is_inbound == is_inbound)
			side->installed[i--] = side->installed[--side->installed_count];
}

static inline void take_fact(struct side *side, const struct engine_fact *fact)
{
	struct ike_outcome outcome;
	struct message message = {.kind = END_SA};

	ike_session_apply(&side->session, fact, now_usec(), &outcome);
	if (getenv("VERBOSE"))
		fprintf(stderr, "%s: fact %d sa %u rank %d '%s' -> state %d\n",
		        side == &sides[0] ? "A" : "B", fact->kind, fact->sa, fact->rank,
		        fact->cause, side->session.state);
	if (outcome.stray[0])
		memcpy(side->stray, outcome.stray, sizeof(side->stray));
	if (outcome.guard_class != IKE_GUARD_NONE) {
		side->refused_for = outcome.guard_class;
		side->refused = outcome.refused;
	}
	if (outcome.superseded) {
		message.kind = SUPERSEDE;
		message.number = outcome.superseded;
		message.flag = outcome.tells_superseded;
		order(side, &message);
		message.kind = END_SA;
	}
	if (outcome.wants_initiation) {
		message.kind = INITIATE;
		order(side, &message);
		message.kind = END_SA;
	}
	if (outcome.unwanted) {
		message.number = outcome.unwanted;
		message.flag = true;
		order(side, &message);
	}
}

static inline void take(struct side *side)
{
	struct side *other = &sides[side == &sides[0]];
	struct message message;

	if (recv(side->channel, &message, sizeof(message), MSG_DONTWAIT) != sizeof(message))
		return;
	switch (message.kind) {
	case READY:
		side->is_ready = true;
		break;
	case PACKET:
		/* What an engine sends, its peer's agent lets in. */
		assert_int_not_equal(ike_message_kind(message.packet, message.size),
		                     IKE_MESSAGE_MALFORMED);
		if (!other->is_deaf)
			order(other, &message);
		break;
	case FACT:
		take_fact(side, &message.fact);
		break;
	case INSTALL:
		side->installs++;
		side->installed[side->installed_count++ % 8] = message.sa;
		break;
	case REMOVE:
		side->removals++;
		forget_installed(side, message.number, message.flag);
		break;
	default:
		break;
	}
}

/** Carries messages until `is_done` or the time is up; true if it was done. */
static inline bool carry(bool (*is_done)(void), unsigned limit_msec)
{
	uint64_t end = now_usec() + limit_msec * 1000ull;

	while (!is_done()) {
		struct pollfd polled[2] = {{sides[0].channel, POLLIN, 0},
		                           {sides[1].channel, POLLIN, 0}};

		if (now_usec() > end)
			return false;
		poll(polled, 2, 20);
		for (int i = 0; i < 2; i++)
			if (polled[i].revents & POLLIN)
				take(&sides[i]);
	}
	return true;
}

static inline bool both_ready(void)
{
	return sides[0].is_ready && sides[1].is_ready;
}

static inline bool both_up(void)
{
	return sides[0].session.state == IKE_STATE_UP && sides[1].session.state == IKE_STATE_UP;
}

static inline bool is_final(const struct side *side)
{
	return side->session.state == IKE_STATE_FAILED || side->session.state == IKE_STATE_ENDED;
}

static inline bool first_final(void)
{
	return is_final(&sides[0]);
}

static inline bool both_final(void)
{
	return is_final(&sides[0]) && is_final(&sides[1]);
}

static inline bool never(void)
{
	return false;
}

static inline void start_side(int index, const struct variant *variant, bool is_initiator)
{
	struct side *side = &sides[index];
	int channels[2], size = 1 << 20;

	ike_session_clear(&side->session);
	memset(side, 0, sizeof(*side));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channels), 0);
	for (int i = 0; i < 2; i++)
		setsockopt(channels[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	ike_session_init(&side->session, "vsip7", ATTEMPT, IF_ID, numbers[index], numbers[!index],
	                 is_initiator);
	side->process = fork();
	assert_true(side->process >= 0);
	if (side->process == 0) {
		engine_channel = channels[1];
		close(channels[0]);
		run_engine(index, variant);
	}
	side->channel = channels[0];
	close(channels[1]);
}

/** The engine of this side dies and is started anew; it knows nothing, tunnel-agent keeps the SAs of both its lives. */
static inline void restart_side(int index, const struct variant *variant, bool is_initiator)
{
	struct side before = sides[index], *after = &sides[index];

	kill(before.process, SIGKILL);
	waitpid(before.process, NULL, 0);
	close(before.channel);
	start_side(index, variant, is_initiator);
	memcpy(after->installed, before.installed, sizeof(before.installed));
	after->installed_count = before.installed_count;
	after->installs = before.installs;
	after->removals = before.removals;
	assert_true(carry(both_ready, 5000));
}

static inline void initiate(int index)
{
	struct message message = {.kind = INITIATE};

	order(&sides[index], &message);
}

static inline void start_pair(const struct variant *a, const struct variant *b)
{
	start_side(0, a, true);
	start_side(1, b, false);
	assert_true(carry(both_ready, 5000));
	initiate(0);
}

static inline int leave(void **state)
{
	struct message message = {.kind = LEAVE};

	(void)state;
	for (int i = 0; i < 2; i++) {
		if (sides[i].process <= 0)
			continue;
		kill(sides[i].process, SIGCONT);
		order(&sides[i], &message);
		close(sides[i].channel);
		waitpid(sides[i].process, NULL, 0);
		sides[i].process = 0;
	}
	return 0;
}

#endif
