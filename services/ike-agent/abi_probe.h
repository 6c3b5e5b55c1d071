/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VPNSIP_ABI_PROBE_H
#define VPNSIP_ABI_PROBE_H

#include <stddef.h>

/**
 * Checks that the libcharon in this process has the layout of the headers this program was built with:
 * an upgrade of the distribution may replace the library under us, and nothing in it tells its version.
 *
 * Call it between libcharon_init() and charon->initialize(), in the thread that called the former.
 *
 * @param why   on failure the reason, one line
 * @param size  octets at why
 * @return      0, or -1 when the layouts differ: the library must not be used any further
 */
int charon_abi_probe(char *why, size_t size);

#endif
