/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pki enroll, and authenticate from a server: what SCEP and EST have in common. */
#include "services/cli/pki_enroll.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pkcs7.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_RETRIES      3
#define DEFAULT_INTERVAL_SEC 10
#define DEFAULT_WAIT_SEC     300

/** How the protocols differ. */
struct protocol {
	enum config_enrollment enrollment;
	enum pki_answer (*ask)(const struct pki_enrolment *enrolment, struct pki_reply *reply);
	STACK_OF(X509) * (*authorities)(const struct config *config, const char *url, char *cause);
};

static const struct protocol *protocol_of(const struct pki_store *store)
{
	static const struct protocol protocols[] = {
		{ENROLLMENT_SCEP, pki_scep_ask, pki_scep_authorities},
		{ENROLLMENT_EST, pki_est_ask, pki_est_authorities},
	};

	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (protocols[i].enrollment == store->trustpoint->enrollment)
			return &protocols[i];
	command_complain("trustpoint \"%s\" has no enrollment: expected scep or est", store->name);
	return NULL;
}

STACK_OF(X509) * pki_parse_bag(const char *octets, size_t size)
{
	const unsigned char *at = (const unsigned char *)octets;
	PKCS7 *bag = d2i_PKCS7(NULL, &at, (long)size);
	STACK_OF(X509) *certificates = NULL;

	if (bag && PKCS7_type_is_signed(bag) && sk_X509_num(bag->d.sign->cert) > 0)
		certificates = X509_chain_up_ref(bag->d.sign->cert);
	PKCS7_free(bag);
	ERR_clear_error();
	return certificates ? certificates : pki_parse_certificates(octets, size);
}

enum pki_answer pki_judge_status(const char *url, const struct pki_http_answer *answer,
                                 char cause[PKI_CAUSE_SIZE])
{
	const char *meaning = answer->status == 401   ? ": wrong or missing challenge password"
	                      : answer->status == 403 ? ": we may not"
	                                              : "";

	snprintf(cause, PKI_CAUSE_SIZE, "%.240s: HTTP status %ld%s", url, answer->status, meaning);
	return answer->status >= 500 ? PKI_UNREACHABLE : PKI_REFUSED;
}

unsigned char *pki_enrolment_request(const struct pki_enrolment *enrolment, size_t *size)
{
	const struct pki_store *store = enrolment->store;
	bool is_scep = store->trustpoint->enrollment == ENROLLMENT_SCEP;
	const struct pki_wish wish = {
		.subject = store->subject,
		.previous = enrolment->previous,
		.challenge = is_scep ? enrolment->challenge : NULL,
	};
	X509_REQ *request = NULL;
	unsigned char *octets = NULL;
	int length = pki_request(enrolment->cli, enrolment->key, &wish, &request)
	                     ? i2d_X509_REQ(request, &octets)
	                     : 0;

	*size = length > 0 ? (size_t)length : 0;
	X509_REQ_free(request);
	return octets;
}

bool pki_can_enroll(const struct pki_store *store)
{
	const char *missing = !store->certificate_file ? "certificate-file"
	                      : !store->ca_file        ? "ca-file: whom would we believe?"
	                                               : NULL;

	if (missing)
		command_complain("trustpoint \"%s\" has no %s", store->name, missing);
	return !missing && protocol_of(store);
}

void pki_forget_challenge(char *challenge)
{
	if (challenge)
		OPENSSL_cleanse(challenge, strlen(challenge));
	free(challenge);
}

bool pki_read_challenge(const struct pki_store *store, char **challenge)
{
	const char *file = store->trustpoint->challenge_file;
	struct stat status;
	size_t size;

	*challenge = NULL;
	if (!file)
		return true;
	if (stat(file, &status) != 0 || !(*challenge = pki_read(file, &size))) {
		command_complain("%s cannot be read: %s", file, strerror(errno));
		return false;
	}
	if (status.st_mode & (S_IRWXG | S_IRWXO)) {
		command_complain("%s may be read or written by others: chmod 600", file);
		goto useless;
	}
	(*challenge)[strcspn(*challenge, "\r\n")] = '\0';
	if (store->trustpoint->enrollment != ENROLLMENT_EST || strchr(*challenge, ':'))
		return true;
	command_complain("%s: for EST its first line must be \"NAME:PASSWORD\"", file);
useless:
	pki_forget_challenge(*challenge);
	*challenge = NULL;
	return false;
}

/* Only what a root that we believe has signed speaks for the CA. */
static STACK_OF(X509) * checked_authorities(const struct pki_enrolment *enrolment,
                                            const struct protocol *protocol,
                                            char cause[PKI_CAUSE_SIZE])
{
	STACK_OF(X509) *offered = protocol->authorities(
		enrolment->config, enrolment->store->trustpoint->enrollment_url, cause);
	STACK_OF(X509) *checked = sk_X509_new_null(), *chain;
	const char *objection;

	if (!offered || !checked) {
		sk_X509_free(checked);
		sk_X509_pop_free(offered, X509_free);
		return NULL;
	}
	for (int i = 0; i < sk_X509_num(offered); i++) {
		X509 *certificate = sk_X509_value(offered, i);

		chain = pki_chain(certificate, enrolment->believed, offered, &objection);
		if (chain && X509_up_ref(certificate))
			sk_X509_push(checked, certificate);
		else
			snprintf(cause, PKI_CAUSE_SIZE, "%s", objection);
		sk_X509_pop_free(chain, X509_free);
	}
	sk_X509_pop_free(offered, X509_free);
	return checked;
}

/* Of what was issued ours, and the way from it to a root. */
static STACK_OF(X509) * check_issued(const struct pki_enrolment *enrolment, STACK_OF(X509) * issued)
{
	X509 *own = NULL;
	const char *cause = "no certificate of our key came";
	STACK_OF(X509) *others = sk_X509_dup(issued), *chain = NULL;

	for (int i = 0; !own && i < sk_X509_num(issued); i++)
		if (X509_check_private_key(sk_X509_value(issued, i), enrolment->key) == 1)
			own = sk_X509_value(issued, i);
	for (int i = 0; others && i < sk_X509_num(enrolment->authorities); i++)
		sk_X509_push(others, sk_X509_value(enrolment->authorities, i));
	if (own && others)
		chain = pki_chain(own, enrolment->believed, others, &cause);
	if (!chain)
		command_complain("the certificate that came is not taken: %s", cause);
	ERR_clear_error();
	sk_X509_free(others);
	return chain;
}

/** How long, and how often. */
struct patience {
	unsigned long long retries, interval_sec, wait_sec;
	unsigned failures;
	time_t began;
};

static bool read_patience(const struct cli *cli, struct patience *patience)
{
	patience->failures = 0;
	patience->began = time(NULL);
	return options_number(cli, "retries", 0, 100, DEFAULT_RETRIES, &patience->retries) &&
	       options_number(cli, "interval", 1, 3600, DEFAULT_INTERVAL_SEC,
	                      &patience->interval_sec) &&
	       options_number(cli, "wait", 0, 86400 * 7, DEFAULT_WAIT_SEC, &patience->wait_sec);
}

/* Waits, and says for what. False, after a complaint, when patience is at its end. */
static bool wait_for_server(struct patience *patience, const char *cause)
{
	if (++patience->failures > patience->retries) {
		command_complain("%s: given up after %u attempts", cause, patience->failures);
		return false;
	}
	printf("%% %s\n%% Attempt %u of %llu in %llu s\n", cause, patience->failures + 1,
	       patience->retries + 1, patience->interval_sec);
	fflush(stdout);
	sleep((unsigned)patience->interval_sec);
	return true;
}

static bool wait_for_decision(struct patience *patience, unsigned retry_after_sec)
{
	unsigned long long passed = (unsigned long long)(time(NULL) - patience->began);
	unsigned long long pause = patience->interval_sec;

	if (retry_after_sec > pause)
		pause = retry_after_sec;
	if (passed + pause > patience->wait_sec) {
		command_complain("the CA has not decided within %llu s: the request stands, ask "
		                 "again later",
		                 passed);
		return false;
	}
	printf("%% The CA has not decided; asked again in %llu s, for %llu s at most\n", pause,
	       patience->wait_sec - passed);
	fflush(stdout);
	sleep((unsigned)pause);
	return true;
}

/* Reaches the server for its certificates first: a request is sealed for them. */
static int fetch_authorities(struct pki_enrolment *enrolment, const struct protocol *protocol,
                             struct patience *patience)
{
	char cause[PKI_CAUSE_SIZE] = "";

	while (!(enrolment->authorities = checked_authorities(enrolment, protocol, cause)))
		if (!wait_for_server(patience, cause))
			return CLI_FAILED;
	if (sk_X509_num(enrolment->authorities) > 0)
		return CLI_DONE;
	command_complain("the server's CA is not one of those in %s: %s", enrolment->store->ca_file,
	                 cause);
	return CLI_FAILED;
}

static int ask_until_end(struct pki_enrolment *enrolment, const struct protocol *protocol,
                         struct patience *patience, STACK_OF(X509) * *chain)
{
	for (;;) {
		struct pki_reply reply = {0};

		switch (protocol->ask(enrolment, &reply)) {
		case PKI_ISSUED:
			*chain = check_issued(enrolment, reply.issued);
			sk_X509_pop_free(reply.issued, X509_free);
			return *chain ? CLI_DONE : CLI_FAILED;
		case PKI_PENDING:
			enrolment->is_asked_before = true;
			if (!wait_for_decision(patience, reply.retry_after_sec))
				return CLI_PARTIAL;
			break;
		case PKI_UNREACHABLE:
			if (!wait_for_server(patience, reply.cause))
				return CLI_FAILED;
			break;
		default:
			command_complain("%s", reply.cause);
			return CLI_FAILED;
		}
	}
}

int pki_enroll(struct pki_enrolment *enrolment, STACK_OF(X509) * *chain)
{
	const struct protocol *protocol = protocol_of(enrolment->store);
	struct patience patience;
	int status = CLI_FAILED;

	*chain = NULL;
	enrolment->authorities = NULL;
	enrolment->believed = pki_read_certificates(enrolment->store->ca_file);
	if (!enrolment->believed)
		command_complain("%s holds no root: vpnsip pki authenticate %s --for %s",
		                 enrolment->store->ca_file, enrolment->store->name,
		                 enrolment->store->purpose->name);
	else if (protocol && read_patience(enrolment->cli, &patience))
		status = fetch_authorities(enrolment, protocol, &patience);
	if (status == CLI_DONE) {
		printf("%% Certificate request sent to %s\n",
		       enrolment->store->trustpoint->enrollment_url);
		fflush(stdout);
		status = ask_until_end(enrolment, protocol, &patience, chain);
	}
	sk_X509_pop_free(enrolment->authorities, X509_free);
	sk_X509_pop_free(enrolment->believed, X509_free);
	return status;
}

static void print_issued(const struct pki_store *store, X509 *own)
{
	char text[PKI_FINGERPRINT_SIZE], until[32];
	char *subject = pki_name_text(X509_get_subject_name(own));
	char *issuer = pki_name_text(X509_get_issuer_name(own));

	printf("%s: %s, by %s, until %s\n  Fingerprint SHA-256: %s\n", store->certificate_file,
	       subject, issuer, pki_time_text(X509_get0_notAfter(own), until),
	       pki_fingerprint(own, EVP_sha256(), text));
	OPENSSL_free(subject);
	OPENSSL_free(issuer);
}

static int enroll_store(const struct cli *cli, const struct config *config,
                        const struct pki_store *store)
{
	struct pki_enrolment enrolment = {.cli = cli, .config = config, .store = store};
	STACK_OF(X509) *chain = NULL;
	char *challenge;
	int status = CLI_FAILED;

	if (!pki_can_enroll(store) || !pki_read_challenge(store, &challenge))
		return CLI_FAILED;
	enrolment.challenge = challenge;
	enrolment.key = pki_own_key(store);
	if (!enrolment.key)
		goto out;
	if (access(store->certificate_file, F_OK) == 0 &&
	    !pki_ask(cli, "There is a certificate already. Replace it?")) {
		command_complain("nothing was done");
		goto out;
	}
	status = pki_enroll(&enrolment, &chain);
	if (status == CLI_DONE && !pki_write_chain(store, store->certificate_file, chain))
		status = CLI_FAILED;
	if (status == CLI_DONE)
		print_issued(store, sk_X509_value(chain, 0));
out:
	pki_forget_challenge(challenge);
	sk_X509_pop_free(chain, X509_free);
	EVP_PKEY_free(enrolment.key);
	return status;
}

int command_pki_enroll(const struct cli *cli, const struct words *words)
{
	struct config *config = pki_config(cli);
	struct pki_store store;
	int status = CLI_FAILED;

	if (config && pki_find(cli, config, words_get(words, "TRUSTPOINT"), &store))
		status = enroll_store(cli, config, &store);
	config_free(config);
	return status;
}

int pki_authenticate_server(const struct cli *cli, const struct config *config,
                            const struct pki_store *store)
{
	const struct protocol *protocol = protocol_of(store);
	const char *url = store->trustpoint->enrollment_url;
	char cause[PKI_CAUSE_SIZE] = "";
	STACK_OF(X509) *offered = protocol ? protocol->authorities(config, url, cause) : NULL;
	X509 *root = NULL;
	int status = CLI_FAILED;

	for (int i = 0; offered && i < sk_X509_num(offered) && !root; i++)
		if (pki_is_issued_by(sk_X509_value(offered, i), sk_X509_value(offered, i)))
			root = sk_X509_value(offered, i);
	if (protocol && !offered)
		command_complain("%s", cause);
	else if (offered && !root)
		command_complain("%s: the server does not show its root: authenticate it from a "
		                 "file",
		                 url);
	else if (root && pki_believe(cli, store, root, url))
		status = CLI_DONE;
	sk_X509_pop_free(offered, X509_free);
	return status;
}
