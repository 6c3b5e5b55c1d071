/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cost guards as a message: what each allows, what stands against it, what it turned away, and who is in hold-down. */
#include <stdlib.h>

#include "services/coordinator/coordinator.h"

struct admission_answer {
	Vpnsip__CallAdmission message;
	Vpnsip__AdmissionLimit *limits;
	Vpnsip__AdmissionHold *holds;
};

static void add_limit(struct admission_answer *answer, const struct admission_subject *subject,
                      enum admission_guard guard)
{
	const struct admission_guard_description *description = &admission_guards[guard];
	const struct admission_tally *tally = admission_tally(subject, guard);
	unsigned limit = description->limit(subject);
	Vpnsip__AdmissionLimit *entry;

	/* Of those that everybody has all are shown, of the others those that are configured. */
	if (!limit && description->scope != SCOPE_ALL)
		return;
	entry = &answer->limits[answer->message.n_limits];
	vpnsip__admission_limit__init(entry);
	entry->name = (char *)description->name;
	if (description->scope == SCOPE_PEER)
		entry->scope = subject->session->peer->tunnel;
	else if (description->scope == SCOPE_LINE)
		entry->scope = subject->line->config->number;
	entry->limit = limit;
	entry->used = description->used(subject);
	entry->refused = tally->refused;
	entry->last_cause = (char *)tally->cause;
	entry->last_refused_at_usec = tally->refused_wall_usec;
	answer->message.limits[answer->message.n_limits++] = entry;
}

static void add_limits(struct admission_answer *answer, const struct core *core,
                       enum admission_guard guard)
{
	struct admission_subject subject = {.core = core};

	switch (admission_guards[guard].scope) {
	case SCOPE_ALL:
		add_limit(answer, &subject, guard);
		break;
	case SCOPE_LINE:
		for (size_t i = 0; i < core->line_count; i++) {
			subject.line = &core->lines[i];
			add_limit(answer, &subject, guard);
		}
		break;
	case SCOPE_PEER:
		for (size_t i = 0; i < core->session_count; i++) {
			subject.session = &core->sessions[i];
			add_limit(answer, &subject, guard);
		}
		break;
	}
}

static void add_hold(struct admission_answer *answer, const struct session *session)
{
	Vpnsip__AdmissionHold *hold = &answer->holds[answer->message.n_holds];

	if (session->state != SESSION_HOLDDOWN)
		return;
	vpnsip__admission_hold__init(hold);
	hold->tunnel = session->peer->tunnel;
	hold->remote_number = session->peer->number;
	hold->until_mono_usec = session->holddown_until_usec;
	hold->failures = session->failures;
	hold->pause_msec = session->pause_msec;
	hold->cause = (char *)session->cause;
	answer->message.holds[answer->message.n_holds++] = hold;
}

void show_admission(const struct core *core, struct bus_request *request)
{
	const size_t most = GUARD_COUNT * (1 + core->line_count + core->session_count);
	struct admission_answer answer = {
		.message = VPNSIP__CALL_ADMISSION__INIT,
		.limits = calloc(most, sizeof(*answer.limits)),
		.holds = calloc(core->session_count + 1, sizeof(*answer.holds)),
	};

	answer.message.limits = calloc(most, sizeof(struct Vpnsip__AdmissionLimit *));
	answer.message.holds = calloc(core->session_count + 1,
	                              sizeof(struct Vpnsip__AdmissionHold *));
	if (!answer.limits || !answer.holds || !answer.message.limits || !answer.message.holds) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
		goto out;
	}
	for (enum admission_guard guard = 0; guard < GUARD_COUNT; guard++)
		add_limits(&answer, core, guard);
	for (size_t i = 0; i < core->session_count; i++)
		add_hold(&answer, &core->sessions[i]);
	bus_reply(request, &answer.message.base);
out:
	free(answer.limits);
	free(answer.holds);
	free(answer.message.limits);
	free(answer.message.holds);
}
