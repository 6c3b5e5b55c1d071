/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A tunnel-agent that obeys, or holds an order, and a coordinator that watches it. */
#ifndef VPNSIP_TESTS_BUS_FAULTS_SCENE_H
#define VPNSIP_TESTS_BUS_FAULTS_SCENE_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bus_fixture.h"
#include "sp_client.h"

#include "bus/internal.h"

struct tunnel {
	struct bus *bus;
	int orders;
	bool is_holding;
	struct bus_request *held;
};

struct watcher {
	struct bus *bus;
	int is_up, is_silent, is_absent;
	struct {
		int is_there;
		enum bus_outcome outcome;
		char cause[128];
	} reply;
};

static inline void on_request(void *context, struct bus_request *request,
                              const Vpnsip__Envelope *order)
{
	struct tunnel *tunnel = context;

	(void)order;
	tunnel->orders++;
	if (tunnel->is_holding)
		tunnel->held = request;
	else
		bus_done(request);
}

static const struct bus_handlers tunnel_handlers = {.request = on_request};

static inline void on_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	(void)context;
	(void)peer;
	(void)snapshot;
}

static inline void on_peer(void *context, Vpnsip__Service peer, Vpnsip__PeerHealth health)
{
	struct watcher *watcher = context;

	(void)peer;
	watcher->is_up = health == VPNSIP__PEER_HEALTH__PEER_UP;
	watcher->is_silent = health == VPNSIP__PEER_HEALTH__PEER_SILENT;
	watcher->is_absent = health == VPNSIP__PEER_HEALTH__PEER_ABSENT;
}

static const struct bus_handlers watcher_handlers = {.resync = on_resync, .peer = on_peer};

static inline void open_tunnel(struct fixture *fixture, struct tunnel *tunnel)
{
	tunnel->bus = open_bus_with(fixture, (struct bus_options){.self = TUNNEL_AGENT,
	                                                          .handlers = &tunnel_handlers,
	                                                          .context = tunnel});
}

static inline void open_watcher(struct fixture *fixture, struct watcher *watcher)
{
	watcher->bus = open_bus_with(fixture,
	                             (struct bus_options){.self = COORDINATOR,
	                                                  .handlers = &watcher_handlers,
	                                                  .subscribes = BUS_SERVICE(TUNNEL_AGENT),
	                                                  .context = watcher});
}

static inline void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct watcher *watcher = context;

	watcher->reply.is_there++;
	watcher->reply.outcome = outcome;
	snprintf(watcher->reply.cause, sizeof(watcher->reply.cause), "%s", bus_cause(reply));
}

static inline void order(struct watcher *watcher, unsigned timeout_msec)
{
	Vpnsip__CheckTunnel check = VPNSIP__CHECK_TUNNEL__INIT;

	watcher->reply.is_there = 0;
	bus_call(watcher->bus, TUNNEL_AGENT, NULL, &check.base, timeout_msec, on_reply, watcher);
}

static inline void assert_serves(struct fixture *fixture, struct watcher *watcher)
{
	order(watcher, 2000);
	assert_true(run_until(fixture->base, 2500, is_set, &watcher->reply.is_there));
	assert_int_equal(watcher->reply.outcome, BUS_DONE);
}

#define BUS_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

#endif
