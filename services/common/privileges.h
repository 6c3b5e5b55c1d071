/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a service may do once it runs: its own user, exactly its capabilities, nothing gained later. */
#ifndef VPNSIP_PRIVILEGES_H
#define VPNSIP_PRIVILEGES_H

struct service;

/**
 * Creates RUN (0755), RUN/<service> (2750, the user's, group vpnsip) and the state directory (0700, the user's), with their
 * parents. When not root, or with an empty `user`, they are ours. 0, or -1 after logging why.
 */
int privileges_make_directories(const struct service *service, const char *user,
                                const char *run_directory, const char *state_directory);

/**
 * As root: becomes `user` (empty = stays) with group vpnsip, permitted and effective capabilities exactly
 * `capabilities` (ended by -1; NULL = none), bounding set cut down to them. Always sets no_new_privs. Not root: keeps of `capabilities` what it has, and no other.
 * 0, or -1 after logging why: then the process must not go on.
 */
int privileges_drop(const char *user, const int *capabilities);

#endif
