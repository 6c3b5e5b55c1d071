/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Not a product: a service small enough that its stories test the runner. */
#include <stdlib.h>
#include <string.h>

#include "services/common/service.h"

struct dummy {
	uint32_t calls;
	unsigned agreed;
	uint32_t port;
};

static void on_agreed(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct service_context *service = context;
	struct dummy *dummy = service->state;
	Vpnsip__PlaceCall order = VPNSIP__PLACE_CALL__INIT;
	Vpnsip__MediaDescription offer = VPNSIP__MEDIA_DESCRIPTION__INIT;

	if (outcome != BUS_DONE)
		return;
	if (reply->body_case == VPNSIP__ENVELOPE__BODY_PORT_RESERVED)
		dummy->port = reply->port_reserved->port;
	if (++dummy->agreed < 2)
		return;
	dummy->agreed = 0;
	dummy->calls++;
	offer.bandwidth_kbit = dummy->port;
	order.tunnel = "vsip2";
	order.attempt = 40 + dummy->calls;
	order.remote_number = "0388882001";
	order.offer = &offer;
	bus_call(service->bus, VPNSIP__SERVICE__SIP_AGENT, NULL, &order.base, 1000, on_agreed,
	         service);
	dummy->agreed = 0;
}

static void on_event(void *context, const Vpnsip__Envelope *event)
{
	struct service_context *service = context;
	Vpnsip__CheckTunnel check = VPNSIP__CHECK_TUNNEL__INIT;
	Vpnsip__ReservePort reserve = VPNSIP__RESERVE_PORT__INIT;
	Vpnsip__SessionChanged changed = VPNSIP__SESSION_CHANGED__INIT;

	if (event->body_case == VPNSIP__ENVELOPE__BODY_TUNNEL_CHANGED) {
		check.tunnel = event->tunnel_changed->tunnel;
		bus_call(service->bus, VPNSIP__SERVICE__TUNNEL_AGENT, NULL, &check.base, 1000,
		         on_agreed, service);
		bus_call(service->bus, VPNSIP__SERVICE__NAT_QOS_AGENT, NULL, &reserve.base, 1000,
		         on_agreed, service);
	} else if (event->body_case == VPNSIP__ENVELOPE__BODY_CALL_CHANGED) {
		changed.tunnel = "vsip2";
		changed.last_cause = event->call_changed->cause;
		bus_publish(service->bus, "vsip2", &changed.base);
	}
}

static void on_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct service_context *service = context;
	struct dummy *dummy = service->state;

	if (order->body_case == VPNSIP__ENVELOPE__BODY_SHUT_DOWN)
		exit(3);
	if (order->body_case == VPNSIP__ENVELOPE__BODY_CONNECT_SESSION)
		bus_fail(request, VPNSIP__FAILURE_KIND__PEER, "hold-down for %u s", dummy->calls);
	else
		bus_done(request);
}

static void on_snapshot(void *context, struct bus_request *request)
{
	struct dummy *dummy = ((struct service_context *)context)->state;
	Vpnsip__SessionChanged session = VPNSIP__SESSION_CHANGED__INIT;
	Vpnsip__SessionChanged *sessions[] = {&session};
	Vpnsip__CoordinatorSnapshot snapshot = VPNSIP__COORDINATOR_SNAPSHOT__INIT;

	session.tunnel = "vsip2";
	session.status = VPNSIP__SESSION_STATUS__READY_TO_CONNECT;
	session.attempts = dummy->calls;
	snapshot.sessions = sessions;
	snapshot.n_sessions = 1;
	bus_reply(request, &snapshot.base);
}

static void on_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	struct dummy *dummy = ((struct service_context *)context)->state;

	if (peer == VPNSIP__SERVICE__SIP_AGENT &&
	    snapshot->body_case == VPNSIP__ENVELOPE__BODY_SIP_SNAPSHOT)
		dummy->calls = (uint32_t)snapshot->sip_snapshot->n_calls;
}

static int start(struct service_context *service)
{
	service->state = calloc(1, sizeof(struct dummy));
	return service->state != NULL ? 0 : -1;
}

static void stop(struct service_context *service)
{
	free(service->state);
}

static const struct service dummy = {
	.id = VPNSIP__SERVICE__COORDINATOR,
	.name = "vpnsip-coordinator",
	.user = "vpnsip-coordinator",
	.subscribes = BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT) |
                      BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT),
	.calls = BUS_SERVICE(VPNSIP__SERVICE__NAT_QOS_AGENT),
	.start = start,
	.stop = stop,
	.handlers = {.event = on_event,
                     .request = on_request,
                     .snapshot = on_snapshot,
                     .resync = on_resync},
};

int main(int argc, char **argv)
{
	return service_main(&dummy, argc, argv);
}
