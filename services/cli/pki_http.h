/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What pki asks of servers: one HTTP exchange, bounded in time and size, by libcurl. Blocks. */
#ifndef VPNSIP_CLI_PKI_HTTP_H
#define VPNSIP_CLI_PKI_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#define PKI_CAUSE_SIZE 320

struct config;

struct pki_http_request {
	const struct config *
		config; /* whose tunnels are not used: the exchange fails rather than place a call */
	const char *url;  /* http or https */
	const void *body; /* NULL = GET, else POST */
	size_t body_size;
	const char *content_type;
	const char *ca_file; /* whom an https server must be signed by; NULL = the system's roots */
	/** The https server is nobody we know yet: whoever asks looks at what comes himself. */
	bool is_unverified;
	const char *certificate_file, *key_file; /* shown to an https server; NULL = none */
	const char *user_password;               /* "NAME:PASSWORD" for HTTP Basic; NULL = none */
};

struct pki_http_answer {
	long status;  /* 0 = no answer: `cause` says why */
	char *octets; /* with a NUL behind; free it with pki_http_forget() */
	size_t size;
	unsigned retry_after_sec; /* 0 = the server does not say */
	char content_type[64];
	char cause[PKI_CAUSE_SIZE];
};

/** Whether there was an answer, of whatever status. */
bool pki_http(const struct pki_http_request *request, struct pki_http_answer *answer);

void pki_http_forget(struct pki_http_answer *answer);

#endif
