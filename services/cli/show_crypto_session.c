/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show crypto session [remote-number NUMBER] [detail] */
#include <string.h>

#include "services/cli/show_crypto.h"

static const char legend[] = "Code: C - IKE Configuration mode, D - Dead Peer Detection\n"
			     "K - Keepalives, N - NAT-traversal, T - cTCP encapsulation\n"
			     "X - IKE Extended Authentication, F - IKE Fragmentation\n"
			     "R - IKE Auto Reconnect, U - IKE Dynamic Route Update\n"
			     "S - SIP VPN-SIP\n";

json_t *show_crypto_session_model(const struct show_input *input)
{
	return crypto_sessions_model(input);
}

static void print_ike_sa(FILE *stream, const json_t *sa, bool is_detail)
{
	char local[64], remote[64], lifetime[32];
	const json_t *from = json_object_get(sa, "local"), *to = json_object_get(sa, "remote");

	snprintf(local, sizeof(local), "%s/%d", text_of(from, "address"),
	         (int)number_of(from, "port"));
	snprintf(remote, sizeof(remote), "%s/%d", text_of(to, "address"),
	         (int)number_of(to, "port"));
	fprintf(stream, "  IKEv2 SA: local %s remote %s Active\n", local, remote);
	if (is_detail)
		fprintf(stream, "          Capabilities:%s connid:%lld lifetime:%s\n",
		        text_of(sa, "capabilities"), (long long)number_of(sa, "id"),
		        duration_text(number_of(sa, "remaining_sec"), lifetime));
}

/* "4222536/3366": kilobytes and seconds that are left. */
static void print_direction(FILE *stream, const json_t *session, const char *direction)
{
	bool is_inbound = strcmp(direction, "inbound") == 0;
	long long packets = 0, drops = 0, seconds = 0, bytes = 0;
	const json_t *sa;
	size_t index;
	char volume[40] = "KB Vol Rekey Disabled";

	json_array_foreach (json_object_get(session, "sas"), index, sa) {
		if (strcmp(text_of(sa, "direction"), direction) != 0)
			continue;
		packets += number_of(sa, "packets");
		drops += number_of(sa, "replay_drops") + number_of(sa, "integrity_drops");
		/* After a rekeying the older one is there for a moment: what counts is the newer. */
		if (number_of(sa, "remaining_sec") >= seconds) {
			seconds = number_of(sa, "remaining_sec");
			bytes = number_of(sa, "remaining_bytes");
		}
	}
	if (bytes)
		snprintf(volume, sizeof(volume), "%lld", bytes / 1024);
	fprintf(stream, "        %s #pkts %s %lld drop %lld life (KB/Sec) %s/%lld\n",
	        is_inbound ? "Inbound: " : "Outbound:", is_inbound ? "dec'ed" : "enc'ed", packets,
	        is_inbound ? drops : (long long)number_of(session, "send_errors"), volume, seconds);
}

static void print_flow(FILE *stream, const json_t *session, bool is_detail)
{
	const json_t *child = json_object_get(session, "child"), *selector;
	const json_t *others = json_object_get(child, "remote_selectors");
	char local[100], remote[100];
	size_t index;

	fprintf(stream, "  IPSEC FLOW: permit ip %s %s\n",
	        selector_with_mask(first_selector(child, "local_selectors"), local),
	        selector_with_mask(first_selector(child, "remote_selectors"), remote));
	if (json_array_size(others) > 1)
		fprintf(stream, "  TRUE IDENT (addr/mask/prot/port): {LOCAL -> REMOTE}\n");
	json_array_foreach (json_object_get(child, "local_selectors"), index, selector)
		if (json_array_size(others) > 1 && json_array_get(others, index))
			fprintf(stream, "    %s/0/0 -> %s/0/0\n",
			        selector_with_mask(json_string_value(selector), local),
			        selector_with_mask(json_string_value(json_array_get(others, index)),
			                           remote));
	fprintf(stream, "        Active SAs: %zu, origin: crypto map\n",
	        json_array_size(json_object_get(session, "sas")));
	if (!is_detail)
		return;
	print_direction(stream, session, "inbound");
	print_direction(stream, session, "outbound");
}

static void print_session(FILE *stream, const json_t *session, bool is_detail)
{
	const json_t *peer = json_object_get(session, "peer"),
		     *sa = json_object_get(session, "ike_sa");
	const char *identity = text_of(session, "phase1_id");
	const char *description = text_of(session, "description");
	char uptime[32];

	fprintf(stream, "\nInterface: %s\n", text_of(session, "interface"));
	fprintf(stream, "Profile: %s\n", text_of(session, "profile"));
	if (is_detail && json_is_object(sa))
		fprintf(stream, "Uptime: %s\n",
		        duration_text(number_of(session, "uptime_sec"), uptime));
	fprintf(stream, "Session status: %s\n", text_of(session, "status"));
	fprintf(stream, "Peer: %s port %lld", text_of(peer, "address"),
	        (long long)number_of(peer, "port"));
	if (is_detail) {
		fprintf(stream, " fvrf: (none) ivrf: (none)\n");
		fprintf(stream, "      Phase1_id: %s\n", *identity ? identity : "(none)");
		fprintf(stream, "      Desc: %s\n", *description ? description : "(none)");
	} else {
		fputc('\n', stream);
	}
	if (number_of(session, "session_id"))
		fprintf(stream, "  Session ID: %lld\n",
		        (long long)number_of(session, "session_id"));
	if (json_is_object(sa))
		print_ike_sa(stream, sa, is_detail);
	if (json_is_object(json_object_get(session, "child")))
		print_flow(stream, session, is_detail);
}

void show_crypto_session_text(FILE *stream, const json_t *model)
{
	bool is_detail = flag_of(model, "is_detail");
	const json_t *session;
	size_t index;

	fprintf(stream, "Crypto session current status\n");
	if (is_detail)
		fprintf(stream, "\n%s", legend);
	json_array_foreach (json_object_get(model, "sessions"), index, session)
		print_session(stream, session, is_detail);
}
