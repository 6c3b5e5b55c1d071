/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/internal.h"

void bus_trace(struct bus *bus, const char *session, uint64_t attempt, Vpnsip__TraceKind kind,
               const char *outside, bool is_incoming, const char *format, ...)
{
	(void)bus;
	(void)session;
	(void)attempt;
	(void)kind;
	(void)outside;
	(void)is_incoming;
	(void)format;
}

uint64_t bus_current_trace(const struct bus *bus)
{
	return bus->trace_id;
}

void bus_resume_trace(struct bus *bus, uint64_t trace_id)
{
	bus->trace_id = trace_id;
}
