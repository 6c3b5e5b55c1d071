/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The debug switches at run time: debug vpn-sip (the guide's 19, VPN-SIP chapter, "Debug Commands"), undebug, show debugging,
 * and debug SERVICE log. What they switch on is written to the services' logs.
 */
#include <stdlib.h>
#include <string.h>

#include "services/cli/debug.h"
#include "services/cli/session_name.h"
#include "services/common/log.h"
#include "services/common/suggest.h"

#define MOST_NAMES (LOG_CATEGORY_COUNT + 2)

static const struct {
	const char *name;
	unsigned level;
} levels[] = {
	{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
	{"info", LOG_INFO}, {"debug", LOG_DEBUG},
};

/* The guide's names that follow `prefix`: "sip " gives calls, dhcp ... and all, "" gives event, errors and sip. */
static size_t guide_names(const char *prefix, const char **names)
{
	size_t length = strlen(prefix), count = 0;

	if (length) {
		names[count++] = "all";
		for (int i = 0; i < LOG_CATEGORY_COUNT; i++)
			if (strncmp(log_category_names[i], prefix, length) == 0)
				names[count++] = log_category_names[i] + length;
		return count;
	}
	names[count++] = log_category_names[LOG_EVENT];
	names[count++] = log_category_names[LOG_ERRORS];
	names[count++] = "sip";
	return count;
}

/* The name that the word is, or alone begins. NULL after a sentence in `why`. */
static const char *pick(const char *word, const char *const *names, size_t count, char *why,
                        size_t why_size)
{
	const char *found = NULL, *near;
	size_t used;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], word) == 0)
			return names[i];
		if (strncmp(names[i], word, strlen(word)) != 0)
			continue;
		if (found) {
			snprintf(why, why_size, "ambiguous: '%s' can be '%s' or '%s'", word, found,
			         names[i]);
			return NULL;
		}
		found = names[i];
	}
	if (found)
		return found;
	used = (size_t)snprintf(why, why_size, "'%s' is not understood: expected", word);
	for (size_t i = 0; i < count && used < why_size; i++)
		used += (size_t)snprintf(why + used, why_size - used, "%s%s",
		                         i == 0           ? " "
		                         : i + 1 == count ? " or "
		                                          : ", ",
		                         names[i]);
	near = suggest_word(word, names, count);
	if (near && used < why_size)
		snprintf(why + used, why_size - used, "; did you mean '%s'?", near);
	return NULL;
}

/* At most one more word: the session. */
static bool read_session(const struct words *words, size_t at, struct switch_order *order,
                         char *why, size_t why_size)
{
	if (at < words->count)
		order->session = words->arguments[at++].value;
	if (at < words->count)
		snprintf(why, why_size, "'%s' is one word too many", words->arguments[at].value);
	return at == words->count;
}

/* The words of a pattern's last argument stand at the end. */
static size_t first_of(const struct words *words, const char *name)
{
	size_t at = 0;

	while (at < words->count && strcmp(words->arguments[at].name, name) != 0)
		at++;
	return at;
}

/* A category of the guide from the word at *at on, one word or two. */
static bool read_guide_category(const struct words *words, size_t *at, struct switch_order *order,
                                char *why, size_t why_size)
{
	const char *names[MOST_NAMES], *name, *second;
	size_t count = guide_names("", names);

	name = pick(words->arguments[*at].value, names, count, why, why_size);
	if (!name)
		return false;
	(*at)++;
	if (strcmp(name, "sip") != 0) {
		snprintf(order->category, sizeof(order->category), "%s", name);
		return true;
	}
	count = guide_names("sip ", names);
	if (*at == words->count) {
		snprintf(why, why_size, "the command is not complete after 'sip'");
		return false;
	}
	second = pick(words->arguments[*at].value, names, count, why, why_size);
	if (!second)
		return false;
	(*at)++;
	snprintf(order->category, sizeof(order->category), "sip %s", second);
	return true;
}

bool switch_read_guide(const struct words *words, struct switch_order *order, char *why,
                       size_t why_size)
{
	size_t at = first_of(words, "WHAT");

	*order = (struct switch_order){0};
	return read_guide_category(words, &at, order, why, why_size) &&
	       read_session(words, at, order, why, why_size);
}

static bool read_level(const char *word, struct switch_order *order)
{
	if (strcmp(word, "off") == 0)
		order->is_off = true;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(word, levels[i].name) == 0)
			order->level = levels[i].level;
	return order->is_off || order->level;
}

/* "all", one of ours ("ike"), or one of the guide's. */
static bool read_category(const struct words *words, size_t *at, struct switch_order *order,
                          char *why, size_t why_size)
{
	const char *names[MOST_NAMES] = {"all", "sip"}, *word = words->arguments[*at].value;
	size_t count = 2;

	for (int i = 0; i < LOG_CATEGORY_COUNT; i++)
		if (strncmp(log_category_names[i], "sip ", 4) != 0)
			names[count++] = log_category_names[i];
	word = pick(word, names, count, why, why_size);
	if (!word)
		return false;
	if (strcmp(word, "sip") == 0)
		return read_guide_category(words, at, order, why, why_size);
	(*at)++;
	snprintf(order->category, sizeof(order->category), "%s", word);
	return true;
}

bool switch_read_log(const struct words *words, struct switch_order *order, char *why,
                     size_t why_size)
{
	size_t at = first_of(words, "LEVEL");

	*order = (struct switch_order){0};
	at += read_level(words->arguments[at].value, order);
	if (at < words->count && !read_category(words, &at, order, why, why_size)) {
		size_t used = strlen(why);

		if (!order->level && !order->is_off && used < why_size)
			snprintf(why + used, why_size - used,
			         " (or a level: error, warning, notice, info, debug; or off)");
		return false;
	}
	if (order->is_off && !order->category[0]) {
		snprintf(why, why_size, "off what? 'off all', or a category");
		return false;
	}
	return read_session(words, at, order, why, why_size);
}

/* The tunnel of what the operator typed. A number needs the coordinator; a tunnel is believed when it is silent. */
static bool find_tunnel(const struct cli *cli, struct gatherer *gatherer, const char *name,
                        const char **tunnel, struct ordered *snapshot)
{
	static const Vpnsip__GetSnapshot get = VPNSIP__GET_SNAPSHOT__INIT;
	const Vpnsip__SessionChanged *session;
	char text[512];

	*snapshot = (struct ordered){.to = VPNSIP__SERVICE__COORDINATOR, .order = &get.base};
	gather_ask(gatherer, snapshot, 1, GATHER_TIMEOUT_MSEC / 2);
	*tunnel = name;
	if (!snapshot->reply ||
	    snapshot->reply->body_case != VPNSIP__ENVELOPE__BODY_COORDINATOR_SNAPSHOT) {
		if (!session_is_number(name))
			return true;
		debug_complain(cli, snapshot, 1, GATHER_TIMEOUT_MSEC / 2);
		command_complain("which session has the number %s cannot be told now; name its "
		                 "tunnel",
		                 name);
		return false;
	}
	session = session_find(snapshot->reply->coordinator_snapshot, name);
	if (session) {
		*tunnel = session->tunnel;
		return true;
	}
	session_explain_unknown(snapshot->reply->coordinator_snapshot, name, text, sizeof(text));
	command_complain("%s", text);
	return false;
}

static void say_text(const struct switch_order *order, const char *tunnel, unsigned services)
{
	const char *where = "s of all services";
	char one[64];

	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++) {
		if (services != BUS_SERVICE(i))
			continue;
		snprintf(one, sizeof(one), " of %s", bus_service_name((Vpnsip__Service)i));
		where = one;
	}
	printf("%s debugging is %s%s%s\n", order->category, order->is_off ? "off" : "on",
	       tunnel ? " for " : "", tunnel ? tunnel : "");
	if (!order->is_off)
		printf("Its lines are in the log%s (standard error, or the journal)\n", where);
}

static void say_json(const struct switch_order *order, const char *tunnel)
{
	json_t *model = json_pack("{s:s, s:o, s:b}", "category", order->category, "session",
	                          model_text(tunnel), "is_on", !order->is_off);

	json_dumpf(model, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(model);
}

/* Sends the order to each of the services, and says where to look. */
static int send_switch(const struct cli *cli, const struct switch_order *order, unsigned services)
{
	Vpnsip__SetLog set_log = VPNSIP__SET_LOG__INIT;
	struct ordered orders[SERVICE_COUNT], snapshot = {0};
	const char *tunnel = NULL;
	struct gatherer *gatherer;
	size_t count = 0;
	char why[256];
	int status = CLI_FAILED;

	gatherer = gather_begin(&cli->bus, services | BUS_SERVICE(VPNSIP__SERVICE__COORDINATOR),
	                        why, sizeof(why));
	if (!gatherer) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	if (order->session && !find_tunnel(cli, gatherer, order->session, &tunnel, &snapshot))
		goto out;
	/* All are only packed. */
	set_log.level = order->level;
	set_log.category = (char *)order->category;
	set_log.is_off = order->is_off;
	if (tunnel)
		set_log.session = (char *)tunnel;
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++)
		if (services & BUS_SERVICE(i))
			orders[count++] = (struct ordered){.to = i, .order = &set_log.base};
	gather_ask(gatherer, orders, count, GATHER_TIMEOUT_MSEC);
	status = debug_complain(cli, orders, count, GATHER_TIMEOUT_MSEC);
	for (size_t i = 0; i < count; i++) {
		if (orders[i].outcome != BUS_DONE || !order->category[0])
			continue;
		if (cli->wants_json)
			say_json(order, tunnel);
		else
			say_text(order, tunnel, services);
		break;
	}
	gather_forget(orders, count);
out:
	gather_forget(&snapshot, 1);
	gather_end(gatherer);
	return status;
}

static int switch_guide(const struct cli *cli, const struct words *words, bool is_off)
{
	struct switch_order order;
	char why[512];
	bool is_of_sip;

	if (!switch_read_guide(words, &order, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	order.is_off = is_off;
	is_of_sip = strncmp(order.category, "sip ", 4) == 0;
	return send_switch(cli, &order,
	                   is_of_sip ? BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT) : ALL_SERVICES);
}

int command_debug_switch(const struct cli *cli, const struct words *words)
{
	return switch_guide(cli, words, false);
}

int command_undebug_switch(const struct cli *cli, const struct words *words)
{
	return switch_guide(cli, words, true);
}

int command_undebug_all(const struct cli *cli, const struct words *words)
{
	const struct switch_order order = {.category = "all", .is_off = true};

	(void)words;
	return send_switch(cli, &order, ALL_SERVICES);
}

int command_debug_log(const struct cli *cli, const struct words *words)
{
	struct switch_order order;
	Vpnsip__Service service;
	char why[512];

	if (!command_service(words_get(words, "SERVICE"), &service))
		return CLI_FAILED;
	if (!switch_read_log(words, &order, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	return send_switch(cli, &order, BUS_SERVICE(service));
}
