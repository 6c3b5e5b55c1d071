/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/holdings.h"

#include <string.h>

void holdings_forget(struct holdings *held, Vpnsip__Service service)
{
	switch (service) {
	case VPNSIP__SERVICE__SIP_AGENT:
		memset(&held->call, 0, sizeof(held->call));
		break;
	case VPNSIP__SERVICE__IKE_AGENT:
		held->ike_attempt = 0;
		held->ike_status = VPNSIP__IKE_STATUS__IKE_STATUS_UNSPECIFIED;
		break;
	case VPNSIP__SERVICE__TUNNEL_AGENT:
		held->peer_attempt = 0;
		held->is_open = held->has_sas = false;
		break;
	case VPNSIP__SERVICE__NAT_QOS_AGENT:
		held->translation_attempt = held->shaper_attempt = 0;
		held->is_translated = false;
		break;
	default:
		break;
	}
}

static bool is_ike_over(const struct holdings *held)
{
	return held->ike_status == VPNSIP__IKE_STATUS__IKE_FAILED ||
	       held->ike_status == VPNSIP__IKE_STATUS__IKE_ENDED;
}

unsigned holdings_steps(const struct holdings *held, uint64_t attempt)
{
	unsigned steps = 0;

	if (held->ike_attempt == attempt && !is_ike_over(held))
		steps |= BIT(STEP_START_IKE);
	if (held->peer_attempt == attempt)
		steps |= BIT(STEP_SET_PEER) | (held->is_open ? BIT(STEP_OPEN_TUNNEL) : 0);
	if (held->translation_attempt == attempt && held->is_translated)
		steps |= BIT(STEP_INSTALL_TRANSLATION);
	if (held->shaper_attempt == attempt)
		steps |= BIT(STEP_INSTALL_SHAPER);
	return steps;
}

unsigned holdings_steps_of(Vpnsip__Service service)
{
	switch (service) {
	case VPNSIP__SERVICE__IKE_AGENT:
		return BIT(STEP_START_IKE);
	case VPNSIP__SERVICE__TUNNEL_AGENT:
		return BIT(STEP_SET_PEER) | BIT(STEP_OPEN_TUNNEL);
	case VPNSIP__SERVICE__NAT_QOS_AGENT:
		return BIT(STEP_INSTALL_TRANSLATION) | BIT(STEP_INSTALL_SHAPER);
	default:
		return 0;
	}
}

enum ike_presence { IKE_ABSENT, IKE_PENDING, IKE_RUNNING, IKE_PRESENCE_COUNT };

static enum ike_presence ike_presence(const struct holdings *held)
{
	if (!(holdings_steps(held, held->call.attempt) & BIT(STEP_START_IKE)))
		return IKE_ABSENT;
	return held->ike_status == VPNSIP__IKE_STATUS__IKE_UP ? IKE_RUNNING : IKE_PENDING;
}

/* An answered call: by what its tunnel was (never opened, unknown to tunnel-agent, open), whether it has SAs, and its IKE. */
enum tunnel_presence { TUNNEL_UNOPENED, TUNNEL_UNKNOWN, TUNNEL_OPENED, TUNNEL_PRESENCE_COUNT };

#define UNFINISHED "the coordinator was restarted before the session was up"
#define GONE       "every service was restarted: nothing is left of the session but its call"

/* NULL: it goes on. */
static const char *const without_sas[TUNNEL_PRESENCE_COUNT][IKE_PRESENCE_COUNT] = {
	[TUNNEL_UNOPENED] = {[IKE_ABSENT] = UNFINISHED, [IKE_PENDING] = UNFINISHED},
	[TUNNEL_UNKNOWN] = {[IKE_PENDING] = UNFINISHED},
};

static enum tunnel_presence tunnel_presence(const struct holdings *held)
{
	if (held->peer_attempt != held->call.attempt)
		return TUNNEL_UNKNOWN;
	return held->is_open ? TUNNEL_OPENED : TUNNEL_UNOPENED;
}

enum adoption holdings_judge(const struct holdings *held, const char **cause)
{
	const struct held_call *call = &held->call;
	enum tunnel_presence tunnel = tunnel_presence(held);
	enum ike_presence ike = ike_presence(held);
	bool has_sas = tunnel != TUNNEL_UNKNOWN && held->has_sas;
	bool is_answered = call->status == VPNSIP__CALL_STATUS__CALL_ANSWERED ||
	                   call->status == VPNSIP__CALL_STATUS__CALL_CONFIRMED;

	*cause = NULL;
	if (!call->is_present)
		return ADOPT_NOTHING;
	if (!is_answered || !call->has_local || !call->has_remote)
		*cause = UNFINISHED;
	else if (held->ike_attempt == call->attempt && is_ike_over(held))
		*cause = "IKE ended while the coordinator was away";
	else if (!has_sas && ike == IKE_ABSENT && call->is_restored)
		*cause = GONE;
	else if (!has_sas)
		*cause = without_sas[tunnel][ike];
	return *cause ? ADOPT_ENDED : ADOPT_RUNNING;
}
