/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ike-agent as a process on the bus: two of them against each other. */
#include "ike_agent_pair.h"

#include "certificate_fixture.h"

#define MANY      50
#define OTHER_KEY "zz3Vq8yZ1rWm5TtLxPc7HnUd"
#define VECTOR    "example-psk-0388881001"

/* --- conditions --- */

static bool has_status(const struct pair *pair, int index, Vpnsip__IkeStatus status)
{
	return pair->routers[index].status == status;
}

static bool are_both_up(void *context)
{
	const struct pair *pair = context;

	return has_status(pair, 0, VPNSIP__IKE_STATUS__IKE_UP) &&
	       has_status(pair, 1, VPNSIP__IKE_STATUS__IKE_UP) && pair->routers[0].sa_count >= 2 &&
	       pair->routers[1].sa_count >= 2;
}

static bool are_both_failed(void *context)
{
	return has_status(context, 0, VPNSIP__IKE_STATUS__IKE_FAILED) &&
	       has_status(context, 1, VPNSIP__IKE_STATUS__IKE_FAILED);
}

static bool has_first_ended(void *context)
{
	return has_status(context, 0, VPNSIP__IKE_STATUS__IKE_ENDED);
}

static bool has_second_ended(void *context)
{
	return has_status(context, 1, VPNSIP__IKE_STATUS__IKE_ENDED);
}

static bool are_all_sas_gone(void *context)
{
	const struct pair *pair = context;

	return pair->routers[0].sa_count == 0 && pair->routers[1].sa_count == 0;
}

static bool has_second_failed(void *context)
{
	return has_status(context, 1, VPNSIP__IKE_STATUS__IKE_FAILED);
}

static void bring_up(struct pair *pair, uint64_t attempt)
{
	assert_int_equal(start(pair, 1, attempt, false, NULL).outcome, BUS_DONE);
	assert_int_equal(start(pair, 0, attempt, true, NULL).outcome, BUS_DONE);
	assert_true(run_until(pair->base, 5000, are_both_up, pair));
}

/* --- the tests --- */

static int by_value(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static void handshakes(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	uint64_t taken_usec[20];

	for (int i = 0; i < 20; i++) {
		uint64_t begun;

		start(pair, 1, i + 1, false, NULL);
		begun = now_usec();
		start(pair, 0, i + 1, true, NULL);
		assert_true(run_until(pair->base, 5000, are_both_up, pair));
		taken_usec[i] = pair->routers[0].up_at_usec - begun;
		assert_int_equal(pair->routers[0].initiator_spi, pair->routers[1].initiator_spi);
		assert_int_equal(stop(pair, 0, i + 1).outcome, BUS_DONE);
		assert_true(run_until(pair->base, 3000, are_all_sas_gone, pair));
		stop(pair, 1, i + 1);
	}
	qsort(taken_usec, 20, sizeof(*taken_usec), by_value);
	print_message("StartIke to IKE_UP over the bus: median %.1f ms, worst %.1f ms\n",
	              taken_usec[10] / 1e3, taken_usec[19] / 1e3);
}

static void prepares(void **state)
{
	static const uint8_t vector[] = {0xC6, 0x4C, 0x89, 0xE1, 0x68, 0x85, 0x7A, 0x9C,
	                                 0xB2, 0x28, 0x9E, 0x46, 0x93, 0x9B, 0x78, 0xE1,
	                                 0x8C, 0x7A, 0x8D, 0x63, 0x6B, 0x0D, 0x77, 0xB9,
	                                 0x9D, 0x0B, 0x1D, 0xE9, 0x23, 0x66, 0xCC, 0x5A};
	struct pair *pair = *state;
	struct answer answer;
	char expected[160];

	open_router(pair, 0, VECTOR);
	answer = prepare(pair, 0, "vsip7", numbers[1]);
	assert_int_equal(answer.outcome, BUS_DONE);
	assert_int_equal(answer.fingerprint_count, 1);
	assert_string_equal(answer.hash, "SHA-256");
	assert_memory_equal(answer.fingerprint, vector, sizeof(vector));

	answer = prepare(pair, 0, "vsip9", "0388889999");
	assert_int_equal(answer.outcome, BUS_FAILED);
	snprintf(expected, sizeof(expected), "no key for 0388889999 in %s/keyring",
	         pair->routers[0].directory);
	assert_string_equal(answer.cause, expected);
	assert_int_equal(prepare(pair, 0, "vsip8", "0388889999").outcome, BUS_FAILED);
}

/** The files that the configuration of a router's certificate names, for the service's user. */
static void write_identity(const struct pair *pair, const struct identity *identity)
{
	const char *directory = pair->routers[0].directory;
	const struct passwd *user = pair->has_users ? getpwnam("vpnsip-ike") : NULL;
	const char *paths[] = {
		write_pem(directory, "own.pem", NULL, &identity->certificate, 1, NULL),
		write_pem(directory, "own.key", identity->key, NULL, 0, NULL)};

	for (int i = 0; user && i < 2; i++)
		assert_int_equal(chown(paths[i], user->pw_uid, user->pw_gid), 0);
}

/** SHA-256 first; then the hash of the certificate's own signature, and SHA-1 where it is allowed. A renewed certificate is shown at once. */
static void prepares_with_certificate(void **state)
{
	struct pair *pair = *state;
	const char *directory;
	char text[2048], expected[32];
	struct answer answer;
	struct identity first = make_identity(&(struct recipe){.name = "CN=a", .hash = "SHA384"});
	struct identity second = make_identity(&(struct recipe){.name = "CN=a", .hash = "SHA256"});
	unsigned length;

	open_router(pair, 0, GOOD_KEY);
	directory = pair->routers[0].directory;
	end_agent(pair, 0, SIGTERM);
	write_identity(pair, &first);
	snprintf(text, sizeof(text),
	         "tunnel-source = \"%s\"\n"
	         "trustpoint own { certificate-file = \"%s/own.pem\" key-file = \"%s/own.key\" }\n"
	         "line \"%s\" { wan-interface = wan0 gateway = \"198.51.100.1\" registrar = "
	         "\"198.51.100.5\" }\n"
	         "peer \"%s\" { tunnel = vsip7 address = \"10.254.0.1/32\" bandwidth = 1000 }\n"
	         "ike-profile default { authentication = self-signed trustpoint = own allow-sha1 = "
	         "true }\nipsec-profile default { idle-time = 120 }\n",
	         inner[0], directory, directory, numbers[0], numbers[1]);
	write_file(pair, directory, "vpnsip.conf", text);
	start_agent(pair, 0);
	answer = prepare(pair, 0, "vsip7", numbers[1]);
	assert_int_equal(answer.outcome, BUS_DONE);
	assert_int_equal(answer.fingerprint_count, 3);
	assert_string_equal(answer.hash, "SHA-256");
	X509_digest(first.certificate, EVP_sha256(), (uint8_t *)expected, &length);
	assert_memory_equal(answer.fingerprint, expected, 32);

	write_identity(pair, &second);
	answer = prepare(pair, 0, "vsip7", numbers[1]);
	assert_int_equal(answer.fingerprint_count, 2);
	X509_digest(second.certificate, EVP_sha256(), (uint8_t *)expected, &length);
	assert_memory_equal(answer.fingerprint, expected, 32);
	/* Nothing is announced: nobody could be believed. */
	answer = start(pair, 0, 1, false, NULL);
	assert_int_equal(answer.outcome, BUS_FAILED);
	assert_string_equal(answer.cause,
	                    "peer announced no fingerprint of its certificate, and none is pinned");
	free_made();
}

static void attempts_are_idempotent_and_ordered(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	unsigned changes;

	bring_up(pair, 5);
	changes = pair->routers[0].changes;
	assert_int_equal(start(pair, 0, 5, true, NULL).outcome, BUS_DONE);
	run_until(pair->base, 200, NULL, NULL);
	assert_int_equal(pair->routers[0].changes, changes);
	assert_int_equal(start(pair, 0, 4, true, NULL).outcome, BUS_FAILED);
	/* A stale stop ends nothing. */
	assert_int_equal(stop(pair, 0, 4).outcome, BUS_DONE);
	run_until(pair->base, 200, NULL, NULL);
	assert_int_equal(pair->routers[0].sa_count, 2);
	/* A new attempt takes the place of the old one. */
	bring_up(pair, 6);
	run_until(pair->base, 200, NULL, NULL);
	assert_int_equal(pair->routers[0].sa_count, 2);
	assert_int_equal(stop(pair, 0, 6).outcome, BUS_DONE);
	assert_true(run_until(pair->base, 2000, has_second_ended, pair));
	assert_string_equal(pair->routers[1].cause, "peer ended the IKE_SA");
}

static void wrong_key(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, OTHER_KEY);

	start(pair, 1, 1, false, NULL);
	start(pair, 0, 1, true, NULL);
	assert_true(run_until(pair->base, 5000, are_both_failed, pair));
	assert_string_equal(pair->routers[0].cause,
	                    "peer refused our key or identity (AUTHENTICATION_FAILED)");
	assert_string_equal(pair->routers[1].cause, "wrong pre-shared key (authentication failed)");
	assert_int_equal(pair->routers[0].installs + pair->routers[1].installs, 0);
}

static void unknown_key_id(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);

	pair->routers[0].number = "0312341111";
	start(pair, 1, 1, false, NULL);
	start(pair, 0, 1, true, NULL);
	assert_true(run_until(pair->base, 5000, are_both_failed, pair));
	assert_string_equal(pair->routers[1].cause,
	                    "peer key-id 0312341111 matches no keyring entry");
}

static bool has_replaced_sas(void *context)
{
	const struct pair *pair = context;

	return pair->routers[0].installs >= 4 && pair->routers[1].installs >= 4 &&
	       pair->routers[0].removals >= 1 && pair->routers[1].removals >= 1;
}

static void reported_limit_rekeys_child(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	Vpnsip__ReportSaLimit report = VPNSIP__REPORT_SA_LIMIT__INIT;
	unsigned changes;

	bring_up(pair, 1);
	changes = pair->routers[0].changes;
	report.if_id = IF_ID;
	report.spi = pair->routers[0].sas[0].spi;
	assert_int_equal(call(pair, pair->routers[0].tunnel, &report.base).outcome, BUS_DONE);
	assert_true(run_until(pair->base, 3000, has_replaced_sas, pair));
	/* The child is told anew, once; the session itself is as it was. */
	assert_in_range(pair->routers[0].changes, changes, changes + 1);
	assert_int_equal(pair->routers[0].status, VPNSIP__IKE_STATUS__IKE_UP);
}

static void peer_is_probed(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	Vpnsip__ProbePeer order = VPNSIP__PROBE_PEER__INIT;
	unsigned sent;

	bring_up(pair, 1);
	run_until(pair->base, 100, NULL, NULL);
	sent = pair->routers[1].packets;
	order.tunnel = "vsip7";
	order.attempt = 1;
	assert_int_equal(call(pair, pair->routers[0].coordinator, &order.base).outcome, BUS_DONE);
	run_until(pair->base, 200, NULL, NULL);
	assert_in_range(pair->routers[1].packets, sent + 1, sent + 2);
	order.attempt = 2;
	assert_int_equal(call(pair, pair->routers[0].coordinator, &order.base).outcome, BUS_FAILED);
}

static void pinned_fingerprint_differs(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	Vpnsip__Fingerprint pin = VPNSIP__FINGERPRINT__INIT;
	uint8_t value[32] = {1};

	pin.subject = VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY;
	pin.hash = "SHA-256";
	pin.value.data = value;
	pin.value.len = sizeof(value);
	start(pair, 1, 1, false, &pin);
	start(pair, 0, 1, true, NULL);
	assert_true(run_until(pair->base, 5000, are_both_failed, pair));
	assert_string_equal(pair->routers[1].cause,
	                    "peer's key does not match the pinned fingerprint");
	/* A hash that we cannot use must not be taken for "no pin". */
	pin.hash = "A-HASH-NAME-THAT-IS-TOO-LONG";
	assert_int_equal(start(pair, 1, 2, false, &pin).outcome, BUS_FAILED);
}

static bool have_sas_of_one_session(void *context)
{
	const struct pair *pair = context;

	return pair->routers[0].sa_count == 2 && pair->routers[1].sa_count == 2;
}

/** What is left of the SAs of one session must not be missed in the next. */
static void ended_sessions_leave_no_sas(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);

	for (uint64_t attempt = 1; attempt <= 4; attempt++) {
		bring_up(pair, attempt);
		assert_true(run_until(pair->base, 3000, have_sas_of_one_session, pair));
		for (int i = 0; i < 2; i++) {
			assert_int_equal(pair->routers[i].installs, 2 * attempt);
			assert_int_equal(pair->routers[i].removals, 2 * (attempt - 1));
			publish_tunnel(&pair->routers[i]);
		}
		run_until(pair->base, 200, NULL, NULL);
		stop(pair, 0, attempt);
		stop(pair, 1, attempt);
	}
	assert_true(run_until(pair->base, 3000, are_all_sas_gone, pair));
	for (int i = 0; i < 2; i++)
		assert_int_equal(pair->routers[i].installs, 8);
}

static bool is_first_up(void *context)
{
	return has_status(context, 0, VPNSIP__IKE_STATUS__IKE_UP);
}

/** Who is told that IKE is up lets ESP go: it must not overtake the IKE_AUTH response. */
static void responder_is_up_when_its_answer_has_left(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);

	pair->routers[1].is_slow = true;
	start(pair, 1, 1, false, NULL);
	start(pair, 0, 1, true, NULL);
	assert_true(run_until(pair->base, 5000, is_first_up, pair));
	run_until(pair->base, 100, NULL, NULL);
	assert_int_equal(pair->routers[1].sa_count, 2);
	assert_int_equal(pair->routers[1].status, VPNSIP__IKE_STATUS__IKE_NEGOTIATING);
	answer_stuck(&pair->routers[1]);
	assert_true(run_until(pair->base, 500, are_both_up, pair));
}

/** The engine's threads wait for it, at most 2 s an SA; the loop does not. */
static void stuck_tunnel_agent_fails_the_session(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	uint64_t begun;

	start(pair, 1, 1, false, NULL);
	pair->routers[1].is_stuck = true;
	start(pair, 0, 1, true, NULL);
	run_until(pair->base, 200, NULL, NULL);
	begun = now_usec();
	assert_int_equal(prepare(pair, 1, "vsip7", numbers[0]).outcome, BUS_DONE);
	assert_in_range((now_usec() - begun) / 1000, 0, 500);
	assert_true(run_until(pair->base, 8000, has_second_failed, pair));
	assert_string_equal(
		pair->routers[1].cause,
		"the SA could not be installed: tunnel-agent did not answer InstallChild "
		"within 2000 ms");
}

/* --- many sessions, each with numbers and a key of its own --- */

static void write_many(struct pair *pair, int index)
{
	struct router *router = &pair->routers[index];
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	fprintf(stream,
	        "tunnel-source = \"%s\"\nkeyring-file = \"%s/keyring\"\n"
	        "line \"%s\" { wan-interface = \"wan0\" gateway = \"198.51.100.1\" registrar = "
	        "\"198.51.100.5\" }\n"
	        "ike-profile \"default\" { proposals = \"aes128-sha256-ecp256\" }\n"
	        "ipsec-profile \"default\" { idle-time = 120 proposals = \"aes128gcm16\" "
	        "replay-window = 128 esn = true lifetime = 3600 }\n",
	        inner[index], router->directory, numbers[index]);
	for (int i = 1; i <= MANY; i++)
		fprintf(stream,
		        "peer \"03888%d%03d\" { tunnel = \"vsip%d\" address = \"10.254.0.%d/32\" "
		        "bandwidth = 64 }\n",
		        !index, i, i, i);
	fclose(stream);
	write_file(pair, router->directory, "vpnsip.conf", text);
	free(text);
	stream = open_memstream(&text, &size);
	for (int i = 1; i <= MANY; i++)
		fprintf(stream,
		        "peer \"p%d\" { identity-key-id = \"03888%d%03d\" pre-shared-key = "
		        "\"%d-%s\" }\n",
		        i, !index, i, i, GOOD_KEY);
	fclose(stream);
	write_file(pair, router->directory, "keyring", text);
	free(text);
}

static void start_one_of_many(struct pair *pair, int index, int i)
{
	Vpnsip__StartIke order = VPNSIP__START_IKE__INIT;
	Vpnsip__SocketAddress local = VPNSIP__SOCKET_ADDRESS__INIT;
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;
	struct sockaddr_storage local_address, remote_address;
	char tunnel[16], local_number[16], remote_number[16];

	snprintf(tunnel, sizeof(tunnel), "vsip%d", i);
	snprintf(local_number, sizeof(local_number), "03888%d%03d", index, i);
	snprintf(remote_number, sizeof(remote_number), "03888%d%03d", !index, i);
	address_parse_port(inner[index], session_port(index, i, 1), &local_address);
	address_parse_port(outer[!index], session_port(!index, i, 1), &remote_address);
	address_to_proto(&local_address, &local);
	address_to_proto(&remote_address, &remote);
	order.tunnel = tunnel;
	order.attempt = 1;
	order.if_id = i;
	order.local_number = local_number;
	order.remote_number = remote_number;
	order.local = &local;
	order.remote = &remote;
	order.initiate = index == i % 2;
	bus_call(pair->routers[index].coordinator, IKE_AGENT, tunnel, &order.base, 1000,
	         ignore_reply, NULL);
}

static bool are_many_up(void *context)
{
	const struct pair *pair = context;

	return pair->routers[0].ups == MANY && pair->routers[1].ups == MANY;
}

static void many_sessions_at_once(void **state)
{
	const uint64_t all = (1ull << (MANY + 1)) - 2;
	struct pair *pair = *state;
	uint64_t begun;

	for (int index = 0; index < 2; index++) {
		open_router(pair, index, GOOD_KEY);
		end_agent(pair, index, SIGKILL);
		write_many(pair, index);
		start_agent(pair, index);
	}
	begun = now_usec();
	for (int i = 1; i <= MANY; i++)
		for (int index = 0; index < 2; index++)
			start_one_of_many(pair, index, i);
	assert_true(run_until(pair->base, 20000, are_many_up, pair));
	print_message("%d sessions at once, both ends and this relay on one machine: %.0f ms\n",
	              MANY, (now_usec() - begun) / 1e3);
	run_until(pair->base, 100, NULL, NULL);
	for (int index = 0; index < 2; index++) {
		assert_int_equal(pair->routers[index].installs, 2 * MANY);
		assert_true(pair->routers[index].if_ids == all);
	}
}

/** No inet socket, no capability; the control is this test's own process with a socket. */
static bool has_network_socket(pid_t process)
{
	static const char *const tables[] = {"tcp",  "tcp6",   "udp",  "udp6",  "raw",
	                                     "raw6", "packet", "icmp", "icmp6", "netlink"};
	char path[64], link[PATH_MAX], line[512], text[64];
	bool is_found = false;

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		FILE *table;

		snprintf(path, sizeof(path), "/proc/%d/net/%s", process, tables[i]);
		table = fopen(path, "r");
		while (table && fgets(line, sizeof(line), table)) {
			for (int fd = 0; fd < 256; fd++) {
				ssize_t size;
				unsigned long inode;

				snprintf(path, sizeof(path), "/proc/%d/fd/%d", process, fd);
				size = readlink(path, link, sizeof(link) - 1);
				if (size < 0)
					continue;
				link[size] = '\0';
				if (sscanf(link, "socket:[%lu]", &inode) != 1)
					continue;
				snprintf(text, sizeof(text), " %lu ", inode);
				is_found |= strstr(line, text) != NULL;
			}
		}
		if (table)
			fclose(table);
	}
	return is_found;
}

static unsigned long long capabilities_of(pid_t process)
{
	unsigned long long effective = 0;
	char path[64], line[256];
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", process);
	status = fopen(path, "r");
	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "CapPrm: %llx", &effective) == 1)
			break;
	if (status)
		fclose(status);
	return effective;
}

static uid_t owner_of_memory(pid_t process)
{
	struct stat status;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", process);
	assert_int_equal(stat(path, &status), 0);
	return status.st_uid;
}

static void no_socket_and_no_capability(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	int control = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in loopback = {.sin_family = AF_INET,
	                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	if (geteuid() != 0)
		skip();
	assert_int_equal(bind(control, (struct sockaddr *)&loopback, sizeof(loopback)), 0);
	assert_true(has_network_socket(getpid()));
	close(control);
	bring_up(pair, 1);
	for (int i = 0; i < 2; i++) {
		assert_false(has_network_socket(pair->routers[i].process));
		if (!pair->has_users)
			continue;
		assert_int_equal(capabilities_of(pair->routers[i].process), 0);
		/* What belongs to root though the process is not root's cannot be traced or dumped. */
		assert_int_equal(owner_of_memory(pair->routers[i].process), 0);
	}
}

static void dead_peer(void **state)
{
	struct pair *pair = open_pair(state, GOOD_KEY, GOOD_KEY);
	uint64_t begun;

	bring_up(pair, 1);
	kill(pair->routers[1].process, SIGSTOP);
	begun = now_usec();
	assert_true(run_until(pair->base, 40000, has_first_ended, pair));
	/* dpd-interval + 5 x dpd-retry, as nobody plays tunnel-agent's deadline. */
	assert_string_equal(pair->routers[0].cause, "no answer from peer within 31 s");
	print_message("dead peer noticed after %.1f s\n", (now_usec() - begun) / 1e6);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest quick[] = {
		CASE(handshakes),
		CASE(prepares),
		CASE(prepares_with_certificate),
		CASE(attempts_are_idempotent_and_ordered),
		CASE(wrong_key),
		CASE(unknown_key_id),
		CASE(reported_limit_rekeys_child),
		CASE(peer_is_probed),
		CASE(pinned_fingerprint_differs),
		CASE(ended_sessions_leave_no_sas),
		CASE(responder_is_up_when_its_answer_has_left),
		CASE(stuck_tunnel_agent_fails_the_session),
		CASE(many_sessions_at_once),
		CASE(no_socket_and_no_capability),
	};
	const struct CMUnitTest slow[] = {CASE(dead_peer)};
	int failed;
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGINT);
	sigdelset(&all, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	failed = cmocka_run_group_tests(quick, NULL, NULL);
	if (getenv("VPNSIP_LONG"))
		failed += cmocka_run_group_tests(slow, NULL, NULL);
	return failed;
}
