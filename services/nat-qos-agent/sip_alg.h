/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A SIP application layer gateway of this machine's kernel, which would rewrite our messages and open ports for others. */
#ifndef VPNSIP_SIP_ALG_H
#define VPNSIP_SIP_ALG_H

#include <stdbool.h>

enum sip_alg_sign {
	SIP_ALG_CONNTRACK_LOADED = 1, /* module nf_conntrack_sip */
	SIP_ALG_NAT_LOADED = 2,       /* module nf_nat_sip */
	SIP_ALG_AUTOMATIC = 4, /* the kernel assigns its helpers by itself (before Linux 6.0) */
	SIP_ALG_RULE = 8,      /* a table of the firewall has a helper for SIP */
};

#define SIP_ALG_SIGNS 4

/** The signs that are there, ored, of the files "/proc/modules" and "/proc/sys/net/netfilter/nf_conntrack_helper". */
unsigned sip_alg_look(const char *modules_file, const char *switch_file);

/** The sentence for the operator of one sign. */
const char *sip_alg_text(enum sip_alg_sign sign);

#endif
