/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two ike-agent processes in empty network namespaces, each with a run directory of its own. The test is coordinator
 * and tunnel-agent of both: it gives the orders, carries the IKE packets, keeps the SAs.
 */
#ifndef VPNSIP_TEST_IKE_AGENT_PAIR_H
#define VPNSIP_TEST_IKE_AGENT_PAIR_H

#include "bus_fixture.h"
#include "nng_leaks.h"

#include <arpa/inet.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "services/common/address.h"

#define IF_ID    7
#define GOOD_KEY "0k3Vq8yZ1rWm5TtLxPc7HnUd"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define LEAVE_MSEC_MAX \
	3000 /* ThreadSanitizer sleeps a second before it exits, the other looks for leaks */
#else
#define LEAVE_MSEC_MAX 1000
#endif

static const char *const numbers[2] = {"0388881001", "0388882001"};
static const char *const inner[2] = {"10.255.0.1", "10.255.0.2"};
static const char *const outer[2] = {"198.51.100.10", "198.51.100.20"};

struct held_sa {
	uint32_t spi;
	Vpnsip__SaDirection direction;
};

/** One router: its ike-agent, and us as its neighbours. */
struct router {
	int index;
	struct router *other;
	const char *number; /* its identity */
	char directory[64];
	pid_t process;
	struct bus *coordinator, *tunnel;
	Vpnsip__IkeStatus status;
	char cause[256];
	bool is_resumed; /* said with StartIke */
	uint64_t attempt, initiator_spi;
	uint64_t up_at_usec;
	struct held_sa sas[8];
	size_t sa_count;
	unsigned installs, removals, changes;
	unsigned packets;            /* IKE packets it sent */
	unsigned outbound_when_sent; /* SAs that it could send with when the last of them left */
	unsigned ups;                /* sessions that were told to be up */
	uint64_t if_ids;             /* of the SAs installed */
	bool is_deaf;                /* packets to it are lost */
	bool is_stuck;               /* its tunnel-agent answers no order about SAs */
	bool is_slow;                /* its tunnel-agent answers no order to send */
	bool is_peerless;            /* its tunnel-agent knows no attempt (yet) */
	struct bus_request *stuck[64];
	size_t stuck_count;
};

struct pair {
	struct event_base *base;
	char directory[64];
	bool has_users;
	struct router routers[2];
};

struct answer {
	int is_there;
	enum bus_outcome outcome;
	char cause[256];
	size_t fingerprint_count;
	char hash[16];
	uint8_t fingerprint[64];
};

static inline uint64_t now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/** The port in the SDP of a router for this tunnel; another one with each attempt. */
static inline uint16_t session_port(int index, uint32_t if_id, uint64_t attempt)
{
	return 50000 + 2 * if_id + index + 200 * (attempt % 4);
}

/* --- tunnel-agent --- */

static inline void ignore_reply(void *context, enum bus_outcome outcome,
                                const Vpnsip__Envelope *reply)
{
	(void)context;
	(void)outcome;
	(void)reply;
}

static inline unsigned count_outbound(const struct router *router)
{
	unsigned count = 0;

	for (size_t i = 0; i < router->sa_count; i++)
		count += router->sas[i].direction == VPNSIP__SA_DIRECTION__SA_OUTBOUND;
	return count;
}

static inline void carry(struct router *from, const Vpnsip__SendIkePacket *sent)
{
	struct router *to = from->other;
	Vpnsip__DeliverIkePacket order = VPNSIP__DELIVER_IKE_PACKET__INIT;
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;
	struct sockaddr_storage address;

	assert_true(sent->attempt > 0);
	from->packets++;
	from->outbound_when_sent = count_outbound(from);
	if (to->is_deaf || from->is_deaf)
		return;
	address_parse_port(outer[from->index],
	                   session_port(from->index, sent->if_id, from->attempt), &address);
	address_to_proto(&address, &remote);
	order.if_id = sent->if_id;
	order.attempt = to->is_peerless ? 0 : to->attempt;
	order.remote = &remote;
	order.packet = sent->packet;
	bus_call(to->tunnel, IKE_AGENT, NULL, &order.base, 1000, ignore_reply, NULL);
}

static inline void forget_sa(struct router *router, uint32_t spi, Vpnsip__SaDirection direction)
{
	for (size_t i = 0; i < router->sa_count; i++)
		if (router->sas[i].spi == spi && router->sas[i].direction == direction)
			router->sas[i--] = router->sas[--router->sa_count];
}

static inline void take_sa(struct router *router, const Vpnsip__InstallSa *sa)
{
	assert_int_equal(sa->encryption, VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16);
	assert_int_equal(sa->encryption_key->octets.len, 20);
	assert_true(sa->has_extended_sequence);
	assert_int_equal(sa->replay_window, 128);
	assert_int_equal(sa->hard_lifetime_sec, 3600);
	router->installs++;
	router->if_ids |= 1ull << sa->if_id;
	if (sa->if_id == IF_ID && router->sa_count < 8)
		router->sas[router->sa_count++] = (struct held_sa){sa->spi, sa->direction};
}

static inline void take_tunnel_order(void *context, struct bus_request *request,
                                     const Vpnsip__Envelope *order)
{
	struct router *router = context;

	if (order->body_case == VPNSIP__ENVELOPE__BODY_SEND_IKE_PACKET) {
		carry(router, order->send_ike_packet);
	}
	if (order->body_case == VPNSIP__ENVELOPE__BODY_SEND_IKE_PACKET ? router->is_slow
	                                                               : router->is_stuck) {
		router->stuck[router->stuck_count++] = request;
		return;
	}
	if (order->body_case == VPNSIP__ENVELOPE__BODY_INSTALL_SA) {
		take_sa(router, order->install_sa);
	} else if (order->body_case == VPNSIP__ENVELOPE__BODY_INSTALL_CHILD) {
		take_sa(router, order->install_child->inbound);
		take_sa(router, order->install_child->outbound);
	} else if (order->body_case == VPNSIP__ENVELOPE__BODY_REMOVE_SA) {
		router->removals++;
		forget_sa(router, order->remove_sa->spi, order->remove_sa->direction);
	}
	bus_done(request);
}

/** Does what it should have done long ago. */
static inline void answer_stuck(struct router *router)
{
	router->is_stuck = router->is_slow = false;
	while (router->stuck_count > 0)
		bus_done(router->stuck[--router->stuck_count]);
}

/** A TunnelChanged and what it points to. */
struct tunnel_status {
	Vpnsip__TunnelChanged message;
	Vpnsip__SaStatus sas[8], *pointers[8];
};

static inline void fill_tunnel(const struct router *router, struct tunnel_status *status)
{
	Vpnsip__TunnelChanged *tunnel = &status->message;

	vpnsip__tunnel_changed__init(tunnel);
	for (size_t i = 0; i < router->sa_count; i++) {
		vpnsip__sa_status__init(&status->sas[i]);
		status->sas[i].spi = router->sas[i].spi;
		status->sas[i].direction = router->sas[i].direction;
		status->pointers[i] = &status->sas[i];
	}
	tunnel->tunnel = "vsip7";
	tunnel->if_id = IF_ID;
	tunnel->attempt = router->is_peerless ? 0 : router->attempt;
	tunnel->sas = status->pointers;
	tunnel->n_sas = router->sa_count;
}

static inline void publish_tunnel(struct router *router)
{
	struct tunnel_status status;

	fill_tunnel(router, &status);
	bus_publish(router->tunnel, "vsip7", &status.message.base);
}

static inline void give_tunnels(void *context, struct bus_request *request)
{
	Vpnsip__TunnelSnapshot snapshot = VPNSIP__TUNNEL_SNAPSHOT__INIT;
	struct tunnel_status status;
	Vpnsip__TunnelChanged *tunnels[] = {&status.message};

	fill_tunnel(context, &status);
	snapshot.tunnels = tunnels;
	snapshot.n_tunnels = 1;
	bus_reply(request, &snapshot.base);
}

/* --- coordinator --- */

static inline void take_ike(struct router *router, const Vpnsip__IkeChanged *ike)
{
	router->ups += ike->status == VPNSIP__IKE_STATUS__IKE_UP;
	if (ike->if_id != IF_ID || ike->attempt != router->attempt)
		return;
	router->changes++;
	router->status = ike->status;
	router->initiator_spi = ike->initiator_spi;
	if (ike->status == VPNSIP__IKE_STATUS__IKE_UP && !router->up_at_usec)
		router->up_at_usec = now_usec();
	snprintf(router->cause, sizeof(router->cause), "%s", ike->cause);
}

static inline void take_event(void *context, const Vpnsip__Envelope *event)
{
	if (event->body_case == VPNSIP__ENVELOPE__BODY_IKE_CHANGED)
		take_ike(context, event->ike_changed);
}

static inline void take_resync(void *context, Vpnsip__Service peer,
                               const Vpnsip__Envelope *snapshot)
{
	(void)peer;
	if (snapshot->body_case != VPNSIP__ENVELOPE__BODY_IKE_SNAPSHOT)
		return;
	for (size_t i = 0; i < snapshot->ike_snapshot->n_sessions; i++)
		take_ike(context, snapshot->ike_snapshot->sessions[i]);
}

static const struct bus_handlers tunnel_handlers = {.request = take_tunnel_order,
                                                    .snapshot = give_tunnels};
static const struct bus_handlers coordinator_handlers = {.event = take_event,
                                                         .resync = take_resync};

static inline void on_answer(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct answer *answer = context;

	answer->is_there = 1;
	answer->outcome = outcome;
	snprintf(answer->cause, sizeof(answer->cause), "%s", bus_cause(reply));
	if (reply->body_case != VPNSIP__ENVELOPE__BODY_IKE_PREPARED)
		return;
	answer->fingerprint_count = reply->ike_prepared->n_fingerprints;
	if (answer->fingerprint_count == 0)
		return;
	snprintf(answer->hash, sizeof(answer->hash), "%s",
	         reply->ike_prepared->fingerprints[0]->hash);
	memcpy(answer->fingerprint, reply->ike_prepared->fingerprints[0]->value.data,
	       reply->ike_prepared->fingerprints[0]->value.len);
}

static inline struct answer call(struct pair *pair, struct bus *from, const ProtobufCMessage *order)
{
	struct answer answer = {0};

	bus_call(from, IKE_AGENT, "vsip7", order, 1000, on_answer, &answer);
	assert_true(run_until(pair->base, 2000, is_set, &answer.is_there));
	return answer;
}

static inline struct answer prepare(struct pair *pair, int index, const char *tunnel,
                                    const char *number)
{
	Vpnsip__PrepareIke order = VPNSIP__PREPARE_IKE__INIT;

	order.tunnel = (char *)tunnel;
	order.attempt = 1;
	order.local_number = (char *)numbers[index];
	order.remote_number = (char *)number;
	return call(pair, pair->routers[index].coordinator, &order.base);
}

static inline struct answer start(struct pair *pair, int index, uint64_t attempt, bool is_initiator,
                                  const Vpnsip__Fingerprint *pin)
{
	struct router *router = &pair->routers[index];
	Vpnsip__StartIke order = VPNSIP__START_IKE__INIT;
	Vpnsip__SocketAddress local = VPNSIP__SOCKET_ADDRESS__INIT;
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;
	struct sockaddr_storage local_address, remote_address;
	Vpnsip__Fingerprint *pins[] = {(Vpnsip__Fingerprint *)pin};

	address_parse_port(inner[index], session_port(index, IF_ID, attempt), &local_address);
	address_parse_port(outer[!index], session_port(!index, IF_ID, attempt), &remote_address);
	address_to_proto(&local_address, &local);
	address_to_proto(&remote_address, &remote);
	order.tunnel = "vsip7";
	order.attempt = attempt;
	order.if_id = IF_ID;
	order.local_number = (char *)router->number;
	order.remote_number = (char *)numbers[!index];
	order.local = &local;
	order.remote = &remote;
	order.initiate = is_initiator;
	order.is_resumed = router->is_resumed;
	order.pinned = pins;
	order.n_pinned = pin ? 1 : 0;
	router->attempt = attempt;
	router->status = VPNSIP__IKE_STATUS__IKE_STATUS_UNSPECIFIED;
	router->up_at_usec = 0;
	return call(pair, router->coordinator, &order.base);
}

/** Orders the stop; `answer` is filled in later. */
static inline void order_stop(struct pair *pair, int index, uint64_t attempt, struct answer *answer)
{
	Vpnsip__StopIke order = VPNSIP__STOP_IKE__INIT;

	*answer = (struct answer){0};
	order.tunnel = "vsip7";
	order.attempt = attempt;
	bus_call(pair->routers[index].coordinator, IKE_AGENT, "vsip7", &order.base, 1000, on_answer,
	         answer);
}

static inline struct answer stop(struct pair *pair, int index, uint64_t attempt)
{
	struct answer answer;

	order_stop(pair, index, attempt, &answer);
	assert_true(run_until(pair->base, 2000, is_set, &answer.is_there));
	return answer;
}

/* --- the processes --- */

static inline void write_file(struct pair *pair, const char *directory, const char *name,
                              const char *text)
{
	const struct passwd *user = pair->has_users ? getpwnam("vpnsip-ike") : NULL;
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	chmod(path, 0600);
	if (user)
		assert_int_equal(chown(path, user->pw_uid, user->pw_gid), 0);
}

static inline void write_configuration(struct pair *pair, int index, const char *key)
{
	struct router *router = &pair->routers[index];
	char text[2048];

	snprintf(text, sizeof(text),
	         "tunnel-source = \"%s\"\nkeyring-file = \"%s/keyring\"\nlog-level = debug\n"
	         "line \"%s\" { wan-interface = \"wan0\" gateway = \"198.51.100.1\" registrar = "
	         "\"198.51.100.5\" }\n"
	         "peer \"%s\" { tunnel = \"vsip7\" address = \"10.254.0.1/32\" bandwidth = 1000 }\n"
	         "peer \"0388889999\" { tunnel = \"vsip9\" address = \"10.254.0.9/32\" bandwidth = "
	         "1000 }\n"
	         "ike-profile \"default\" { proposals = \"aes128-sha256-ecp256\" dpd-interval = 1 "
	         "}\n"
	         "ipsec-profile \"default\" { idle-time = 120 proposals = \"aes128gcm16\" "
	         "replay-window = 128 esn = true lifetime = 3600 }\n",
	         inner[index], router->directory, numbers[index], numbers[!index]);
	write_file(pair, router->directory, "vpnsip.conf", text);
	snprintf(text, sizeof(text),
	         "peer \"other\" { identity-key-id = \"%s\" pre-shared-key = \"%s\" }\n",
	         numbers[!index], key);
	write_file(pair, router->directory, "keyring", text);
}

static inline bool is_agent_up(void *context)
{
	struct router *router = context;

	return bus_peer_health(router->coordinator, IKE_AGENT) == VPNSIP__PEER_HEALTH__PEER_UP &&
	       bus_peer_health(router->tunnel, IKE_AGENT) == VPNSIP__PEER_HEALTH__PEER_UP;
}

static inline bool is_agent_away(void *context)
{
	return !is_agent_up(context);
}

static inline void start_agent(struct pair *pair, int index)
{
	struct router *router = &pair->routers[index];
	char configuration[96], state[96];
	char *const arguments[] = {"unshare",
	                           "--net",
	                           IKE_AGENT_PROGRAM,
	                           "-c",
	                           configuration,
	                           "--run-dir",
	                           router->directory,
	                           "--state-dir",
	                           state,
	                           "--user",
	                           pair->has_users ? "vpnsip-ike" : "",
	                           NULL};
	bool is_root = geteuid() == 0;

	snprintf(configuration, sizeof(configuration), "%s/vpnsip.conf", router->directory);
	snprintf(state, sizeof(state), "%s/state", router->directory);
	assert_int_equal(posix_spawnp(&router->process, is_root ? "unshare" : IKE_AGENT_PROGRAM,
	                              NULL, NULL, is_root ? arguments : arguments + 2, environ),
	                 0);
	assert_true(run_until(pair->base, 8000, is_agent_up, router));
}

static inline void end_agent(struct pair *pair, int index, int signal_number)
{
	struct router *router = &pair->routers[index];
	uint64_t begun = now_usec();

	if (router->process <= 0)
		return;
	kill(router->process, SIGCONT);
	kill(router->process, signal_number);
	waitpid(router->process, NULL, 0);
	router->process = 0;
	if (signal_number == SIGTERM)
		assert_in_range((now_usec() - begun) / 1000, 0, LEAVE_MSEC_MAX);
	assert_true(run_until(pair->base, 3000, is_agent_away, router));
}

/** The directories that our buses listen in, for the group of the services. */
static inline void make_directory(const struct pair *pair, const struct router *router,
                                  const char *name)
{
	const struct group *group = pair->has_users ? getgrnam("vpnsip") : NULL;
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", router->directory, name);
	assert_int_equal(mkdir(path, 0750), 0);
	if (group)
		assert_int_equal(chown(path, 0, group->gr_gid), 0);
	chmod(path, 02750);
}

static inline void open_tunnel_agent(struct pair *pair, struct router *router)
{
	struct fixture fixture = {.base = pair->base};

	snprintf(fixture.run_directory, sizeof(fixture.run_directory), "%s", router->directory);
	router->tunnel = open_bus_with(&fixture,
	                               (struct bus_options){.self = TUNNEL_AGENT,
	                                                    .calls = BUS_SERVICE(IKE_AGENT),
	                                                    .handlers = &tunnel_handlers,
	                                                    .context = router});
}

/** It loses its SAs and knows no attempt until somebody tells it. */
static inline void restart_tunnel_agent(struct pair *pair, int index)
{
	struct router *router = &pair->routers[index];

	bus_close(router->tunnel);
	router->sa_count = 0;
	router->is_peerless = true;
	open_tunnel_agent(pair, router);
}

static inline void open_router(struct pair *pair, int index, const char *key)
{
	struct router *router = &pair->routers[index];
	struct fixture fixture = {.base = pair->base};

	router->index = index;
	router->other = &pair->routers[!index];
	router->number = numbers[index];
	snprintf(router->directory, sizeof(router->directory), "%s/%c", pair->directory,
	         'a' + index);
	assert_int_equal(mkdir(router->directory, 0755), 0);
	make_directory(pair, router, "coordinator");
	make_directory(pair, router, "tunnel-agent");
	write_configuration(pair, index, key);
	snprintf(fixture.run_directory, sizeof(fixture.run_directory), "%s", router->directory);
	open_tunnel_agent(pair, router);
	router->coordinator =
		open_bus_with(&fixture, (struct bus_options){.self = COORDINATOR,
	                                                     .subscribes = BUS_SERVICE(IKE_AGENT),
	                                                     .calls = BUS_SERVICE(IKE_AGENT),
	                                                     .handlers = &coordinator_handlers,
	                                                     .context = router});
	start_agent(pair, index);
}

static inline struct pair *open_pair(void **state, const char *key_a, const char *key_b)
{
	struct pair *pair = *state;

	open_router(pair, 0, key_a);
	open_router(pair, 1, key_b);
	return pair;
}

static inline int set_up(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	snprintf(pair->directory, sizeof(pair->directory), "/tmp/vpnsip-ike-XXXXXX");
	assert_non_null(mkdtemp(pair->directory));
	chmod(pair->directory, 0755);
	pair->base = event_base_new();
	pair->has_users = geteuid() == 0 && getpwnam("vpnsip-ike") && getgrnam("vpnsip");
	*state = pair;
	return 0;
}

static inline int tear_down(void **state)
{
	struct pair *pair = *state;

	for (int i = 0; i < 2; i++) {
		struct router *router = &pair->routers[i];

		if (router->process > 0) {
			kill(router->process, SIGKILL);
			waitpid(router->process, NULL, 0);
		}
		answer_stuck(router);
		if (router->coordinator)
			bus_close(router->coordinator);
		if (router->tunnel)
			bus_close(router->tunnel);
	}
	event_base_free(pair->base);
	remove_tree(pair->directory);
	free(pair);
	return 0;
}

#endif
