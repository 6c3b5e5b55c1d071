/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route_index.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "services/common/address.h"

struct route_key {
	uint32_t table, metric, prefix_length, family;
	uint8_t destination[16];
};

/** The same routes. */
struct route_group {
	struct route_key key;
	struct route_place first, *last;
	UT_hash_handle hh;
};

struct route_index {
	struct route_group *groups;
};

static struct route_key key_of(const struct netfacts_route *route)
{
	struct route_key key = {route->table,
	                        route->metric,
	                        route->prefix_length,
	                        route->destination.ss_family,
	                        {0}};
	size_t size;
	const uint8_t *octets = address_octets(&route->destination, &size);

	if (octets != NULL)
		memcpy(key.destination, octets, size);
	return key;
}

struct route_index *route_index_new(void)
{
	return calloc(1, sizeof(struct route_index));
}

struct route_index *route_index_of(const struct netfacts_route *routes, size_t count, size_t stride)
{
	struct route_index *index = route_index_new();
	bool is_complete = index != NULL;

	for (size_t i = 0; is_complete && i < count; i++)
		is_complete = route_index_add(index,
		                              (const void *)((const char *)routes + i * stride), i);
	if (is_complete)
		return index;
	route_index_free(index);
	return NULL;
}

static void free_group(struct route_group *group)
{
	struct route_place *place = group->first.next, *next;

	for (; place != NULL; place = next) {
		next = place->next;
		free(place);
	}
	free(group);
}

void route_index_free(struct route_index *index)
{
	struct route_group *group, *next;

	if (index == NULL)
		return;
	HASH_ITER (hh, index->groups, group, next) {
		HASH_DEL(index->groups, group);
		free_group(group);
	}
	free(index);
}

bool route_index_add(struct route_index *index, const struct netfacts_route *route, size_t place)
{
	const struct route_key key = key_of(route);
	struct route_place *added;
	struct route_group *group;

	HASH_FIND(hh, index->groups, &key, sizeof(key), group);
	if (group != NULL) {
		added = calloc(1, sizeof(*added));
		if (added == NULL)
			return false;
		group->last->next = added;
	} else {
		group = calloc(1, sizeof(*group));
		if (group == NULL)
			return false;
		group->key = key;
		HASH_ADD(hh, index->groups, key, sizeof(group->key), group);
		added = &group->first;
	}
	added->place = place;
	group->last = added;
	return true;
}

const struct route_place *route_index_find(const struct route_index *index,
                                           const struct netfacts_route *route)
{
	const struct route_key key = key_of(route);
	struct route_group *group = NULL;

	if (index != NULL)
		HASH_FIND(hh, index->groups, &key, sizeof(key), group);
	return group != NULL ? &group->first : NULL;
}
