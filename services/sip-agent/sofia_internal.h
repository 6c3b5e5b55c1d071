/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shared by the sofia_*.c files alone. */
#ifndef VPNSIP_SIP_SOFIA_INTERNAL_H
#define VPNSIP_SIP_SOFIA_INTERNAL_H

struct sofia_line;
struct sofia_call;

#define NTA_AGENT_MAGIC_T    struct sofia_line
#define NTA_LEG_MAGIC_T      struct sofia_call
#define NTA_INCOMING_MAGIC_T struct sofia_call
#define NTA_OUTGOING_MAGIC_T void

#include <sofia-sip/nta.h>
#include <sofia-sip/nta_stateless.h>
#include <sofia-sip/nta_tag.h>
#include <sofia-sip/nta_tport.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_status.h>
#include <sofia-sip/sip_tag.h>
#include <sofia-sip/tport_tag.h>

#include <uthash.h>

#include "services/common/config.h"
#include "services/common/log.h"
#include "services/sip-agent/connection_table.h"
#include "services/sip-agent/dialog_store.h"
#include "services/sip-agent/digest.h"
#include "services/sip-agent/guard_core.h"
#include "services/sip-agent/number.h"
#include "services/sip-agent/registration_core.h"
#include "services/sip-agent/server_list.h"
#include "services/sip-agent/session_timer.h"
#include "services/sip-agent/sofia.h"
#include "services/sip-agent/sofia_loop.h"
#include "services/sip-agent/sofia_transport.h"

#define SOFIA_ALLOW      "INVITE,ACK,CANCEL,BYE,UPDATE,PRACK,OPTIONS"
#define SOFIA_TOKEN_SIZE 25 /* 24 hexadecimal digits */
#define SOFIA_URI_SIZE   192
#define SOFIA_CAUSE_SIZE 256

#define SOFIA_SERVICE_ROUTE_SIZE 512

/* Early dialogs of one INVITE whose reliable responses are acknowledged; more are left alone. */
#define SOFIA_EARLY_MAXIMUM 4

/* An attempt that was hung up before its order to call came stays this long in mind. */
#define SOFIA_HUNG_UP_MAXIMUM 32

struct event;

/* Since the start; told by `debug sip-agent stats`. */
struct sofia_counters {
	uint64_t invites_sent, invites_received;
	uint64_t cancels_owed, cancels_paid; /* a debt is paid with the end of the INVITE */
	uint64_t byes_owed, byes_paid;       /* and with the end of the call */
	uint64_t stray_responses;            /* to requests that nobody remembers */
	uint64_t requests_refused;           /* incoming, outside any dialog or call */
	uint64_t store_writes, store_failures;
	uint64_t messages_sent, messages_received;
	uint64_t calls_restored;
};

/* The latest attempt of a tunnel: an earlier one is stale. */
struct sofia_attempt {
	char tunnel[CALL_TUNNEL_SIZE];
	uint64_t number;
	UT_hash_handle hh;
};

struct sofia {
	struct sofia_loop *loop;
	struct event_base *base;
	struct bus *bus;
	const struct config *config;
	const char *state_directory;
	const struct sofia_events *events;
	void *context;
	struct sofia_line *lines; /* one per line of the configuration */
	struct sofia_line *lines_by_number;
	size_t line_count;
	struct sofia_call *calls; /* list, newest first */
	struct sofia_call *calls_by_id;
	struct sofia_counters counters;
	struct sofia_attempt *attempts;          /* by tunnel */
	uint64_t hung_up[SOFIA_HUNG_UP_MAXIMUM]; /* ring */
	size_t hung_up_next;
	char store_failure[SOFIA_CAUSE_SIZE]; /* of the last write; "" = it went well */
	struct sofia_tls *tls;
	struct connection_table connections;
	struct event *sweep; /* of the connections */
	struct guard guard;
	bool is_guard_off; /* the control run of an attack's test */
};

/*
 * Credentials for the repetition of one request; at most one answer per challenge kind, more only
 * while nonces were stale.
 */
struct sofia_auth {
	char *authorization, *proxy_authorization; /* NULL = none */
	unsigned stale_count;
};

/* A party that rang reliably (RFC 3262). */
struct sofia_early_dialog {
	char tag[128];
	uint32_t sequence;     /* RSeq of the last response that was acknowledged; 0 = none */
	char *answer;          /* its SDP; NULL = none */
	nta_outgoing_t *prack; /* the last one, until it is answered; NULL = none */
};

/* A local number, its transports and its registration. */
struct sofia_line {
	struct sofia *sofia;
	const struct config_line *config;
	nta_agent_t *agent;     /* NULL while the transports are not open */
	struct in_addr address; /* ordered WAN address */
	char contact_user[NUMBER_SIZE];
	char contact[SOFIA_URI_SIZE];   /* "<sip:...>" */
	char identity[SOFIA_URI_SIZE];  /* "<sip:NUMBER@DOMAIN>" */
	struct server_list servers;     /* the current one is the next hop of everything */
	char registrar[SOFIA_URI_SIZE]; /* its URI, "sip:ADDRESS:PORT"; "sip:" while there is none */
	char call_id[CALL_ID_SIZE];     /* the same for all REGISTERs of this start */
	struct registration_core core;
	nta_leg_t *leg;
	nta_outgoing_t *request; /* REGISTER under way */
	bool is_leaving;         /* that REGISTER says Expires: 0 */
	struct sofia_auth auth;
	char realm[128]; /* the registrar's, once it has challenged us */
	struct event *timer;
	struct sip_server asked; /* the REGISTER under way goes there */
	char asked_uri[SOFIA_URI_SIZE];
	tport_t *request_transport;   /* its transport */
	struct event *retransmission; /* over UDP */
	unsigned interval_msec;       /* until it is sent again */
	unsigned repetitions;         /* how often it was */
	bool is_clearing;             /* it takes stale_contact away */
	bool is_leave_owed;           /* to be sent when the line's calls have ended */
	struct event *leave_limit;
	char stale_contact[SOFIA_URI_SIZE];      /* "<sip:...>" of ours that is to go; "" = none */
	char *service_route;                     /* of the last 2xx; NULL = none */
	char alarm[SOFIA_CAUSE_SIZE];            /* somebody else's binding; "" = none */
	char (*associated_numbers)[NUMBER_SIZE]; /* owned */
	size_t associated_count;
	unsigned sip_status;
	char cause[SOFIA_CAUSE_SIZE];
	char tls_failure[SOFIA_CAUSE_SIZE]; /* of the latest handshake; "" = told since */
	const char *known_obstacle; /* what root saw in the way of our port; NULL = nothing */
	struct guard_bucket invites, requests; /* new ones that the guard lets pass */
	size_t half_open; /* calls offered to us without a decision or an ACK */
	UT_hash_handle hh;
};

struct sofia_call {
	struct call call; /* what is told */
	struct sofia_line *line;
	struct sofia_call *next, *previous;
	UT_hash_handle by_id; /* its place in calls_by_id, once it has a Call-ID */
	bool is_half_open;    /* counted so in its line */
	nta_leg_t *leg;
	struct dialog_record *parked; /* the dialog while there is no agent that could hold it */
	nta_incoming_t *incoming;     /* the INVITE that offered the call */
	nta_outgoing_t *invite;       /* our INVITE, until nothing is answered to it any more */
	nta_outgoing_t *ack;          /* kept as long: it repeats itself for a repeated 200 */
	nta_outgoing_t *bye;
	nta_outgoing_t *cancel;   /* of an attempt of the last process */
	nta_outgoing_t *refresh;  /* UPDATE or re-INVITE under way */
	nta_incoming_t *reinvite; /* the peer's, answered and not yet acknowledged */
	struct sofia_early_dialog *early;
	size_t early_count;
	/* The server counts as dead when our INVITE is not heard of by then; once it is acknowledged, the end of its transactions. */
	struct event *invite_event;
	char *local_uri, *remote_uri; /* "<sip:...>" */
	uint32_t invite_cseq;
	char branch[DIALOG_BRANCH_SIZE]; /* of our INVITE */
	char *invite_text;      /* the peer's INVITE for the record, until it is acknowledged */
	bool is_acknowledged;   /* ACK sent or received */
	struct sofia_auth auth; /* of the INVITE; its ACK repeats it (RFC 3261 section 22.1) */
	struct sofia_auth later_auth; /* of the BYE or refresh under way */
	char *sdp;                    /* ours as sent */
	char *offer;                  /* the peer's, of an incoming call */
	struct sdp_origin origin;
	struct session_timer timer;
	struct session_timer_terms request_terms; /* of the INVITE that offered the call */
	unsigned asked_sec, minimum_sec;          /* our Session-Expires and Min-SE */
	bool peer_takes_update;
	bool is_doubtful;   /* after a restart: whether the peer still has it is not known */
	bool was_too_brief; /* a 422 was answered already */
	bool was_refresh_too_brief;      /* the same of the refresh under way */
	uint64_t refreshed_at_usec;      /* monotonic */
	uint64_t refreshed_at_wall_usec; /* the same for the record; 0 = not established */
	struct event *state_event, *session_event;
	unsigned bye_failures;        /* BYEs or CANCELs that could not leave the machine */
	unsigned cancels_unknown;     /* CANCELs that were answered 481 */
	bool is_cancel_owed;          /* to be sent again when state_event runs out */
	struct sofia_refusal refusal; /* for CALL_SEND_REFUSAL */
};

/* sofia_line.c */
bool sofia_line_init(struct sofia_line *line, struct sofia *sofia,
                     const struct config_line *config);
void sofia_line_free(struct sofia_line *line);
struct sofia_line *sofia_line_by_number(struct sofia *sofia, const char *number);
/* Writes what a restart must not change: Contact user and realm. */
void sofia_line_keep_identity(const struct sofia_line *line);
/* Opens the transports on the WAN address. False with the line's cause set. */
bool sofia_line_open(struct sofia_line *line);
/* Closes them; nothing of the agent may be in use any more. */
void sofia_line_close(struct sofia_line *line);
/*
 * Another WAN address: the line's calls end, their BYEs leaving from the new one, and the
 * registration is forgotten.
 */
void sofia_line_move(struct sofia_line *line, struct in_addr address);
/* To be called after each change of line->servers: brings what is derived from the current one up to date. */
void sofia_line_note_server(struct sofia_line *line);
/*
 * The one way by which a line gets its servers, in order of use. When the one in use changes, a line that is ordered registers
 * at the new one at once.
 */
void sofia_line_set_servers(struct sofia_line *line, const struct sip_server *servers,
                            size_t count);
/*
 * The server in use did not answer a request, or said 503: the line goes on with the next one and registers there. True when
 * there is another one, to which the request may be repeated at once. `why` ends a sentence: "did not answer INVITE".
 */
bool sofia_line_server_failed(struct sofia_line *line, const char *why);
bool sofia_line_is_registrar(const struct sofia_line *line, const su_sockaddr_t *source);
/*
 * For a final response that nobody sent, made up by the stack: what happened ("cannot be
 * reached"). NULL for a real one.
 */
const char *sofia_local_failure(const sip_t *sip);
/* What sofia_local_failure() says, and why TLS failed if it did. */
const char *sofia_line_print_failure(const struct sofia_line *line, const char *failure,
                                     char text[SOFIA_CAUSE_SIZE]);
/* Fills `size` - 1 hexadecimal digits. */
void sofia_random_token(struct sofia *sofia, char *token, size_t size);

/* sofia_register.c */
void sofia_register_start(struct sofia_line *line);
/* Ends it once the BYEs and CANCELs that are under way are answered, or 2 s later. */
void sofia_register_stop(struct sofia_line *line);
/* To be called when a call of the line has ended. */
void sofia_register_call_ended(struct sofia_line *line);
/* Forgets a REGISTER under way and the dialog of registrations. */
void sofia_register_drop(struct sofia_line *line);
void sofia_register_report(struct sofia_line *line);
struct registration_report sofia_register_view(const struct sofia_line *line);

/* sofia_register_read.c */
/* Takes what a 2xx to REGISTER says. False when our binding is not in it. */
bool sofia_register_read(struct sofia_line *line, const sip_t *sip, unsigned *granted_sec);
/* The Service-Route belongs to the server that gave it. */
void sofia_register_drop_route(struct sofia_line *line);
/* Of no use any more once the line is off. */
void sofia_register_forget(struct sofia_line *line);

/* sofia_auth.c */
/* To its first state, that of all zeros. */
void sofia_auth_reset(struct sofia_auth *auth);
/*
 * Reads a 401 or 407; true when the request is worth repeating with `auth`. Otherwise `why` says
 * in a sentence why not.
 */
bool sofia_auth_challenged(struct sofia_auth *auth, struct sofia_line *line,
                           const nta_outgoing_t *request, const sip_t *response, char *why,
                           size_t why_size);
/* For the tag list of a request. */
#define SOFIA_AUTH_TAGS(auth)                            \
	SIPTAG_AUTHORIZATION_STR((auth)->authorization), \
		SIPTAG_PROXY_AUTHORIZATION_STR((auth)->proxy_authorization)

/* sofia.c */
/* The latest attempt of the tunnel that is known; 0 = none. */
uint64_t sofia_attempt_of(const struct sofia *sofia, const char *tunnel);
void sofia_attempt_note(struct sofia *sofia, const char *tunnel, uint64_t attempt);

/* sofia_call.c */
struct sofia_call *sofia_call_new(struct sofia_line *line, enum call_direction direction);
/* To be called once its Call-ID is set. */
void sofia_call_index(struct sofia_call *call);
/* Of several with this Call-ID the newest. */
struct sofia_call *sofia_call_by_id(struct sofia *sofia, const char *call_id);
void sofia_call_free(struct sofia_call *call);
/* Tells of a new call and starts the limit of its first state. */
void sofia_call_begin(struct sofia_call *call);
/* Feeds the state table and carries out what it says. */
void sofia_call_handle(struct sofia_call *call, enum call_event event);
void sofia_call_send_bye(struct sofia_call *call);

/* A random number from 0 to limit - 1. */
unsigned sofia_random_below(struct sofia *sofia, unsigned limit);

/** The text as a quoted-string of SIP, cut to fit; what would need an escape is left out. `size` is at least 3. */
void sofia_quote(const char *text, char *quoted, size_t size);
/* To be called in each new state: starts its limit and counts half-open calls. */
void sofia_call_limit_state(struct sofia_call *call);
/* Gives back everything that belongs to an agent. */
void sofia_call_drop_dialog(struct sofia_call *call);
/* Dialog requests of the peer; the callback of every leg. */
int sofia_call_request(struct sofia_call *call, nta_leg_t *leg, nta_incoming_t *request,
                       const sip_t *sip);

/* sofia_dialog.c */
/*
 * Brings the record on disk to the state of the call. A failure is logged once; the call goes on
 * with the record that there is.
 */
void sofia_dialog_store(struct sofia_call *call);
/* The same where the dialog is as it was when it was written last. */
void sofia_dialog_store_state(struct sofia_call *call);
/*
 * Writes the record, for good, as it is going to be in `state`: before anything is sent that begins
 * it. False when it cannot be written: nothing may be begun then that could not be survived. The
 * reason is in sofia->store_failure.
 */
bool sofia_dialog_store_ahead(struct sofia_call *call, enum call_state state);
void sofia_dialog_forget(struct sofia_call *call);
/* Whether a record has room for the dialog. */
bool sofia_dialog_fits(const struct sofia_call *call);
/* Makes the dialog of a parked call in the line's agent. False while there is none. */
bool sofia_dialog_reopen(struct sofia_call *call);
/* Takes up the calls that the last process left, at start. */
void sofia_dialog_restore(struct sofia *sofia);
/* Moves the calls of the line to its present agent and hangs up; a call that has no dialog yet just ends. */
void sofia_dialog_end_on_line(struct sofia_line *line, const char *cause);

/* sofia_attempt.c: what is owed for an INVITE of the last process. */
/* Sends the CANCEL of the recorded INVITE; repeated until it is answered. */
void sofia_attempt_cancel(struct sofia_call *call);
/* A response to an INVITE that no transaction waits for; consumes `message`. */
void sofia_attempt_response(struct sofia_line *line, nta_agent_t *agent, msg_t *message,
                            const sip_t *sip);

/* Acknowledges a 2xx that belongs to no call, and ends what it began. False when it cannot be. */
bool sofia_attempt_end_stray(nta_agent_t *agent, const sip_t *sip);

/* sofia_reliable.c */
/* For Supported and Require. */
const char *sofia_reliable_supported(const struct sofia_line *line);
/* A provisional response to our INVITE: its PRACK, if it asks for one. */
void sofia_reliable_received(struct sofia_call *call, const sip_t *sip);
/* The SDP that came with a reliable provisional response of that tag; NULL = none. */
const char *sofia_reliable_answer(const struct sofia_call *call, const char *tag);
void sofia_reliable_forget(struct sofia_call *call);
/* Whether the configuration requires 100rel and the caller does not know it. */
bool sofia_reliable_is_missing(const struct sofia_line *line, const sip_t *sip);
/* 180, if the caller requires 100rel or the configuration does. */
void sofia_reliable_ring(struct sofia_call *call, const sip_t *sip);

/* sofia_call_out.c */
/* Which fingerprints of that number's side are believed. */
struct sdp_policy sofia_call_policy(const struct sofia_line *line, const char *remote_number);
/* Gives our INVITE back; what is still answered to it comes to sofia_attempt_response(). */
void sofia_call_drop_invite(struct sofia_call *call);
/* The dialog, session timer and answer of a 2xx. */
enum call_event sofia_call_read_answer(struct sofia_call *call, const sip_t *sip);
/* Keeps why the call failed: status, phrase and the Warning's text. */
void sofia_call_keep_refusal(struct sofia_call *call, int status, const sip_t *sip);
void sofia_call_send_ack(struct sofia_call *call);
/* In the place of the last one; given back, with the INVITE, when no 2xx can come any more. `ack` may be NULL. */
void sofia_call_keep_ack(struct sofia_call *call, nta_outgoing_t *ack);
void sofia_call_send_cancel(struct sofia_call *call);

/* sofia_call_in.c: consumes `message`, an INVITE outside any dialog from the registrar. */
void sofia_call_invited(struct sofia_line *line, msg_t *message, sip_t *sip);
void sofia_call_send_answer(struct sofia_call *call);
void sofia_call_send_refusal(struct sofia_call *call);
/* Makes the server transaction of the recorded INVITE anew. False when it cannot be. */
bool sofia_call_reopen_invite(struct sofia_call *call);

/* sofia_guard.c */
/* Whether what is received passes the guard; known once an agent was made. */
bool sofia_guard_is_in_force(void);
/* Counts that a message was turned away, and logs it once a second; for what is found out behind the guard's own checks. */
void sofia_guard_note(struct sofia_line *line, enum guard_class class, msg_t *message);
/*
 * Whether the INVITE comes from a peer of the line, and from which. If not it has been answered, `message` is consumed and no
 * transaction is kept.
 */
bool sofia_guard_admits_caller(struct sofia_line *line, msg_t *message, const sip_t *sip,
                               char number[NUMBER_SIZE]);
/* The call is known now: its INVITE must not come again, also after a restart. */
void sofia_guard_remember(struct sofia *sofia, const char *call_id);
/* Calls offered to us without a decision or an ACK; `line` NULL: of all. */
size_t sofia_guard_half_open(const struct sofia *sofia, const struct sofia_line *line);

/* sofia_resolver.c */
/* Agents that share the one resolver. */
unsigned sofia_resolver_users(void);

/* sofia_transport.c */
/* Trustpoints, the terms of TLS and the table of connections; before any line is opened. */
bool sofia_transport_begin(struct sofia *sofia);
/* After the last line was closed. */
void sofia_transport_end(struct sofia *sofia);
/* False, with the line's cause set, when it is to speak TLS and the self-check has failed. */
bool sofia_transport_is_safe(struct sofia_line *line);
/* Opens the transports of the configuration in the line's agent. False with the line's cause set. */
bool sofia_transport_open_all(struct sofia_line *line);
void sofia_transport_tell(const struct sofia_line *line, const char *host);
/* Logs, once a second, that a connection was not let in or did not come up. */
void sofia_transport_note_refused(struct sofia *sofia, const struct sockaddr_storage *remote,
                                  bool is_incoming, const char *cause);
uint16_t sofia_transport_local_port(const struct config_line *config,
                                    enum config_transport transport);
enum config_transport sofia_transport_of_registrations(const struct sofia_line *line);
/* "<sip:USER@HOST:PORT;transport=tls>" */
void sofia_transport_print_contact(const struct sofia_line *line, enum config_transport transport,
                                   bool is_secure, char *contact, size_t size);
/* What the configuration says for calls to this peer: transport, Contact, first Route, Request-URI. */
enum config_transport sofia_transport_of_call(const struct sofia_call *call);
void sofia_transport_print_call_contact(const struct sofia_call *call, char *contact, size_t size);
void sofia_transport_print_line_route(const struct sofia_line *line,
                                      enum config_transport transport, char *route, size_t size);
void sofia_transport_print_route(const struct sofia_call *call, char *route, size_t size);
void sofia_transport_print_target(const struct sofia_call *call, char *target, size_t size);

/* sofia_connection.c */
struct tls_summary;
bool sofia_connections_open(struct sofia *sofia);
void sofia_connections_close(struct sofia *sofia);
/* A message passed. */
void sofia_connection_note(const tport_t *transport, const msg_t *message, bool is_received);
/* The handshake that is under way ended: with what, or why not. */
void sofia_connection_note_tls(const struct tls_summary *summary, const char *failure);
/* Brings states and queues of the table up to date. */
void sofia_connection_refresh(struct sofia *sofia);
/* What sofia-sip calls past our own functions; NULL = nothing. */
const char *sofia_connections_check(void);

/* sofia_tap.c */
/* Tells of the messages that pass: the user agent whose lines and calls they are looked up in; NULL = none. */
void sofia_tap_open(struct sofia *sofia);
/* Text of several lines, one log line each. */
void sofia_debug_text(enum log_category category, const struct call *call, const char *what,
                      const char *text, size_t size);

/* sofia_session.c */
/* Starts or restarts the session timer from now on. */
void sofia_session_arm(struct sofia_call *call);
void sofia_session_stop(struct sofia_call *call);
/*
 * After a restart: our refresh at once, which also tells whether the peer still has the call. One
 * whose timer ran out meanwhile is hung up. `refreshed_at_usec` is of the wall clock.
 */
void sofia_session_resume(struct sofia_call *call, uint64_t refreshed_at_usec);
struct session_timer_terms sofia_session_terms(const sip_t *sip);
/* What our side wants, by the configuration. */
struct session_timer_wish sofia_session_wish(const struct sofia *sofia);
/* Answers a re-INVITE or UPDATE in the dialog. */
int sofia_session_request(struct sofia_call *call, nta_incoming_t *request, const sip_t *sip);
/* "300;refresher=uas" */
void sofia_session_print(const struct session_timer_terms *terms, char *text, size_t size);

#endif
