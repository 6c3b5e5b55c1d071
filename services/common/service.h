/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The skeleton of every service: a service is declared by one struct, and main() is one line.
 *
 * service_main() does, in this order: options; log on stderr; parse and check the configuration (-n stops here, exit 0
 * or 1); create run and state directories (when root); drop to the service's user with exactly its capabilities; block
 * signals; open the bus; start(); loop; on SIGTERM or SIGINT stop() and exit within 1 s. SIGTERM means leave: nothing is hung up.
 */
#ifndef VPNSIP_SERVICE_H
#define VPNSIP_SERVICE_H

#include <stdbool.h>

#include "bus/bus.h"

struct config;
struct event_base;

/** What a running service has at hand. Lives as long as the process. */
struct service_context {
	struct event_base *base;
	struct bus *bus;
	const struct config *config;
	const char *run_directory;
	const char *state_directory; /* of this service alone: <state-dir>/<service name>, writable */
	bool allows_faults;          /* --allow-faults: a test */
	void *state; /* what start() made; the handlers' context is the service_context */
};

struct service {
	Vpnsip__Service id;
	const char *name;        /* program name, as bus_service_name(id) */
	const char *user;        /* system user to run as when started as root */
	const int *capabilities; /* CAP_..., ended by -1; NULL = none */
	unsigned subscribes;     /* BUS_SERVICE() set */
	unsigned calls;          /* BUS_SERVICE() set */
	/** Before privileges are dropped (open /dev/net/tun, ...). 0, or -1 after logging why. May be NULL. */
	int (*prepare)(struct service_context *service);
	/** With the bus open. Sets service->state. 0, or -1 after logging why. */
	int (*start)(struct service_context *service);
	/** Frees service->state. The bus is still open. */
	void (*stop)(struct service_context *service);
	/*
	 * All it does follows from its messages, bus_timer, bus_random(), the bus's clock and its state directory, which
	 * holds no secret: --replay is possible.
	 */
	bool is_replayable;
	struct bus_handlers handlers; /* their context is the struct service_context */
};

/**
 * Options of every service: -c FILE, -n (check configuration and exit), --run-dir DIR, --state-dir DIR, --uid-map FILE,
 * --user NAME (empty = do not change user), --allow-faults (obey SetFault), --record NAME (write what comes and goes to
 * <state-dir>/<service>/NAME.record), --replay FILE, --version, --help.
 *
 * --replay plays such a file to a service that is_replayable, without peers, privileges or directories, and prints what it does
 * otherwise than then. Exit status 0 = nothing, 1 = something, 2 = the file or the configuration cannot be used.
 */
int service_main(const struct service *service, int argc, char **argv);

#endif
