/* SPDX-License-Identifier: GPL-3.0-or-later */
/* debug SERVICE state | stats | peers | snapshot | record */
#include "services/cli/debug.h"

#include <string.h>

#include "bus/json.h"

int debug_complain(const struct cli *cli, const struct ordered *orders, size_t count,
                   unsigned timeout_msec)
{
	int status = CLI_DONE;
	char text[512], before[512] = "";

	for (size_t i = 0; i < count; i++) {
		if (orders[i].outcome == BUS_DONE)
			continue;
		gather_explain_order(&cli->bus, &orders[i], timeout_msec, text, sizeof(text));
		/* Six services may refuse the same thing with the same words. */
		if (strcmp(text, before) != 0)
			command_complain("%s", text);
		memcpy(before, text, sizeof(before));
		if (status != CLI_FAILED)
			status = orders[i].outcome == BUS_FAILED ? CLI_FAILED : CLI_PARTIAL;
	}
	return status;
}

json_t *debug_unanswered(const struct cli *cli, const struct ordered *orders, size_t count,
                         unsigned timeout_msec)
{
	json_t *list = json_array();
	char text[512];

	for (size_t i = 0; i < count; i++) {
		if (orders[i].outcome == BUS_DONE)
			continue;
		gather_explain_order(&cli->bus, &orders[i], timeout_msec, text, sizeof(text));
		json_array_append_new(list, json_pack("{s:s, s:o}", "service",
		                                      bus_service_name(orders[i].to), "cause",
		                                      model_text(text)));
	}
	return list;
}

int debug_order(const struct cli *cli, struct ordered *ordered, unsigned timeout_msec)
{
	char why[256];

	if (!gather_order(&cli->bus, ordered, 1, timeout_msec, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	return debug_complain(cli, ordered, 1, timeout_msec);
}

int debug_order_named(const struct cli *cli, const struct words *words,
                      const ProtobufCMessage *order, struct ordered *ordered)
{
	*ordered = (struct ordered){.order = order};
	if (!command_service(words_get(words, "SERVICE"), &ordered->to))
		return CLI_FAILED;
	return debug_order(cli, ordered, GATHER_TIMEOUT_MSEC);
}

static json_t *strings_model(char *const *strings, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, model_text(strings[i]));
	return list;
}

static void state_text(FILE *stream, const json_t *model)
{
	const json_t *line;
	size_t index;

	json_array_foreach (json_object_get(model, "state"), index, line)
		fprintf(stream, "%s\n", json_string_value(line));
}

static void stats_text(FILE *stream, const json_t *model)
{
	json_t *counters = json_object_get(model, "counters"), *value;
	const char *name;

	json_object_foreach (counters, name, value)
		fprintf(stream, "%-40s %12lld\n", name, (long long)json_integer_value(value));
}

static json_t *internals_model(Vpnsip__Service service, const Vpnsip__Internals *internals)
{
	json_t *counters = json_object();

	for (size_t i = 0; i < internals->n_counters; i++)
		json_object_set_new(counters, internals->counters[i]->name,
		                    json_integer((json_int_t)internals->counters[i]->value));
	return json_pack("{s:s, s:o, s:o, s:o}", "service", bus_service_name(service), "state",
	                 strings_model(internals->state, internals->n_state), "debug_switches",
	                 strings_model(internals->debug_switches, internals->n_debug_switches),
	                 "counters", counters);
}

static int show_internals(const struct cli *cli, const struct words *words, show_text_fn *text,
                          const char *left_out)
{
	static const Vpnsip__GetInternals order = VPNSIP__GET_INTERNALS__INIT;
	struct ordered ordered;
	int status = debug_order_named(cli, words, &order.base, &ordered);
	json_t *model;

	if (ordered.reply) {
		model = internals_model(ordered.to, ordered.reply->internals);
		json_object_del(model, left_out);
		command_print(cli, model, text);
		json_decref(model);
	}
	gather_forget(&ordered, 1);
	return status;
}

int command_debug_state(const struct cli *cli, const struct words *words)
{
	return show_internals(cli, words, state_text, "counters");
}

int command_debug_stats(const struct cli *cli, const struct words *words)
{
	return show_internals(cli, words, stats_text, "state");
}

static void peers_text(FILE *stream, const json_t *model)
{
	const json_t *peer;
	size_t index;

	fputs("Peer                Health  Events      Lost      Gaps  Snapshots  Requests  Failed "
	      " "
	      "Timed out\n",
	      stream);
	json_array_foreach (json_object_get(model, "peers"), index, peer)
		fprintf(stream, "%-20s%-8s%-12lld%-10lld%-6lld%-11lld%-10lld%-8lld%lld\n",
		        text_of(peer, "name"), text_of(peer, "health"),
		        (long long)number_of(peer, "events_received"),
		        (long long)number_of(peer, "events_lost"),
		        (long long)number_of(peer, "gaps"), (long long)number_of(peer, "snapshots"),
		        (long long)number_of(peer, "requests_sent"),
		        (long long)number_of(peer, "requests_failed"),
		        (long long)number_of(peer, "requests_timed_out"));
	fprintf(stream,
	        "Refused: %lld connections, %lld messages; undecodable: %lld; listener restarts: "
	        "%lld\n",
	        (long long)number_of(model, "refused_peers"),
	        (long long)number_of(model, "refused_messages"),
	        (long long)number_of(model, "undecodable_messages"),
	        (long long)number_of(model, "listener_restarts"));
}

int command_debug_peers(const struct cli *cli, const struct words *words)
{
	static const Vpnsip__GetServiceStatus order = VPNSIP__GET_SERVICE_STATUS__INIT;
	struct ordered ordered;
	int result = debug_order_named(cli, words, &order.base, &ordered);
	const Vpnsip__ServiceStatus *status;
	json_t *model, *peers = json_array();

	if (ordered.reply) {
		status = ordered.reply->service_status;
		for (size_t i = 0; i < status->n_peers; i++)
			json_array_append_new(peers, show_peer_model(status->peers[i]));
		model = json_pack("{s:s, s:O, s:I, s:I, s:I, s:I}", "service",
		                  bus_service_name(ordered.to), "peers", peers, "refused_peers",
		                  (json_int_t)status->refused_peers, "refused_messages",
		                  (json_int_t)status->refused_messages, "undecodable_messages",
		                  (json_int_t)status->undecodable_messages, "listener_restarts",
		                  (json_int_t)status->listener_restarts);
		command_print(cli, model, peers_text);
		json_decref(model);
	}
	json_decref(peers);
	gather_forget(&ordered, 1);
	return result;
}

int command_debug_snapshot(const struct cli *cli, const struct words *words)
{
	static const Vpnsip__GetSnapshot order = VPNSIP__GET_SNAPSHOT__INIT;
	struct ordered ordered;
	int status = debug_order_named(cli, words, &order.base, &ordered);
	json_t *model;

	if (ordered.reply) {
		model = bus_json_from_message(bus_body(ordered.reply));
		json_dumpf(model, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(model);
	}
	gather_forget(&ordered, 1);
	return status;
}

int command_debug_record_start(const struct cli *cli, const struct words *words)
{
	Vpnsip__StartRecording order = VPNSIP__START_RECORDING__INIT;
	struct ordered ordered;
	int status;

	order.name = (char *)words_get(words, "NAME"); /* only packed */
	status = debug_order_named(cli, words, &order.base, &ordered);
	gather_forget(&ordered, 1);
	return status;
}

int command_debug_record_stop(const struct cli *cli, const struct words *words)
{
	static const Vpnsip__StopRecording order = VPNSIP__STOP_RECORDING__INIT;
	struct ordered ordered;
	int status = debug_order_named(cli, words, &order.base, &ordered);

	gather_forget(&ordered, 1);
	return status;
}
