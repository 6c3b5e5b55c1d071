/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A TUN-to-UDP forwarder without crypto, one packet per system call: the floor that ESP throughput is measured against.
 *
 *   floor INTERFACE LOCAL-ADDRESS REMOTE-ADDRESS
 *
 * Makes the interface (to be configured by the caller) and forwards between it and UDP port 4501.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT        4501
#define BUFFER_SIZE (4 << 20)
#define PACKET_SIZE 2048
#define BURST       64

static int open_tun(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (descriptor < 0 || ioctl(descriptor, TUNSETIFF, &request) != 0) {
		perror(name);
		exit(EXIT_FAILURE);
	}
	return descriptor;
}

static int open_udp(const char *local, const char *remote)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = BUFFER_SIZE;

	setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	inet_pton(AF_INET, local, &address.sin_addr);
	if (bind(descriptor, (struct sockaddr *)&address, sizeof(address)) != 0) {
		perror(local);
		exit(EXIT_FAILURE);
	}
	inet_pton(AF_INET, remote, &address.sin_addr);
	if (connect(descriptor, (struct sockaddr *)&address, sizeof(address)) != 0) {
		perror(remote);
		exit(EXIT_FAILURE);
	}
	return descriptor;
}

static void forward(int from, int to)
{
	char packet[PACKET_SIZE];

	for (int i = 0; i < BURST; i++) {
		ssize_t size = read(from, packet, sizeof(packet));

		/* What cannot be written is lost, as on any full queue. */
		if (size <= 0 || write(to, packet, (size_t)size) < 0)
			return;
	}
}

int main(int argc, char **argv)
{
	struct pollfd polled[2];

	if (argc != 4) {
		fprintf(stderr, "usage: floor INTERFACE LOCAL-ADDRESS REMOTE-ADDRESS\n");
		return EXIT_FAILURE;
	}
	polled[0] = (struct pollfd){.fd = open_tun(argv[1]), .events = POLLIN};
	polled[1] = (struct pollfd){.fd = open_udp(argv[2], argv[3]), .events = POLLIN};
	while (poll(polled, 2, -1) >= 0) {
		if (polled[0].revents)
			forward(polled[0].fd, polled[1].fd);
		if (polled[1].revents)
			forward(polled[1].fd, polled[0].fd);
	}
	return EXIT_FAILURE;
}
