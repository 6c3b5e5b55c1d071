/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SIP guard within sip-agent: what a message must be before nta sees it, for nta moves a dialog's sequence number before
 * anybody is asked. The kernel's guard (nat-qos-agent) stands before this one and may be missing.
 *
 * nta hands tport_tcreate() the function that takes received messages; ours below takes its place (the dynamic linker prefers the
 * program's) and puts the guard before that function. In the same way tport_recv_stun_dgram() is replaced by one that
 * answers nothing: sofia-sip's own answers every STUN message at a SIP port.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <sofia-sip/msg.h>
#include <sofia-sip/msg_addr.h>
#include <sofia-sip/su_tagarg.h>
#include <sofia-sip/tport.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus.h"
#include "services/common/log.h"
#include "services/sip-agent/guard_memory.h"
#include "services/sip-agent/sofia_internal.h"

/* More than ten proxies on the way is a loop or an attack; so is a body that no SDP fills. */
#define HOPS_MAXIMUM    20
#define HEADERS_MAXIMUM 60
#define BODY_MAXIMUM    16384

/* What becomes of a message that is turned away. */
struct guard_verdict {
	enum guard_class class;
	int status; /* 0 = no answer */
	const char *phrase;
};

typedef tport_t *tport_create_fn(tp_stack_t *stack, const tport_stack_class_t *class,
                                 su_root_t *root, tag_type_t tag, tag_value_t value, ...);

static tport_stack_class_t guarded;
static void (*pass_on)(tp_stack_t *, tport_t *, msg_t *, tp_magic_t *, su_time_t);

static size_t list_length(const sip_common_t *header)
{
	size_t length = 0;

	for (; header; header = (const sip_common_t *)((const sip_header_t *)header)->sh_next)
		length++;
	return length;
}

static bool is_too_large(const sip_t *sip)
{
	return list_length((const sip_common_t *)sip->sip_via) > HOPS_MAXIMUM ||
	       list_length((const sip_common_t *)sip->sip_route) > HOPS_MAXIMUM ||
	       list_length((const sip_common_t *)sip->sip_record_route) > HOPS_MAXIMUM ||
	       list_length((const sip_common_t *)sip->sip_unknown) > HEADERS_MAXIMUM ||
	       (sip->sip_payload && sip->sip_payload->pl_len > BODY_MAXIMUM);
}

size_t sofia_guard_half_open(const struct sofia *sofia, const struct sofia_line *line)
{
	size_t count = 0;

	for (size_t i = 0; i < sofia->line_count; i++)
		if (!line || line == &sofia->lines[i])
			count += sofia->lines[i].half_open;
	return count;
}

/* Each call takes an INVITE and an ACK at least: half of the packets that the kernel lets pass. */
static bool is_too_often(struct sofia_line *line, struct guard_bucket *bucket)
{
	const unsigned rate = (line->config->guard_rate + 1) / 2;
	const unsigned burst = (line->config->guard_burst + 1) / 2;

	return !guard_bucket_take(bucket, rate, burst, bus_mono_usec(line->sofia->bus));
}

static const struct guard_verdict *judge_new_call(struct sofia_line *line, const sip_t *sip)
{
	static const struct guard_verdict replay = {GUARD_REPLAY, SIP_482_LOOP_DETECTED},
					  rate = {GUARD_INVITE_RATE, 0, NULL},
					  half_open = {GUARD_HALF_OPEN,
	                                               SIP_503_SERVICE_UNAVAILABLE};

	if (guard_has_ended(&line->sofia->guard, sip->sip_call_id->i_id))
		return &replay;
	if (is_too_often(line, &line->invites))
		return &rate;
	if (sofia_guard_half_open(line->sofia, line) >= line->config->maximum_half_open)
		return &half_open;
	return NULL;
}

/* That of the call itself has the sequence number of the dialog, and nta waits for it until the ACK. */
static const struct guard_verdict *judge_repeated_invite(const sip_t *sip,
                                                         const struct sofia_call *call)
{
	static const struct guard_verdict merged = {GUARD_NO_TO_TAG, SIP_482_LOOP_DETECTED},
					  replay = {GUARD_REPLAY, SIP_482_LOOP_DETECTED};

	if (!call->leg)
		return NULL;
	if (sip->sip_cseq->cs_seq != nta_leg_get_rseq(call->leg))
		return &merged;
	return call->is_acknowledged ? &replay : NULL;
}

/*
 * nta lets an old-style request without To tag into a dialog (RFC 2543): anybody who saw the INVITE could end the call.
 */
static const struct guard_verdict *judge_without_tag(struct sofia_line *line, const sip_t *sip,
                                                     const struct sofia_call *call)
{
	static const struct guard_verdict no_tag = {GUARD_NO_TO_TAG, SIP_481_NO_TRANSACTION},
					  rate = {GUARD_REQUEST_RATE, 0, NULL};

	switch (sip->sip_request->rq_method) {
	case sip_method_ack:
	case sip_method_cancel:
		return NULL;
	case sip_method_invite:
		return call ? judge_repeated_invite(sip, call) : judge_new_call(line, sip);
	case sip_method_bye:
	case sip_method_update:
	case sip_method_prack:
		return &no_tag;
	default:
		if (call)
			return &no_tag;
		return is_too_often(line, &line->requests) ? &rate : NULL;
	}
}

static const struct guard_verdict *judge_in_dialog(const sip_t *sip, const struct sofia_call *call)
{
	static const struct guard_verdict foreign = {GUARD_FOREIGN_DIALOG, SIP_481_NO_CALL},
					  jump = {GUARD_CSEQ_JUMP, SIP_500_INTERNAL_SERVER_ERROR};
	const char *tag;

	if (sip->sip_request->rq_method == sip_method_ack)
		return NULL;
	if (!call)
		return &foreign;
	if (!call->leg)
		return NULL;
	tag = nta_leg_get_tag(call->leg);
	if (tag && strcmp(tag, sip->sip_to->a_tag) != 0)
		return &foreign;
	if (sip->sip_request->rq_method != sip_method_cancel &&
	    guard_is_sequence_jump(nta_leg_get_rseq(call->leg), sip->sip_cseq->cs_seq))
		return &jump;
	return NULL;
}

/* NULL when nta may have the message. What lacks a header that each has is left to nta, which answers 400. */
static const struct guard_verdict *judge(struct sofia_line *line, msg_t *message, const sip_t *sip)
{
	static const struct guard_verdict foreign = {GUARD_FOREIGN_SOURCE, 0, NULL},
					  malformed = {GUARD_MALFORMED, 0, NULL},
					  too_large = {GUARD_TOO_LARGE, SIP_513_MESSAGE_TOO_LARGE},
					  too_large_response = {GUARD_TOO_LARGE, 0, NULL};

	if (!sofia_line_is_registrar(line, msg_addr(message)))
		return &foreign;
	if (!sip || (!sip->sip_request && !sip->sip_status))
		return msg_size(message) ? NULL
		                         : &malformed; /* empty lines keep a connection alive */
	if (is_too_large(sip))
		return sip->sip_request && sip->sip_request->rq_method != sip_method_ack
		               ? &too_large
		               : &too_large_response;
	if (!sip->sip_request || !sip->sip_call_id || !sip->sip_to || !sip->sip_cseq)
		return NULL;
	const struct sofia_call *call = sofia_call_by_id(line->sofia, sip->sip_call_id->i_id);
	return sip->sip_to->a_tag ? judge_in_dialog(sip, call) : judge_without_tag(line, sip, call);
}

void sofia_guard_note(struct sofia_line *line, enum guard_class class, msg_t *message)
{
	struct bus *bus = line->sofia->bus;
	const su_sockaddr_t *source = message ? msg_addr(message) : NULL;
	char host[INET6_ADDRSTRLEN] = "-";
	uint64_t count;

	if (source)
		inet_ntop(source->su_family, SU_ADDR(source), host, sizeof(host));
	line->sofia->counters.requests_refused++;
	if (event_class_count(&line->sofia->guard.classes[class], host, bus_mono_usec(bus),
	                      bus_wall_usec(bus), &count))
		log_line(LOG_NOTICE, "sip.guard.reject class=%s src=%s line=%s count=%llu",
		         guard_class_name(class), host, line->config->number,
		         (unsigned long long)count);
}

void sofia_guard_remember(struct sofia *sofia, const char *call_id)
{
	/* A full disk is told of by the record of the call. */
	if (guard_remember(&sofia->guard, call_id) &&
	    !guard_memory_note(sofia->state_directory, &sofia->guard))
		log_debug(LOG_SIP_ERROR, NULL, NULL, "call %s is forgotten by a restart: %m",
		          call_id);
}

/* Without a transaction: nothing is kept for it. */
static void turn_away(struct sofia_line *line, nta_agent_t *agent, msg_t *message,
                      const struct guard_verdict *verdict)
{
	sofia_guard_note(line, verdict->class, message);
	if (verdict->status)
		nta_msg_treply(
			agent, message, verdict->status, verdict->phrase,
			SIPTAG_RETRY_AFTER_STR(verdict->class == GUARD_HALF_OPEN ? "10" : NULL),
			TAG_END());
	else
		nta_msg_discard(agent, message);
}

static void receive(tp_stack_t *stack, tport_t *transport, msg_t *message, tp_magic_t *magic,
                    su_time_t now)
{
	nta_agent_t *agent = (nta_agent_t *)stack;
	struct sofia_line *line = nta_agent_magic(agent);
	const struct guard_verdict *verdict = line->sofia->is_guard_off
	                                              ? NULL
	                                              : judge(line, message, sip_object(message));

	if (verdict)
		turn_away(line, agent, message, verdict);
	else
		pass_on(stack, transport, message, magic, now);
}

tport_t *tport_tcreate(tp_stack_t *stack, const tport_stack_class_t *tpac, su_root_t *root,
                       tag_type_t tag, tag_value_t value, ...)
{
	tport_create_fn *create = (tport_create_fn *)dlsym(RTLD_NEXT, "tport_tcreate");
	tport_t *transport;
	ta_list tags;

	pass_on = tpac->tpac_recv;
	guarded = *tpac;
	guarded.tpac_recv = receive;
	ta_start(tags, tag, value);
	transport = create(stack, &guarded, root, ta_tags(tags));
	ta_end(tags);
	return transport;
}

int tport_recv_stun_dgram(const tport_t *transport, msg_t **message, su_sockaddr_t *source,
                          socklen_t source_size);

int tport_recv_stun_dgram(const tport_t *transport, msg_t **message, su_sockaddr_t *source,
                          socklen_t source_size)
{
	(void)transport;
	(void)source;
	(void)source_size;
	msg_destroy(*message);
	*message = NULL;
	return 0;
}

bool sofia_guard_is_in_force(void)
{
	return pass_on != NULL;
}
