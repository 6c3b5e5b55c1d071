/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nft_query.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct nft_query {
	struct nl_sock *socket;
	/* What is done with each message of the answer. */
	void (*take)(struct nft_query *query, struct nlmsghdr *header);
	uint32_t generation;
	struct nft_counter *counters;
	size_t count, room;
	bool is_found;
};

static int message_arrived(struct nl_msg *message, void *context)
{
	struct nft_query *query = context;

	query->take(query, nlmsg_hdr(message));
	return NL_OK;
}

struct nft_query *nft_query_open(int *error)
{
	struct nft_query *query = calloc(1, sizeof(*query));

	*error = -NLE_NOMEM;
	if (query == NULL)
		return NULL;
	query->socket = nl_socket_alloc();
	if (query->socket == NULL)
		goto out;
	nl_socket_disable_auto_ack(query->socket);
	nl_socket_modify_cb(query->socket, NL_CB_VALID, NL_CB_CUSTOM, message_arrived, query);
	if ((*error = nl_connect(query->socket, NETLINK_NETFILTER)) == 0)
		return query;
out:
	nft_query_close(query);
	return NULL;
}

void nft_query_close(struct nft_query *query)
{
	if (query == NULL)
		return;
	nl_socket_free(query->socket);
	free(query);
}

static struct nl_msg *new_question(int type, int flags, uint8_t family)
{
	const struct nfgenmsg header = {.nfgen_family = family, .version = NFNETLINK_V0};
	struct nl_msg *message = nlmsg_alloc_simple(NFNL_SUBSYS_NFTABLES << 8 | type, flags);

	if (message != NULL &&
	    nlmsg_append(message, (void *)&header, sizeof(header), NLMSG_ALIGNTO) < 0) {
		nlmsg_free(message);
		return NULL;
	}
	return message;
}

/* Takes the question; returns when the answer has been taken whole. */
static bool ask(struct nft_query *query, struct nl_msg *question,
                void (*take)(struct nft_query *query, struct nlmsghdr *header))
{
	bool is_answered = false;

	query->take = take;
	if (question != NULL && nl_send_auto(query->socket, question) >= 0)
		is_answered = nl_recvmsgs_default(query->socket) >= 0;
	nlmsg_free(question);
	return is_answered;
}

/* All objects of a type, of one table or of all. */
static bool ask_for_objects(struct nft_query *query, const char *table, uint8_t family,
                            uint32_t type,
                            void (*take)(struct nft_query *query, struct nlmsghdr *header))
{
	struct nl_msg *question = new_question(NFT_MSG_GETOBJ, NLM_F_DUMP, family);

	if (question != NULL &&
	    ((table != NULL && nla_put_string(question, NFTA_OBJ_TABLE, table) < 0) ||
	     nla_put_u32(question, NFTA_OBJ_TYPE, htonl(type)) < 0)) {
		nlmsg_free(question);
		question = NULL;
	}
	return ask(query, question, take);
}

static void take_generation(struct nft_query *query, struct nlmsghdr *header)
{
	struct nlattr *id = nlmsg_find_attr(header, sizeof(struct nfgenmsg), NFTA_GEN_ID);

	query->is_found = id != NULL;
	if (id != NULL)
		query->generation = ntohl(nla_get_u32(id));
}

bool nft_query_generation(struct nft_query *query, uint32_t *generation)
{
	query->is_found = false;
	if (!ask(query, new_question(NFT_MSG_GETGEN, 0, NFPROTO_UNSPEC), take_generation) ||
	    !query->is_found)
		return false;
	*generation = query->generation;
	return true;
}

static uint64_t number_of(struct nlattr *attribute)
{
	return attribute != NULL ? be64toh(nla_get_u64(attribute)) : 0;
}

static void take_counter(struct nft_query *query, struct nlmsghdr *header)
{
	struct nlattr *name = nlmsg_find_attr(header, sizeof(struct nfgenmsg), NFTA_OBJ_NAME);
	struct nlattr *data = nlmsg_find_attr(header, sizeof(struct nfgenmsg), NFTA_OBJ_DATA);
	struct nft_counter *counter = &query->counters[query->count];

	if (name == NULL || data == NULL || query->count == query->room)
		return;
	snprintf(counter->name, sizeof(counter->name), "%s", nla_get_string(name));
	counter->packets = number_of(nla_find(nla_data(data), nla_len(data), NFTA_COUNTER_PACKETS));
	counter->bytes = number_of(nla_find(nla_data(data), nla_len(data), NFTA_COUNTER_BYTES));
	query->count++;
}

size_t nft_query_counters(struct nft_query *query, const char *table, struct nft_counter *counters,
                          size_t room)
{
	query->counters = counters;
	query->room = room;
	query->count = 0;
	ask_for_objects(query, table, NFPROTO_IPV4, NFT_OBJECT_COUNTER, take_counter);
	return query->count;
}

static void take_helper(struct nft_query *query, struct nlmsghdr *header)
{
	struct nlattr *data = nlmsg_find_attr(header, sizeof(struct nfgenmsg), NFTA_OBJ_DATA);
	struct nlattr *name = data != NULL
	                              ? nla_find(nla_data(data), nla_len(data), NFTA_CT_HELPER_NAME)
	                              : NULL;

	query->is_found |= name != NULL && strcmp(nla_get_string(name), "sip") == 0;
}

bool nft_query_has_sip_helper(struct nft_query *query)
{
	query->is_found = false;
	ask_for_objects(query, NULL, NFPROTO_UNSPEC, NFT_OBJECT_CT_HELPER, take_helper);
	return query->is_found;
}
