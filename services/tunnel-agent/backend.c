/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/backend.h"

#include <stdio.h>

#include "services/common/data_plane.h"
#include "services/tunnel-agent/xfrm_backend.h"

/* A profile that no peer uses asks for nothing. */
static const char *find_lack(const struct config *config, const struct config_peer **peer)
{
	const char *lack = NULL;

	for (size_t i = 0; !lack && i < config->peer_count; i++) {
		*peer = &config->peers[i];
		lack = data_plane_lacks(DATA_PLANE_KERNEL, (*peer)->ipsec_profile);
	}
	return lack;
}

const struct backend *backend_choose(struct agent *agent, char *why, size_t why_size)
{
	const struct config *config = agent->service->config;
	const struct config_peer *peer;
	const char *lack = find_lack(config, &peer);
	char words[160];

	why[0] = '\0';
	if (config->data_plane == DATA_PLANE_USERSPACE)
		goto userspace;
	/* With data-plane = kernel the check of the configuration has refused it. */
	if (lack) {
		snprintf(why, why_size, "%s (ipsec-profile \"%s\", line %d)", lack,
		         peer->ipsec_profile->name, peer->ipsec_profile->line_number);
		goto userspace;
	}
	if (xfrm_probe(words, sizeof(words)))
		return &backend_kernel;
	snprintf(why, why_size, "this kernel cannot: %s", words);
	if (config->data_plane == DATA_PLANE_KERNEL)
		return NULL;
userspace:
	xfrm_clear(agent);
	return &backend_userspace;
}
