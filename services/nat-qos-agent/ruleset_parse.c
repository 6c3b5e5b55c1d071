/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ruleset.h"
#include "services/common/address.h"

/* The elements of a set or map of the listing; NULL when it has none. */
static json_t *elements_of(json_t *listing, const char *kind, const char *name)
{
	size_t i;
	json_t *object;

	json_array_foreach (json_object_get(listing, "nftables"), i, object) {
		json_t *set = json_object_get(object, kind);
		const char *set_name = json_string_value(json_object_get(set, "name"));

		if (set_name != NULL && strcmp(set_name, name) == 0)
			return json_object_get(set, "elem");
	}
	return NULL;
}

/* {"concat": [mark, address, port]} or {"concat": [mark, address]} of the mark, into `remote`. */
static bool find_remote(json_t *elements, uint32_t mark, struct sockaddr_storage *remote)
{
	size_t i;
	json_t *element;

	json_array_foreach (elements, i, element) {
		json_t *parts = json_object_get(element, "concat");
		const char *address = json_string_value(json_array_get(parts, 1));

		if (json_integer_value(json_array_get(parts, 0)) != mark || address == NULL ||
		    !address_parse(address, remote))
			continue;
		address_set_port(remote, (uint16_t)json_integer_value(json_array_get(parts, 2)));
		return true;
	}
	return false;
}

static bool find_mark(json_t *elements, uint32_t mark)
{
	size_t i;
	json_t *element;

	json_array_foreach (elements, i, element)
		if (json_is_integer(element) && json_integer_value(element) == mark)
			return true;
	return false;
}

static bool read_match(json_t *listing, struct translation *translation)
{
	if (find_remote(elements_of(listing, "set", "remote_exact"), translation->if_id,
	                &translation->remote))
		translation->match = REMOTE_EXACT;
	else if (find_remote(elements_of(listing, "set", "remote_address"), translation->if_id,
	                     &translation->remote))
		translation->match = REMOTE_ADDRESS;
	else if (find_mark(elements_of(listing, "set", "remote_any"), translation->if_id))
		translation->match = REMOTE_ANY;
	return translation->match != 0;
}

/* [{"elem": {"val": {"concat": [address, port]}, "comment": attempt}}, mark] */
static bool read_translation(json_t *listing, json_t *pair, struct translation *translation)
{
	json_t *element = json_object_get(json_array_get(pair, 0), "elem");
	json_t *key = json_object_get(json_object_get(element, "val"), "concat");
	const char *attempt = json_string_value(json_object_get(element, "comment"));
	const char *address = json_string_value(json_array_get(key, 0));

	memset(translation, 0, sizeof(*translation));
	if (attempt == NULL || address == NULL || !address_parse(address, &translation->wan))
		return false;
	address_set_port(&translation->wan, (uint16_t)json_integer_value(json_array_get(key, 1)));
	translation->if_id = (uint32_t)json_integer_value(json_array_get(pair, 1));
	translation->attempt = strtoull(attempt, NULL, 10);
	return translation->attempt != 0 && read_match(listing, translation);
}

size_t ruleset_parse(const char *json, struct translation *translations, size_t room)
{
	json_t *listing = json_loads(json, 0, NULL);
	size_t count = 0, i;
	json_t *pair;

	json_array_foreach (elements_of(listing, "map", "session_mark"), i, pair)
		if (count < room && read_translation(listing, pair, &translations[count]))
			count++;
	json_decref(listing);
	return count;
}

/* {"concat": [interface, port, address]} */
static void admit_element(json_t *element, struct sip_admission *lines, size_t line_count)
{
	json_t *parts = json_object_get(element, "concat");
	const char *interface = json_string_value(json_array_get(parts, 0));
	const char *text = json_string_value(json_array_get(parts, 2));
	uint16_t port = (uint16_t)json_integer_value(json_array_get(parts, 1));
	struct in_addr address;

	if (interface == NULL || text == NULL || inet_pton(AF_INET, text, &address) != 1)
		return;
	for (size_t i = 0; i < line_count; i++)
		if (ruleset_is_of_line(lines[i].line, interface, port))
			sip_admission_add(&lines[i], address);
}

void ruleset_parse_servers(const char *json, struct sip_admission *lines, size_t line_count)
{
	json_t *listing = json_loads(json, 0, NULL);
	size_t i;
	json_t *element;

	json_array_foreach (elements_of(listing, "set", "sip_servers"), i, element)
		admit_element(element, lines, line_count);
	json_decref(listing);
}
