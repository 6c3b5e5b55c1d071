/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Printed here, and read by the library: its printing makes a tree of the fields first, which took as long as all that is SIP in
 * a call.
 */
#include "services/sip-agent/dialog_line.h"

#include <arpa/inet.h>

struct line {
	char *text;
	size_t length; /* DIALOG_LINE_SIZE = too long */
};

static void begin_line(struct line *line, char text[DIALOG_LINE_SIZE])
{
	line->text = text;
	line->length = 0;
}

static void put_octet(struct line *line, char octet)
{
	if (line->length < DIALOG_LINE_SIZE - 1)
		line->text[line->length++] = octet;
	else
		line->length = DIALOG_LINE_SIZE;
}

static void put_name(struct line *line, const char *name)
{
	put_octet(line, line->length ? ',' : '{');
	put_octet(line, '"');
	for (; *name; name++)
		put_octet(line, *name);
	put_octet(line, '"');
	put_octet(line, ':');
}

/* What is not ASCII stands in a display name or a cause, and means nothing after a restart. */
static void put_text(struct line *line, const char *name, const char *text)
{
	put_name(line, name);
	put_octet(line, '"');
	for (; *text; text++) {
		const char octet = *text;

		if (octet == '"' || octet == '\\' || octet == '\r' || octet == '\n')
			put_octet(line, '\\');
		put_octet(line, octet == '\r'                ? 'r'
		                : octet == '\n'              ? 'n'
		                : octet < ' ' || octet > '~' ? '?'
		                                             : octet);
	}
	put_octet(line, '"');
}

static void put_number(struct line *line, const char *name, uint64_t number)
{
	char digits[24];
	size_t i = sizeof(digits) - 1;

	digits[i] = '\0';
	do
		digits[--i] = (char)('0' + number % 10);
	while (number /= 10);
	put_name(line, name);
	for (; digits[i]; i++)
		put_octet(line, digits[i]);
}

static void put_bool(struct line *line, const char *name, bool is_true)
{
	put_name(line, name);
	for (const char *word = is_true ? "true" : "false"; *word; word++)
		put_octet(line, *word);
}

static bool end_line(struct line *line)
{
	put_octet(line, '}');
	put_octet(line, '\n');
	if (line->length == DIALOG_LINE_SIZE)
		return false;
	line->text[line->length] = '\0';
	return true;
}

/* A tunnel is kept as the session description that says the same. */
static void put_tunnel(struct line *line, const char *name, const struct sdp_tunnel *tunnel,
                       bool is_known)
{
	const struct sdp_origin origin = {1, 1};
	char text[SDP_TEXT_SIZE] = "";

	if (is_known)
		sdp_write(text, sizeof(text), &origin, tunnel, NULL, 0);
	put_text(line, name, text);
}

static void put_state(struct line *line, const struct dialog_record *record)
{
	const struct call *call = &record->call;

	put_number(line, "state", call->state);
	put_number(line, "local_sequence", record->local_sequence);
	put_number(line, "remote_sequence", record->remote_sequence);
	put_text(line, "cause", call->cause);
	put_number(line, "ended_by", call->ended_by);
	put_number(line, "answered_at_usec", call->answered_at_usec);
	put_number(line, "ended_at_usec", call->ended_at_usec);
	put_bool(line, "is_end_estimated", call->is_end_estimated);
	put_number(line, "sip_status", call->sip_status);
	put_number(line, "retry_after_sec", call->retry_after_sec);
	put_bool(line, "is_acknowledged", record->is_acknowledged);
	put_number(line, "interval_sec", record->timer.interval_sec);
	put_bool(line, "is_refresher", record->timer.is_refresher);
	put_number(line, "refreshed_at_usec", record->refreshed_at_usec);
}

static void put_call(struct line *line, const struct call *call)
{
	put_number(line, "direction", call->direction);
	put_text(line, "call_id", call->call_id);
	put_number(line, "attempt", call->attempt);
	put_text(line, "tunnel", call->tunnel);
	put_text(line, "local_number", call->local_number);
	put_text(line, "remote_number", call->remote_number);
	put_tunnel(line, "local_tunnel", &call->local, call->has_local);
	put_tunnel(line, "remote_tunnel", &call->remote, call->has_remote);
	put_number(line, "started_at_usec", call->started_at_usec);
}

static void put_dialog(struct line *line, const struct dialog_record *record)
{
	char wan_address[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &record->wan_address, wan_address, sizeof(wan_address));
	put_text(line, "local", record->local);
	put_text(line, "remote", record->remote);
	put_text(line, "routes", record->routes);
	put_text(line, "target", record->target);
	put_text(line, "branch", record->branch);
	put_number(line, "invite_sequence", record->invite_sequence);
	put_text(line, "invite", record->invite);
	put_text(line, "wan_address", wan_address);
	put_number(line, "session_id", record->origin.session_id);
	put_number(line, "session_version", record->origin.version);
	put_text(line, "sdp", record->sdp);
	put_bool(line, "peer_takes_update", record->peer_takes_update);
}

bool dialog_line_print(char text[DIALOG_LINE_SIZE], const struct dialog_record *record)
{
	struct line line;

	begin_line(&line, text);
	put_state(&line, record);
	put_call(&line, &record->call);
	put_dialog(&line, record);
	return end_line(&line);
}

bool dialog_line_print_state(char text[DIALOG_LINE_SIZE], const struct dialog_record *record)
{
	struct line line;

	begin_line(&line, text);
	put_state(&line, record);
	return end_line(&line);
}
