/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * clear crypto session, sa: [peer ADDRESS] [remote-number NUMBER] [all]. A session is hung up; of an SA only the keys are replaced,
 * and the call goes on.
 */
#include <stdlib.h>
#include <string.h>

#include "services/cli/commands.h"
#include "services/cli/show_crypto.h"
#include "services/common/address.h"

#define MOST_AT_ONCE 64 /* of orders to one service */

/** Which sessions are meant. */
struct selection {
	struct sockaddr_storage peer; /* family 0 = any */
	const char *number;           /* NULL = any */
	bool is_all;
};

static bool read_selection(const struct words *words, struct selection *selection)
{
	const char *peer = words_get(words, "ADDRESS");

	*selection = (struct selection){
		.number = words_get(words, "NUMBER"),
		.is_all = words_has(words, "all"),
	};
	if ((peer != NULL) + (selection->number != NULL) + selection->is_all != 1)
		command_complain("say which: 'peer ADDRESS', 'remote-number NUMBER', or 'all'");
	else if (peer && !address_parse(peer, &selection->peer))
		command_complain("'%s' is no address", peer);
	else
		return true;
	return false;
}

static bool is_sure(const struct cli *cli, const char *question)
{
	char answer[16] = "";

	if (cli->is_sure)
		return true;
	printf("%s Type \"yes\" to go on: ", question);
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin))
		answer[strcspn(answer, "\n")] = '\0';
	if (strcmp(answer, "yes") == 0)
		return true;
	command_complain("nothing was done");
	return false;
}

static bool is_selected(const struct selection *selection, const Vpnsip__SessionChanged *session)
{
	struct sockaddr_storage remote;

	if (crypto_is_resting(session))
		return false;
	if (selection->number)
		return strcmp(session->remote_number, selection->number) == 0;
	return selection->is_all || (address_from_proto(session->remote, &remote) &&
	                             address_is_equal(&remote, &selection->peer));
}

/** What is ordered for one session; its texts are the session's. */
union order {
	Vpnsip__ReleaseSession release;
	Vpnsip__RenewChildren renew;
};

/* One order for all of them: the coordinator knows who that is. `session` is NULL then. */
static void order_release(union order *order, struct ordered *ordered,
                          const Vpnsip__SessionChanged *session)
{
	vpnsip__release_session__init(&order->release);
	order->release.is_all = session == NULL;
	if (session)
		order->release.remote_number = session->remote_number;
	order->release.cause = (char *)"clear crypto session"; /* only packed */
	ordered->to = VPNSIP__SERVICE__COORDINATOR;
	ordered->order = &order->release.base;
}

static void order_renewal(union order *order, struct ordered *ordered,
                          const Vpnsip__SessionChanged *session)
{
	vpnsip__renew_children__init(&order->renew);
	order->renew.tunnel = session->tunnel;
	ordered->to = VPNSIP__SERVICE__IKE_AGENT;
	ordered->order = &order->renew.base;
}

/* One line a session; the worst of their statuses. */
static int report(const struct cli *cli, const struct ordered *ordered, size_t count,
                  const char *done)
{
	char why[256];
	int status = CLI_DONE;

	for (size_t i = 0; i < count; i++) {
		const char *session = ordered[i].session ? ordered[i].session : "all sessions";

		if (ordered[i].outcome == BUS_DONE) {
			printf("%s: %s\n", session, done);
			continue;
		}
		gather_explain_order(&cli->bus, &ordered[i], ORDER_TIMEOUT_MSEC, why, sizeof(why));
		command_complain("%s: %s", session, why);
		if (ordered[i].outcome != BUS_FAILED)
			status = CLI_PARTIAL;
		else if (status == CLI_DONE)
			status = CLI_FAILED;
	}
	return status;
}

/* Not more at once than a service takes. */
static bool send_orders(const struct cli *cli, struct ordered *ordered, size_t count)
{
	char why[256];
	struct gatherer *gatherer = gather_begin(&cli->bus, BUS_SERVICE(ordered[0].to), why,
	                                         sizeof(why));

	if (!gatherer) {
		command_complain("%s", why);
		return false;
	}
	for (size_t sent = 0; sent < count; sent += MOST_AT_ONCE)
		gather_ask(gatherer, ordered + sent,
		           count - sent < MOST_AT_ONCE ? count - sent : MOST_AT_ONCE,
		           ORDER_TIMEOUT_MSEC);
	gather_end(gatherer);
	return true;
}

static int clear_selected(const struct cli *cli, const struct selection *selection,
                          const Vpnsip__CoordinatorSnapshot *snapshot, bool is_session)
{
	union order *orders = calloc(snapshot->n_sessions + 1, sizeof(*orders));
	struct ordered *ordered = calloc(snapshot->n_sessions + 1, sizeof(*ordered));
	bool is_one_order = is_session && selection->is_all;
	size_t count = 0;
	int status = CLI_FAILED;

	if (!orders || !ordered) {
		command_complain("out of memory");
		goto out;
	}
	if (is_one_order)
		order_release(&orders[count++], &ordered[0], NULL);
	for (size_t i = 0; i < snapshot->n_sessions && !is_one_order; i++) {
		const Vpnsip__SessionChanged *session = snapshot->sessions[i];

		if (!is_selected(selection, session))
			continue;
		ordered[count].session = session->tunnel;
		(is_session ? order_release : order_renewal)(&orders[count], &ordered[count],
		                                             session);
		count++;
	}
	if (count == 0 && !selection->is_all)
		command_complain("no session is up with that peer");
	else if (count == 0)
		status = CLI_DONE;
	else if (send_orders(cli, ordered, count))
		status = report(cli, ordered, count,
		                is_session ? "cleared" : "new keys are negotiated");
	gather_forget(ordered, count);
out:
	free(ordered);
	free(orders);
	return status;
}

static int clear(const struct cli *cli, const struct words *words, bool is_session)
{
	const Vpnsip__Service whom = VPNSIP__SERVICE__COORDINATOR;
	struct selection selection;
	struct gathered gathered;
	const Vpnsip__Envelope *reply;
	int status = CLI_PARTIAL;
	char why[256];

	if (!read_selection(words, &selection))
		return CLI_FAILED;
	if (selection.is_all &&
	    !is_sure(cli, is_session ? "This hangs up every session."
	                             : "This replaces the keys of every session."))
		return CLI_FAILED;
	if (!gather(&cli->bus, BUS_SERVICE(whom), true, &gathered, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	reply = gathered.services[whom].snapshot;
	if (reply && reply->body_case == VPNSIP__ENVELOPE__BODY_COORDINATOR_SNAPSHOT) {
		status = clear_selected(cli, &selection, reply->coordinator_snapshot, is_session);
	} else {
		gather_explain(&gathered, whom, why, sizeof(why));
		command_complain("%s", why);
	}
	gather_free(&gathered);
	return status;
}

int command_clear_crypto_session(const struct cli *cli, const struct words *words)
{
	return clear(cli, words, true);
}

int command_clear_crypto_sa(const struct cli *cli, const struct words *words)
{
	return clear(cli, words, false);
}
