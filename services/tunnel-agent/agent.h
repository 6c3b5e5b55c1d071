/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the parts of tunnel-agent share. Everything runs on the thread of the event loop. */
#ifndef VPNSIP_TUNNEL_AGENT_H
#define VPNSIP_TUNNEL_AGENT_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "services/common/config.h"
#include "services/common/event_class.h"
#include "services/common/service.h"
#include "services/tunnel-agent/backend.h"
#include "services/tunnel-agent/rtnl.h"
#include "services/tunnel-agent/tun_device.h"
#include "services/tunnel-agent/tunnel_core.h"
#include "services/tunnel-agent/udp_socket.h"

/* The largest packet that a tunnel carries, whatever the WAN's MTU. */
#define AGENT_PACKET_MAXIMUM 9216

struct agent;
struct esp_path;
struct xfrm_backend;

/** One configured tunnel: its core, and the interface that belongs to it. */
struct agent_tunnel {
	struct agent *agent;
	const struct config_peer *peer;
	struct tunnel core;
	int descriptor; /* of /dev/net/tun; -1 = none */
	struct event *readable;
	unsigned interface_index; /* 0 = missing */
	bool is_up;
	unsigned mtu;                /* of the interface */
	unsigned path_mtu;           /* of its WAN, or less if a router of the path said so */
	bool is_wan_narrow;          /* for IPv6 on the kernel back end: told in the log */
	unsigned followed_path_mtu;  /* of the core, that the interface was last set by */
	bool joins_packets;          /* several may leave in one message: see interfaces.c */
	struct rtnl_address address; /* own or borrowed; 0.0.0.0 = none */
	char fault[160];             /* why the interface is not as configured; "" = it is */
	unsigned published_revision;
	enum tunnel_state noted_state; /* told to the trace */
	unsigned noted_orphans;
	uint64_t noted_drops[DROP_REASON_COUNT]; /* told to the debug log */
	bool has_ike;                            /* ike-agent told of a session that lives */
};

struct agent {
	struct service_context *service;
	struct bus *bus;
	const struct backend *backend;
	struct xfrm_backend *xfrm; /* of the kernel back end; else NULL */
	struct tun_pool pool;
	int udp; /* the UDP 4500 socket */
	struct rtnl *rtnl;
	int path_socket; /* hears routers of the path; -1 = none */
	struct event *path_readable, *path_pause;
	struct event_class refused_path_reports;
	struct event *udp_readable;
	struct event *tick;
	struct event *drain;  /* held packets leave */
	struct event *repair; /* interfaces and addresses are looked at */
	uint64_t next_second_usec;
	uint64_t drain_usec;    /* when `drain` fires */
	uint64_t repaired_usec; /* when something was put right last */
	char fault[160];        /* of the tunnel source; "" = in order */
	bool is_purged;         /* by order: nothing is restored until the next start */
	struct udp_batch *outbound, *inbound;
	struct event *flush;       /* sends `outbound` */
	struct esp_path *esp_path; /* of the user-space back end; else NULL */
	uint32_t *probe_targets;
	size_t probe_target_count;
	struct agent_tunnel *tunnels;
	size_t tunnel_count;
	struct agent_tunnel **by_mark; /* open addressing */
	size_t mark_mask;
	unsigned ike_in_flight;
	uint64_t ike_relayed_in, ike_relayed_out; /* IKE messages since start */
	bool is_ike_up;
	uint64_t drops[DROP_REASON_COUNT]; /* of packets that belong to no tunnel */
};

/* tunnel_agent.c */
struct agent_tunnel *agent_find_name(const struct agent *agent, const char *name);
struct agent_tunnel *agent_find_mark(const struct agent *agent, uint32_t mark);

/** After anything happened to a tunnel: publishes a change, reports SA limits, lets held packets leave. */
void agent_settle(struct agent_tunnel *tunnel);

/** Tells the log where the peer is now. */
void agent_note_move(struct agent_tunnel *tunnel);

/** Tells the trace and, when switched on, the debug log what happened to a tunnel. */
void agent_note(struct agent_tunnel *tunnel, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* data_path.c: the UDP socket */
int data_path_start(struct agent *agent);
void data_path_stop(struct agent *agent);

/** Sends what stands in agent->outbound: now, or when the events that are active now were served. */
void data_path_flush(struct agent *agent);
void data_path_flush_soon(struct agent *agent);

/** Has the timer fire then, or at once if that is past. */
void data_path_arm(struct event *timer, uint64_t at_usec, uint64_t now_usec);

/** Arranges that held packets leave when they are due. */
void data_path_schedule_drain(struct agent_tunnel *tunnel);
void data_path_send_keepalive(struct agent_tunnel *tunnel, uint64_t now_usec);

/* path_watch.c: what routers of the path say of its MTU */

/** Opens agent->path_socket, which needs CAP_NET_RAW. -1 after a line in the log: nothing depends on it but that. */
int path_watch_open(void);

/** -1 when there is no memory. */
int path_watch_start(struct agent *agent);
void path_watch_stop(struct agent *agent);

/* interfaces.c: interfaces and addresses are as configured, whoever changes them */
int interfaces_start(struct agent *agent);
void interfaces_stop(struct agent *agent);

/** Looks at everything now and puts right what is not. */
void interfaces_repair(struct agent *agent);

/** Looks at one tunnel: what an order may wait for, however many there are. */
void interfaces_repair_tunnel(struct agent *agent, struct agent_tunnel *tunnel);

/** Sets the MTU anew if what is known of the path has changed. */
void interfaces_follow_path(struct agent_tunnel *tunnel);

/** Removes the interfaces and the tunnel source for good. -1 and a constant text in `why`. */
int interfaces_purge(struct agent *agent, const char **why);

/* ike_relay.c: IKE messages between the UDP socket and ike-agent */
void ike_relay_deliver(struct agent_tunnel *tunnel, const struct udp_packet *packet);
void ike_relay_report_limit(struct agent_tunnel *tunnel, uint32_t spi, bool is_hard);
void ike_relay_report_unknown_spi(struct agent_tunnel *tunnel, uint32_t spi);

/* ike_cover.c: handlers of the bus that follow ike-agent's sessions */
void ike_cover_take_event(void *context, const Vpnsip__Envelope *event);
void ike_cover_take_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot);
void ike_cover_take_health(void *context, Vpnsip__Service peer, Vpnsip__PeerHealth health);

/* orders.c */
void orders_handle(void *context, struct bus_request *request, const Vpnsip__Envelope *order);

/* status.c */
void status_publish(struct agent_tunnel *tunnel);
void status_snapshot(void *context, struct bus_request *request);

/* describe.c */
void describe_agent(void *context, struct bus_description *description);

/** For the trace and the debug commands. */
extern const char *const tunnel_state_names[TUNNEL_STATE_COUNT];

#endif
