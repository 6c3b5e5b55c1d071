/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * debug crypto, undebug crypto, show crypto debug-condition (the guide's "Crypto Conditional Debug Support"): IKE is ike-agent's
 * part of the log, IPsec tunnel-agent's.
 */
#include "services/cli/debug_crypto.h"

#include <arpa/inet.h>
#include <string.h>

#include "services/cli/debug.h"
#include "services/common/log_condition.h"

#define IKE       BUS_SERVICE(VPNSIP__SERVICE__IKE_AGENT)
#define IPSEC     BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT)
#define WORDS_MAX 8

/** The words of the pattern's last argument. */
static size_t list_words(const struct words *words, const char *list[WORDS_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < words->count && count < WORDS_MAX; i++)
		if (strcmp(words->arguments[i].name, "WHAT") == 0 || count > 0)
			list[count++] = words->arguments[i].value;
	return count;
}

/** "255.255.255.0" as 24; -1 if it is no mask. */
static int read_mask(const char *text)
{
	struct in_addr mask;
	uint32_t bits;

	if (inet_pton(AF_INET, text, &mask) != 1)
		return -1;
	bits = ntohl(mask.s_addr);
	if (~bits & (~bits + 1))
		return -1;
	return bits ? 32 - __builtin_ctz(bits) : 0;
}

/** peer ADDRESS, peer ipv4|ipv6 ADDRESS, peer subnet ADDRESS/LENGTH, peer subnet ADDRESS MASK. */
static bool read_peer(const char *const *list, size_t count, char *text, size_t size)
{
	size_t at = 0;

	if (count > 1 && (strcmp(list[0], "ipv4") == 0 || strcmp(list[0], "ipv6") == 0 ||
	                  strcmp(list[0], "subnet") == 0))
		at++;
	if (count == at + 1) {
		snprintf(text, size, "peer %s", list[at]);
		return true;
	}
	if (count != at + 2)
		return false;
	const int length = read_mask(list[at + 1]);
	snprintf(text, size, "peer %s/%d", list[at], length);
	return length >= 0;
}

/** Whom "unmatched" concerns: both, or the area that is named. */
static bool read_area(const char *const *list, size_t count, unsigned *services)
{
	if (count == 0)
		return true;
	if (count > 1)
		return false;
	*services = strcmp(list[0], "ikev2") == 0 ? IKE : strcmp(list[0], "ipsec") == 0 ? IPSEC : 0;
	return *services != 0;
}

static bool read_condition(const char *const *list, size_t count, struct crypto_order *order)
{
	bool is_good = count > 0;

	order->services = IKE | IPSEC;
	if (count > 0 && strcmp(list[0], "peer") == 0)
		is_good = read_peer(list + 1, count - 1, order->condition,
		                    sizeof(order->condition));
	else if (count > 0 && strcmp(list[0], "unmatched") == 0)
		is_good = read_area(list + 1, count - 1, &order->services);
	else if (count == 2)
		snprintf(order->condition, sizeof(order->condition), "%s %s", list[0], list[1]);
	else if (count > 2)
		is_good = false;
	if (is_good && !order->condition[0])
		snprintf(order->condition, sizeof(order->condition), "%s", list[0]);
	/* Tried here, in a process that writes no such lines. */
	return is_good && log_condition_change(order->condition, true) == 0;
}

static bool read_switch(const char *const *list, size_t count, struct crypto_order *order)
{
	bool is_error = count == 2 && strcmp(list[1], "error") == 0;

	if (count > 2 || (count == 2 && !is_error))
		return false;
	if (strcmp(list[0], "ikev2") == 0) {
		order->category = is_error ? "ike error" : "ike";
		order->services = IKE;
	} else if (strcmp(list[0], "ipsec") == 0) {
		order->category = is_error ? "tunnel error" : "tunnel";
		order->services = IPSEC;
	}
	return order->category != NULL;
}

bool crypto_read(const struct words *words, struct crypto_order *order, char *why, size_t why_size)
{
	const char *list[WORDS_MAX];
	size_t count = list_words(words, list);
	bool is_condition = count > 0 && strcmp(list[0], "condition") == 0;

	*order = (struct crypto_order){0};
	if (is_condition ? read_condition(list + 1, count - 1, order)
	                 : count > 0 && read_switch(list, count, order))
		return true;
	snprintf(why, why_size, "%s",
	         is_condition ? "expected peer ADDRESS[/LENGTH], remote-number NUMBER, spi NUMBER, "
	                        "session TUNNEL, unmatched [ikev2|ipsec] or reset"
	                      : "expected ikev2 [error], ipsec [error] or condition WHAT");
	return false;
}

static void say(const struct cli *cli, const struct crypto_order *order, bool is_on)
{
	if (cli->wants_json) {
		json_t *model = json_pack("{s:o, s:o, s:b}", "category",
		                          model_text(order->category ? order->category : ""),
		                          "condition", model_text(order->condition), "is_on",
		                          is_on);

		json_dumpf(model, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(model);
	} else if (order->category) {
		printf("%s debugging is %s\n", order->category, is_on ? "on" : "off");
	} else if (strcmp(order->condition, "reset") == 0) {
		puts("All debug conditions are taken away");
	} else {
		printf("Debug condition %s: %s\n", is_on ? "set" : "taken away", order->condition);
	}
}

static int order_debug(const struct cli *cli, const struct words *words, bool is_on)
{
	Vpnsip__SetLog set_log = VPNSIP__SET_LOG__INIT;
	struct crypto_order order;
	struct ordered orders[SERVICE_COUNT];
	size_t count = 0;
	char why[256];
	int status;

	if (!crypto_read(words, &order, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	/* All are only packed. */
	set_log.category = (char *)(order.category ? order.category : "");
	set_log.condition = order.condition;
	set_log.is_off = !is_on;
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++)
		if (order.services & BUS_SERVICE(i))
			orders[count++] = (struct ordered){.to = i, .order = &set_log.base};
	if (!gather_order(&cli->bus, orders, count, GATHER_TIMEOUT_MSEC, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	status = debug_complain(cli, orders, count, GATHER_TIMEOUT_MSEC);
	if (status == CLI_DONE)
		say(cli, &order, is_on);
	gather_forget(orders, count);
	return status;
}

int command_debug_crypto(const struct cli *cli, const struct words *words)
{
	return order_debug(cli, words, true);
}

int command_undebug_crypto(const struct cli *cli, const struct words *words)
{
	return order_debug(cli, words, false);
}

static bool has(const json_t *conditions, const char *text)
{
	const json_t *one;
	size_t i;

	json_array_foreach (conditions, i, one)
		if (strcmp(json_string_value(one), text) == 0)
			return true;
	return false;
}

/** The values of the conditions of one kind, on a line of their own. */
static void print_filters(FILE *stream, const json_t *conditions, const char *kind,
                          const char *title)
{
	const size_t length = strlen(kind);
	bool is_any = false;
	const json_t *one;
	size_t i;

	json_array_foreach (conditions, i, one) {
		const char *text = json_string_value(one);

		if (strncmp(text, kind, length) != 0)
			continue;
		if (!is_any)
			fprintf(stream, "%s:\n", title);
		is_any = true;
		fprintf(stream, " %s", text + length);
	}
	if (is_any)
		fputc('\n', stream);
}

void crypto_conditions_text(FILE *stream, const json_t *model)
{
	const json_t *services = json_object_get(model, "conditions");
	const json_t *ike = json_object_get(services, "ike-agent");
	const json_t *ipsec = json_object_get(services, "tunnel-agent");
	/* Both have the same, but for "unmatched", unless one was away. */
	const json_t *most = json_array_size(ike) >= json_array_size(ipsec) ? ike : ipsec;
	size_t filters = json_array_size(most) - has(most, "unmatched");

	fprintf(stream, "Crypto conditional debug currently is turned %s\n",
	        filters ? "ON" : "OFF");
	fprintf(stream, "IKE debug context unmatched flag:%s\n",
	        has(ike, "unmatched") ? "ON" : "OFF");
	fprintf(stream, "IPsec debug context unmatched flag:%s\n",
	        has(ipsec, "unmatched") ? "ON" : "OFF");
	print_filters(stream, most, "peer ", "IKE peer IP address filters");
	print_filters(stream, most, "remote-number ", "Remote number filters");
	print_filters(stream, most, "spi ", "SPI filters");
	print_filters(stream, most, "session ", "Session filters");
}

static json_t *list_conditions(const Vpnsip__Internals *internals)
{
	json_t *list = json_array();

	for (size_t i = 0; i < internals->n_debug_conditions; i++)
		json_array_append_new(list, model_text(internals->debug_conditions[i]));
	return list;
}

int command_show_crypto_debug_condition(const struct cli *cli, const struct words *words)
{
	static const Vpnsip__GetInternals get = VPNSIP__GET_INTERNALS__INIT;
	struct ordered orders[] = {
		{.to = VPNSIP__SERVICE__IKE_AGENT, .order = &get.base},
		{.to = VPNSIP__SERVICE__TUNNEL_AGENT, .order = &get.base},
	};
	const size_t count = sizeof(orders) / sizeof(orders[0]);
	json_t *model, *conditions;
	char why[256];

	(void)words;
	if (!gather_order(&cli->bus, orders, count, GATHER_TIMEOUT_MSEC, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	conditions = json_object();
	for (size_t i = 0; i < count; i++)
		if (orders[i].reply &&
		    orders[i].reply->body_case == VPNSIP__ENVELOPE__BODY_INTERNALS)
			json_object_set_new(conditions, bus_service_name(orders[i].to),
			                    list_conditions(orders[i].reply->internals));
	model = json_pack("{s:o, s:o}", "conditions", conditions, "unanswered",
	                  debug_unanswered(cli, orders, count, GATHER_TIMEOUT_MSEC));
	command_print(cli, model, crypto_conditions_text);
	json_decref(model);
	gather_forget(orders, count);
	return debug_complain(cli, orders, count, GATHER_TIMEOUT_MSEC);
}
