/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/pki_route.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <resolv.h>
#include <string.h>
#include <time.h>

#include "services/common/address.h"
#include "services/common/config.h"

static int take_interface(const struct nlattr *attribute, void *context)
{
	if (mnl_attr_get_type(attribute) == RTA_OIF &&
	    mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0)
		*(uint32_t *)context = mnl_attr_get_u32(attribute);
	return MNL_CB_OK;
}

static int take_route(const struct nlmsghdr *message, void *context)
{
	if (message->nlmsg_type != RTM_NEWROUTE)
		return MNL_CB_OK;
	mnl_attr_parse(message, sizeof(struct rtmsg), take_interface, context);
	return MNL_CB_STOP;
}

/* Index of the interface by which the kernel would send; 0 = none. */
static uint32_t outgoing_interface(const struct sockaddr_storage *address)
{
	char buffer[4096];
	size_t size;
	const uint8_t *octets = address_octets(address, &size);
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct mnl_socket *netlink = octets ? mnl_socket_open(NETLINK_ROUTE) : NULL;
	struct rtmsg *route;
	uint32_t interface = 0;
	ssize_t length;

	if (!netlink)
		return 0;
	message->nlmsg_type = RTM_GETROUTE;
	message->nlmsg_flags = NLM_F_REQUEST;
	message->nlmsg_seq = 1;
	route = mnl_nlmsg_put_extra_header(message, sizeof(*route));
	route->rtm_family = (unsigned char)address->ss_family;
	route->rtm_dst_len = (unsigned char)address_bits(address);
	mnl_attr_put(message, RTA_DST, size, octets);
	if (mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) >= 0 &&
	    mnl_socket_sendto(netlink, message, message->nlmsg_len) >= 0 &&
	    (length = mnl_socket_recvfrom(netlink, buffer, sizeof(buffer))) > 0)
		mnl_cb_run(buffer, (size_t)length, 1, mnl_socket_get_portid(netlink), take_route,
		           &interface);
	mnl_socket_close(netlink);
	return interface;
}

bool pki_leaves_by_tunnel(const struct config *config, const struct sockaddr_storage *address,
                          char tunnel[16])
{
	uint32_t interface = outgoing_interface(address);
	char name[IF_NAMESIZE];

	if (!interface || !if_indextoname(interface, name) || !config_peer_by_tunnel(config, name))
		return false;
	memcpy(tunnel, name, sizeof(name));
	return true;
}

bool pki_asks_names_by_tunnel(const struct config *config, char tunnel[16])
{
	struct __res_state resolver = {0};
	bool is_found = false;

	if (res_ninit(&resolver) != 0)
		return false;
	for (int i = 0; i < resolver.nscount && i < MAXNS && !is_found; i++) {
		struct sockaddr_storage server = {0};

		if (resolver.nsaddr_list[i].sin_family == AF_INET)
			memcpy(&server, &resolver.nsaddr_list[i], sizeof(struct sockaddr_in));
		else if (resolver._u._ext.nsaddrs[i])
			memcpy(&server, resolver._u._ext.nsaddrs[i], sizeof(struct sockaddr_in6));
		is_found = pki_leaves_by_tunnel(config, &server, tunnel);
	}
	res_nclose(&resolver);
	return is_found;
}
