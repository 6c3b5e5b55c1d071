/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A trace put together and drawn, from hand-made answers: which attempt, whose entries, how it looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/cli/trace.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FIRST_USEC   5000000ull

/** One entry, short to write; times are since FIRST_USEC. */
struct moment {
	Vpnsip__Service service;
	uint64_t usec;
	Vpnsip__TraceKind kind;
	Vpnsip__Service peer;
	bool is_incoming;
	const char *text, *outcome;
	uint64_t duration_usec, trace_id, attempt;
};

#define REQUEST(from, usec, to, text, duration, outcome)                              \
	{                                                                             \
		VPNSIP__SERVICE__##from, usec, VPNSIP__TRACE_KIND__TRACE_BUS_REQUEST, \
			VPNSIP__SERVICE__##to, false, text, outcome, duration, 7, 12  \
	}
#define AT(service, usec, kind, text)                                                   \
	{                                                                               \
		VPNSIP__SERVICE__##service, usec, VPNSIP__TRACE_KIND__TRACE_##kind,     \
			VPNSIP__SERVICE__SERVICE_UNSPECIFIED, false, text, "", 0, 7, 12 \
	}
#define OUTSIDE(service, usec, kind, is_incoming, text)                                       \
	{                                                                                     \
		VPNSIP__SERVICE__##service, usec, VPNSIP__TRACE_KIND__TRACE_##kind,           \
			VPNSIP__SERVICE__SERVICE_UNSPECIFIED, is_incoming, text, "", 0, 7, 12 \
	}

/* Not in the order of time: they come service by service. */
static const struct moment moments[] = {
	AT(COORDINATOR, 0, STATE, "READY_TO_CONNECT -> CALLING (packet)"),
	REQUEST(COORDINATOR, 100, IKE_AGENT, "PrepareIke", 800, ""),
	REQUEST(COORDINATOR, 150, NAT_QOS_AGENT, "ReservePort", 400, ""),
	REQUEST(COORDINATOR, 1500, SIP_AGENT, "PlaceCall", 2100, ""),
	REQUEST(COORDINATOR, 30100, TUNNEL_AGENT, "SetPeer", 1000000,
                "tunnel-agent did not answer SetPeer within 1000 ms"),
	AT(COORDINATOR, 1030200, TIMER, "release ran out"),
	OUTSIDE(SIP_AGENT, 2300, SIP, false, "INVITE sip:0388884001@198.51.100.5"),
	OUTSIDE(SIP_AGENT, 25000, SIP, true, "200 OK"),
	OUTSIDE(IKE_AGENT, 31000, IKE, false, "IKE_SA_INIT request 0"),
	AT(NAT_QOS_AGENT, 28000, KERNEL, "translation 50670 installed"),
};

/** A part for each service, made of the moments. */
struct story {
	Vpnsip__TraceEntry entries[16], *lists[VPNSIP__SERVICE__CLI][16];
	Vpnsip__Trace traces[VPNSIP__SERVICE__CLI];
	struct trace_part parts[VPNSIP__SERVICE__CLI - 1];
};

static void begin(struct story *story, const struct moment *list, size_t count)
{
	*story = (struct story){0};
	for (int i = 0; i < VPNSIP__SERVICE__CLI - 1; i++) {
		vpnsip__trace__init(&story->traces[i]);
		story->traces[i].entries = story->lists[i];
		story->parts[i] = (struct trace_part){VPNSIP__SERVICE__COORDINATOR + i,
		                                      &story->traces[i], 1};
	}
	for (size_t i = 0; i < count; i++) {
		Vpnsip__TraceEntry *entry = &story->entries[i];
		Vpnsip__Trace *trace =
			&story->traces[list[i].service - VPNSIP__SERVICE__COORDINATOR];

		vpnsip__trace_entry__init(entry);
		entry->mono_usec = FIRST_USEC + list[i].usec;
		entry->kind = list[i].kind;
		entry->session = (char *)(list[i].attempt ? "vsip2" : "");
		entry->attempt = list[i].attempt;
		entry->trace_id = list[i].trace_id;
		entry->peer = list[i].peer;
		entry->is_incoming = list[i].is_incoming;
		if (entry->kind == VPNSIP__TRACE_KIND__TRACE_SIP ||
		    entry->kind == VPNSIP__TRACE_KIND__TRACE_IKE)
			entry->outside = (char *)"198.51.100.5:5060";
		entry->text = (char *)list[i].text;
		entry->outcome = (char *)list[i].outcome;
		entry->duration_usec = list[i].duration_usec;
		trace->entries[trace->n_entries++] = entry;
	}
}

static const struct trace_attempt attempt = {
	.attempt = 12,
	.session = "vsip2",
	.number = "0388884001",
	.direction = VPNSIP__DIRECTION__OUTGOING,
	.cause = "tunnel-agent did not answer SetPeer within 1000 ms",
};

static char *draw(show_text_fn *print, const struct story *story)
{
	json_t *model = trace_model(&attempt, story->parts, VPNSIP__SERVICE__CLI - 1);
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	assert_non_null(model);
	print(stream, model);
	fclose(stream);
	json_decref(model);
	return text;
}

static void test_ladder(void **state)
{
	struct story story;
	char *text;

	(void)state;
	begin(&story, moments, COUNT(moments));
	text = draw(trace_ladder_text, &story);
	/* clang-format off */
	assert_string_equal(text,
		"vsip2 0388884001: attempt 12, outgoing: tunnel-agent did not answer SetPeer within 1000 ms\n"
		"       ms     carrier          sip        coordinator        ike          tunnel         nat-qos         peer\n"
		"      0.0        |              |              * READY_TO_CONNECT -> CALLING (packet)       |              |\n"
		"      0.1        |              |              |------------->| PrepareIke 0.8 ms           |              |\n"
		"      0.1        |              |              |------------ ReservePort 0.4 ms ----------->|              |\n"
		"      1.5        |              |<-------------| PlaceCall 2.1 ms            |              |              |\n"
		"      2.3        |<-------------| INVITE sip:0388884001@198.51.100.5         |              |              |\n"
		"     25.0        |--- 200 OK -->|              |              |              |              |              |\n"
		"     28.0        |              |              |              | translation 50670 installed #              |\n"
		"     30.1        |              |              |---------------------------->| SetPeer 1000.0 ms failed: tunnel-agent...\n"
		"     31.0        |              |              |              |---------- IKE_SA_INIT request 0 ---------->|\n"
		"   1030.2        |              |              @ release ran out             |              |              |\n");
	/* clang-format on */
	free(text);
}

static void test_ladder_fits(void **state)
{
	struct story story;
	char *text, *line;

	(void)state;
	begin(&story, moments, COUNT(moments));
	story.entries[0].text =
		(char *)"a very long reason that goes on and on, beyond what a column, or several "
			"of them, or even the whole width of the terminal would ever hold";
	text = draw(trace_ladder_text, &story);
	line = strchr(text, '\n') + 1; /* the title may be longer */
	for (line = strtok(line, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 120);
	free(text);
}

static void test_narrow(void **state)
{
	struct story story;
	char *text;

	(void)state;
	begin(&story, moments, COUNT(moments));
	story.entries[8].outside = (char *)"";
	text = draw(trace_narrow_text, &story);
	assert_non_null(strstr(text,
	                       "      2.3  sip-agent -> carrier 198.51.100.5:5060: INVITE "
	                       "sip:0388884001@198.51.100.5\n"
	                       "     25.0  carrier -> sip-agent 198.51.100.5:5060: 200 OK\n"
	                       "     28.0  nat-qos-agent: translation 50670 installed\n"
	                       "     30.1  vpnsip-coordinator -> tunnel-agent: SetPeer 1000.0 ms "
	                       "failed: tunnel-agent did not answer SetPeer within 1000 ms\n"));
	/* No message: nobody is outside. */
	assert_non_null(strstr(text, "     31.0  ike-agent: IKE_SA_INIT request 0\n"));
	free(text);
}

/* An entry without an attempt belongs by its trace; one of another attempt or session does not, whatever its trace. */
static void test_what_belongs(void **state)
{
	static const struct moment list[] = {
		{VPNSIP__SERVICE__SIP_AGENT, 0, VPNSIP__TRACE_KIND__TRACE_SIP, 0, true,
	         "INVITE sip:us", "", 0, 7, 0},
		{VPNSIP__SERVICE__SIP_AGENT, 10, VPNSIP__TRACE_KIND__TRACE_STATE, 0, false,
	         "another's", "", 0, 7, 13},
		AT(COORDINATOR, 20, STATE, "ours"),
	};
	struct story story;
	uint64_t ids[4];
	json_t *model, *entries;

	(void)state;
	begin(&story, list, COUNT(list));
	story.entries[2].trace_id = 9;
	assert_int_equal(trace_ids(story.parts, VPNSIP__SERVICE__CLI - 1, ids, COUNT(ids)), 2);
	assert_int_equal(ids[0], 9);
	assert_int_equal(ids[1], 7);
	assert_int_equal(trace_ids(story.parts, VPNSIP__SERVICE__CLI - 1, ids, 1), 1);
	model = trace_model(&attempt, story.parts, VPNSIP__SERVICE__CLI - 1);
	entries = json_object_get(model, "entries");
	assert_int_equal(json_array_size(entries), 2);
	assert_string_equal(text_of(json_array_get(entries, 0), "text"), "INVITE sip:us");
	assert_string_equal(text_of(json_array_get(entries, 0), "from"), "carrier");
	assert_string_equal(text_of(json_array_get(entries, 1), "text"), "ours");
	json_decref(model);
}

static void test_lost_parts(void **state)
{
	struct story story;
	char *text;

	(void)state;
	begin(&story, moments, COUNT(moments));
	story.parts[1].started_mono_usec = FIRST_USEC + 2500000;
	story.parts[2].trace = NULL;
	story.traces[3].forgotten = 5;
	text = draw(trace_ladder_text, &story);
	assert_non_null(strstr(text, "Note: sip-agent was started 2.5 s after the first cause: its "
	                             "part until then is lost\n"
	                             "Note: ike-agent did not tell its part\n"
	                             "Note: tunnel-agent has forgotten 5 entries in the middle\n"));
	assert_null(strstr(text, "vpnsip-coordinator was started"));
	free(text);
}

static const struct trace_attempt *find(const struct trace_attempts *attempts, const char *first,
                                        const char *second, char why[256])
{
	struct words words = {0};

	if (first)
		words.arguments[words.count++].value = first;
	if (second)
		words.arguments[words.count++].value = second;
	return trace_attempts_find(attempts, &words, why, 256);
}

static void test_attempts(void **state)
{
	static struct trace_attempts attempts;
	Vpnsip__CallRecord old = VPNSIP__CALL_RECORD__INIT, other = VPNSIP__CALL_RECORD__INIT;
	Vpnsip__CallRecord *list[] = {&other, &old};
	Vpnsip__CallRecordList records = VPNSIP__CALL_RECORD_LIST__INIT;
	Vpnsip__SessionChanged session = VPNSIP__SESSION_CHANGED__INIT, *sessions[] = {&session};
	Vpnsip__CoordinatorSnapshot snapshot = VPNSIP__COORDINATOR_SNAPSHOT__INIT;
	char why[256];

	(void)state;
	old.record = 11;
	old.tunnel = (char *)"vsip2";
	old.remote_number = (char *)"0388884001";
	old.cause = (char *)"idle";
	old.direction = VPNSIP__DIRECTION__INCOMING;
	old.end = VPNSIP__RECORD_END__RECORD_EXACT;
	other = old;
	other.record = 12;
	other.tunnel = (char *)"vsip3";
	other.remote_number = (char *)"0388885001";
	records.records = list;
	records.n_records = 2;
	session.tunnel = old.tunnel;
	session.remote_number = old.remote_number;
	session.attempt = 13;
	session.direction = VPNSIP__DIRECTION__OUTGOING;
	snapshot.sessions = sessions;
	snapshot.n_sessions = 1;

	trace_attempts_collect(&attempts, &records, &snapshot, NULL);
	assert_int_equal(attempts.count, 3);
	assert_int_equal(find(&attempts, NULL, NULL, why)->attempt, 13);
	assert_int_equal(find(&attempts, "last", NULL, why)->attempt, 13);
	assert_int_equal(find(&attempts, "vsip3", NULL, why)->attempt, 12);
	assert_int_equal(find(&attempts, "0388884001", NULL, why)->attempt, 13);
	assert_int_equal(find(&attempts, "attempt", "11", why)->attempt, 11);
	assert_string_equal(find(&attempts, "attempt", "11", why)->cause, "idle");
	assert_null(find(&attempts, "attempt", "99", why));
	assert_non_null(strstr(why, "attempt 99 is not known"));
	assert_null(find(&attempts, "attempt", NULL, why));
	assert_null(find(&attempts, "vsip3", "3", why));
	assert_null(find(&attempts, "vsip9", NULL, why));
	assert_non_null(strstr(why, "no attempt of vsip9 is known"));
	trace_attempts_collect(&attempts, NULL, NULL, NULL);
	assert_null(find(&attempts, NULL, NULL, why));
	assert_non_null(strstr(why, "no attempt at all is known"));
}

static void test_list(void **state)
{
	static struct trace_attempts attempts = {.count = 1};
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	json_t *model;

	(void)state;
	attempts.list[0] = attempt;
	model = trace_list_model(&attempts, 100);
	trace_list_text(stream, model);
	fclose(stream);
	assert_string_equal(
		text, "Attempt  Session  Number          Direction  Started              Cause\n"
		      "12       vsip2    0388884001      OUTGOING   -                    "
		      "tunnel-agent did "
		      "not answer SetPeer within 1000 ms\n");
	json_decref(model);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ladder),     cmocka_unit_test(test_ladder_fits),
		cmocka_unit_test(test_narrow),     cmocka_unit_test(test_what_belongs),
		cmocka_unit_test(test_lost_parts), cmocka_unit_test(test_attempts),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
