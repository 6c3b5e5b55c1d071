/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a line's WAN interface is good for at the moment. Pure. */
#ifndef VPNSIP_WAN_H
#define VPNSIP_WAN_H

#include "netfacts.h"
#include "services/common/config.h"

struct wan_state {
	bool is_up;                      /* SIP and ESP can leave through it */
	int link_index;                  /* 0 = no such interface */
	struct sockaddr_storage address; /* family 0 = none */
	unsigned prefix_length;
	struct sockaddr_storage gateway; /* family 0 = on-link */
	unsigned mtu;
	const char *cause; /* why it is not up; "" when it is. A constant */
};

/** The gateway is the line's own, else that of the main table's default route on the interface. */
struct wan_state wan_evaluate(const struct config_line *line, const struct netfacts *facts);

bool wan_state_is_equal(const struct wan_state *a, const struct wan_state *b);

#endif
