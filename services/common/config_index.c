/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lines and peers in the orders in which they are looked for. */
#include <stdlib.h>
#include <string.h>

#include "services/common/config.h"

static int compare_peer_numbers(const void *a, const void *b)
{
	return strcmp((*(struct config_peer *const *)a)->number,
	              (*(struct config_peer *const *)b)->number);
}

static int compare_tunnels(const void *a, const void *b)
{
	return strcmp((*(struct config_peer *const *)a)->tunnel,
	              (*(struct config_peer *const *)b)->tunnel);
}

static int compare_if_ids(const void *a, const void *b)
{
	const uint32_t one = (*(struct config_peer *const *)a)->if_id;
	const uint32_t other = (*(struct config_peer *const *)b)->if_id;

	return (one > other) - (one < other);
}

static int compare_line_numbers(const void *a, const void *b)
{
	return strcmp((*(struct config_line *const *)a)->number,
	              (*(struct config_line *const *)b)->number);
}

typedef int compare_fn(const void *a, const void *b);

static struct config_peer **sort_peers(struct config *config, compare_fn *compare)
{
	struct config_peer **sorted = calloc(config->peer_count + 1, sizeof(*sorted));

	for (size_t i = 0; sorted && i < config->peer_count; i++)
		sorted[i] = &config->peers[i];
	if (sorted)
		qsort(sorted, config->peer_count, sizeof(struct config_peer *), compare);
	return sorted;
}

bool config_index(struct config *config)
{
	struct config_index *index = &config->index;

	index->peers_by_number = sort_peers(config, compare_peer_numbers);
	index->peers_by_tunnel = sort_peers(config, compare_tunnels);
	index->peers_by_if_id = sort_peers(config, compare_if_ids);
	index->lines_by_number = calloc(config->line_count + 1, sizeof(struct config_line *));
	if (!index->peers_by_number || !index->peers_by_tunnel || !index->peers_by_if_id ||
	    !index->lines_by_number)
		return false;
	for (size_t i = 0; i < config->line_count; i++)
		index->lines_by_number[i] = &config->lines[i];
	qsort(index->lines_by_number, config->line_count, sizeof(struct config_line *),
	      compare_line_numbers);
	return true;
}

void config_free_index(struct config *config)
{
	free(config->index.peers_by_number);
	free(config->index.peers_by_tunnel);
	free(config->index.peers_by_if_id);
	free(config->index.lines_by_number);
}

static struct config_peer *find_peer(const struct config *config, struct config_peer *const *sorted,
                                     const struct config_peer *wanted, compare_fn *compare)
{
	struct config_peer *const *found = NULL;

	/* A tool's configuration that has no peers was never indexed. */
	if (config->peer_count > 0)
		found = bsearch(&wanted, sorted, config->peer_count, sizeof(struct config_peer *),
		                compare);
	return found ? *found : NULL;
}

struct config_peer *config_peer_by_number(const struct config *config, const char *number)
{
	const struct config_peer wanted = {.number = (char *)number};

	return find_peer(config, config->index.peers_by_number, &wanted, compare_peer_numbers);
}

struct config_peer *config_peer_by_tunnel(const struct config *config, const char *tunnel)
{
	const struct config_peer wanted = {.tunnel = (char *)tunnel};

	return find_peer(config, config->index.peers_by_tunnel, &wanted, compare_tunnels);
}

struct config_peer *config_peer_by_if_id(const struct config *config, uint32_t if_id)
{
	const struct config_peer wanted = {.if_id = if_id};

	return find_peer(config, config->index.peers_by_if_id, &wanted, compare_if_ids);
}

struct config_line *config_line_by_number(const struct config *config, const char *number)
{
	const struct config_line wanted = {.number = (char *)number}, *key = &wanted;
	struct config_line *const *found = bsearch(&key, config->index.lines_by_number,
	                                           config->line_count, sizeof(struct config_line *),
	                                           compare_line_numbers);

	return found ? *found : NULL;
}
