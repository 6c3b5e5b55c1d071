/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two real IKEv2 engines, each in a process of its own, joined by this program: it carries their IKE packets, answers
 * for tunnel-agent, and runs the session core on their facts. No network, no bus.
 */
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "services/ike-agent/ike_core.h"
#include "services/ike-agent/psk_fingerprint.h"

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
	EXPIRE,
	LEAVE,
	USAGE,
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
	bool matches_any;
	bool refuses_sa;
	unsigned dpd_interval_sec;
	unsigned child_lifetime_sec;
	unsigned ike_lifetime_sec;
};

struct side {
	pid_t process;
	int channel;
	struct ike_session session;
	struct engine_sa installed[8];
	size_t installed_count;
	unsigned installs, removals;
	char stray[ENGINE_CAUSE_SIZE];
	bool is_deaf; /* packets to it are lost */
	bool is_ready;
};

static struct side sides[2];
static struct variant plain;

static uint64_t now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static struct sockaddr_storage address_of(int index)
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
static bool refuses_sa;

static void tell(const struct message *message)
{
	if (send(engine_channel, message, sizeof(*message), 0) < 0)
		_exit(0);
}

static bool host_install(void *context, const struct engine_sa *sa, char *why, size_t why_size)
{
	struct message message = {.kind = INSTALL, .sa = *sa};

	(void)context;
	snprintf(why, why_size, "refused by the test");
	tell(&message);
	return !refuses_sa;
}

static void host_remove(void *context, uint32_t if_id, bool is_inbound, uint32_t spi)
{
	struct message message = {.kind = REMOVE, .number = spi, .flag = is_inbound};

	(void)context;
	assert_int_equal(if_id, IF_ID);
	tell(&message);
}

static void host_send(void *context, uint32_t if_id, const struct sockaddr_storage *remote,
                      const uint8_t *packet, size_t size)
{
	struct message message = {.kind = PACKET, .size = size, .number = if_id};

	(void)context;
	(void)remote;
	if (size > sizeof(message.packet))
		return;
	memcpy(message.packet, packet, size);
	tell(&message);
}

static void host_report(void *context, const struct engine_fact *fact)
{
	struct message message = {.kind = FACT, .fact = *fact};

	(void)context;
	tell(&message);
}

static void obey(const struct message *message, int index)
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
	case EXPIRE:
		engine_expire(IF_ID, message->number, message->flag);
		break;
	case USAGE:
		if (engine_note_usage(IF_ID, message->usage, message->usage_count,
		                      message->now_usec) > 0)
			engine_rekey_missing(IF_ID);
		break;
	default:
		break;
	}
}

static void pin(struct engine_pin *pin, const struct variant *variant)
{
	memset(pin, 0, sizeof(*pin));
	pin->is_pre_shared_key = !variant->has_certificate_pin_only;
	snprintf(pin->hash, sizeof(pin->hash), "SHA-256");
	pin->size = psk_fingerprint("SHA-256", (const uint8_t *)variant->pinned_key,
	                            strlen(variant->pinned_key), pin->value);
}

static void run_engine(int index, const struct variant *variant)
{
	const char *key = variant->key ? variant->key : good_key;
	struct config_ike_profile ike = {
		.name = "default",
		.match_identity = variant->matches_any ? MATCH_ANY : MATCH_KEY_ID,
		.proposals = (char *)(variant->ike_proposals ? variant->ike_proposals
	                                                     : "aes128-sha256-ecp256"),
		.dpd_interval_sec = variant->dpd_interval_sec,
		.lifetime_sec = variant->ike_lifetime_sec ? variant->ike_lifetime_sec : 86400,
	};
	struct config_ipsec_profile ipsec = {
		.name = "default",
		.proposals = (char *)(variant->esp_proposals ? variant->esp_proposals
	                                                     : "aes128gcm16,aes128-sha256"),
		.replay_window = 64,
		.has_extended_sequence = true,
		.lifetime_sec = variant->child_lifetime_sec ? variant->child_lifetime_sec : 3600,
	};
	struct config_peer peer = {
		.tunnel = "vsip7", .if_id = IF_ID, .ike_profile = &ike, .ipsec_profile = &ipsec};
	struct config_key keys[] = {{.key_id = (char *)numbers[!index]}, {.key_id = "0388889999"}};
	struct config_keyring keyring = {keys, 2};
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
	if (variant->pinned_key)
		pin(&pins[0], variant);
	if (!engine_open(&config, &keyring, &host, why, sizeof(why)) ||
	    !engine_add_session(&session, why, sizeof(why))) {
		fprintf(stderr, "engine %d: %s\n", index, why);
		_exit(1);
	}
	tell(&message);
	while (recv(engine_channel, &message, sizeof(message), 0) == sizeof(message) &&
	       message.kind != LEAVE)
		obey(&message, index);
	engine_close();
	_exit(0);
}

/* --- in the test's process --- */

static void order(struct side *side, const struct message *message)
{
	if (send(side->channel, message, sizeof(*message), MSG_NOSIGNAL) < 0)
		side->is_deaf = true;
}

static void forget_installed(struct side *side, uint32_t spi, bool is_inbound)
{
	for (size_t i = 0; i < side->installed_count; i++)
		if (side->installed[i].spi == spi && side->installed[i].is_inbound == is_inbound)
			side->installed[i--] = side->installed[--side->installed_count];
}

static void take_fact(struct side *side, const struct engine_fact *fact)
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
	if (outcome.superseded) {
		message.number = outcome.superseded;
		order(side, &message);
	}
	if (outcome.unwanted) {
		message.number = outcome.unwanted;
		message.flag = true;
		order(side, &message);
	}
}

static void take(struct side *side)
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
static bool carry(bool (*is_done)(void), unsigned limit_msec)
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

static bool both_ready(void)
{
	return sides[0].is_ready && sides[1].is_ready;
}

static bool both_up(void)
{
	return sides[0].session.state == IKE_STATE_UP && sides[1].session.state == IKE_STATE_UP;
}

static bool is_final(const struct side *side)
{
	return side->session.state == IKE_STATE_FAILED || side->session.state == IKE_STATE_ENDED;
}

static bool first_final(void)
{
	return is_final(&sides[0]);
}

static bool both_final(void)
{
	return is_final(&sides[0]) && is_final(&sides[1]);
}

static bool never(void)
{
	return false;
}

static void start_side(int index, const struct variant *variant, bool is_initiator)
{
	struct side *side = &sides[index];
	int channels[2], size = 1 << 20;

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

static void initiate(int index)
{
	struct message message = {.kind = INITIATE};

	order(&sides[index], &message);
}

static void start_pair(const struct variant *a, const struct variant *b)
{
	start_side(0, a, true);
	start_side(1, b, false);
	assert_true(carry(both_ready, 5000));
	initiate(0);
}

static int leave(void **state)
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

/* --- the tests --- */

static void bring_up(const struct variant *a, const struct variant *b)
{
	start_pair(a, b);
	assert_true(carry(both_up, 5000));
	/* The last facts and SAs of the responder may still be on their way. */
	carry(never, 50);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].installed_count, 2);
}

static void test_up(void **state)
{
	uint64_t begun;

	(void)state;
	start_side(0, &plain, true);
	start_side(1, &plain, false);
	assert_true(carry(both_ready, 5000));
	begun = now_usec();
	initiate(0);
	assert_true(carry(both_up, 5000));
	print_message("handshake: %.1f ms (first of both engines)\n", (now_usec() - begun) / 1e3);
	carry(never, 50);
	assert_true(sides[0].session.is_initiator);
	assert_false(sides[1].session.is_initiator);
	assert_string_equal(sides[0].session.remote_identity, numbers[1]);
	assert_string_equal(sides[1].session.remote_identity, numbers[0]);
	assert_int_equal(sides[0].session.initiator_spi, sides[1].session.initiator_spi);
	assert_int_equal(sides[0].session.responder_spi, sides[1].session.responder_spi);
	assert_true(sides[0].session.responder_spi != 0);
	assert_string_equal(sides[0].session.ike_proposal,
	                    "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256");
	assert_string_equal(sides[0].session.esp_proposal, "AES_GCM_16_128/EXT_SEQ");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sides[i].installed_count, 2);
		for (int j = 0; j < 2; j++) {
			assert_int_equal(sides[i].installed[j].encryption, ENGINE_AES_GCM_16);
			assert_int_equal(sides[i].installed[j].encryption_key_size, 20);
			assert_true(sides[i].installed[j].has_extended_sequence);
			assert_int_equal(sides[i].installed[j].replay_window, 64);
			assert_int_equal(sides[i].installed[j].hard_lifetime_sec, 3600);
		}
		assert_true(sides[i].installed[0].is_inbound != sides[i].installed[1].is_inbound);
	}
}

static void test_stop_tells_peer(void **state)
{
	struct message message = {.kind = END_SA, .flag = true};

	(void)state;
	bring_up(&plain, &plain);
	message.number = sides[0].session.sas[0].sa;
	order(&sides[0], &message);
	assert_true(carry(both_final, 3000));
	assert_int_equal(sides[1].session.state, IKE_STATE_ENDED);
	assert_string_equal(sides[1].session.cause, "peer ended the IKE_SA");
	carry(never, 50);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].installed_count, 0);
}

static void test_leaving_tells_nobody(void **state)
{
	struct message message = {.kind = LEAVE};

	(void)state;
	bring_up(&plain, &plain);
	order(&sides[0], &message);
	carry(never, 300);
	assert_int_equal(sides[1].session.state, IKE_STATE_UP);
	assert_int_equal(sides[0].removals, 0);
	assert_int_equal(sides[0].installed_count, 2);
}

static void test_wrong_key(void **state)
{
	const struct variant wrong = {.key = "another-psk-of-22-byte"};

	(void)state;
	start_pair(&wrong, &plain);
	assert_true(carry(both_final, 5000));
	assert_int_equal(sides[0].session.state, IKE_STATE_FAILED);
	assert_string_equal(sides[0].session.cause,
	                    "peer refused our key or identity (AUTHENTICATION_FAILED)");
	assert_int_equal(sides[1].session.state, IKE_STATE_FAILED);
	assert_string_equal(sides[1].session.cause, "wrong pre-shared key (authentication failed)");
	assert_int_equal(sides[0].installs + sides[1].installs, 0);
}

static void test_unknown_key_id(void **state)
{
	const struct variant unknown = {.own_number = "0312341111"};

	(void)state;
	start_pair(&unknown, &plain);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer key-id 0312341111 matches no keyring entry");
}

/** The identity of another peer, whose key is known too, does not open this session. */
static void test_other_peers_key_id(void **state)
{
	const struct variant other = {.own_number = "0388889999"};

	(void)state;
	start_pair(&other, &plain);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer key-id 0388889999 is not the number of the call, 0388881001");
}

static void test_responder_with_wrong_key_id(void **state)
{
	const struct variant other = {.own_number = "0388889999", .matches_any = true};

	(void)state;
	/* The initiator names whom it wants; a responder that answers as somebody else is refused. */
	start_pair(&plain, &other);
	assert_true(carry(first_final, 5000));
	assert_int_equal(sides[0].session.state, IKE_STATE_FAILED);
}

static void test_match_any(void **state)
{
	const struct variant stranger = {.own_number = "0312341111"}, any = {.matches_any = true};

	(void)state;
	bring_up(&stranger, &any);
	assert_string_equal(sides[1].session.remote_identity, "0312341111");
}

static void test_pin_matches(void **state)
{
	const struct variant pinned = {.pinned_key = good_key};

	(void)state;
	bring_up(&pinned, &pinned);
}

static void test_pin_differs_at_responder(void **state)
{
	const struct variant pinned = {.pinned_key = "another-psk-of-22-byte"};

	(void)state;
	start_pair(&plain, &pinned);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer's key does not match the pinned fingerprint");
	assert_int_equal(sides[1].installs, 0);
}

static void test_pin_differs_at_initiator(void **state)
{
	const struct variant pinned = {.pinned_key = "another-psk-of-22-byte"};

	(void)state;
	start_pair(&pinned, &plain);
	assert_true(carry(first_final, 5000));
	assert_string_equal(sides[0].session.cause,
	                    "peer's key does not match the pinned fingerprint");
	assert_int_equal(sides[0].installs, 0);
}

/** A certificate's fingerprint is no fingerprint of a key, even of equal value. */
static void test_certificate_pin_bars_keys(void **state)
{
	const struct variant pinned = {.pinned_key = good_key, .has_certificate_pin_only = true};

	(void)state;
	start_pair(&plain, &pinned);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer's key does not match the pinned fingerprint");
}

static void test_no_ike_proposal(void **state)
{
	const struct variant strong = {.ike_proposals = "aes256-sha384-ecp384"};

	(void)state;
	start_pair(&strong, &plain);
	assert_true(carry(first_final, 5000));
	assert_string_equal(sides[0].session.cause, "no IKE proposal chosen");
	carry(never, 50);
	/* Nothing was proven about who sent that: the responder waits on, and knows why. */
	assert_int_equal(sides[1].session.state, IKE_STATE_WAITING);
	assert_string_equal(sides[1].session.cause, "no IKE proposal chosen");
}

static void test_no_esp_proposal(void **state)
{
	const struct variant strong = {.esp_proposals = "aes256gcm16"};

	(void)state;
	start_pair(&strong, &plain);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[0].session.cause, "no ESP proposal chosen");
	assert_string_equal(sides[1].session.cause, "no ESP proposal chosen");
}

static void test_cbc_without_esn(void **state)
{
	const struct variant cbc = {.esp_proposals = "aes256-sha384-noesn"};

	(void)state;
	bring_up(&cbc, &cbc);
	assert_int_equal(sides[0].installed[0].encryption, ENGINE_AES_CBC);
	assert_int_equal(sides[0].installed[0].encryption_key_size, 32);
	assert_int_equal(sides[0].installed[0].integrity, ENGINE_HMAC_SHA2_384_192);
	assert_int_equal(sides[0].installed[0].integrity_key_size, 48);
	assert_false(sides[0].installed[0].has_extended_sequence);
}

static void test_sa_refused_by_tunnel_agent(void **state)
{
	const struct variant refusing = {.refuses_sa = true};

	(void)state;
	start_pair(&plain, &refusing);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "the SA could not be installed: refused by the test");
}

static unsigned installs_wanted;

static bool has_installs(void)
{
	return sides[0].installs >= installs_wanted && sides[1].installs >= installs_wanted;
}

static uint32_t spi_of(const struct side *side, bool is_inbound)
{
	for (size_t i = 0; i < side->installed_count; i++)
		if (side->installed[i].is_inbound == is_inbound)
			return side->installed[i].spi;
	return 0;
}

/** tunnel-agent reports the limit of either SA. */
static void test_child_rekey(void **state)
{
	struct message message = {.kind = EXPIRE};

	(void)state;
	for (int is_inbound = 0; is_inbound < 2; is_inbound++) {
		bring_up(&plain, &plain);
		message.number = spi_of(&sides[0], is_inbound);
		order(&sides[0], &message);
		installs_wanted = 4;
		assert_true(carry(has_installs, 3000));
		assert_true(both_up());
		leave(NULL);
	}
}

static void test_hard_limit_ends_session(void **state)
{
	struct message message = {.kind = EXPIRE, .flag = true};

	(void)state;
	bring_up(&plain, &plain);
	message.number = spi_of(&sides[0], true);
	order(&sides[0], &message);
	assert_true(carry(both_final, 3000));
	carry(never, 50);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sides[i].installed_count, 0);
}

static void test_lifetime_rekeys_child(void **state)
{
	const struct variant short_lived = {.child_lifetime_sec = 3};

	(void)state;
	bring_up(&short_lived, &short_lived);
	installs_wanted = 4;
	assert_true(carry(has_installs, 5000));
	assert_true(both_up());
}

static uint64_t first_initiator_spi;

static bool has_new_ike_sa(void)
{
	return sides[0].session.initiator_spi != first_initiator_spi &&
	       sides[0].session.initiator_spi == sides[1].session.initiator_spi;
}

static void test_lifetime_rekeys_ike(void **state)
{
	const struct variant short_lived = {.ike_lifetime_sec = 4};

	(void)state;
	bring_up(&short_lived, &plain);
	first_initiator_spi = sides[0].session.initiator_spi;
	assert_true(carry(has_new_ike_sa, 6000));
	carry(never, 300);
	assert_true(both_up());
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sides[i].session.sa_count, 1);
		assert_int_equal(sides[i].installs, 2);
	}
}

/** tunnel-agent was restarted and lost its SAs: they are not installed again but replaced. */
static void test_missing_sa_is_replaced(void **state)
{
	struct message message = {.kind = USAGE};

	(void)state;
	bring_up(&plain, &plain);
	message.now_usec = now_usec() + 5000000;
	message.usage_count = 2;
	for (int i = 0; i < 2; i++)
		message.usage[i] = (struct engine_sa_usage){
			.spi = sides[0].installed[i].spi,
			.is_inbound = sides[0].installed[i].is_inbound,
		};
	order(&sides[0], &message);
	carry(never, 200);
	assert_int_equal(sides[0].installs, 2);
	message.usage_count = 0;
	order(&sides[0], &message);
	installs_wanted = 4;
	assert_true(carry(has_installs, 3000));
	assert_true(both_up());
}

static void test_dead_peer(void **state)
{
	const struct variant dpd = {.dpd_interval_sec = 1};

	(void)state;
	bring_up(&dpd, &plain);
	kill(sides[1].process, SIGSTOP);
	sides[1].is_deaf = true;
	assert_true(carry(first_final, 40000));
	assert_int_equal(sides[0].session.state, IKE_STATE_ENDED);
	assert_string_equal(sides[0].session.cause, "no answer from peer within 30 s");
}

static void test_no_answer(void **state)
{
	uint64_t begun = now_usec();

	(void)state;
	start_side(0, &plain, true);
	start_side(1, &plain, false);
	assert_true(carry(both_ready, 5000));
	sides[1].is_deaf = true;
	initiate(0);
	assert_true(carry(first_final, 40000));
	assert_int_equal(sides[0].session.state, IKE_STATE_FAILED);
	assert_string_equal(sides[0].session.cause, "no answer from peer within 30 s");
	assert_in_range((now_usec() - begun) / 1000, 25000, 31000);
}

static bool is_second_up(void)
{
	return both_up() && sides[1].session.sa_count == 1 && sides[1].installed_count == 2 &&
	       sides[1].installs == 4;
}

/** An ike-agent restarted within the call: the peer takes its new IKE_SA and drops the older one, up all the while. */
static void test_restarted_peer(void **state)
{
	struct side before;

	(void)state;
	bring_up(&plain, &plain);
	before = sides[0];
	kill(before.process, SIGKILL);
	waitpid(before.process, NULL, 0);
	close(before.channel);
	start_side(0, &plain, true);
	assert_true(carry(both_ready, 5000));
	initiate(0);
	assert_true(carry(is_second_up, 5000));
}

static bool is_one_left(void)
{
	return both_up() && sides[0].session.sa_count == 1 && sides[1].session.sa_count == 1 &&
	       sides[0].installed_count == 2 && sides[1].installed_count == 2;
}

/** Both sides begin at the same instant: one IKE_SA is left, the same on both. */
static void test_both_initiate(void **state)
{
	(void)state;
	start_side(0, &plain, true);
	start_side(1, &plain, true);
	assert_true(carry(both_ready, 5000));
	initiate(0);
	initiate(1);
	assert_true(carry(both_up, 5000));
	carry(never, 300);
	assert_true(is_one_left());
	assert_int_equal(sides[0].session.initiator_spi, sides[1].session.initiator_spi);
}

#define CASE(function) cmocka_unit_test_teardown(function, leave)

int main(void)
{
	const struct CMUnitTest quick[] = {
		CASE(test_up),
		CASE(test_stop_tells_peer),
		CASE(test_leaving_tells_nobody),
		CASE(test_wrong_key),
		CASE(test_unknown_key_id),
		CASE(test_other_peers_key_id),
		CASE(test_responder_with_wrong_key_id),
		CASE(test_match_any),
		CASE(test_pin_matches),
		CASE(test_pin_differs_at_responder),
		CASE(test_pin_differs_at_initiator),
		CASE(test_certificate_pin_bars_keys),
		CASE(test_no_ike_proposal),
		CASE(test_no_esp_proposal),
		CASE(test_cbc_without_esn),
		CASE(test_sa_refused_by_tunnel_agent),
		CASE(test_child_rekey),
		CASE(test_hard_limit_ends_session),
		CASE(test_lifetime_rekeys_child),
		CASE(test_lifetime_rekeys_ike),
		CASE(test_missing_sa_is_replaced),
		CASE(test_restarted_peer),
		CASE(test_both_initiate),
	};
	const struct CMUnitTest slow[] = {CASE(test_no_answer), CASE(test_dead_peer)};
	int failed;

	failed = cmocka_run_group_tests(quick, NULL, NULL);
	if (getenv("VPNSIP_LONG"))
		failed += cmocka_run_group_tests(slow, NULL, NULL);
	return failed;
}
