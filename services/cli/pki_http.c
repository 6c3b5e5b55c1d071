/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/pki_http.h"

#define CURL_DISABLE_TYPECHECK /* its macros would call the functions by name */
#include <curl/curl.h>
#include <dlfcn.h>
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

/*
 * libcurl brings thirty libraries along. Linked with, they would be loaded for every command, which takes three times as long as
 * the rest of its start (6.4 ms instead of 2.2): so it is loaded when something is fetched.
 */
#define LIBRARY "libcurl.so.4"

static struct {
	__typeof__(curl_easy_init) *easy_init;
	__typeof__(curl_easy_setopt) *easy_setopt;
	__typeof__(curl_easy_perform) *easy_perform;
	__typeof__(curl_easy_getinfo) *easy_getinfo;
	__typeof__(curl_easy_strerror) *easy_strerror;
	__typeof__(curl_easy_cleanup) *easy_cleanup;
	__typeof__(curl_slist_append) *slist_append;
	__typeof__(curl_slist_free_all) *slist_free_all;
	__typeof__(curl_url) *url;
	__typeof__(curl_url_set) *url_set;
	__typeof__(curl_url_get) *url_get;
	__typeof__(curl_url_cleanup) *url_cleanup;
	__typeof__(curl_free) *free;
} curl;

/* NULL when it is there, else why not. */
static const char *load_library(void)
{
	static const struct {
		const char *name;
		void **function;
	} functions[] = {
		{"curl_easy_init", (void **)&curl.easy_init},
		{"curl_easy_setopt", (void **)&curl.easy_setopt},
		{"curl_easy_perform", (void **)&curl.easy_perform},
		{"curl_easy_getinfo", (void **)&curl.easy_getinfo},
		{"curl_easy_strerror", (void **)&curl.easy_strerror},
		{"curl_easy_cleanup", (void **)&curl.easy_cleanup},
		{"curl_slist_append", (void **)&curl.slist_append},
		{"curl_slist_free_all", (void **)&curl.slist_free_all},
		{"curl_url", (void **)&curl.url},
		{"curl_url_set", (void **)&curl.url_set},
		{"curl_url_get", (void **)&curl.url_get},
		{"curl_url_cleanup", (void **)&curl.url_cleanup},
		{"curl_free", (void **)&curl.free},
	};
	static void *library;

	if (library)
		return NULL;
	library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	for (size_t i = 0; library && i < sizeof(functions) / sizeof(functions[0]); i++)
		if (!(*functions[i].function = dlsym(library, functions[i].name)))
			library = NULL;
	return library ? NULL : dlerror();
}

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
	CURLU *parts = curl.url();
	struct sockaddr_storage address;
	char *host = NULL;
	bool is_literal = parts && curl.url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
	                  curl.url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	                  (*host == '[' || address_parse(host, &address));

	curl.free(host);
	curl.url_cleanup(parts);
	return is_literal;
}

static struct curl_slist *set_headers(CURL *handle, const struct pki_http_request *request)
{
	char line[128];
	struct curl_slist *headers;

	if (!request->content_type)
		return NULL;
	snprintf(line, sizeof(line), "Content-Type: %s", request->content_type);
	headers = curl.slist_append(NULL, line);
	curl.easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
	return headers;
}

static void set_options(CURL *handle, struct exchange *exchange)
{
	const struct pki_http_request *request = exchange->request;

	curl.easy_setopt(handle, CURLOPT_URL, request->url);
	curl.easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
	curl.easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl.easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
	curl.easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, CONNECT_LIMIT_SEC);
	curl.easy_setopt(handle, CURLOPT_TIMEOUT, LIMIT_SEC);
	curl.easy_setopt(handle, CURLOPT_USERAGENT, "vpnsip");
	curl.easy_setopt(handle, CURLOPT_ERRORBUFFER, exchange->error);
	curl.easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
	curl.easy_setopt(handle, CURLOPT_WRITEDATA, exchange);
	curl.easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl.easy_setopt(handle, CURLOPT_OPENSOCKETDATA, exchange);
	if (request->body) {
		curl.easy_setopt(handle, CURLOPT_POSTFIELDSIZE, (long)request->body_size);
		curl.easy_setopt(handle, CURLOPT_POSTFIELDS, request->body);
	} else {
		curl.easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
		curl.easy_setopt(handle, CURLOPT_MAXREDIRS, MOST_REDIRECTIONS);
	}
	if (request->ca_file)
		curl.easy_setopt(handle, CURLOPT_CAINFO, request->ca_file);
	if (request->is_unverified) {
		curl.easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 0L);
		curl.easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (request->certificate_file) {
		curl.easy_setopt(handle, CURLOPT_SSLCERT, request->certificate_file);
		curl.easy_setopt(handle, CURLOPT_SSLKEY, request->key_file);
	}
	if (request->user_password) {
		curl.easy_setopt(handle, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl.easy_setopt(handle, CURLOPT_USERPWD, request->user_password);
	}
}

static void read_headers(CURL *handle, struct pki_http_answer *answer)
{
	curl_off_t after = 0;
	const char *type = NULL;

	curl.easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &answer->status);
	curl.easy_getinfo(handle, CURLINFO_CONTENT_TYPE, &type);
	snprintf(answer->content_type, sizeof(answer->content_type), "%s", type ? type : "");
	if (curl.easy_getinfo(handle, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
		answer->retry_after_sec = after < 86400 ? (unsigned)after : 86400;
}

bool pki_http(const struct pki_http_request *request, struct pki_http_answer *answer)
{
	struct exchange exchange = {.request = request, .answer = answer};
	const char *missing = load_library();
	struct curl_slist *headers = NULL;
	CURL *handle = NULL;
	CURLcode done = CURLE_OUT_OF_MEMORY;

	*answer = (struct pki_http_answer){0};
	if (missing) {
		snprintf(answer->cause, sizeof(answer->cause), "nothing can be fetched: %s",
		         missing);
		return false;
	}
	handle = curl.easy_init();
	if (handle && (has_literal_host(request->url) ||
	               !pki_asks_names_by_tunnel(request->config, exchange.tunnel))) {
		set_options(handle, &exchange);
		headers = set_headers(handle, request);
		done = curl.easy_perform(handle);
	}
	if (done == CURLE_OK && !answer->octets && !(answer->octets = calloc(1, 1)))
		done = CURLE_OUT_OF_MEMORY;
	if (done == CURLE_OK)
		read_headers(handle, answer);
	else if (*exchange.tunnel)
		snprintf(answer->cause, sizeof(answer->cause),
		         "the way to %.200s leads through %s now: nothing is fetched over a call",
		         request->url, exchange.tunnel);
	else
		snprintf(answer->cause, sizeof(answer->cause), "%.120s: %.180s", request->url,
		         *exchange.error ? exchange.error : curl.easy_strerror(done));
	curl.slist_free_all(headers);
	curl.easy_cleanup(handle);
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
