/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/xfrm_link.h"

#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/xfrmi.h>

#include "services/tunnel-agent/rtnl.h"

/* These are seldom: no socket is kept for them. Returns a negative error of libnl. */
static int open_socket(struct nl_sock **socket)
{
	int error;

	*socket = nl_socket_alloc();
	if (!*socket)
		return -NLE_NOMEM;
	error = nl_connect(*socket, NETLINK_ROUTE);
	if (error < 0) {
		nl_socket_free(*socket);
		*socket = NULL;
	}
	return error;
}

static int finish(struct nl_sock *socket, int error, const char **why)
{
	nl_socket_free(socket);
	if (error >= 0)
		return 0;
	*why = error == -NLE_EXIST
	               ? "an interface of this name, or of this number, is there already"
	               : nl_geterror(error);
	return -1;
}

static bool is_xfrm(struct rtnl_link *link, uint32_t *if_id)
{
	return rtnl_link_is_xfrmi(link) && rtnl_link_xfrmi_get_if_id(link, if_id) == 0;
}

bool xfrm_link_exists(const char *name, uint32_t if_id)
{
	struct rtnl_link *link = NULL;
	struct nl_sock *socket;
	uint32_t found = 0;
	bool exists = false;

	if (open_socket(&socket) < 0)
		return false;
	if (rtnl_link_get_kernel(socket, 0, name, &link) == 0) {
		exists = is_xfrm(link, &found) && found == if_id;
		rtnl_link_put(link);
	}
	nl_socket_free(socket);
	return exists;
}

int xfrm_link_make(const char *name, uint32_t if_id, const char **why)
{
	struct rtnl_link *link = rtnl_link_xfrmi_alloc();
	struct nl_sock *socket = NULL;
	int error = -NLE_NOMEM;

	if (link) {
		rtnl_link_set_name(link, name);
		rtnl_link_set_group(link, RTNL_LINK_GROUP);
		rtnl_link_xfrmi_set_if_id(link, if_id);
		error = open_socket(&socket);
	}
	if (error >= 0)
		error = rtnl_link_add(socket, link, NLM_F_CREATE | NLM_F_EXCL);
	rtnl_link_put(link);
	return finish(socket, error, why);
}

static int remove_link(struct nl_sock *socket, const char *name)
{
	struct rtnl_link *link = rtnl_link_alloc();
	int error;

	if (!link)
		return -NLE_NOMEM;
	rtnl_link_set_name(link, name);
	error = rtnl_link_delete(socket, link);
	rtnl_link_put(link);
	return error == -NLE_NODEV || error == -NLE_OBJ_NOTFOUND ? 0 : error;
}

int xfrm_link_remove(const char *name, const char **why)
{
	struct nl_sock *socket;
	int error = open_socket(&socket);

	if (error >= 0)
		error = remove_link(socket, name);
	return finish(socket, error, why);
}

int xfrm_link_sweep(bool (*is_wanted)(void *context, const char *name, uint32_t if_id),
                    void *context, const char **why)
{
	struct nl_cache *links = NULL;
	struct nl_sock *socket;
	uint32_t if_id;
	int error = open_socket(&socket), result;

	if (error >= 0)
		error = rtnl_link_alloc_cache(socket, AF_UNSPEC, &links);
	if (error >= 0) {
		for (struct nl_object *object = nl_cache_get_first(links); object;
		     object = nl_cache_get_next(object)) {
			struct rtnl_link *link = (struct rtnl_link *)object;

			if (rtnl_link_get_group(link) != RTNL_LINK_GROUP ||
			    !is_xfrm(link, &if_id) ||
			    is_wanted(context, rtnl_link_get_name(link), if_id))
				continue;
			result = remove_link(socket, rtnl_link_get_name(link));
			error = error < 0 ? error : result;
		}
		nl_cache_free(links);
	}
	return finish(socket, error, why);
}
