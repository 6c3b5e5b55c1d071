/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/agent_proposals.h"

#include <stdlib.h>
#include <string.h>

#include "services/common/proposals.h"

/** One proposal and what its message points to. */
struct proposal_message {
	Vpnsip__IkeProposalStatus status;
	struct proposal proposal;
	char notation[PROPOSAL_NOTATION_SIZE]; /* its name, unless it is from a section */
	char *encryptions[PROPOSAL_TRANSFORMS_MAX];
	char *integrities[PROPOSAL_TRANSFORMS_MAX];
	char *prfs[PROPOSAL_TRANSFORMS_MAX];
	uint32_t groups[PROPOSAL_TRANSFORMS_MAX];
	char **profiles;
};

struct proposal_messages {
	struct proposal_message **items;
	Vpnsip__IkeProposalStatus **pointers;
	size_t count, capacity;
	size_t profile_count; /* of the configuration */
};

static size_t list_names(const struct proposal *proposal, enum transform_type type, char **list)
{
	size_t count = 0;

	for (size_t i = 0; i < proposal->count; i++)
		if (proposal->transforms[i]->type == type)
			list[count++] = (char *)proposal->transforms[i]->shown;
	return count;
}

static void fill(struct proposal_message *message)
{
	const struct proposal *proposal = &message->proposal;
	Vpnsip__IkeProposalStatus *status = &message->status;

	vpnsip__ike_proposal_status__init(status);
	status->name = proposal->section ? (char *)proposal->section
	                                 : proposal_write(proposal, message->notation);
	status->encryptions = message->encryptions;
	status->n_encryptions = list_names(proposal, TRANSFORM_ENCRYPTION, message->encryptions);
	status->integrities = message->integrities;
	status->n_integrities = list_names(proposal, TRANSFORM_INTEGRITY, message->integrities);
	status->prfs = message->prfs;
	status->n_prfs = list_names(proposal, TRANSFORM_PRF, message->prfs);
	status->groups = message->groups;
	for (size_t i = 0; i < proposal->count; i++)
		if (proposal->transforms[i]->type == TRANSFORM_GROUP)
			message->groups[status->n_groups++] = proposal->transforms[i]->number;
	status->profiles = message->profiles;
	status->is_weak = proposal_weakness(proposal) != NULL;
}

static bool is_same(const struct proposal *a, const struct proposal *b)
{
	return a->section == b->section && a->count == b->count &&
	       memcmp(a->transforms, b->transforms, a->count * sizeof(*a->transforms)) == 0;
}

static bool make_room(struct proposal_messages *messages)
{
	size_t capacity = messages->capacity * 2 + 8;
	void *items, *pointers;

	if (messages->count < messages->capacity)
		return true;
	items = realloc(messages->items, capacity * sizeof(*messages->items));
	if (!items)
		return false;
	messages->items = items;
	pointers = realloc(messages->pointers, capacity * sizeof(*messages->pointers));
	if (!pointers)
		return false;
	messages->pointers = pointers;
	messages->capacity = capacity;
	return true;
}

/** The message of the proposal, made if there is none. NULL when out of memory. */
static struct proposal_message *message_of(struct proposal_messages *messages,
                                           const struct proposal *proposal)
{
	struct proposal_message *message;

	for (size_t i = 0; i < messages->count; i++)
		if (is_same(&messages->items[i]->proposal, proposal))
			return messages->items[i];
	message = make_room(messages) ? calloc(1, sizeof(*message)) : NULL;
	if (!message)
		return NULL;
	message->profiles = calloc(messages->profile_count + 1, sizeof(*message->profiles));
	if (!message->profiles) {
		free(message);
		return NULL;
	}
	message->proposal = *proposal;
	fill(message);
	messages->items[messages->count] = message;
	messages->pointers[messages->count++] = &message->status;
	return message;
}

/** Adds the list's proposals; `profile` uses them, unless it is NULL. */
static bool add_list(struct proposal_messages *messages, const struct proposal_list *list,
                     char *profile)
{
	for (size_t i = 0; i < list->count; i++) {
		struct proposal_message *message = message_of(messages, &list->items[i]);
		Vpnsip__IkeProposalStatus *status;

		if (!message)
			return false;
		status = &message->status;
		if (profile &&
		    (!status->n_profiles || status->profiles[status->n_profiles - 1] != profile))
			status->profiles[status->n_profiles++] = profile;
	}
	return true;
}

struct proposal_messages *proposal_messages_new(const struct config *config)
{
	struct proposal_messages *messages = calloc(1, sizeof(*messages));
	struct proposal_list list;
	char why[128];
	bool is_good = messages != NULL;

	if (messages)
		messages->profile_count = config->ike_profile_count;
	for (size_t i = 0; is_good && i < config->ike_proposal_count; i++) {
		list.count = 0;
		is_good = !proposals_of_section(&config->ike_proposals[i], &list, why,
		                                sizeof(why)) ||
		          add_list(messages, &list, NULL);
	}
	for (size_t i = 0; is_good && i < config->ike_profile_count; i++)
		is_good = !proposals_of_ike_profile(config, &config->ike_profiles[i], &list, why,
		                                    sizeof(why)) ||
		          add_list(messages, &list, config->ike_profiles[i].name);
	if (is_good)
		return messages;
	proposal_messages_free(messages);
	return NULL;
}

void proposal_messages_free(struct proposal_messages *messages)
{
	if (!messages)
		return;
	for (size_t i = 0; i < messages->count; i++) {
		free(messages->items[i]->profiles);
		free(messages->items[i]);
	}
	free(messages->items);
	free(messages->pointers);
	free(messages);
}

void proposal_messages_add(struct proposal_messages *messages, Vpnsip__IkeSnapshot *snapshot)
{
	snapshot->proposals = messages->pointers;
	snapshot->n_proposals = messages->count;
}
