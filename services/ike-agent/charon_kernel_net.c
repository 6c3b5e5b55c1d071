/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The network as libcharon is to see it: the tunnel source is our one address, everything is reachable from it. */
#include "services/ike-agent/charon_internal.h"

METHOD(kernel_net_t, get_features, kernel_feature_t, kernel_net_t *this)
{
	return 0;
}

METHOD(kernel_net_t, get_source_addr, host_t *, kernel_net_t *this, host_t *dest, host_t *src)
{
	if (src)
		return src->clone(src);
	return host_create_from_sockaddr((sockaddr_t *)&charon_engine.config->tunnel_source);
}

METHOD(kernel_net_t, get_nexthop, host_t *, kernel_net_t *this, host_t *dest, int prefix,
       host_t *src, char **iface)
{
	if (iface)
		*iface = NULL;
	return NULL;
}

METHOD(kernel_net_t, get_interface, bool, kernel_net_t *this, host_t *host, char **name)
{
	if (name)
		*name = strdup("lo");
	return TRUE;
}

METHOD(kernel_net_t, create_address_enumerator, enumerator_t *, kernel_net_t *this,
       kernel_address_type_t which)
{
	return enumerator_create_empty();
}

METHOD(kernel_net_t, create_local_subnet_enumerator, enumerator_t *, kernel_net_t *this)
{
	return enumerator_create_empty();
}

METHOD(kernel_net_t, refuse, status_t, kernel_net_t *this)
{
	return NOT_SUPPORTED;
}

METHOD(kernel_net_t, destroy, void, kernel_net_t *this)
{
	free(this);
}

kernel_net_t *charon_kernel_net_create(void)
{
	kernel_net_t *this;

	INIT(this, .get_features = _get_features, .get_source_addr = _get_source_addr,
	     .get_nexthop = _get_nexthop, .get_interface = _get_interface,
	     .create_address_enumerator = _create_address_enumerator,
	     .create_local_subnet_enumerator = _create_local_subnet_enumerator,
	     .add_ip = (void *)_refuse, .del_ip = (void *)_refuse, .add_route = (void *)_refuse,
	     .del_route = (void *)_refuse, .destroy = _destroy, );
	return this;
}
