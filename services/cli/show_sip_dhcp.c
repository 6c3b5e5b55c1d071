/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show vpn-sip sip dhcp [detail] */
#include <stdlib.h>
#include <string.h>

#include "services/cli/show.h"

static json_t *servers_model(const Vpnsip__DiscoveryChanged *discovery, uint64_t now)
{
	json_t *servers = json_array();

	for (size_t i = 0; i < discovery->n_servers; i++) {
		const Vpnsip__DiscoveredServer *server = discovery->servers[i];
		const uint64_t until = server->barred_until_mono_usec;

		json_array_append_new(
			servers,
			json_pack(
				"{s:o, s:o, s:o, s:b, s:I}", "address",
				model_address(server->address), "name", model_text(server->name),
				"transport", model_text(server->transport), "is_secondary",
				server->is_secondary, "barred_sec",
				(json_int_t)(until > now ? (until - now + 999999) / 1000000 : 0)));
	}
	return servers;
}

static json_t *routes_model(const Vpnsip__DiscoveryChanged *discovery)
{
	json_t *routes = json_array();

	for (size_t i = 0; i < discovery->n_routes; i++) {
		const Vpnsip__LeaseRoute *route = discovery->routes[i];

		json_array_append_new(routes,
		                      json_pack("{s:o, s:i, s:o}", "destination",
		                                model_bytes_address(route->destination),
		                                "prefix_length", (int)route->prefix_length,
		                                "gateway", model_bytes_address(route->gateway)));
	}
	return routes;
}

static json_t *mac_model(ProtobufCBinaryData mac)
{
	char text[18] = "";

	if (mac.len == 6)
		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac.data[0],
		         mac.data[1], mac.data[2], mac.data[3], mac.data[4], mac.data[5]);
	return json_string(text);
}

static json_t *discovery_model(const Vpnsip__DiscoveryChanged *discovery, uint64_t now)
{
	json_t *numbers = json_array();

	for (size_t i = 0; i < discovery->n_additional_numbers; i++)
		json_array_append_new(numbers, model_text(discovery->additional_numbers[i]));
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o}",
		"local_number", model_text(discovery->local_number), "source",
		model_enum(&vpnsip__discovery_source__descriptor, (int)discovery->source,
	                   "DISCOVERY_"),
		"interface", model_text(discovery->lease_interface), "client",
		model_text(discovery->lease_client), "address",
		model_bytes_address(discovery->lease_address), "sip_servers",
		model_text(discovery->server_option), "domain", model_text(discovery->domain),
		"main_number", model_text(discovery->main_number), "additional_numbers", numbers,
		"firmware_server", model_text(discovery->firmware_server), "client_mac",
		mac_model(discovery->client_mac), "routes", routes_model(discovery),
		"vendor_option", model_text(discovery->vendor_option), "lease_at_usec",
		(json_int_t)discovery->lease_at_usec, "servers", servers_model(discovery, now),
		"cause", model_text(discovery->cause));
}

json_t *show_dhcp_model(const struct show_input *input)
{
	const Vpnsip__Envelope *reply =
		input->gathered->services[VPNSIP__SERVICE__SIP_AGENT].snapshot;
	json_t *discoveries = json_array();

	if (reply && reply->body_case == VPNSIP__ENVELOPE__BODY_SIP_SNAPSHOT)
		for (size_t i = 0; i < reply->sip_snapshot->n_discoveries; i++)
			json_array_append_new(discoveries,
			                      discovery_model(reply->sip_snapshot->discoveries[i],
			                                      input->gathered->now_mono_usec));
	return json_pack("{s:b, s:o}", "detail", words_has(input->words, "detail"), "discoveries",
	                 discoveries);
}

/* Option 120: names, or addresses, one a line. */
static void print_servers_of_lease(FILE *stream, const char *servers)
{
	while (*servers) {
		const size_t size = strcspn(servers, " ");

		fprintf(stream, "%-22s%.*s\n",
		        strncmp(servers, "dns:", 4) == 0 ? "Domain name:" : "IPv4 address:",
		        (int)size, servers);
		servers += size + strspn(servers + size, " ");
	}
}

static void print_if_any(FILE *stream, const char *title, const char *value)
{
	if (*value)
		fprintf(stream, "%-22s%s\n", title, value);
}

static void print_detail(FILE *stream, const json_t *line)
{
	const json_t *entry;
	char address[64];
	size_t index;

	print_if_any(stream, "DHCP client:", text_of(line, "client"));
	print_if_any(stream, "Address:", text_of(line, "address"));
	print_if_any(stream, "SIP domain:", text_of(line, "domain"));
	print_if_any(stream, "Main number:", text_of(line, "main_number"));
	json_array_foreach (json_object_get(line, "additional_numbers"), index, entry)
		print_if_any(stream, "Additional number:", json_string_value(entry));
	print_if_any(stream, "Firmware server:", text_of(line, "firmware_server"));
	print_if_any(stream, "Client MAC:", text_of(line, "client_mac"));
	json_array_foreach (json_object_get(line, "routes"), index, entry)
		fprintf(stream, "%-22s%s/%lld via %s\n", "Route:", text_of(entry, "destination"),
		        (long long)number_of(entry, "prefix_length"),
		        *text_of(entry, "gateway") ? text_of(entry, "gateway") : "the link");
	print_if_any(stream, "Vendor option:", text_of(line, "vendor_option"));
	json_array_foreach (json_object_get(line, "servers"), index, entry)
		fprintf(stream, "%-22s%s %s%s%s%s%s\n",
		        "Server:", address_of(entry, "address", address),
		        text_of(entry, "transport"), *text_of(entry, "name") ? " of " : "",
		        text_of(entry, "name"), flag_of(entry, "is_secondary") ? ", secondary" : "",
		        number_of(entry, "barred_sec") ? ", does not answer" : "");
}

void show_dhcp_text(FILE *stream, const json_t *model)
{
	const json_t *line;
	size_t index;

	fprintf(stream, "SIP DHCP Info\n");
	json_array_foreach (json_object_get(model, "discoveries"), index, line) {
		const bool has_lease = *text_of(line, "interface") != '\0';

		if (!has_lease && strcmp(text_of(line, "source"), "DHCP") != 0 &&
		    !flag_of(model, "detail"))
			continue;
		fprintf(stream, "\nSIP-DHCP interface: %s\n\nSIP server address:\n",
		        has_lease ? text_of(line, "interface") : "none");
		print_servers_of_lease(stream, text_of(line, "sip_servers"));
		if (flag_of(model, "detail"))
			print_detail(stream, line);
		print_if_any(stream, "Cause:", text_of(line, "cause"));
	}
}
