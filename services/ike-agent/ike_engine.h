/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The IKEv2 engine (libcharon) as the rest of ike-agent sees it. It owns no socket: IKE packets, SAs and facts
 * pass through struct engine_host. One engine a process. The engine_...() functions are called from one thread, the
 * loop's; the host's functions are called from the engine's own threads.
 */
#ifndef VPNSIP_IKE_ENGINE_H
#define VPNSIP_IKE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "services/common/config.h"
#include "services/ike-agent/certificate_source.h"
#include "services/ike-agent/ike_guard.h"

#define ENGINE_CAUSE_SIZE       192
#define ENGINE_PROPOSAL_SIZE    128
#define ENGINE_PINS_MAX         4
#define ENGINE_ALGORITHM_SIZE   24
#define ENGINE_SELECTORS_MAX    4
#define ENGINE_SELECTOR_SIZE    48
/* A name of a hash, and 64 octets of two digits and a colon. */
#define ENGINE_FINGERPRINT_SIZE (8 + 64 * 3)

/* How long the answer to the DELETE of an IKE_SA is waited for at most. */
#define ENGINE_CLOSE_MSEC 500

/**
 * The lower half of an IKE SPI, which all SPIs chosen by one engine share: it tells two lives of the other side's process
 * apart. A peer that is not ours has another one with each IKE_SA. (By the upper half libcharon finds its IKE_SAs.)
 */
#define ENGINE_LIFE_OF(spi) ((uint32_t)(spi))

enum engine_encryption { ENGINE_AES_GCM_16 = 1, ENGINE_AES_CBC, ENGINE_CHACHA20_POLY1305 };

enum engine_integrity {
	ENGINE_INTEGRITY_NONE = 1, /* the encryption algorithm is an AEAD */
	ENGINE_HMAC_SHA2_256_128,
	ENGINE_HMAC_SHA2_384_192,
	ENGINE_HMAC_SHA2_512_256,
	ENGINE_HMAC_SHA1_96, /* for old peers, with allow-weak */
};

/** One direction of a child SA, as it is to be installed. Keys are the engine's, valid during the call. */
struct engine_sa {
	uint32_t if_id;
	uint32_t spi; /* host order */
	bool is_inbound;
	enum engine_encryption encryption;
	const uint8_t *encryption_key;
	size_t encryption_key_size;
	enum engine_integrity integrity;
	const uint8_t *integrity_key;
	size_t integrity_key_size;
	bool has_extended_sequence;
	uint32_t replay_window;
	uint32_t hard_lifetime_sec; /* 0 = none, as the limits below */
	uint64_t soft_byte_limit, hard_byte_limit;
	uint64_t soft_packet_limit, hard_packet_limit;
};

/** What tunnel-agent last said about an SA that is installed there. */
struct engine_sa_usage {
	uint32_t spi; /* host order */
	bool is_inbound;
	uint64_t packets, bytes;
	uint64_t last_used_mono_usec; /* 0 = never */
};

/** A fingerprint that SDP announced for the peer. */
struct engine_pin {
	bool is_pre_shared_key; /* false: of a certificate */
	char hash[16];          /* "SHA-256" */
	uint8_t value[64];
	size_t size;
};

/** One session. Copied by engine_add_session(), except `peer`, which must outlive the engine. */
struct engine_session {
	uint32_t if_id;
	uint64_t attempt;
	const char *local_number, *remote_number;
	struct sockaddr_storage
		local; /* tunnel source and the session port, which names the session */
	struct sockaddr_storage remote; /* from the other side's SDP */
	const struct config_peer *peer;
	const uint8_t *key; /* the PSK for remote_number; NULL with certificates */
	size_t key_size;
	struct certificate_source *
		certificates; /* of the profile's trustpoint; must outlive the engine; NULL with PSK */
	const struct engine_pin *pins; /* empty: any fingerprint will do */
	size_t pin_count;
};

/** What was agreed on, by the names of the show commands; "" is none. */
struct engine_suite {
	char encryption[ENGINE_ALGORITHM_SIZE]; /* "AES-CBC" */
	unsigned key_bits;                      /* 0 = the algorithm has one size only */
	char integrity[ENGINE_ALGORITHM_SIZE];  /* "SHA256"; with an AEAD none */
	char prf[ENGINE_ALGORITHM_SIZE];        /* of a child none */
	unsigned group;                         /* IANA's number; 0 = none */
	bool has_extended_sequence;
};

/** An IKE_SA that is up. Times are of the monotonic clock, 0 = never. */
struct engine_ike {
	struct engine_suite suite;
	struct sockaddr_storage remote;
	uint64_t established_mono_usec, rekeys_mono_usec, ends_mono_usec;
	bool is_nat_local, is_nat_remote; /* a translation stands before us, or before the peer */
	bool has_fragmentation;           /* both sides can (RFC 7383) */
};

/** A child SA, both directions. */
struct engine_child {
	uint32_t inbound_spi, outbound_spi; /* host order */
	struct engine_suite suite;
	char local_selectors[ENGINE_SELECTORS_MAX][ENGINE_SELECTOR_SIZE];
	char remote_selectors[ENGINE_SELECTORS_MAX][ENGINE_SELECTOR_SIZE];
	uint64_t installed_mono_usec;
};

/** How the two sides proved who they are. */
struct engine_authentication {
	char local[8], remote[8]; /* "PSK", "RSA", "ECDSA" */
	/* Of the peer's certificate; empty with PSK. */
	char subject[CERTIFICATE_NAME_SIZE], issuer[CERTIFICATE_NAME_SIZE];
	char serial[64];
	char fingerprint[ENGINE_FINGERPRINT_SIZE]; /* "SHA-256 AB:CD...", as in the call */
	time_t not_after;
	time_t valid_until; /* the first of both chains that expires; the IKE_SA ends then; 0 = never */
};

enum engine_fact_kind {
	ENGINE_SA_BEGUN = 1, /* an IKE_SA exists */
	ENGINE_SA_REPLACED,  /* IKE rekey: `successor` took over from `sa` */
	ENGINE_SA_GONE,      /* the IKE_SA does not exist any more */
	ENGINE_CHILD_UP,     /* authenticated, and its first child SA is installed */
	ENGINE_CHILD_REKEYED,
	ENGINE_CHILD_GONE, /* without a successor */
	ENGINE_PEER_HEARD, /* a verified message, the next in its sequence, came on an established IKE_SA */
	ENGINE_PEER_MOVED, /* an authenticated message came from another address or port */
	ENGINE_REAUTHENTICATION_DUE, /* as engine_reauthenticate_in() asked; `sa` is 0, as with the next */
	ENGINE_REAUTHENTICATION_MISSED,
	ENGINE_CAUSE,            /* something went wrong with the IKE_SA */
	ENGINE_INITIATION_FAILED /* no IKE_SA came of engine_initiate() */
};

/** How much a cause explains; the highest of an IKE_SA is the one that is told. */
enum engine_cause_rank {
	ENGINE_CAUSE_CLOSED = 1, /* somebody ended it */
	ENGINE_CAUSE_SILENCE,    /* no answer */
	ENGINE_CAUSE_REFUSED,    /* the peer said no */
	ENGINE_CAUSE_FAULT,      /* we found a fault in what the peer sent */
	ENGINE_CAUSE_VERDICT,    /* we know whose identity or key it was */
};

/** A fact about the IKE_SA `sa` of a session. */
struct engine_fact {
	enum engine_fact_kind kind;
	uint32_t if_id; /* 0: the IKE_SA belongs to no session */
	uint64_t attempt;
	uint32_t sa; /* the engine's number of the IKE_SA; 0 with INITIATION_FAILED */
	uint32_t successor;
	bool is_initiator; /* we began this IKE_SA */
	bool is_proven;    /* CAUSE: the peer had answered before, so its address is its own */
	enum engine_cause_rank rank;
	enum ike_guard_class guard_class; /* CAUSE */
	char cause[ENGINE_CAUSE_SIZE];
	char ike_proposal[ENGINE_PROPOSAL_SIZE];
	char esp_proposal[ENGINE_PROPOSAL_SIZE];
	char remote_identity[64];
	uint64_t initiator_spi, responder_spi;
	struct engine_authentication authentication; /* with CHILD_UP */
	struct engine_ike
		ike; /* with CHILD_UP, SA_REPLACED; only its `remote` with PEER_MOVED and CAUSE */
	struct engine_child child; /* with CHILD_UP, CHILD_REKEYED */
};

/** What the engine needs of the world. Called from the engine's threads, `context` first. */
struct engine_host {
	/** Installs an SA and, unless NULL, its child's outbound one; blocks at most 2 s. False with the reason in `why`. */
	bool (*install_sa)(void *context, const struct engine_sa *sa,
	                   const struct engine_sa *outbound, char *why, size_t why_size);
	/** Removes the SA, which may never have been installed. Blocks at most 2 s. */
	void (*remove_sa)(void *context, uint32_t if_id, bool is_inbound, uint32_t spi);
	/**
	 * Sends an IKE message (no non-ESP marker) of this attempt. Does not block; may lose it. `then`, unless NULL, is a fact to take
	 * note of as soon as the message has left or is lost, and not before.
	 */
	void (*send_packet)(void *context, uint32_t if_id, uint64_t attempt,
	                    const struct sockaddr_storage *remote, const uint8_t *packet,
	                    size_t size, const struct engine_fact *then);
	/** Takes note of a fact. Does not block: the engine holds a lock. */
	void (*report)(void *context, const struct engine_fact *fact);
	void *context;
};

/**
 * Starts libcharon and its threads. Block all signals before. False with a sentence in `why` if the library, its
 * plugins or a proposal of the configuration's profiles do not fit. All that is given must outlive the engine.
 */
bool engine_open(const struct config *config, const struct engine_host *host, char *why,
                 size_t why_size);

/**
 * Stops the threads. Tells the peers nothing and leaves the installed SAs alone. Should a thread not come back in time (it may
 * wait for tunnel-agent), the process ends here and now: there is nothing left to be saved.
 */
void engine_close(void);

/**
 * The keys that are known now; only their identities are looked at, for a better cause. May be called before engine_open(). The old
 * keyring may be freed after that.
 */
void engine_use_keyring(const struct config_keyring *keyring);

/** Judges the peers of this trustpoint anew, after its files have changed: the IKE_SAs of those end who are revoked, or whose root was taken away, with the cause. */
void engine_judge_peers(struct certificate_source *certificates);

/** The session may exist: IKE packets for it are answered. False with a sentence in `why`. */
bool engine_add_session(const struct engine_session *session, char *why, size_t why_size);

/** Begins an IKE_SA for the session; failure is a fact. */
void engine_initiate(uint32_t if_id, uint64_t attempt);

/** Reports after so many seconds that reauthentication is due, and later that it is missed. An earlier wish for the session is forgotten; 0 = never. */
void engine_reauthenticate_in(uint32_t if_id, uint64_t attempt, uint32_t due_sec,
                              uint32_t missed_sec);

/** Reports in so many seconds once more that it is due. */
void engine_reauthenticate_again(uint32_t if_id, uint32_t due_sec);

/** No IKE_SA may begin for this session any more; what its living ones still have to say is sent. */
void engine_retire_session(uint32_t if_id, uint64_t attempt);

/** Ends an IKE_SA and its children at once; `tells_peer` sends a DELETE (once, not awaited). */
void engine_end_sa(uint32_t sa, bool tells_peer);

/**
 * Ends an IKE_SA in order: it sends nothing through its children any more, tells the peer with a DELETE (RFC 7296 section 1.4.1), repeats it
 * once, and goes with its children when the peer has answered, after ENGINE_CLOSE_MSEC without an answer. One that is not
 * established goes at once. ENGINE_SA_GONE tells the end.
 */
void engine_close_sa(uint32_t sa);

/**
 * Another IKE_SA has this one's place: it sends nothing through its children any more, still receives for some seconds what
 * the peer sent before it changed over too, and then goes, with a DELETE if `tells_peer`.
 */
void engine_supersede_sa(uint32_t sa, bool tells_peer);

/** Makes a child SA on an established IKE_SA that has none and makes none. */
void engine_make_child(uint32_t sa);

/** The peer of an established IKE_SA is elsewhere now: that was proven by its ESP. */
void engine_move_peer(uint32_t sa, const struct sockaddr_storage *remote);

/** Rekeys the children of an established IKE_SA. */
void engine_renew_children(uint32_t sa);

/** Sends an empty INFORMATIONAL request on an established IKE_SA (RFC 7296 section 2.4); others are left alone. */
void engine_probe_sa(uint32_t sa);

/** An IKE message arrived on the session's port. False if there is no such session or the queue is full. */
bool engine_deliver(uint32_t if_id, const struct sockaddr_storage *remote, const uint8_t *packet,
                    size_t size);

/** What a report of tunnel-agent differs in from what was installed before it. */
struct engine_difference {
	size_t missing; /* child SAs of ours that it does not have */
	size_t strange; /* SAs that it has and that are no child's of ours */
};

/** All SAs that tunnel-agent held for this tunnel when it reported them (monotonic clock). */
struct engine_difference engine_note_usage(uint32_t if_id, const struct engine_sa_usage *usage,
                                           size_t count, uint64_t reported_mono_usec);

/** Rekeys those child SAs that the last engine_note_usage() found missing, or all of the tunnel's. */
void engine_rekey_children(uint32_t if_id, bool is_each);

/** What stands in the engine now. */
struct engine_counts {
	unsigned ike_sas, half_open;
	unsigned inbound_sas, outbound_sas; /* believed to be installed in tunnel-agent */
	uint64_t refused_proposals;         /* NO_PROPOSAL_CHOSEN to those who begin */
	uint64_t repeated_messages;         /* of exchanges that were over */
	uint64_t messages_of_no_sa;
};

struct engine_counts engine_count(void);

/** IKE_SAs that others began and that are not authenticated yet. Cheap. */
unsigned engine_half_open(void);

/** The inbound or outbound SA reached its soft (rekey) or hard (delete) limit. False if it is not known. */
bool engine_expire(uint32_t if_id, uint32_t spi, bool is_hard);

#endif
