/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show crypto ipsec sa [remote-number NUMBER]: the security associations that carry packets, or may. */
#include <stdlib.h>
#include <string.h>

#include "services/cli/show_crypto.h"

json_t *show_crypto_ipsec_model(const struct show_input *input)
{
	return crypto_sessions_model(input);
}

static bool is_of(const json_t *sa, const char *direction)
{
	return strcmp(text_of(sa, "direction"), direction) == 0;
}

static void print_counters(FILE *stream, const json_t *session)
{
	long long sent = 0, received = 0;
	const json_t *sa;
	size_t index;

	json_array_foreach (json_object_get(session, "sas"), index, sa)
		*(is_of(sa, "inbound") ? &received : &sent) += number_of(sa, "packets");
	fprintf(stream, "    #pkts encaps: %lld, #pkts encrypt: %lld, #pkts digest: %lld\n", sent,
	        sent, sent);
	fprintf(stream, "    #pkts decaps: %lld, #pkts decrypt: %lld, #pkts verify: %lld\n",
	        received, received, received);
	/* Nothing is ever compressed. */
	fprintf(stream, "    #pkts compressed: 0, #pkts decompressed: 0\n"
	                "    #pkts not compressed: 0, #pkts compr. failed: 0\n"
	                "    #pkts not decompressed: 0, #pkts decompress failed: 0\n");
	fprintf(stream, "    #send errors %lld, #recv errors %lld\n",
	        (long long)number_of(session, "send_errors"),
	        (long long)number_of(session, "recv_errors"));
	if (number_of(session, "dummy_packets_sent") ||
	    number_of(session, "dummy_packets_received"))
		fprintf(stream, "    #send dummy packets %lld, #recv dummy packets %lld\n",
		        (long long)number_of(session, "dummy_packets_sent"),
		        (long long)number_of(session, "dummy_packets_received"));
}

/* "(0.0.0.0/0.0.0.0/0/0)" */
static void print_identities(FILE *stream, const json_t *child)
{
	const json_t *ours = json_object_get(child, "local_selectors"), *selector;
	const json_t *theirs = json_object_get(child, "remote_selectors");
	char local[100], remote[100];
	size_t index;

	fprintf(stream, "   local  ident (addr/mask/prot/port): (%s/0/0)\n",
	        selector_with_mask(first_selector(child, "local_selectors"), local));
	fprintf(stream, "   remote ident (addr/mask/prot/port): (%s/0/0)\n",
	        selector_with_mask(first_selector(child, "remote_selectors"), remote));
	if (json_array_size(ours) < 2 || json_array_size(theirs) < 2)
		return;
	fprintf(stream, "   TRUE ident (addr/mask/prot/port): {LOCAL -> REMOTE}\n");
	json_array_foreach (ours, index, selector)
		fprintf(stream, "     %s/0/0 -> %s/0/0\n",
		        selector_with_mask(json_string_value(selector), local),
		        selector_with_mask(first_selector(child, "remote_selectors"), remote));
}

/* What was agreed on is told of the current child; of an SA that is about to go, as tunnel-agent calls it. */
static void print_transform(FILE *stream, const json_t *session, const json_t *sa)
{
	const json_t *child = json_object_get(session, "child");
	const char *key = is_of(sa, "inbound") ? "inbound_spi" : "outbound_spi";
	const json_t *suite = json_object_get(child, "suite");
	char transform[80];

	if (strcmp(text_of(child, key), text_of(sa, "spi")) == 0) {
		fprintf(stream, "        transform: %s ,\n", suite_as_transform(suite, transform));
		fprintf(stream, "        IV size: %d bytes\n", suite_iv_octets(suite));
	} else {
		fprintf(stream, "        transform: %s ,\n", text_of(sa, "algorithms"));
	}
}

static void print_sa(FILE *stream, const json_t *session, const json_t *sa)
{
	long long window = (long long)number_of(sa, "replay_window");
	bool is_inbound = is_of(sa, "inbound");

	fprintf(stream, "      spi: %s(%lld)\n", text_of(sa, "spi"),
	        (long long)number_of(sa, "spi_number"));
	print_transform(stream, session, sa);
	fprintf(stream, "        in use settings ={Tunnel UDP-Encaps, }\n");
	fprintf(stream, "        conn id: %lld, flow_id: %lld, crypto map: %s-head-0\n",
	        (long long)number_of(json_object_get(session, "ike_sa"), "id"),
	        (long long)number_of(session, "if_id"), text_of(session, "interface"));
	if (number_of(sa, "remaining_bytes"))
		fprintf(stream, "        sa timing: remaining key lifetime (k/sec): (%lld/%lld)\n",
		        (long long)number_of(sa, "remaining_bytes") / 1024,
		        (long long)number_of(sa, "remaining_sec"));
	else
		fprintf(stream, "        sa timing: remaining key lifetime (sec): %lld\n",
		        (long long)number_of(sa, "remaining_sec"));
	fprintf(stream, "        replay detection support: %s", window ? "Y" : "N");
	if (is_inbound && window)
		fprintf(stream, ", window %lld, drops %lld", window,
		        (long long)number_of(sa, "replay_drops"));
	fprintf(stream, "\n        extended sequence numbers: %s, sequence %lld\n",
	        flag_of(sa, "has_extended_sequence") ? "Y" : "N",
	        (long long)number_of(sa, "sequence"));
	fprintf(stream, "        Status: ACTIVE(ACTIVE)\n");
}

/* Of the three protocols of the guide only ESP is spoken here. */
static void print_sas(FILE *stream, const json_t *session, const char *direction)
{
	const json_t *sa;
	size_t index;

	fprintf(stream, "\n     %s esp sas:\n", direction);
	json_array_foreach (json_object_get(session, "sas"), index, sa)
		if (is_of(sa, direction))
			print_sa(stream, session, sa);
	fprintf(stream, "\n     %s ah sas:\n\n     %s pcp sas:\n", direction, direction);
}

static void print_session(FILE *stream, const json_t *session)
{
	const json_t *child = json_object_get(session, "child");
	const json_t *sa = json_object_get(session, "ike_sa");
	const json_t *local = json_object_get(sa, "local"),
		     *peer = json_object_get(session, "peer");
	const char *outbound = text_of(child, "outbound_spi");
	long long group = (long long)number_of(json_object_get(child, "suite"), "group");
	const char *wan = text_of(session, "wan_interface");
	long long path_mtu = (long long)number_of(session, "path_mtu");
	const char *address = text_of(local, "address");

	fprintf(stream, "\ninterface: %s\n", text_of(session, "interface"));
	fprintf(stream, "    Crypto map tag: %s-head-0, local addr %s\n\n",
	        text_of(session, "interface"), *address ? address : "0.0.0.0");
	fprintf(stream, "   protected vrf: (none)\n");
	print_identities(stream, child);
	fprintf(stream, "   current_peer %s port %lld\n     PERMIT, flags={origin_is_acl,}\n",
	        text_of(peer, "address"), (long long)number_of(peer, "port"));
	print_counters(stream, session);
	fprintf(stream, "\n     local crypto endpt.: %s, remote crypto endpt.: %s\n",
	        *address ? address : "0.0.0.0", text_of(peer, "address"));
	fprintf(stream, "     plaintext mtu %lld, path mtu %lld, ip mtu %lld, ip mtu idb %s\n",
	        (long long)number_of(session, "mtu"), path_mtu, path_mtu, wan);
	print_counts(stream, "     path mtu reports refused: ",
	             json_object_get(session, "path_reports_refused"));
	fprintf(stream, "     current outbound spi: %s(%lld)\n", *outbound ? outbound : "0x0",
	        strtoll(outbound, NULL, 16));
	if (group)
		fprintf(stream, "     PFS (Y/N): Y, DH group: group%lld\n", group);
	else
		fprintf(stream, "     PFS (Y/N): N, DH group: none\n");
	print_sas(stream, session, "inbound");
	print_sas(stream, session, "outbound");
}

void show_crypto_ipsec_text(FILE *stream, const json_t *model)
{
	const json_t *session;
	size_t index;

	json_array_foreach (json_object_get(model, "sessions"), index, session)
		print_session(stream, session);
}
