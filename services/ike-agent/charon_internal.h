/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the charon_*.c files share; only they include strongSwan's headers, whose macros (this, min, INIT, METHOD ...)
 * must not reach other code. All functions here may be called from any thread.
 */
#ifndef VPNSIP_CHARON_INTERNAL_H
#define VPNSIP_CHARON_INTERNAL_H

#include <daemon.h>
#include <library.h>
#include <stdatomic.h>
#include <uthash.h>

#include "services/ike-agent/ike_engine.h"

/** Set once by engine_open(), before any thread of libcharon runs. */
struct charon_engine {
	const struct config *config;
	const struct engine_host *host;
	atomic_bool is_leaving; /* nothing is sent or removed any more */
	atomic_uint_fast64_t refused_proposals, repeated_messages, messages_of_no_sa;
};

extern struct charon_engine charon_engine;

/** A session as libcharon's threads need it. Immutable but for is_retired and its places in the tables; reference counted. */
struct charon_session {
	struct charon_session *previous, *next;
	UT_hash_handle by_port, by_if_id;
	bool is_listed;
	atomic_uint references;
	atomic_bool is_retired;
	uint32_t if_id;
	uint64_t attempt;
	uint16_t local_port;
	struct sockaddr_storage local;
	const struct config_peer *peer;
	char *local_number, *remote_number;
	uint8_t *key; /* a copy; NULL with certificates */
	size_t key_size;
	struct certificate_source *certificates; /* by which the peer is judged; NULL with PSK */
	struct certificate_store *store; /* ours, as of the session's begin, as the next three */
	certificate_t *certificate;
	certificate_t *anchor; /* the root that a CERTREQ names when ours is self-signed, else NULL */
	private_key_t *private_key;
	peer_cfg_t *peer_cfg;
	child_cfg_t *child_cfg;
	size_t pin_count;
	struct engine_pin pins[];
};

/** New reference or NULL. Of several with the port or if_id the newest: a session begins when the one before it is retired. */
struct charon_session *charon_session_by_port(uint16_t local_port);
struct charon_session *charon_session_by_if_id(uint32_t if_id);
/** The session that the IKE_SA's local port names. `ike_sa` may be NULL. */
struct charon_session *charon_session_of(ike_sa_t *ike_sa);
void charon_session_release(struct charon_session *session);
void charon_sessions_free(void);

/** The IKE_SA of this number (get_unique_id()), to be checked in again; NULL if it is gone. */
ike_sa_t *charon_checkout(uint32_t sa);
/** The IKE_SA exists, or has another SPI now. */
void charon_number_sa(ike_sa_t *ike_sa);
void charon_forget_sa(uint32_t sa);
void charon_numbers_free(void);

/** The IKE and child configuration of the session. False with a sentence in `why`. */
bool charon_config_build(struct charon_session *session, const struct sockaddr_storage *remote,
                         char *why, size_t why_size);
/** Prepares what all sessions of a profile share. False with a sentence in `why` if libcharon does not understand one's proposals. */
bool charon_config_open(const struct config *config, char *why, size_t why_size);
/** After the last session. */
void charon_config_close(void);
/** Writes an identity for people: a key-id's digits, else strongSwan's notation. */
void charon_identity_text(identification_t *identity, char *text, size_t size);
/** True if the identity is what the session's profile wants of the peer. */
bool charon_identity_is_peer(const struct charon_session *session, identification_t *identity);

/** What was agreed on with an IKE_SA, or with a child. */
void charon_describe_ike(ike_sa_t *ike_sa, struct engine_ike *ike);
void charon_describe_child(child_sa_t *child_sa, struct engine_child *child);

/** Fetches the session's certificate and key from its trustpoint; without effect with PSK. False with a sentence in `why`. */
bool charon_own_certificate_load(struct charon_session *session, char *why, size_t why_size);
void charon_own_certificate_release(struct charon_session *session);
/** What the peer is to be shown. */
void charon_own_certificate_add(const struct charon_session *session, auth_cfg_t *local);

enumerator_t *charon_certificates_enumerate(const struct charon_session *session,
                                            identification_t *identity, bool is_trusted);
enumerator_t *charon_private_keys_enumerate(const struct charon_session *session,
                                            identification_t *key_id);
/** The certificate that authenticated the peer is the one that it had to be; always true with PSK. Reports why not. */
bool charon_certificate_is_good(const struct charon_session *session, ike_sa_t *ike_sa);
/** Reports an IKE_AUTH that cannot do: another method than configured, no certificate. */
void charon_check_method(ike_sa_t *ike_sa, message_t *message);
void charon_describe_authentication(const struct charon_session *session, ike_sa_t *ike_sa,
                                    struct engine_authentication *authentication);
/** Seconds, at most `limit`, until the first certificate of both sides expires; `limit` (0 = none) if none does. At least 1. */
uint64_t charon_limit_by_certificates(ike_sa_t *ike_sa, uint64_t limit);
/** Has the IKE_SA `sa`, whose certificates `ike_sa` knows, end with them; and no more. */
void charon_watch_certificates(ike_sa_t *ike_sa, uint32_t sa);
void charon_unwatch_certificates(uint32_t sa);
/** True if somebody's key is known under this identity. */
bool charon_keyring_has(chunk_t identity);

/** Reports a cause about the IKE_SA that the calling thread works on. */
void charon_report_cause(enum engine_cause_rank rank, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/** Reports our verdict on the peer of that IKE_SA. */
void charon_report_verdict(enum ike_guard_class guard_class, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Reports the fact once the IKE_SA's (by the SPIs) next response of this kind of exchange has left. */
void charon_report_after_response(const struct engine_fact *fact, exchange_type_t exchange);
/** The fact that waits for this message (without marker), to be freed by the caller; NULL if there is none. */
struct engine_fact *charon_take_fact_of(chunk_t message);
/** The IKE_SA is gone. True if that has been told after a response, or will be when the response has left, which is under way. */
bool charon_end_responses(uint32_t sa);
void charon_responses_free(void);

/** What is done at a deadline of `owner`, in a thread of libcharon's; the owner may just have gone. */
typedef void charon_meet_fn(uint64_t owner, bool is_hard);
/** Has `meet` called after so many seconds (0 = never), unless that is set already or dropped before. */
void charon_set_deadline(charon_meet_fn *meet, uint64_t owner, bool is_hard, uint64_t delay_sec);
/** When the deadline is due (monotonic clock), or 0. */
uint64_t charon_deadline_usec(charon_meet_fn *meet, uint64_t owner, bool is_hard);
/** Drops both deadlines of the owner, as far as they are set. */
void charon_drop_deadlines(charon_meet_fn *meet, uint64_t owner);
void charon_deadlines_free(void);

/** Sets the clock for an IKE_SA: rekeying, and the end if that fails. `sa` is its unique id. */
void charon_begin_lifetime(uint32_t sa, const struct charon_session *session);
void charon_end_lifetime(uint32_t sa);
/** When it will be rekeyed, and when it would end without that (monotonic clock); 0 = never. */
void charon_read_lifetime(uint32_t sa, uint64_t *rekeys_usec, uint64_t *ends_usec);

/** A request of ours was repeated: the IKE_SA ends unless it is answered in time. Without effect when that is known. */
void charon_begin_patience(ike_sa_t *ike_sa);
void charon_end_patience(uint32_t sa);

/** Forgets when the session is to authenticate anew. */
void charon_end_reauthentication(uint32_t if_id);

/** Seconds, bytes or packets before the end of a lifetime at which rekeying begins, or up to half of that earlier. */
uint64_t charon_rekey_margin(uint64_t lifetime);

/** Ends the IKE_SA in a while unless it has a child by then. */
void charon_end_if_childless(uint32_t sa);

extern backend_t charon_backend;
extern listener_t charon_listener;
extern credential_set_t charon_credentials;

/** Removes the outbound SA from tunnel-agent ahead of its child. Blocks at most 2 s. */
void charon_remove_outbound(uint32_t if_id, uint32_t spi);

kernel_ipsec_t *charon_kernel_ipsec_create(void);
kernel_net_t *charon_kernel_net_create(void);
socket_t *charon_socket_create(void);

#endif
