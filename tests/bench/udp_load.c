/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * UDP at an even rate to many addresses at once, and its counterpart that counts: a hundred iperf3 at either end use more processor
 * time than the tunnels between them.
 *
 *   udp_load send SECONDS KBIT-EACH OCTETS PORT ADDRESS...    ends by itself
 *   udp_load receive PORT                                     ends when its standard input does
 *
 * Each prints how many packets it sent or received.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH           64
#define PACKET_SIZE     2048
#define BUFFER_SIZE     (32 << 20)
#define TICK_NSEC       1000000
#define SECOND_NSEC     1000000000u
/* Who was kept from running so long does not make up for the rest. */
#define ARREARS_PACKETS 20

struct stream {
	struct sockaddr_in remote;
	uint64_t due_nsec; /* when its next packet leaves */
};

static uint64_t now_nsec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NSEC + (uint64_t)now.tv_nsec;
}

static int open_socket(unsigned port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int descriptor = socket(AF_INET, SOCK_DGRAM, 0), size = BUFFER_SIZE;

	setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (bind(descriptor, (struct sockaddr *)&address, sizeof(address)) != 0) {
		perror("bind");
		exit(EXIT_FAILURE);
	}
	return descriptor;
}

/* Returns how many left. */
static unsigned flush(int descriptor, struct mmsghdr *messages, unsigned count)
{
	unsigned done = 0;

	while (done < count) {
		int result = sendmmsg(descriptor, messages + done, count - done, 0);

		if (result <= 0)
			return done;
		done += (unsigned)result;
	}
	return done;
}

/* All packets that are due by now, of one stream after the other. Returns how many left. */
static uint64_t send_due(int descriptor, struct stream *streams, unsigned count,
                         uint64_t interval_nsec, size_t octets)
{
	static uint8_t packet[PACKET_SIZE];
	struct iovec vector = {packet, octets};
	struct mmsghdr messages[BATCH];
	uint64_t now = now_nsec(), sent = 0;
	unsigned waiting = 0;

	for (unsigned i = 0; i < count; i++) {
		struct stream *stream = &streams[i];

		if (stream->due_nsec + ARREARS_PACKETS * interval_nsec < now)
			stream->due_nsec = now;
		for (; stream->due_nsec <= now; stream->due_nsec += interval_nsec) {
			messages[waiting++].msg_hdr =
				(struct msghdr){.msg_name = &stream->remote,
			                        .msg_namelen = sizeof(stream->remote),
			                        .msg_iov = &vector,
			                        .msg_iovlen = 1};
			if (waiting < BATCH)
				continue;
			sent += flush(descriptor, messages, waiting);
			waiting = 0;
		}
	}
	return sent + flush(descriptor, messages, waiting);
}

static void send_all(unsigned seconds, unsigned kbit_each, size_t octets, unsigned port,
                     char **addresses, unsigned count)
{
	struct stream *streams = calloc(count, sizeof(*streams));
	uint64_t interval_nsec = octets * 8 * 1000000 / kbit_each, start = now_nsec(), sent = 0;
	int descriptor = open_socket(0);

	for (unsigned i = 0; streams && i < count; i++) {
		streams[i].remote.sin_family = AF_INET;
		streams[i].remote.sin_port = htons((uint16_t)port);
		inet_pton(AF_INET, addresses[i], &streams[i].remote.sin_addr);
		streams[i].due_nsec = start + interval_nsec * i / count;
	}
	while (streams && now_nsec() < start + (uint64_t)seconds * SECOND_NSEC) {
		sent += send_due(descriptor, streams, count, interval_nsec, octets);
		nanosleep(&(const struct timespec){.tv_nsec = TICK_NSEC}, NULL);
	}
	printf("%llu\n", (unsigned long long)sent);
	free(streams);
}

static void receive_all(unsigned port)
{
	static uint8_t packets[BATCH][PACKET_SIZE];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec vectors[BATCH];
	struct pollfd polled[] = {{.fd = open_socket(port), .events = POLLIN},
	                          {.fd = STDIN_FILENO, .events = POLLIN}};
	uint64_t received = 0;

	for (unsigned i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){packets[i], PACKET_SIZE};
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	printf("ready\n");
	fflush(stdout);
	while (poll(polled, 2, -1) >= 0 || errno == EINTR) {
		int count = recvmmsg(polled[0].fd, messages, BATCH, MSG_DONTWAIT, NULL);

		if (count > 0)
			received += (unsigned)count;
		else if (polled[1].revents)
			break;
		/* The socket has room: fewer wakes. */
		if (count < BATCH)
			nanosleep(&(const struct timespec){.tv_nsec = TICK_NSEC}, NULL);
	}
	printf("%llu\n", (unsigned long long)received);
}

int main(int argc, char **argv)
{
	if (argc > 6 && strcmp(argv[1], "send") == 0 && atoi(argv[3]) > 0 &&
	    atoi(argv[4]) <= PACKET_SIZE) {
		send_all((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), (size_t)atoi(argv[4]),
		         (unsigned)atoi(argv[5]), argv + 6, (unsigned)argc - 6);
		return EXIT_SUCCESS;
	}
	if (argc == 3 && strcmp(argv[1], "receive") == 0) {
		receive_all((unsigned)atoi(argv[2]));
		return EXIT_SUCCESS;
	}
	fprintf(stderr, "usage: udp_load send SECONDS KBIT-EACH OCTETS PORT ADDRESS... | receive "
	                "PORT\n");
	return EXIT_FAILURE;
}
