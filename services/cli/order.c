/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Commands that make the services do something. */
#include <stdio.h>
#include <string.h>

#include "services/cli/commands.h"

/* Says on stderr what was not carried out. */
static int report(const struct ordered *ordered)
{
	switch (ordered->outcome) {
	case BUS_DONE:
		return CLI_DONE;
	case BUS_FAILED:
		command_complain("%s", ordered->cause);
		return CLI_FAILED;
	case BUS_NOT_SENT:
		command_complain("%s does not answer; nothing was done",
		                 bus_service_name(ordered->to));
		return CLI_PARTIAL;
	default:
		command_complain("%s does not answer (%s); whether it was done is unknown",
		                 bus_service_name(ordered->to), ordered->cause);
		return CLI_PARTIAL;
	}
}

static int order_coordinator(const struct cli *cli, const ProtobufCMessage *order)
{
	struct ordered ordered = {.to = VPNSIP__SERVICE__COORDINATOR, .order = order};
	char why[256];

	if (!gather_order(&cli->bus, &ordered, 1, ORDER_TIMEOUT_MSEC, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	gather_forget(&ordered, 1);
	return report(&ordered);
}

int command_call(const struct cli *cli, const struct words *words)
{
	Vpnsip__ConnectSession order = VPNSIP__CONNECT_SESSION__INIT;

	order.remote_number = (char *)words_get(words, "NUMBER"); /* only packed */
	return order_coordinator(cli, &order.base);
}

static int release(const struct cli *cli, const struct words *words, const char *cause)
{
	Vpnsip__ReleaseSession order = VPNSIP__RELEASE_SESSION__INIT;
	const char *number = words_get(words, "NUMBER");

	order.cause = (char *)cause; /* both only packed */
	order.is_all = strcmp(number, "all") == 0;
	if (!order.is_all)
		order.remote_number = (char *)number;
	return order_coordinator(cli, &order.base);
}

int command_hangup(const struct cli *cli, const struct words *words)
{
	return release(cli, words, "hangup");
}

int command_clear(const struct cli *cli, const struct words *words)
{
	return release(cli, words, "clear session");
}

static bool is_confirmed(const struct cli *cli)
{
	char answer[16] = "";

	if (cli->is_sure)
		return true;
	fputs("This removes every route, rule, firewall rule, qdisc and tunnel of vpnsip, also "
	      "what keeps\n"
	      "packets from leaving in clear when a tunnel is down. Type \"yes\" to go on: ",
	      stdout);
	fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin))
		return false;
	answer[strcspn(answer, "\n")] = '\0';
	return strcmp(answer, "yes") == 0;
}

int command_purge(const struct cli *cli, const struct words *words)
{
	static const Vpnsip__PurgeRoutes routes = VPNSIP__PURGE_ROUTES__INIT;
	static const Vpnsip__PurgeFirewall firewall = VPNSIP__PURGE_FIREWALL__INIT;
	static const Vpnsip__PurgeTunnels tunnels = VPNSIP__PURGE_TUNNELS__INIT;
	static const char *const remains[] = {
		"routes and rules (protocol 56, tables 5600 to 5799)",
		"nft table \"ip vpnsip\" and qdiscs 5649:",
		"tunnel interfaces and the tunnel source on lo",
	};
	struct ordered orders[] = {
		{.to = VPNSIP__SERVICE__TRACK_AGENT, .order = &routes.base},
		{.to = VPNSIP__SERVICE__NAT_QOS_AGENT, .order = &firewall.base},
		{.to = VPNSIP__SERVICE__TUNNEL_AGENT, .order = &tunnels.base},
	};
	const size_t count = sizeof(orders) / sizeof(orders[0]);
	int status = CLI_DONE;
	char why[256];

	(void)words;
	if (!is_confirmed(cli)) {
		command_complain("nothing was done");
		return CLI_FAILED;
	}
	if (!gather_order(&cli->bus, orders, count, ORDER_TIMEOUT_MSEC, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	for (size_t i = 0; i < count; i++) {
		int one = report(&orders[i]);

		if (one != CLI_DONE)
			command_complain(
				"its %s may still be there: only %s removes them, start it and "
				"purge again",
				remains[i], bus_service_name(orders[i].to));
		status = one > status ? one : status;
	}
	gather_forget(orders, count);
	return status;
}
