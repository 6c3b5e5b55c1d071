/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One DNS resolver for the agents of all lines. nta makes one for each, of 3.5 kB, and reads resolv.conf for it; it asks for names
 * in the Contacts and routes of others alone. The dynamic linker prefers the two functions here to the library's.
 */
#include <dlfcn.h>
#include <sofia-sip/sresolv.h>
#include <sofia-sip/su_tag.h>

#include "services/sip-agent/sofia_internal.h"

/* All agents run in the one loop of sip-agent. */
static sres_resolver_t *shared;
static unsigned user_count;

sres_resolver_t *sres_resolver_create(su_root_t *root, const char *resolv_conf, tag_type_t tag,
                                      tag_value_t value, ...)
{
	typedef sres_resolver_t *create_fn(su_root_t *, const char *, tag_type_t, tag_value_t, ...);
	create_fn *create = (create_fn *)dlsym(RTLD_NEXT, "sres_resolver_create");

	(void)tag; /* what an agent is made with says nothing about names */
	(void)value;
	if (!shared)
		shared = create(root, resolv_conf, TAG_END());
	user_count += shared != NULL;
	return shared;
}

int sres_resolver_destroy(sres_resolver_t *resolver)
{
	typedef int destroy_fn(sres_resolver_t *);
	destroy_fn *destroy = (destroy_fn *)dlsym(RTLD_NEXT, "sres_resolver_destroy");

	if (resolver == shared && shared && --user_count > 0)
		return 0;
	if (resolver == shared)
		shared = NULL;
	return destroy(resolver);
}

unsigned sofia_resolver_users(void)
{
	return user_count;
}
