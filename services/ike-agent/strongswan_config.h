/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The config.h that strongSwan's headers insist on: what configure finds on Debian 12.
 * It is forced in front of every file that uses them (-include). ME and USE_IKEV1, which depend on how
 * the library was built, come from its exports (deploy/cmake/StrongSwan.cmake).
 */
#ifndef CONFIG_H_INCLUDED
#define CONFIG_H_INCLUDED

#define _GNU_SOURCE

#define USE_IKEV2
#define CAPABILITIES
#define CAPABILITIES_NATIVE /* spares libcap's headers; touches no public layout */

#define HAVE_ALLOCA_H                 1
#define HAVE_STDBOOL_H                1
#define HAVE_SYS_PARAM_H              1
#define HAVE_MEMRCHR                  1
#define HAVE_FMEMOPEN                 1
#define HAVE_CLOSEFROM                1
#define HAVE_EXPLICIT_BZERO           1
#define HAVE_SIGWAITINFO              1
#define HAVE_INT128                   1
#define HAVE_GCC_SYNC_OPERATIONS      1
#define HAVE_CLOCK_GETTIME            1
#define HAVE_CONDATTR_CLOCK_MONOTONIC 1

#endif
