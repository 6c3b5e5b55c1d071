/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Keeps the kernel from giving session ports to local sockets: net.ipv4.ip_local_reserved_ports, a list of ports and
 * ranges that others write too. Ours is added to it and taken out of it.
 */
#ifndef VPNSIP_RESERVED_PORTS_H
#define VPNSIP_RESERVED_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Pure: the list with `first` to `last` added or taken out, as ranges in order. False when `list` is not a list of ports or
 * `size` is too small.
 */
bool reserved_ports_edit(const char *list, uint16_t first, uint16_t last, bool is_reserved,
                         char *result, size_t size);

/** Does it in the kernel, for this network namespace. 0 or a negative errno (-EROFS in many containers). */
int reserved_ports_set(uint16_t first, uint16_t last, bool is_reserved);

#endif
