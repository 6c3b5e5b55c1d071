/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/pki_http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/cli/pki_route.h"
#include "services/common/address.h"
#include "services/common/config.h"

#define CONNECT_LIMIT_SEC 10L
#define LIMIT_SEC         60L
#define LARGEST_ANSWER    (16 << 20)
#define MOST_REDIRECTIONS 3L

/** An exchange while it goes on. */
struct exchange {
	const struct pki_http_request *request;
	struct pki_http_answer *answer;
	char tunnel[16]; /* by which it would have left; "" = by none */
	char error[CURL_ERROR_SIZE];
};

static size_t take_body(char *octets, size_t unit, size_t count, void *context)
{
	struct pki_http_answer *answer = ((struct exchange *)context)->answer;
	size_t size = unit * count;
	char *longer;

	if (answer->size + size > LARGEST_ANSWER ||
	    !(longer = realloc(answer->octets, answer->size + size + 1)))
		return 0;
	memcpy(longer + answer->size, octets, size);
	answer->octets = longer;
	answer->size += size;
	answer->octets[answer->size] = '\0';
	return size;
}

/* Called for each address that a name has, also after a redirection. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct exchange *exchange = context;
	struct sockaddr_storage server = {0};

	(void)purpose;
	if (address->addrlen <= sizeof(server))
		memcpy(&server, &address->addr, address->addrlen);
	if (pki_leaves_by_tunnel(exchange->request->config, &server, exchange->tunnel))
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool has_literal_host(const char *url)
{
	CURLU *parts = curl_url();
	struct sockaddr_storage address;
	char *host = NULL;
	bool is_literal = parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
	                  curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	                  (*host == '[' || address_parse(host, &address));

	curl_free(host);
	curl_url_cleanup(parts);
	return is_literal;
}

static struct curl_slist *set_headers(CURL *curl, const struct pki_http_request *request)
{
	char line[128];
	struct curl_slist *headers;

	if (!request->content_type)
		return NULL;
	snprintf(line, sizeof(line), "Content-Type: %s", request->content_type);
	headers = curl_slist_append(NULL, line);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	return headers;
}

static void set_options(CURL *curl, struct exchange *exchange)
{
	const struct pki_http_request *request = exchange->request;

	curl_easy_setopt(curl, CURLOPT_URL, request->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_LIMIT_SEC);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, LIMIT_SEC);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "vpnsip");
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, exchange->error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, exchange);
	if (request->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)request->body_size);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
	} else {
		curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
		curl_easy_setopt(curl, CURLOPT_MAXREDIRS, MOST_REDIRECTIONS);
	}
	if (request->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
	if (request->is_unverified) {
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (request->certificate_file) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, request->certificate_file);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, request->key_file);
	}
	if (request->user_password) {
		curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(curl, CURLOPT_USERPWD, request->user_password);
	}
}

static void read_headers(CURL *curl, struct pki_http_answer *answer)
{
	curl_off_t after = 0;
	const char *type = NULL;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	snprintf(answer->content_type, sizeof(answer->content_type), "%s", type ? type : "");
	if (curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
		answer->retry_after_sec = after < 86400 ? (unsigned)after : 86400;
}

bool pki_http(const struct pki_http_request *request, struct pki_http_answer *answer)
{
	struct exchange exchange = {.request = request, .answer = answer};
	struct curl_slist *headers = NULL;
	CURL *curl = curl_easy_init();
	CURLcode done = CURLE_OUT_OF_MEMORY;

	*answer = (struct pki_http_answer){0};
	if (curl && (has_literal_host(request->url) ||
	             !pki_asks_names_by_tunnel(request->config, exchange.tunnel))) {
		set_options(curl, &exchange);
		headers = set_headers(curl, request);
		done = curl_easy_perform(curl);
	}
	if (done == CURLE_OK && !answer->octets && !(answer->octets = calloc(1, 1)))
		done = CURLE_OUT_OF_MEMORY;
	if (done == CURLE_OK)
		read_headers(curl, answer);
	else if (*exchange.tunnel)
		snprintf(answer->cause, sizeof(answer->cause),
		         "the way to %.200s leads through %s now: nothing is fetched over a call",
		         request->url, exchange.tunnel);
	else
		snprintf(answer->cause, sizeof(answer->cause), "%.120s: %.180s", request->url,
		         *exchange.error ? exchange.error : curl_easy_strerror(done));
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	if (done != CURLE_OK)
		pki_http_forget(answer);
	return done == CURLE_OK;
}

void pki_http_forget(struct pki_http_answer *answer)
{
	free(answer->octets);
	answer->octets = NULL;
	answer->size = 0;
}
