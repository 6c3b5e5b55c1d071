/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sip_alg.h"

#include <stdio.h>
#include <string.h>

static unsigned look_at_modules(const char *modules_file)
{
	FILE *file = fopen(modules_file, "re");
	char line[512];
	unsigned signs = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, " \n")] = '\0';
		if (strcmp(line, "nf_conntrack_sip") == 0)
			signs |= SIP_ALG_CONNTRACK_LOADED;
		if (strcmp(line, "nf_nat_sip") == 0)
			signs |= SIP_ALG_NAT_LOADED;
	}
	if (file != NULL)
		fclose(file);
	return signs;
}

unsigned sip_alg_look(const char *modules_file, const char *switch_file)
{
	unsigned signs = look_at_modules(modules_file);
	FILE *file = fopen(switch_file, "re");

	if (file != NULL) {
		if (fgetc(file) == '1')
			signs |= SIP_ALG_AUTOMATIC;
		fclose(file);
	}
	return signs;
}

const char *sip_alg_text(enum sip_alg_sign sign)
{
	switch (sign) {
	case SIP_ALG_CONNTRACK_LOADED:
		return "nf_conntrack_sip is loaded: rmmod nf_nat_sip nf_conntrack_sip, and "
		       "blacklist them";
	case SIP_ALG_NAT_LOADED:
		return "nf_nat_sip is loaded: it rewrites SIP messages that are translated";
	case SIP_ALG_AUTOMATIC:
		return "connection tracking assigns its helpers by itself: sysctl "
		       "net.netfilter.nf_conntrack_helper=0";
	case SIP_ALG_RULE:
		return "the firewall has a connection tracking helper of type sip: remove it";
	}
	return "";
}
