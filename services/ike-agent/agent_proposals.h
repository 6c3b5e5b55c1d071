/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the configuration proposes for IKE, as messages of the snapshot. Pure. */
#ifndef VPNSIP_IKE_AGENT_PROPOSALS_H
#define VPNSIP_IKE_AGENT_PROPOSALS_H

#include "ike_agent.pb-c.h"
#include "services/common/config.h"

struct proposal_messages;

/** All proposals: those of sections, used or not, and what profiles write themselves. NULL when out of memory. */
struct proposal_messages *proposal_messages_new(const struct config *config);
void proposal_messages_free(struct proposal_messages *messages);

/** Hangs them into the snapshot; they must live until it is packed. */
void proposal_messages_add(struct proposal_messages *messages, Vpnsip__IkeSnapshot *snapshot);

#endif
