/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/tls_interpose.h"

#include <dlfcn.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/common/address.h"
#include "services/sip-agent/tls_subject.h"

/* What belongs to one connection; the SSL's application data. */
struct tls_connection {
	struct sockaddr_storage remote;
	bool is_incoming, is_prepared;
	bool has_received; /* from then on the other side has accepted us */
	struct tls_terms terms;
	char cause[TLS_CAUSE_SIZE];
};

/* What has passed the functions below: the self-check looks at it. */
static struct {
	unsigned made, bound, read, written, freed, configured;
} passed;

static const struct tls_events *told;
static void *told_context;
static int own_index = -1;

/* Each is looked up once, at the first call. */
#define NEXT(name)                                \
	static __typeof__(&(name)) next_function; \
	if (!next_function)                       \
		*(void **)&next_function = dlsym(RTLD_NEXT, #name);

static void free_connection(void *parent, void *data, CRYPTO_EX_DATA *all, int index, long argl,
                            void *argp)
{
	(void)parent;
	(void)all;
	(void)index;
	(void)argl;
	(void)argp;
	if (data)
		passed.freed++;
	free(data);
}

void tls_interpose_open(const struct tls_events *events, void *context)
{
	told = events;
	told_context = context;
}

static struct tls_connection *connection_of(const SSL *ssl)
{
	return own_index >= 0 ? SSL_get_ex_data(ssl, own_index) : NULL;
}

/* sofia-sip's own context is never used: its files are not read, and it has nothing to complain of. */
int SSL_CTX_use_certificate_file(SSL_CTX *ctx, const char *file, int type)
{
	(void)ctx;
	(void)file;
	(void)type;
	passed.configured |= 1;
	return 1;
}

int SSL_CTX_check_private_key(const SSL_CTX *ctx)
{
	NEXT(SSL_CTX_check_private_key)
	passed.configured |= 2;
	return SSL_CTX_get0_certificate(ctx) ? next_function(ctx) : 1;
}

int SSL_CTX_load_verify_locations(SSL_CTX *ctx, const char *CAfile, const char *CApath)
{
	(void)ctx;
	(void)CAfile;
	(void)CApath;
	passed.configured |= 4;
	return 1;
}

/*
 * sofia-sip gives back its context once for each connection that ends, in place of the connection: the reference for that is
 * taken here. Until its terms are known the connection has no version of TLS at all.
 */
SSL *SSL_new(SSL_CTX *ctx)
{
	NEXT(SSL_new)
	SSL *ssl = next_function(ctx);
	struct tls_connection *connection = calloc(1, sizeof(*connection));

	if (own_index < 0)
		own_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_connection);
	if (!ssl || !connection || SSL_set_ex_data(ssl, own_index, connection) != 1 ||
	    SSL_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 ||
	    SSL_set_max_proto_version(ssl, TLS1_2_VERSION) != 1) {
		if (!ssl || connection_of(ssl) != connection)
			free(connection);
		SSL_free(ssl);
		return NULL;
	}
	SSL_CTX_up_ref(ctx);
	passed.made++;
	return ssl;
}

/* sofia-sip frees the socket's BIO itself, although it has given it away. */
void SSL_set_bio(SSL *s, BIO *rbio, BIO *wbio)
{
	NEXT(SSL_set_bio)
	BIO_up_ref(rbio);
	next_function(s, rbio, wbio);
	passed.bound++;
}

/* The last that sofia-sip does with a connection; it never frees it. */
int SSL_shutdown(SSL *ssl)
{
	NEXT(SSL_shutdown)
	ERR_clear_error();
	if (SSL_is_init_finished(ssl))
		next_function(ssl);
	SSL_free(ssl);
	ERR_clear_error();
	return 1;
}

static int check_certificate(int is_good, X509_STORE_CTX *store)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_connection *connection = connection_of(ssl);
	const struct tls_terms *terms = &connection->terms;
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	char subject[128] = "?";

	if (certificate)
		tls_subject_print(certificate, subject, sizeof(subject));
	if (!is_good) {
		snprintf(connection->cause, sizeof(connection->cause), "certificate of \"%s\": %s",
		         subject, X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
		return 0;
	}
	if (X509_STORE_CTX_get_error_depth(store) > 0 || !terms->checks_subject)
		return 1;
	for (size_t i = 0; i < TLS_NAMES_MAXIMUM; i++)
		if (terms->names[i][0] && tls_subject_names(certificate, terms->names[i]))
			return 1;
	if (terms->takes_address && tls_subject_names_address(certificate, &connection->remote))
		return 1;
	X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
	char address[ADDRESS_TEXT_SIZE];
	snprintf(connection->cause, sizeof(connection->cause),
	         "the certificate names \"%s\", not \"%.100s\"", subject,
	         terms->names[0][0] ? terms->names[0]
	                            : address_format(&connection->remote, address));
	return 0;
}

static bool apply(SSL *ssl, const struct tls_terms *terms, bool is_incoming)
{
	const int verify = terms->wants_certificate
	                           ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
	                           : SSL_VERIFY_NONE;

	SSL_set_verify(ssl, verify, check_certificate);
	SSL_set_options(ssl, SSL_CTX_get_options(terms->context));
	if (!is_incoming && terms->names[0][0] &&
	    SSL_set_tlsext_host_name(ssl, terms->names[0]) != 1)
		return false;
	return SSL_set_SSL_CTX(ssl, terms->context) == terms->context &&
	       SSL_set_cipher_list(ssl, terms->is_strict_cipher ? TLS_CIPHERS_STRICT
	                                                        : TLS_CIPHERS) == 1 &&
	       SSL_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
	       SSL_set_min_proto_version(ssl, TLS1_2_VERSION) == 1;
}

/* Before the first step of the handshake: now the socket knows its remote. */
static bool prepare(SSL *ssl, struct tls_connection *connection, bool is_incoming)
{
	struct tls_terms *terms = &connection->terms;
	socklen_t size = sizeof(connection->remote);

	connection->is_incoming = is_incoming;
	if (getpeername(SSL_get_fd(ssl), (struct sockaddr *)&connection->remote, &size) != 0) {
		snprintf(connection->cause, sizeof(connection->cause), "the connection is gone");
		return false;
	}
	if (told)
		told->terms(told_context, &connection->remote, is_incoming, terms);
	if (!terms->context) {
		snprintf(connection->cause, sizeof(connection->cause), "%s", terms->refusal);
		return false;
	}
	connection->is_prepared = apply(ssl, terms, is_incoming);
	SSL_CTX_free(terms->context);
	if (!connection->is_prepared)
		snprintf(connection->cause, sizeof(connection->cause), "TLS cannot be set up");
	return connection->is_prepared;
}

static void tell_established(SSL *ssl, const struct tls_connection *connection)
{
	struct tls_summary summary = {.protocol = SSL_get_version(ssl),
	                              .cipher = SSL_get_cipher_name(ssl)};
	X509 *certificate = SSL_get0_peer_certificate(ssl);

	if (certificate)
		tls_subject_print(certificate, summary.subject, sizeof(summary.subject));
	if (told)
		told->established(told_context, &connection->remote, &summary);
}

static void tell_failed(struct tls_connection *connection)
{
	const unsigned long error = ERR_peek_error();
	const char *reason = error ? ERR_reason_error_string(error) : NULL;

	if (!connection->cause[0])
		snprintf(connection->cause, sizeof(connection->cause), "%s",
		         reason ? reason : "the other side closed the connection");
	if (told)
		told->failed(told_context, &connection->remote, connection->is_incoming,
		             connection->cause);
}

static int shake_hands(SSL *ssl, bool is_incoming, int (*step)(SSL *))
{
	struct tls_connection *connection = connection_of(ssl);

	ERR_clear_error();
	if (!connection || (!connection->is_prepared && !prepare(ssl, connection, is_incoming))) {
		if (connection)
			tell_failed(connection);
		return -1;
	}
	const int result = step(ssl);
	if (result == 1) {
		tell_established(ssl, connection);
		return result;
	}
	const int error = SSL_get_error(ssl, result);
	if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
		tell_failed(connection);
	return result;
}

int SSL_connect(SSL *ssl)
{
	NEXT(SSL_connect)
	return shake_hands(ssl, false, next_function);
}

int SSL_accept(SSL *ssl)
{
	NEXT(SSL_accept)
	return shake_hands(ssl, true, next_function);
}

/* sofia-sip would look through the names once more and keep what it read. The handshake has checked them. */
X509 *SSL_get1_peer_certificate(const SSL *ssl)
{
	(void)ssl;
	return NULL;
}

int SSL_read(SSL *ssl, void *buf, int num)
{
	NEXT(SSL_read)
	struct tls_connection *connection = connection_of(ssl);

	ERR_clear_error();
	passed.read++;
	const int result = next_function(ssl, buf, num);
	if (!connection || !connection->is_prepared || connection->has_received)
		return result;
	/* In TLS 1.3 a client is refused when its own handshake has ended already. */
	if (result > 0)
		connection->has_received = true;
	else if (SSL_get_error(ssl, result) == SSL_ERROR_SSL)
		tell_failed(connection);
	return result;
}

int SSL_write(SSL *ssl, const void *buf, int num)
{
	NEXT(SSL_write)
	ERR_clear_error();
	passed.written++;
	return next_function(ssl, buf, num);
}

/* Of sofia-sip's library, in no public header; a zeroed description means its defaults. */
void *tls_init_master(void *description);
void *tls_init_secondary(void *master, int socket, int is_accepted);
ssize_t tls_read(void *tls);
ssize_t tls_write(void *tls, void *data, size_t size);
void tls_free(void *tls);

/* Whether the dynamic linker takes ours for everybody. */
static const char *find_foreign(void)
{
	const struct {
		const char *name;
		void *own;
	} functions[] = {
		{"SSL_connect", (void *)SSL_connect},
		{"SSL_accept", (void *)SSL_accept},
		{"SSL_get1_peer_certificate", (void *)SSL_get1_peer_certificate},
	};

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (dlsym(RTLD_DEFAULT, functions[i].name) != functions[i].own)
			return functions[i].name;
	return NULL;
}

const char *tls_interpose_check(void)
{
	static char problem[TLS_CAUSE_SIZE];
	unsigned char description[512] = {0};
	char octet = 0;
	int sockets[2] = {-1, -1};
	const char *missing = find_foreign();
	void *master = NULL;

	memset(&passed, 0, sizeof(passed));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
		return "TLS cannot be checked: no sockets";
	master = tls_init_master(description);
	void *tls = master ? tls_init_secondary(master, sockets[0], 0) : NULL;
	if (tls) {
		tls_read(tls);
		tls_write(tls, &octet, 1);
	}
	tls_free(tls);
	tls_free(master);
	ERR_clear_error();
	close(sockets[0]);
	close(sockets[1]);
	if (!missing)
		missing = !passed.made                  ? "SSL_new"
		          : passed.configured != 7      ? "SSL_CTX_load_verify_locations"
		          : !passed.bound               ? "SSL_set_bio"
		          : !passed.read                ? "SSL_read"
		          : !passed.written             ? "SSL_write"
		          : passed.freed != passed.made ? "SSL_shutdown"
		                                        : NULL;
	if (!missing)
		return NULL;
	snprintf(problem, sizeof(problem), "this sofia-sip calls %s past our own: TLS is not used",
	         missing);
	return problem;
}
