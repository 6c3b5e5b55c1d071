/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/agent_messages.h"

#include <stdlib.h>

#include "services/common/address.h"
#include "services/ike-agent/agent_authentication.h"
#include "services/ike-agent/agent_proposals.h"

static const Vpnsip__IkeStatus statuses[IKE_STATE_COUNT] = {
	[IKE_STATE_WAITING] = VPNSIP__IKE_STATUS__IKE_WAITING,
	[IKE_STATE_NEGOTIATING] = VPNSIP__IKE_STATUS__IKE_NEGOTIATING,
	[IKE_STATE_UP] = VPNSIP__IKE_STATUS__IKE_UP,
	[IKE_STATE_FAILED] = VPNSIP__IKE_STATUS__IKE_FAILED,
	[IKE_STATE_ENDED] = VPNSIP__IKE_STATUS__IKE_ENDED,
};

const char *agent_status_name(enum ike_state state)
{
	return protobuf_c_enum_descriptor_get_value(&vpnsip__ike_status__descriptor,
	                                            (int)statuses[state])
	        ->name;
}

static void describe_suite(const struct engine_suite *suite, Vpnsip__CryptoSuite *message)
{
	vpnsip__crypto_suite__init(message);
	message->encryption = (char *)suite->encryption;
	message->key_bits = suite->key_bits;
	message->integrity = (char *)suite->integrity;
	message->prf = (char *)suite->prf;
	message->group = suite->group;
	message->has_extended_sequence = suite->has_extended_sequence;
}

static void describe_sa(const struct ike_session *session, const struct config_peer *peer,
                        struct session_message *message)
{
	const struct engine_ike *ike = &session->ike;
	const struct config_ike_profile *profile = peer->ike_profile;
	Vpnsip__IkeSaStatus *sa = &message->sa;

	vpnsip__ike_sa_status__init(sa);
	describe_suite(&ike->suite, &message->sa_suite);
	sa->id = session->sa_in_force;
	sa->suite = &message->sa_suite;
	sa->established_mono_usec = ike->established_mono_usec;
	sa->lifetime_sec = profile->lifetime_sec;
	sa->rekeys_at_mono_usec = ike->rekeys_mono_usec;
	sa->ends_at_mono_usec = ike->ends_mono_usec;
	sa->reauthenticates_at_mono_usec = session->reauthenticates_usec;
	sa->is_nat_local = ike->is_nat_local;
	sa->is_nat_remote = ike->is_nat_remote;
	sa->has_fragmentation = ike->has_fragmentation;
	sa->dpd_interval_sec = profile->dpd_interval_sec;
	sa->dpd_retry_sec = profile->dpd_retry_sec;
	sa->nat_keepalive_sec = profile->nat_keepalive_sec;
	message->changed.sa = sa;
}

static size_t list_selectors(const char texts[ENGINE_SELECTORS_MAX][ENGINE_SELECTOR_SIZE],
                             char *list[ENGINE_SELECTORS_MAX])
{
	size_t count = 0;

	for (; count < ENGINE_SELECTORS_MAX && texts[count][0]; count++)
		list[count] = (char *)texts[count];
	return count;
}

static void describe_child(const struct engine_child *child, const struct config_peer *peer,
                           struct session_message *message)
{
	Vpnsip__ChildSaStatus *status = &message->child;

	vpnsip__child_sa_status__init(status);
	describe_suite(&child->suite, &message->child_suite);
	status->inbound_spi = child->inbound_spi;
	status->outbound_spi = child->outbound_spi;
	status->suite = &message->child_suite;
	status->local_selectors = message->local_selectors;
	status->n_local_selectors = list_selectors(child->local_selectors,
	                                           message->local_selectors);
	status->remote_selectors = message->remote_selectors;
	status->n_remote_selectors = list_selectors(child->remote_selectors,
	                                            message->remote_selectors);
	status->installed_mono_usec = child->installed_mono_usec;
	status->lifetime_sec = peer->ipsec_profile->lifetime_sec;
	message->changed.child = status;
}

void agent_describe_session(const struct ike_agent *agent, const struct ike_session *session,
                            struct session_message *message)
{
	const struct config_peer *peer = config_peer_by_if_id(agent->service->config,
	                                                      session->if_id);
	Vpnsip__IkeChanged *changed = &message->changed;

	vpnsip__ike_changed__init(changed);
	changed->tunnel = (char *)session->tunnel;
	changed->attempt = session->attempt;
	changed->if_id = session->if_id;
	changed->status = statuses[session->state];
	changed->cause = (char *)session->cause;
	changed->is_initiator = session->is_initiator;
	changed->local_identity = (char *)session->local_number;
	changed->remote_identity = (char *)session->remote_identity;
	changed->ike_proposal = (char *)session->ike_proposal;
	changed->esp_proposal = (char *)session->esp_proposal;
	changed->initiator_spi = session->initiator_spi;
	changed->responder_spi = session->responder_spi;
	changed->up_since_mono_usec = session->up_since_usec;
	vpnsip__socket_address__init(&message->local);
	vpnsip__socket_address__init(&message->remote);
	address_to_proto(&session->local, &message->local);
	address_to_proto(&session->ike.remote, &message->remote);
	changed->local = &message->local;
	changed->remote = &message->remote;
	changed->ike_profile = peer->ike_profile->name;
	changed->ipsec_profile = peer->ipsec_profile->name;
	changed->ike_rekeys = session->ike_rekeys;
	changed->child_rekeys = session->child_rekeys;
	changed->reauthentications = session->reauthentications;
	changed->is_ended_by_us = session->is_ended_by_us;
	if (session->state != IKE_STATE_UP)
		return;
	agent_describe_authentication(session, changed);
	describe_sa(session, peer, message);
	if (session->child.inbound_spi)
		describe_child(&session->child, peer, message);
}

struct snapshot_filling {
	const struct ike_agent *agent;
	struct session_message *messages;
	Vpnsip__IkeChanged **pointers;
	size_t count;
};

static void add_to_snapshot(void *context, struct ike_session *session)
{
	struct snapshot_filling *filling = context;

	agent_describe_session(filling->agent, session, &filling->messages[filling->count]);
	filling->pointers[filling->count] = &filling->messages[filling->count].changed;
	filling->count++;
}

void agent_give_snapshot(void *context, struct bus_request *request)
{
	struct ike_agent *agent = ike_agent_of(context);
	size_t count = session_table_count(agent->sessions);
	struct snapshot_filling filling = {
		.agent = agent,
		.messages = calloc(count + 1, sizeof(*filling.messages)),
		.pointers = calloc(count + 1, sizeof(*filling.pointers)),
	};
	struct proposal_messages *proposals = proposal_messages_new(agent->service->config);
	Vpnsip__IkeSnapshot snapshot = VPNSIP__IKE_SNAPSHOT__INIT;
	struct admission_message admission;

	if (filling.messages && filling.pointers && proposals) {
		session_table_each(agent->sessions, add_to_snapshot, &filling);
		snapshot.sessions = filling.pointers;
		snapshot.n_sessions = filling.count;
		agent_describe_admission(agent, &admission);
		snapshot.admission = &admission.admission;
		proposal_messages_add(proposals, &snapshot);
		bus_reply(request, &snapshot.base);
	} else {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
	}
	proposal_messages_free(proposals);
	free(filling.messages);
	free(filling.pointers);
}
