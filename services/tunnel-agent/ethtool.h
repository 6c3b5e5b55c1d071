/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a network card does for us. */
#ifndef VPNSIP_ETHTOOL_H
#define VPNSIP_ETHTOOL_H

#include <stdbool.h>

/** Whether the interface computes the checksums of what it sends. False when it does not, or is not there. */
bool ethtool_has_checksums(const char *interface);

#endif
