/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Why a packet was dropped: counted per tunnel, or for the agent when it belongs to no tunnel. */
#ifndef VPNSIP_DROPS_H
#define VPNSIP_DROPS_H

enum drop_reason {
	/* not worth a call, on a tunnel that is not open (see classify.h) */
	DROP_MALFORMED = 0,
	DROP_IPV6,
	DROP_MULTICAST,
	DROP_BROADCAST,
	DROP_LINK_LOCAL,
	DROP_BAD_SOURCE,
	DROP_ICMP_ERROR,
	DROP_OWN_PROBE,
	/* outbound */
	DROP_HOLD_OVERFLOW,
	DROP_HOLD_EXPIRED,
	DROP_NO_SA,
	DROP_SEAL_FAILED,
	DROP_SEND_REFUSED, /* firewall or no route */
	DROP_SEND_FULL,    /* socket buffer */
	DROP_TOO_BIG,      /* may not be fragmented and does not fit: its sender was told */
	DROP_STALE_IKE,    /* IKE message of an attempt that is over */
	/* inbound */
	DROP_TOO_SHORT,
	DROP_TOO_LONG,
	DROP_NO_PEER,
	DROP_UNKNOWN_SPI,
	DROP_LIFETIME,
	DROP_REPLAY,
	DROP_INTEGRITY,
	DROP_PADDING,
	DROP_DUMMY,
	DROP_NOT_IPV4,
	DROP_ECN, /* congestion was met on the path, and the inner packet cannot tell */
	DROP_INTERFACE,
	DROP_UNKNOWN_MARK,
	DROP_IKE_QUEUE_FULL,
	DROP_IKE_UNDELIVERED,
	/* what a router of the path, or somebody in its name, said of the path's MTU (see path_report.h) */
	DROP_REPORT_PEER,     /* quotes a packet to where no tunnel sends */
	DROP_REPORT_SPI,      /* of an SA that is not ours */
	DROP_REPORT_SEQUENCE, /* that was not sent, or too long ago */
	DROP_REPORT_SIZE,     /* that fits into the MTU it tells */
	DROP_REASON_COUNT
};

/** "multicast", "hold-overflow" ...: as shown to the operator. */
extern const char *const drop_reason_names[DROP_REASON_COUNT];

#endif
