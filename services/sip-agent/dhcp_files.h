/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Finds the lease of an interface: the file INTERFACE.lease that our hooks write, else systemd-networkd's; and tells of changes
 * (inotify). Loop only.
 */
#ifndef VPNSIP_SIP_DHCP_FILES_H
#define VPNSIP_SIP_DHCP_FILES_H

#include "services/sip-agent/dhcp_lease.h"

#define DHCP_FILES_NETWORKD "/run/systemd/netif/leases"

struct event_base;
struct dhcp_files;

/** `changed` is called from the loop after any file of the two directories changed. They may be missing. NULL after logging why. */
struct dhcp_files *dhcp_files_open(struct event_base *base, const char *directory,
                                   const char *networkd_directory, void (*changed)(void *context),
                                   void *context);

/** False when there is no lease on this interface. */
bool dhcp_files_read(const struct dhcp_files *files, const char *interface,
                     struct dhcp_lease *lease);

/** NULL is allowed. */
void dhcp_files_close(struct dhcp_files *files);

#endif
