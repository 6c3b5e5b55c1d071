/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Signs of life of the peers, for tunnel-agent. They are reported together: at rest, dead peer detection makes one a session every ten
 * seconds, and with a thousand sessions an order for each would be a third of all that ike-agent does.
 */
#include <stdlib.h>

#include "services/common/log.h"
#include "services/ike-agent/agent.h"

#define SIGNS_MAX         256
#define REPORT_MSEC       250
#define ANSWER_LIMIT_MSEC 2000

struct signs_of_life {
	struct event *timer;
	size_t count;
	Vpnsip__SignOfLife signs[SIGNS_MAX], *list[SIGNS_MAX];
};

static void replied(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	(void)context;
	if (outcome != BUS_DONE) /* the peers' next messages tell the same */
		log_line(LOG_DEBUG, "tunnel-agent did not take signs of life: %s",
		         bus_cause(reply));
}

void agent_flush_signs_of_life(struct ike_agent *agent)
{
	struct signs_of_life *own = agent->signs;
	Vpnsip__ReportSignOfLife report = VPNSIP__REPORT_SIGN_OF_LIFE__INIT;

	if (own->count == 0)
		return;
	report.signs = own->list;
	report.n_signs = own->count;
	own->count = 0;
	event_del(own->timer);
	bus_call(agent->service->bus, VPNSIP__SERVICE__TUNNEL_AGENT, NULL, &report.base,
	         ANSWER_LIMIT_MSEC, replied, agent);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	agent_flush_signs_of_life(context);
}

void agent_report_sign_of_life(struct ike_agent *agent, const struct ike_session *session)
{
	const struct timeval delay = {.tv_usec = REPORT_MSEC * 1000};
	struct signs_of_life *own = agent->signs;
	Vpnsip__SignOfLife *sign = &own->signs[own->count];

	vpnsip__sign_of_life__init(sign);
	sign->if_id = session->if_id;
	sign->attempt = session->attempt;
	own->list[own->count++] = sign;
	if (own->count == SIGNS_MAX)
		agent_flush_signs_of_life(agent);
	else if (own->count == 1)
		event_add(own->timer, &delay);
}

int agent_open_signs_of_life(struct ike_agent *agent)
{
	struct signs_of_life *own = calloc(1, sizeof(*own));

	agent->signs = own;
	if (own)
		own->timer = event_new(agent->service->base, -1, 0, on_timer, agent);
	return own && own->timer ? 0 : -1;
}

void agent_close_signs_of_life(struct ike_agent *agent)
{
	if (agent->signs && agent->signs->timer)
		event_free(agent->signs->timer);
	free(agent->signs);
	agent->signs = NULL;
}
