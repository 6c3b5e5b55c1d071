/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What of an IPsec profile a data plane cannot do. Pure: the configuration is checked with it, and `auto` chooses by it. */
#ifndef VPNSIP_DATA_PLANE_H
#define VPNSIP_DATA_PLANE_H

#include "services/common/config.h"

/**
 * The first property of the profile that the data plane (DATA_PLANE_KERNEL or DATA_PLANE_USERSPACE) lacks, in a constant text
 * with its reason: "dummy-rate: the kernel sends no dummy packets". NULL = it can do all; so can DATA_PLANE_AUTO, which chooses.
 */
const char *data_plane_lacks(enum config_data_plane data_plane,
                             const struct config_ipsec_profile *profile);

#endif
