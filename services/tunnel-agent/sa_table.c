/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/sa_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Past this a 64-bit counter is taken for exhausted; it is out of reach. */
#define EXTENDED_SEQUENCE_LIMIT (UINT64_MAX - 1)
/* A rekey is asked for when so few numbers are left. */
#define SEQUENCE_RESERVE        (UINT32_C(1) << 28)

static struct sa **find_slot(struct sa **list, unsigned count, uint32_t spi)
{
	for (unsigned i = 0; i < count; i++)
		if (list[i]->spi == spi)
			return &list[i];
	return NULL;
}

static void free_sa(struct sa *sa)
{
	esp_free(sa->esp);
	free(sa);
}

static void retire_predecessors(struct sa **list, unsigned count, uint64_t owner, uint64_t now_usec)
{
	for (unsigned i = 0; i < count; i++)
		if (list[i]->owner != owner && !list[i]->retired_usec)
			list[i]->retired_usec = now_usec;
}

int sa_enter(struct sa_table *table, uint32_t spi, bool is_inbound, const char *algorithms,
             const struct sa_terms *terms, uint64_t now_usec, const char **why)
{
	struct sa **list = is_inbound ? table->inbound : table->outbound;
	unsigned *count = is_inbound ? &table->inbound_count : &table->outbound_count;
	struct sa *sa;

	if (find_slot(list, *count, spi))
		return 0;
	if (*count == SA_MAXIMUM) {
		*why = "the tunnel has too many SAs";
		return -1;
	}
	sa = calloc(1, sizeof(*sa));
	if (!sa) {
		*why = "out of memory";
		return -1;
	}
	snprintf(sa->algorithms, sizeof(sa->algorithms), "%s", algorithms);
	sa->spi = spi;
	sa->is_inbound = is_inbound;
	replay_init(&sa->replay, terms->replay_window, false);
	sa->limits = terms->limits;
	sa->owner = terms->owner;
	sa->installed_usec = now_usec;
	retire_predecessors(list, *count, sa->owner, now_usec);
	list[(*count)++] = sa;
	return 0;
}

int sa_install(struct sa_table *table, uint32_t spi, const struct esp_options *options,
               const struct sa_terms *terms, uint64_t now_usec, const char **why)
{
	struct sa **list = options->is_inbound ? table->inbound : table->outbound;
	unsigned *count = options->is_inbound ? &table->inbound_count : &table->outbound_count;
	struct esp *esp;
	struct sa *sa;

	if (find_slot(list, *count, spi))
		return 0;
	esp = esp_new(options, why);
	if (!esp)
		return -1;
	if (sa_enter(table, spi, options->is_inbound, esp_algorithms(esp), terms, now_usec, why) !=
	    0) {
		esp_free(esp);
		return -1;
	}
	sa = list[*count - 1];
	sa->esp = esp;
	replay_init(&sa->replay, terms->replay_window, options->has_extended_sequence);
	sa->sequence_limit = options->has_extended_sequence ? EXTENDED_SEQUENCE_LIMIT : UINT32_MAX;
	return 0;
}

bool sa_remove(struct sa_table *table, bool is_inbound, uint32_t spi)
{
	struct sa **list = is_inbound ? table->inbound : table->outbound;
	unsigned *count = is_inbound ? &table->inbound_count : &table->outbound_count;
	struct sa **slot = find_slot(list, *count, spi);

	if (!slot)
		return false;
	free_sa(*slot);
	(*count)--;
	memmove(slot, slot + 1, (size_t)(list + *count - slot) * sizeof(*slot));
	return true;
}

void sa_remove_all(struct sa_table *table)
{
	while (table->inbound_count > 0)
		free_sa(table->inbound[--table->inbound_count]);
	while (table->outbound_count > 0)
		free_sa(table->outbound[--table->outbound_count]);
}

struct sa *sa_find(const struct sa_table *table, bool is_inbound, uint32_t spi)
{
	struct sa *const *list = is_inbound ? table->inbound : table->outbound;
	unsigned count = is_inbound ? table->inbound_count : table->outbound_count;

	for (unsigned i = 0; i < count; i++)
		if (list[i]->spi == spi)
			return list[i];
	return NULL;
}

struct sa *sa_find_outbound(const struct sa_table *table, uint64_t now_usec)
{
	for (unsigned i = table->outbound_count; i-- > 0;)
		if (sa_is_usable(table->outbound[i], now_usec))
			return table->outbound[i];
	return NULL;
}

bool sa_is_usable(const struct sa *sa, uint64_t now_usec)
{
	return !sa->is_hard_reached && now_usec < sa_expires_usec(sa);
}

static bool is_reached(uint64_t value, uint64_t limit)
{
	return limit && value >= limit;
}

bool sa_count(struct sa *sa, size_t bytes, uint64_t now_usec)
{
	bool was_soft = sa->is_soft_reached, was_hard = sa->is_hard_reached;

	sa->packets++;
	sa->bytes += bytes;
	sa->last_used_usec = now_usec;
	if (is_reached(sa->packets, sa->limits.soft_packets) ||
	    is_reached(sa->bytes, sa->limits.soft_bytes) ||
	    sa->sequence >= sa->sequence_limit - SEQUENCE_RESERVE)
		sa->is_soft_reached = true;
	if (is_reached(sa->packets, sa->limits.hard_packets) ||
	    is_reached(sa->bytes, sa->limits.hard_bytes) || sa->sequence >= sa->sequence_limit)
		sa->is_hard_reached = true;
	return sa->is_soft_reached != was_soft || sa->is_hard_reached != was_hard;
}

uint64_t sa_expires_usec(const struct sa *sa)
{
	if (!sa->limits.lifetime_usec)
		return UINT64_MAX;
	return sa->installed_usec + sa->limits.lifetime_usec;
}
