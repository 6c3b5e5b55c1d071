/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/log.h"
#include "services/coordinator/coordinator.h"

#define COMPARE_INTERVAL_MSEC    30000
#define LOOK_AGAIN_INTERVAL_MSEC 1000

/* As sip-agent hangs up without a coordinator, the coordinator does without tunnel-agent: nobody would see an idle tunnel. */
#define AWAY_LIMIT_MSEC 60000

static void ask(struct coordinator *coordinator, unsigned services)
{
	for (unsigned service = 0; service < SERVICE_COUNT; service++)
		if (services & BUS_SERVICE(service))
			bus_ask_snapshot(coordinator->service->bus, service);
}

static void compare_timer_fired(void *context)
{
	struct coordinator *coordinator = context;

	ask(coordinator, OWNERS);
	bus_timer_start(coordinator->compare_timer, COMPARE_INTERVAL_MSEC);
}

static void look_again_timer_fired(void *context)
{
	struct coordinator *coordinator = context;
	unsigned services = coordinator->look_again;

	coordinator->look_again = 0;
	ask(coordinator, services);
}

void watch_look_again(struct coordinator *coordinator, Vpnsip__Service service)
{
	if (!coordinator->look_again)
		bus_timer_start(coordinator->look_again_timer, LOOK_AGAIN_INTERVAL_MSEC);
	coordinator->look_again |= BUS_SERVICE(service);
}

static void away_timer_fired(void *context)
{
	struct coordinator *coordinator = context;

	core_unwatched(coordinator->core,
	               "tunnel-agent has been away for a minute: nobody sees whether the tunnel is "
	               "idle");
}

static void pace_timer_fired(void *context)
{
	core_resume_next(((struct coordinator *)context)->core);
}

void watch_peer(void *context, Vpnsip__Service peer, Vpnsip__PeerHealth health)
{
	struct coordinator *coordinator = ((struct service_context *)context)->state;

	if (!coordinator)
		return;
	if (peer == VPNSIP__SERVICE__TUNNEL_AGENT) {
		if (health == VPNSIP__PEER_HEALTH__PEER_UP)
			bus_timer_stop(coordinator->away_timer);
		else if (!bus_timer_is_running(coordinator->away_timer))
			bus_timer_start(coordinator->away_timer, AWAY_LIMIT_MSEC);
	}
	log_debug(LOG_EVENT, NULL, NULL, "%s is %s", bus_service_name(peer),
	          health == VPNSIP__PEER_HEALTH__PEER_UP       ? "up"
	          : health == VPNSIP__PEER_HEALTH__PEER_SILENT ? "silent"
	                                                       : "absent");
	core_service_changed(coordinator->core, peer, health);
}

int watch_start(struct coordinator *coordinator)
{
	struct bus *bus = coordinator->service->bus;

	coordinator->compare_timer = bus_timer_new(bus, "compare", compare_timer_fired,
	                                           coordinator);
	coordinator->look_again_timer = bus_timer_new(bus, "look-again", look_again_timer_fired,
	                                              coordinator);
	coordinator->away_timer = bus_timer_new(bus, "away", away_timer_fired, coordinator);
	coordinator->pace_timer = bus_timer_new(bus, "pace", pace_timer_fired, coordinator);
	if (!coordinator->compare_timer || !coordinator->look_again_timer ||
	    !coordinator->away_timer || !coordinator->pace_timer)
		return -1;
	bus_timer_start(coordinator->compare_timer, COMPARE_INTERVAL_MSEC);
	bus_timer_start(coordinator->away_timer, AWAY_LIMIT_MSEC);
	return 0;
}

void watch_stop(struct coordinator *coordinator)
{
	bus_timer_free(coordinator->compare_timer);
	bus_timer_free(coordinator->look_again_timer);
	bus_timer_free(coordinator->away_timer);
	bus_timer_free(coordinator->pace_timer);
}
