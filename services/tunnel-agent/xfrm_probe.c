/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/tunnel-agent/xfrm_backend.h"

#define PROBE_IF_ID UINT32_MAX
#define PROBE_SPI   0xfffffff0u
#define PROBE_NAME  "vpnsip-probe"

/* An SA of loopback with itself, which is deleted with the next message. */
static bool probe_esp(char *why, size_t why_size)
{
	static const uint8_t key[20] = {0};
	static struct xfrm_batch batch;
	const struct config_ipsec_profile profile = {.df_bit = DF_COPY, .ecn = ECN_PROPAGATE};
	const struct xfrm_ends ends = {
		.if_id = PROBE_IF_ID,
		.local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
		.remote = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	};
	const struct sa_order order = {
		.spi = PROBE_SPI,
		.options =
			{
				.encryption = VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16,
				.encryption_key = key,
				.encryption_key_size = sizeof(key),
				.has_extended_sequence = true,
			},
	};
	const char *cause = NULL;
	struct xfrm_socket *socket = xfrm_open(NULL, NULL, NULL, &cause);
	int error = 0;

	if (socket) {
		xfrm_add(&batch, xfrm_put_state(xfrm_next(&batch), &ends, &order, &profile));
		xfrm_add(&batch,
		         xfrm_put_state_deletion(xfrm_next(&batch), &ends, false, PROBE_SPI));
		error = xfrm_run(socket, &batch, 0, NULL, NULL);
		xfrm_close(socket);
	}
	if (cause || error)
		snprintf(why, why_size, "no ESP: %s", cause ? cause : strerror(error));
	return !cause && !error;
}

static bool can_make_interfaces(const char **why)
{
	struct xfrm_links *links = xfrm_links_open(why);
	bool can = links && xfrm_link_make(links, PROBE_NAME, PROBE_IF_ID, why) == 0 &&
	           xfrm_link_remove(links, PROBE_NAME, why) == 0;

	xfrm_links_close(links);
	return can;
}

bool xfrm_probe(char *why, size_t why_size)
{
	struct nfqueue_hold *packets;
	struct nft_hold *hold;
	const char *cause;
	char words[192];
	bool can_hold;

	if (!probe_esp(why, why_size))
		return false;
	if (!can_make_interfaces(&cause)) {
		snprintf(why, why_size, "no XFRM interfaces: %s", cause);
		return false;
	}
	packets = nfqueue_hold_open();
	if (!packets) {
		snprintf(why, why_size, "no packet socket (CAP_NET_RAW while starting): %s",
		         strerror(errno));
		return false;
	}
	nfqueue_hold_close(packets);
	hold = nft_hold_open();
	can_hold = hold && nft_hold_probe(hold, words, sizeof(words));
	nft_hold_close(hold);
	if (!can_hold)
		snprintf(why, why_size, "packets cannot be held: %s",
		         hold ? words : "libnftables cannot be initialised");
	return can_hold;
}
