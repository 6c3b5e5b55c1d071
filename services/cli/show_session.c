/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show vpn-sip session [remote-number NUMBER] [detail] */
#include <string.h>

#include "services/cli/show.h"

/* Handles look as on the routers whose manual this output follows: the top bit is always set. */
#define HANDLE_BIT 0x80000000u

static const Vpnsip__CoordinatorSnapshot *coordinator(const struct show_input *input)
{
	const Vpnsip__Envelope *reply =
		input->gathered->services[VPNSIP__SERVICE__COORDINATOR].snapshot;

	return reply && reply->body_case == VPNSIP__ENVELOPE__BODY_COORDINATOR_SNAPSHOT
	               ? reply->coordinator_snapshot
	               : NULL;
}

static const Vpnsip__TunnelChanged *find_tunnel(const struct show_input *input, const char *name)
{
	const Vpnsip__Envelope *reply =
		input->gathered->services[VPNSIP__SERVICE__TUNNEL_AGENT].snapshot;

	if (!reply || reply->body_case != VPNSIP__ENVELOPE__BODY_TUNNEL_SNAPSHOT)
		return NULL;
	for (size_t i = 0; i < reply->tunnel_snapshot->n_tunnels; i++)
		if (strcmp(reply->tunnel_snapshot->tunnels[i]->tunnel, name) == 0)
			return reply->tunnel_snapshot->tunnels[i];
	return NULL;
}

static const Vpnsip__LineChanged *find_line(const Vpnsip__CoordinatorSnapshot *snapshot,
                                            const char *number)
{
	for (size_t i = 0; i < snapshot->n_lines; i++)
		if (strcmp(snapshot->lines[i]->local_number, number) == 0)
			return snapshot->lines[i];
	return NULL;
}

/* The session's, unless it rests and could not call: then the line's says more. */
static json_t *shown_status(const Vpnsip__SessionChanged *session, const Vpnsip__LineChanged *line)
{
	if (session->status == VPNSIP__SESSION_STATUS__READY_TO_CONNECT && line &&
	    line->status != VPNSIP__LINE_STATUS__LINE_REGISTERED)
		return model_enum(&vpnsip__line_status__descriptor, (int)line->status, "LINE_");
	return model_enum(&vpnsip__session_status__descriptor, (int)session->status, "");
}

static const char *role_of(const Vpnsip__SessionChanged *session)
{
	if (session->attempt == 0 || session->status == VPNSIP__SESSION_STATUS__READY_TO_CONNECT ||
	    session->status == VPNSIP__SESSION_STATUS__HOLDDOWN)
		return "";
	return session->direction == VPNSIP__DIRECTION__OUTGOING   ? "I"
	       : session->direction == VPNSIP__DIRECTION__INCOMING ? "R"
	                                                           : "";
}

/* At rest the local address is the WAN's, with port 0. */
static json_t *local_address(const Vpnsip__SessionChanged *session, const Vpnsip__LineChanged *line)
{
	Vpnsip__SocketAddress wan = VPNSIP__SOCKET_ADDRESS__INIT;

	if (session->local && session->local->address.len)
		return model_address(session->local);
	if (line)
		wan.address = line->wan_address;
	return model_address(&wan);
}

static json_t *sas_of(const Vpnsip__TunnelChanged *tunnel)
{
	json_t *sas = json_array();

	for (size_t i = 0; tunnel && i < tunnel->n_sas; i++) {
		const Vpnsip__SaStatus *sa = tunnel->sas[i];
		char spi[16];

		snprintf(spi, sizeof(spi), "0x%08x", sa->spi);
		json_array_append_new(
			sas,
			json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:i, s:i}", "direction",
		                  sa->direction == VPNSIP__SA_DIRECTION__SA_INBOUND ? "inbound"
		                                                                    : "outbound",
		                  "spi", spi, "algorithms", model_text(sa->algorithms), "packets",
		                  (json_int_t)sa->packets, "bytes", (json_int_t)sa->bytes,
		                  "replay_drops", (json_int_t)sa->replay_drops, "integrity_drops",
		                  (json_int_t)sa->integrity_drops, "replay_window",
		                  (int)sa->replay_window, "remaining_sec", (int)sa->remaining_sec));
	}
	return sas;
}

static void add_detail(json_t *object, const struct show_input *input,
                       const Vpnsip__SessionChanged *session)
{
	uint64_t now = input->gathered->now_mono_usec;
	uint64_t until = session->holddown_until_mono_usec;
	json_int_t remaining = until > now ? (json_int_t)((until - now + 999999) / 1000000) : 0;

	json_object_set_new(object, "crypto_conn_handle",
	                    model_handle(HANDLE_BIT + session->if_id));
	json_object_set_new(object, "sip_handle",
	                    model_handle(session->attempt ? HANDLE_BIT + session->attempt : 0));
	json_object_set_new(object, "attempt", json_integer((json_int_t)session->attempt));
	json_object_set_new(object, "call_record", json_integer((json_int_t)session->call_record));
	json_object_set_new(object, "sip_call_id", model_text(session->call_id));
	json_object_set_new(object, "configured_kbit", json_integer(session->configured_kbit));
	json_object_set_new(object, "negotiated_kbit", json_integer(session->negotiated_kbit));
	json_object_set_new(object, "service_policy", model_text(session->service_policy));
	json_object_set_new(object, "description", model_text(session->description));
	json_object_set_new(object, "holddown_remaining_sec", json_integer(remaining));
	json_object_set_new(object, "attempts", json_integer(session->attempts));
	json_object_set_new(object, "established", json_integer(session->established));
	json_object_set_new(object, "failed", json_integer(session->failed));
	json_object_set_new(object, "ignored_events", json_integer(session->ignored_events));
	json_object_set_new(object, "sas", sas_of(find_tunnel(input, session->tunnel)));
}

static json_t *session_model(const struct show_input *input, const Vpnsip__SessionChanged *session)
{
	const Vpnsip__LineChanged *line = find_line(coordinator(input), session->local_number);
	json_t *object = json_object();

	json_object_set_new(object, "interface", model_text(session->tunnel));
	json_object_set_new(object, "status", shown_status(session, line));
	json_object_set_new(
		object, "session_status",
		model_enum(&vpnsip__session_status__descriptor, (int)session->status, ""));
	json_object_set_new(
		object, "line_status",
		line ? model_enum(&vpnsip__line_status__descriptor, (int)line->status, "LINE_")
		     : json_string(""));
	json_object_set_new(object, "role", json_string(role_of(session)));
	json_object_set_new(object, "uptime_sec",
	                    json_integer(model_seconds(session->call_since_mono_usec,
	                                               input->gathered->now_mono_usec)));
	json_object_set_new(object, "remote_number", model_text(session->remote_number));
	json_object_set_new(object, "local_number", model_text(session->local_number));
	json_object_set_new(object, "remote", model_address(session->remote));
	json_object_set_new(object, "local", local_address(session, line));
	json_object_set_new(object, "is_enabled", json_boolean(session->is_enabled));
	json_object_set_new(object, "last_cause", model_text(session->last_cause));
	if (words_has(input->words, "detail"))
		add_detail(object, input, session);
	return object;
}

json_t *show_session_model(const struct show_input *input)
{
	const Vpnsip__CoordinatorSnapshot *snapshot = coordinator(input);
	const char *number = words_get(input->words, "NUMBER");
	json_t *sessions = json_array();

	for (size_t i = 0; snapshot && i < snapshot->n_sessions; i++)
		if (!number || strcmp(snapshot->sessions[i]->remote_number, number) == 0)
			json_array_append_new(sessions,
			                      session_model(input, snapshot->sessions[i]));
	return json_pack("{s:o}", "sessions", sessions);
}

static void print_sas(FILE *stream, const json_t *session)
{
	const json_t *sa;
	size_t index;

	json_array_foreach (json_object_get(session, "sas"), index, sa)
		fprintf(stream, "  %s: SPI %s, %s, %lld packets, %lld bytes\n",
		        strcmp(text_of(sa, "direction"), "inbound") == 0 ? "Inbound SA    "
		                                                         : "Outbound SA   ",
		        text_of(sa, "spi"), text_of(sa, "algorithms"),
		        (long long)number_of(sa, "packets"), (long long)number_of(sa, "bytes"));
}

static void print_detail(FILE *stream, const json_t *session)
{
	fprintf(stream, "  Crypto conn handle: %s\n", text_of(session, "crypto_conn_handle"));
	fprintf(stream, "  SIP Handle      : %s\n", text_of(session, "sip_handle"));
	if (number_of(session, "call_record"))
		fprintf(stream, "  SIP callID     : %lld\n",
		        (long long)number_of(session, "call_record"));
	else
		fprintf(stream, "  SIP callID     : --\n");
	fprintf(stream, "  Configured/Negotiated bandwidth: %lld/%lld kbps\n",
	        (long long)number_of(session, "configured_kbit"),
	        (long long)number_of(session, "negotiated_kbit"));
	if (*text_of(session, "service_policy"))
		fprintf(stream, "  Applied service policy: %s\n",
		        text_of(session, "service_policy"));
	if (*text_of(session, "description"))
		fprintf(stream, "  Description   : %s\n", text_of(session, "description"));
	if (number_of(session, "holddown_remaining_sec"))
		fprintf(stream, "  Hold-down     : %lld s remaining\n",
		        (long long)number_of(session, "holddown_remaining_sec"));
	if (*text_of(session, "last_cause"))
		fprintf(stream, "  Last cause    : %s\n", text_of(session, "last_cause"));
	print_sas(stream, session);
}

static void print_session(FILE *stream, const json_t *session)
{
	const char *role = text_of(session, "role");
	char address[64], duration[32];

	fprintf(stream, "\nInterface: %s\n", text_of(session, "interface"));
	fprintf(stream, "  Session status: %s%s%s%s\n", text_of(session, "status"),
	        *role ? " (" : "", role, *role ? ")" : "");
	if (*role)
		fprintf(stream, "  Uptime        : %s\n",
		        duration_text(number_of(session, "uptime_sec"), duration));
	fprintf(stream, "  Remote number : %s\n", text_of(session, "remote_number"));
	fprintf(stream, "  Local number  : %s\n", text_of(session, "local_number"));
	fprintf(stream, "  Remote address:port: %s\n", address_of(session, "remote", address));
	fprintf(stream, "  Local address:port : %s\n", address_of(session, "local", address));
	if (json_object_get(session, "crypto_conn_handle"))
		print_detail(stream, session);
}

void show_session_text(FILE *stream, const json_t *model)
{
	const json_t *session;
	size_t index;

	fprintf(stream, "VPN-SIP session current status\n");
	json_array_foreach (json_object_get(model, "sessions"), index, session)
		print_session(stream, session);
}
