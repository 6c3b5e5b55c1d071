/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/xfrm_link.h"

#include <errno.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/xfrmi.h>
#include <stdlib.h>
#include <string.h>

#include "services/tunnel-agent/rtnl.h"

struct xfrm_links {
	struct nl_sock *socket;
};

struct xfrm_links *xfrm_links_open(const char **why)
{
	struct xfrm_links *links = calloc(1, sizeof(*links));

	*why = "out of memory";
	if (!links)
		return NULL;
	links->socket = nl_socket_alloc();
	/* libnl has no word for the error of a socket that cannot be made. */
	if (links->socket && nl_connect(links->socket, NETLINK_ROUTE) < 0) {
		*why = strerror(errno);
		nl_socket_free(links->socket);
		links->socket = NULL;
	}
	if (links->socket)
		return links;
	free(links);
	return NULL;
}

void xfrm_links_close(struct xfrm_links *links)
{
	if (links)
		nl_socket_free(links->socket);
	free(links);
}

static int finish(int error, const char **why)
{
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

bool xfrm_link_exists(struct xfrm_links *links, const char *name, uint32_t if_id)
{
	struct rtnl_link *link = NULL;
	uint32_t found = 0;
	bool exists = false;

	if (rtnl_link_get_kernel(links->socket, 0, name, &link) == 0) {
		exists = is_xfrm(link, &found) && found == if_id;
		rtnl_link_put(link);
	}
	return exists;
}

int xfrm_link_make(struct xfrm_links *links, const char *name, uint32_t if_id, const char **why)
{
	struct rtnl_link *link = rtnl_link_xfrmi_alloc();
	int error = -NLE_NOMEM;

	if (link) {
		rtnl_link_set_name(link, name);
		rtnl_link_set_group(link, RTNL_LINK_GROUP);
		rtnl_link_xfrmi_set_if_id(link, if_id);
		error = rtnl_link_add(links->socket, link, NLM_F_CREATE | NLM_F_EXCL);
	}
	rtnl_link_put(link);
	return finish(error, why);
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

int xfrm_link_remove(struct xfrm_links *links, const char *name, const char **why)
{
	return finish(remove_link(links->socket, name), why);
}

int xfrm_link_sweep(struct xfrm_links *links,
                    bool (*is_wanted)(void *context, const char *name, uint32_t if_id),
                    void *context, const char **why)
{
	struct nl_cache *cache = NULL;
	uint32_t if_id;
	int error = rtnl_link_alloc_cache(links->socket, AF_UNSPEC, &cache), result;

	if (error >= 0) {
		for (struct nl_object *object = nl_cache_get_first(cache); object;
		     object = nl_cache_get_next(object)) {
			struct rtnl_link *link = (struct rtnl_link *)object;

			if (rtnl_link_get_group(link) != RTNL_LINK_GROUP ||
			    !is_xfrm(link, &if_id) ||
			    is_wanted(context, rtnl_link_get_name(link), if_id))
				continue;
			result = remove_link(links->socket, rtnl_link_get_name(link));
			error = error < 0 ? error : result;
		}
		nl_cache_free(cache);
	}
	return finish(error, why);
}
