/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is told of the user agent's transports, and the order to clear a connection: for the messages of the bus. No header of
 * sofia-sip is needed.
 */
#ifndef VPNSIP_SIP_SOFIA_TRANSPORT_H
#define VPNSIP_SIP_SOFIA_TRANSPORT_H

#include <netinet/in.h>

#include "services/sip-agent/connection_table.h"
#include "services/sip-agent/tls_trustpoint.h"

struct sofia;

/** The connections as they are now. Lives until the next event of the loop. */
const struct connection_table *sofia_connections(struct sofia *sofia);

/** The longest `connection-aging` of the lines. */
unsigned sofia_connection_aging_sec(const struct sofia *sofia);

/** Clears a connection as connection_purge() says, and closes its socket. */
struct connection_purge sofia_connection_purge(struct sofia *sofia, enum config_transport transport,
                                               uint32_t id, const struct sockaddr_storage *target);

/** What a line listens on. */
struct transport_status {
	const struct config_line *config;
	struct in_addr address; /* 0.0.0.0 = none was ordered */
	bool is_open;
	enum config_transport registrar_transport; /* of our REGISTERs */
	const char *cause;                         /* why it is not */
};

/** False beyond the last line. */
bool sofia_transport_status(const struct sofia *sofia, size_t line,
                            struct transport_status *status);

/** The trustpoint of this place in the configuration, brought up to date; its obstacle in `why`, "" = none. NULL if SIP does not use it. */
const struct trustpoint *sofia_trustpoint(struct sofia *sofia, size_t index,
                                          char why[TRUSTPOINT_CAUSE_SIZE]);

/** What is not in force of TLS's protections; "" = all is. */
const char *sofia_tls_self_check(const struct sofia *sofia);

#endif
