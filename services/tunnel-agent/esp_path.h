/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Packets of the user-space back end (userspace.c), between TUN devices and the UDP socket. */
#ifndef VPNSIP_ESP_PATH_H
#define VPNSIP_ESP_PATH_H

#include "services/tunnel-agent/agent.h"

/** -1 when there is no memory. */
int esp_path_start(struct agent *agent);
void esp_path_stop(struct agent *agent);

/** Reads from the tunnel's (new) descriptor from now on. -1 when there is no memory. */
int esp_path_attach(struct agent_tunnel *tunnel);
void esp_path_detach(struct agent_tunnel *tunnel);

/** Whether large TCP packets may enter the tunnel, to be cut behind the shaper. */
bool esp_path_takes_large(const struct config_peer *peer);

/** After anything happened to a tunnel: dummies leave when they are due. */
void esp_path_settle(struct agent_tunnel *tunnel);

/** Seals the packet that stands in the next slot of agent->outbound and adds it to the batch. */
void esp_path_send(struct agent_tunnel *tunnel, uint8_t *inner, size_t inner_size,
                   uint64_t now_usec);

/** Opens an ESP packet. What it holds may stay in it until esp_path_finish(). */
void esp_path_take_esp(struct agent_tunnel *tunnel, const struct udp_packet *packet,
                       uint64_t now_usec);

/** The batch of received packets ends: writes what is still to be written. */
void esp_path_finish(struct agent *agent);

/** An inbound SA was installed: serves the packets that came before it. */
void esp_path_take_early(struct agent_tunnel *tunnel, uint32_t spi);

#endif
