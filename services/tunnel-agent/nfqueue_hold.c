/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/nfqueue_hold.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <net/ethernet.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/tunnel-agent/nft_hold.h"

#define RECEIVE_SIZE (128 << 10)
#define BUFFER_SIZE  (4 << 20)
#define COPY_RANGE   0xffff

/* Messages of one wake: then other events get their turn. */
#define RECEIVE_ROUNDS 64

struct nfqueue_hold {
	int packets;
	struct mnl_socket *queue;
	struct event *readable;
	nfqueue_packet_fn *arrived;
	void *context;
	bool is_taking;
	uint8_t received[RECEIVE_SIZE];
};

struct nfqueue_hold *nfqueue_hold_open(void)
{
	const uint32_t mark = NFT_HOLD_RELEASE_MARK;
	struct nfqueue_hold *hold = calloc(1, sizeof(*hold));

	if (!hold)
		return NULL;
	/* Protocol 0: it receives nothing. */
	hold->packets = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (hold->packets >= 0 &&
	    setsockopt(hold->packets, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) == 0)
		return hold;
	nfqueue_hold_close(hold);
	return NULL;
}

void nfqueue_hold_close(struct nfqueue_hold *hold)
{
	int error = errno;

	if (!hold)
		return;
	if (hold->readable)
		event_free(hold->readable);
	if (hold->queue)
		mnl_socket_close(hold->queue);
	if (hold->packets >= 0)
		close(hold->packets);
	free(hold);
	errno = error;
}

static void give_verdict(struct nfqueue_hold *hold, uint32_t id, bool goes_on)
{
	char buffer[256];
	struct nlmsghdr *message = nfq_nlmsg_put(buffer, NFQNL_MSG_VERDICT, NFT_HOLD_QUEUE);

	nfq_nlmsg_verdict_put(message, (int)id, goes_on ? NF_ACCEPT : NF_DROP);
	/* A verdict that is lost leaves the packet in the queue, which is bounded. */
	(void)mnl_socket_sendto(hold->queue, message, message->nlmsg_len);
}

static int take_packet(const struct nlmsghdr *message, void *context)
{
	struct nlattr *attributes[NFQA_MAX + 1] = {0};
	const struct nfqnl_msg_packet_hdr *header;
	struct nfqueue_hold *hold = context;
	bool goes_on = true;

	if (nfq_nlmsg_parse(message, attributes) < 0 || !attributes[NFQA_PACKET_HDR])
		return MNL_CB_OK;
	header = mnl_attr_get_payload(attributes[NFQA_PACKET_HDR]);
	if (attributes[NFQA_PAYLOAD] && attributes[NFQA_IFINDEX_OUTDEV])
		goes_on = hold->arrived(hold->context,
		                        ntohl(mnl_attr_get_u32(attributes[NFQA_IFINDEX_OUTDEV])),
		                        mnl_attr_get_payload(attributes[NFQA_PAYLOAD]),
		                        mnl_attr_get_payload_len(attributes[NFQA_PAYLOAD]));
	give_verdict(hold, ntohl(header->packet_id), goes_on);
	return MNL_CB_OK;
}

void nfqueue_hold_take(struct nfqueue_hold *hold)
{
	if (!hold->queue || hold->is_taking)
		return;
	hold->is_taking = true;
	for (unsigned round = 0; round < RECEIVE_ROUNDS; round++) {
		ssize_t size = mnl_socket_recvfrom(hold->queue, hold->received, RECEIVE_SIZE);

		if (size > 0)
			mnl_cb_run(hold->received, (size_t)size, 0, 0, take_packet, hold);
		else if (size == 0 || errno != ENOBUFS)
			break;
	}
	hold->is_taking = false;
}

static void read_queue(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	nfqueue_hold_take(context);
}

static int bind_queue(struct nfqueue_hold *hold)
{
	char buffer[256];
	struct nlmsghdr *message = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, NFT_HOLD_QUEUE);

	nfq_nlmsg_cfg_put_cmd(message, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
	if (mnl_socket_sendto(hold->queue, message, message->nlmsg_len) < 0)
		return -1;
	message = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, NFT_HOLD_QUEUE);
	nfq_nlmsg_cfg_put_params(message, NFQNL_COPY_PACKET, COPY_RANGE);
	/* A full queue must not drop what belongs to a session that is just being opened. */
	mnl_attr_put_u32(message, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_FAIL_OPEN));
	mnl_attr_put_u32(message, NFQA_CFG_MASK, htonl(NFQA_CFG_F_FAIL_OPEN));
	return mnl_socket_sendto(hold->queue, message, message->nlmsg_len) < 0 ? -1 : 0;
}

int nfqueue_hold_listen(struct nfqueue_hold *hold, struct event_base *base,
                        nfqueue_packet_fn *arrived, void *context)
{
	const int size = BUFFER_SIZE, on = 1;
	int descriptor;

	hold->arrived = arrived;
	hold->context = context;
	hold->queue = mnl_socket_open2(NETLINK_NETFILTER, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!hold->queue || mnl_socket_bind(hold->queue, 0, MNL_SOCKET_AUTOPID) != 0 ||
	    bind_queue(hold) != 0)
		return -1;
	descriptor = mnl_socket_get_fd(hold->queue);
	setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	mnl_socket_setsockopt(hold->queue, NETLINK_NO_ENOBUFS, (void *)&on, sizeof(on));
	hold->readable = event_new(base, descriptor, EV_READ | EV_PERSIST, read_queue, hold);
	return hold->readable ? event_add(hold->readable, NULL) : -1;
}

int nfqueue_hold_send(struct nfqueue_hold *hold, unsigned interface_index, const uint8_t *packet,
                      size_t size)
{
	struct sockaddr_ll target = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(packet[0] >> 4 == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP),
		.sll_ifindex = (int)interface_index,
	};

	return sendto(hold->packets, packet, size, 0, (struct sockaddr *)&target, sizeof(target)) <
	                       0
	               ? -1
	               : 0;
}
