/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/identity.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus.h"

static const char *const system_users[] = {
	[VPNSIP__SERVICE__COORDINATOR] = "vpnsip-coordinator",
	[VPNSIP__SERVICE__SIP_AGENT] = "vpnsip-sip",
	[VPNSIP__SERVICE__IKE_AGENT] = "vpnsip-ike",
	[VPNSIP__SERVICE__TUNNEL_AGENT] = "vpnsip-tunnel",
	[VPNSIP__SERVICE__TRACK_AGENT] = "vpnsip-track",
	[VPNSIP__SERVICE__NAT_QOS_AGENT] = "vpnsip-natqos",
};

static void load_system_users(struct identity *identity)
{
	for (int service = VPNSIP__SERVICE__COORDINATOR; service < VPNSIP__SERVICE__CLI;
	     service++) {
		const struct passwd *user = getpwnam(system_users[service]);

		if (user == NULL)
			continue; /* then only root can be this service */
		identity->is_known[service] = true;
		identity->uid[service] = user->pw_uid;
	}
}

static int load_map(struct identity *identity, FILE *stream, const char *file, char *why,
                    size_t why_size)
{
	char line[256], name[64], rest[2];
	unsigned uid;

	for (int number = 1; fgets(line, sizeof(line), stream) != NULL; number++) {
		Vpnsip__Service service;

		line[strcspn(line, "#\n")] = '\0';
		if (line[strspn(line, " \t\r")] == '\0')
			continue;
		if (sscanf(line, "%63s %u %1s", name, &uid, rest) != 2 ||
		    (service = bus_service_by_name(name)) == VPNSIP__SERVICE__SERVICE_UNSPECIFIED) {
			snprintf(why, why_size, "%s:%d: expected a service and a user id", file,
			         number);
			return -1;
		}
		identity->is_known[service] = true;
		identity->uid[service] = uid;
	}
	return 0;
}

int identity_load(struct identity *identity, const char *uid_map, char *why, size_t why_size)
{
	FILE *stream;
	int result;

	memset(identity, 0, sizeof(*identity));
	if (uid_map == NULL) {
		load_system_users(identity);
		return 0;
	}
	stream = fopen(uid_map, "re");
	if (stream == NULL) {
		snprintf(why, why_size, "cannot read %s: %s", uid_map, strerror(errno));
		return -1;
	}
	result = load_map(identity, stream, uid_map, why, why_size);
	fclose(stream);
	return result;
}

bool identity_admits(const struct identity *identity, Vpnsip__Service service, uid_t uid)
{
	if (uid == 0 || service == VPNSIP__SERVICE__CLI)
		return true;
	return service > 0 && service < VPNSIP__SERVICE__CLI && identity->is_known[service] &&
	       identity->uid[service] == uid;
}
