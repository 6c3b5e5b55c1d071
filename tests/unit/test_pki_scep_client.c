/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SCEP's exchange over HTTP with a CA that takes its time: what is asked first, what then, and how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "services/cli/pki_enroll.h"
#include "tests/unit/scep_ca.h"

#define LARGEST 65536

static int listener;
static char url[64];
static const char *abilities = "AES\nSHA-256\nPOSTPKIOperation\n";

/* Reads a request with its body; returns where the body begins. */
static char *read_request(int connection, char *request, size_t *body_size)
{
	size_t have = 0, want = SIZE_MAX;
	char *body = NULL, *length;
	ssize_t part;

	while (have < want && (part = read(connection, request + have, LARGEST - have - 1)) > 0) {
		have += (size_t)part;
		request[have] = '\0';
		if (body || !(body = strstr(request, "\r\n\r\n")))
			continue;
		body += 4;
		length = strcasestr(request, "Content-Length: ");
		*body_size = length ? strtoul(length + 16, NULL, 10) : 0;
		want = (size_t)(body - request) + *body_size;
	}
	return body;
}

static void respond(int connection, const void *octets, size_t size)
{
	dprintf(connection, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
	        size);
	while (size > 0) {
		ssize_t part = write(connection, octets, size);

		assert_true(part > 0);
		octets = (const char *)octets + part;
		size -= (size_t)part;
	}
}

/* What a request says of itself; its signer is who the reply is sealed for. */
static void answer_message(int connection, const char *body, size_t size, unsigned pending)
{
	const unsigned char *at = (const unsigned char *)body;
	CMS_ContentInfo *sealed = d2i_CMS_ContentInfo(NULL, &at, (long)size);
	CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(sealed), 0);
	const ASN1_STRING *type = attribute(signer, MESSAGE_TYPE, V_ASN1_PRINTABLESTRING);
	const ASN1_STRING *nonce = attribute(signer, SENDER_NONCE, V_ASN1_OCTET_STRING);
	STACK_OF(X509) *signers = CMS_get1_certs(sealed);
	char id[PKI_SCEP_TRANSACTION_SIZE] = "";
	bool is_poll = memcmp(ASN1_STRING_get0_data(type), "20", 2) == 0;
	struct answer answer = {
		.status = pending ? "3" : "0",
		.type = "3",
		.id = id,
		.nonce = ASN1_STRING_get0_data(nonce),
		.reader = sk_X509_value(signers, 0),
		.has_certificate = !pending,
	};
	unsigned char *octets;

	memcpy(id, ASN1_STRING_get0_data(attribute(signer, TRANSACTION_ID, V_ASN1_PRINTABLESTRING)),
	       sizeof(id) - 1);
	if (!is_poll &&
	    !pending) { /* the first is never decided at once: it must be asked for by a poll */
		answer.status = "2";
		answer.fail_info = "2";
		answer.has_certificate = false;
	}
	octets = build_reply(&answer, &size);
	respond(connection, octets, size);
	OPENSSL_free(octets);
	sk_X509_pop_free(signers, X509_free);
	CMS_ContentInfo_free(sealed);
}

/* A process of its own; so many requests are pending before polls are answered with the certificate. */
static pid_t start_ca(unsigned pending)
{
	static char request[LARGEST];
	pid_t process = fork();

	if (process != 0)
		return process;
	alarm(30);
	for (;;) {
		int connection = accept(listener, NULL, NULL);
		size_t size;
		char *body = read_request(connection, request, &size);

		if (strstr(request, "operation=GetCACaps"))
			respond(connection, abilities, strlen(abilities));
		else if (body) {
			answer_message(connection, body, size, pending);
			pending -= pending > 0;
		}
		close(connection);
	}
}

static void stop_ca(pid_t process)
{
	kill(process, SIGKILL);
	waitpid(process, NULL, 0);
}

static int begin(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
	                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);

	(void)state;
	make_keys();
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 8), 0);
	getsockname(listener, (struct sockaddr *)&address, &length);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/scep", ntohs(address.sin_port));
	return 0;
}

static int end(void **state)
{
	(void)state;
	close(listener);
	free_keys();
	return 0;
}

/** Everything that an exchange needs. */
struct story {
	struct cli cli;
	struct config config;
	struct config_trustpoint trustpoint;
	struct pki_store store;
	struct pki_enrolment enrolment;
};

static void begin_story(struct story *story)
{
	*story = (struct story){0};
	story->trustpoint.enrollment = ENROLLMENT_SCEP;
	story->trustpoint.enrollment_url = url;
	story->store.name = "bank";
	story->store.trustpoint = &story->trustpoint;
	snprintf(story->store.subject, sizeof(story->store.subject), "CN=branch1");
	story->enrolment = (struct pki_enrolment){
		.cli = &story->cli,
		.config = &story->config,
		.store = &story->store,
		.key = own_key,
		.authorities = sk_X509_new_null(),
	};
	sk_X509_push(story->enrolment.authorities, ca);
}

static void end_story(struct story *story)
{
	sk_X509_free(story->enrolment.authorities);
}

static void test_pending_then_issued(void **state)
{
	struct pki_reply reply = {0};
	struct story story;
	pid_t process = start_ca(2);

	(void)state;
	begin_story(&story);
	assert_int_equal(pki_scep_ask(&story.enrolment, &reply), PKI_PENDING);
	story.enrolment.is_asked_before = true;
	assert_int_equal(pki_scep_ask(&story.enrolment, &reply), PKI_PENDING);
	assert_int_equal(pki_scep_ask(&story.enrolment, &reply), PKI_ISSUED);
	assert_int_equal(sk_X509_num(reply.issued), 1);
	assert_int_equal(X509_cmp(sk_X509_value(reply.issued, 0), own), 0);
	sk_X509_pop_free(reply.issued, X509_free);
	end_story(&story);
	stop_ca(process);
}

static void test_refused(void **state)
{
	struct pki_reply reply = {0};
	struct story story;
	pid_t process = start_ca(0);

	(void)state;
	begin_story(&story);
	assert_int_equal(pki_scep_ask(&story.enrolment, &reply), PKI_REFUSED);
	assert_non_null(strstr(reply.cause, "badRequest"));
	stop_ca(process);
	abilities = "DES3\nSHA-1\n";
	process = start_ca(0);
	assert_int_equal(pki_scep_ask(&story.enrolment, &reply), PKI_REFUSED);
	assert_non_null(strstr(reply.cause, "lacks AES"));
	abilities = "SCEPStandard\n";
	stop_ca(process);
	process = start_ca(1);
	story.enrolment.previous = own;
	story.enrolment.previous_key = own_key;
	assert_int_equal(pki_scep_ask(&story.enrolment, &reply), PKI_REFUSED);
	assert_non_null(strstr(reply.cause, "does not renew"));
	end_story(&story);
	stop_ca(process);
}

static void test_unreachable(void **state)
{
	static char nobody[] = "http://127.0.0.1:1/scep";
	struct pki_reply reply = {0};
	struct story story;

	(void)state;
	begin_story(&story);
	story.trustpoint.enrollment_url = nobody;
	assert_int_equal(pki_scep_ask(&story.enrolment, &reply), PKI_UNREACHABLE);
	assert_non_null(strstr(reply.cause, "127.0.0.1:1"));
	end_story(&story);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pending_then_issued),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_unreachable),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
