/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <unistd.h>

#include "bus/internal.h"

static uint64_t resident_kbyte(void)
{
	unsigned long long total, resident = 0;
	FILE *stream = fopen("/proc/self/statm", "re");

	if (stream == NULL)
		return 0;
	if (fscanf(stream, "%llu %llu", &total, &resident) != 2)
		resident = 0;
	fclose(stream);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

void status_fill(struct bus *bus, struct bus_request *request)
{
	Vpnsip__ServiceStatus status = VPNSIP__SERVICE_STATUS__INIT;
	Vpnsip__PeerStatus *peers[PEER_COUNT];

	status.service = bus->self;
	status.version = (char *)bus->version; /* only packed */
	status.config_file = (char *)bus->config_file;
	status.config_digest = (char *)bus->config_digest;
	status.process_id = (uint32_t)getpid();
	status.user_id = getuid();
	status.epoch = bus->epoch;
	status.uptime_sec = (bus_mono_usec(bus) - bus->started_usec) / 1000000;
	status.resident_kbyte = resident_kbyte();
	status.loop_lag_usec = bus->loop_lag_usec;
	status.refused_peers = bus->counters.refused_peers;
	status.refused_messages = bus->counters.refused_messages;
	status.undecodable_messages = bus->counters.undecodable_messages;
	status.listener_restarts = bus->counters.listener_restarts;
	status.peers = peers;
	for (int service = 0; service < PEER_COUNT; service++) {
		struct peer *peer = &bus->peers[service];

		if (!peer->is_dialled)
			continue;
		peer->counters.health = peer->health;
		peers[status.n_peers++] = &peer->counters;
	}
	bus_reply(request, &status.base);
}
