/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show interface [NAME] [brief]: the tunnels, and the WAN interfaces of the lines. */
#include <string.h>

#include "services/cli/show.h"
#include "services/common/config.h"

static json_t *sa_model(const Vpnsip__SaStatus *sa, uint64_t now)
{
	char spi[16];

	snprintf(spi, sizeof(spi), "0x%08x", sa->spi);
	return json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:i, s:I, s:I, s:i}", "direction",
	                 sa->direction == VPNSIP__SA_DIRECTION__SA_INBOUND ? "inbound" : "outbound",
	                 "spi", spi, "algorithms", model_text(sa->algorithms), "packets",
	                 (json_int_t)sa->packets, "bytes", (json_int_t)sa->bytes, "age_sec",
	                 model_seconds(sa->installed_at_mono_usec, now), "unused_sec",
	                 model_seconds(sa->last_used_mono_usec, now), "replay_window",
	                 (int)sa->replay_window, "replay_drops", (json_int_t)sa->replay_drops,
	                 "integrity_drops", (json_int_t)sa->integrity_drops, "remaining_sec",
	                 (int)sa->remaining_sec);
}

static json_t *drops_model(Vpnsip__DropCount *const *drops, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		json_object_set_new(object, drops[i]->reason,
		                    json_integer((json_int_t)drops[i]->packets));
	return object;
}

static void add_counters(json_t *object, const Vpnsip__TunnelChanged *tunnel)
{
	const struct {
		const char *key;
		uint64_t value;
	} counters[] = {
		{"packets_in", tunnel->packets_in},
		{"bytes_in", tunnel->bytes_in},
		{"packets_out", tunnel->packets_out},
		{"bytes_out", tunnel->bytes_out},
		{"rate_in_bit_per_sec", tunnel->rate_in_bit_per_sec},
		{"rate_out_bit_per_sec", tunnel->rate_out_bit_per_sec},
		{"rate_in_packet_per_sec", tunnel->rate_in_packet_per_sec},
		{"rate_out_packet_per_sec", tunnel->rate_out_packet_per_sec},
		{"held_packets", tunnel->held_packets},
		{"mtu", tunnel->mtu},
		{"prefix_length", tunnel->prefix_length},
		{"attempt", tunnel->attempt},
	};

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		json_object_set_new(object, counters[i].key,
		                    json_integer((json_int_t)counters[i].value));
}

static json_t *tunnel_model(const struct show_input *input, const Vpnsip__TunnelChanged *tunnel)
{
	const struct config_peer *peer =
		input->config ? config_peer_by_tunnel(input->config, tunnel->tunnel) : NULL;
	uint64_t now = input->gathered->now_mono_usec;
	json_t *sas = json_array();
	json_t *object = json_pack(
		"{s:o, s:s, s:b, s:b, s:o, s:o, s:o, s:b, s:b, s:b, s:b, s:b, s:I, s:I}",
		"interface", model_text(tunnel->tunnel), "kind", "tunnel", "is_present",
		tunnel->interface_index != 0, "is_up", tunnel->is_up, "address",
		model_bytes_address(tunnel->address), "unnumbered_interface",
		model_text(tunnel->unnumbered_interface), "remote", model_address(tunnel->remote),
		"is_open", tunnel->is_open, "wants_peer", tunnel->wants_peer, "is_idle",
		tunnel->is_idle, "is_dead", tunnel->is_dead, "is_one_way", tunnel->is_one_way,
		"idle_sec", model_seconds(tunnel->idle_since_mono_usec, now), "silent_sec",
		model_seconds(tunnel->last_received_mono_usec, now));

	add_counters(object, tunnel);
	json_object_set_new(object, "description", model_text(peer ? peer->description : ""));
	json_object_set_new(object, "load_interval_sec",
	                    json_integer(peer ? peer->load_interval_sec : 0));
	json_object_set_new(object, "bandwidth_kbit",
	                    json_integer(peer ? peer->bandwidth_kbit : 0));
	json_object_set_new(object, "drops", drops_model(tunnel->drops, tunnel->n_drops));
	for (size_t i = 0; i < tunnel->n_sas; i++)
		json_array_append_new(sas, sa_model(tunnel->sas[i], now));
	json_object_set_new(object, "sas", sas);
	return object;
}

static json_t *wan_model(const Vpnsip__WanChanged *wan)
{
	return json_pack("{s:o, s:s, s:b, s:o, s:o, s:i, s:o}", "interface",
	                 model_text(wan->interface), "kind", "wan", "is_up", wan->is_up, "address",
	                 model_bytes_address(wan->address), "gateway",
	                 model_bytes_address(wan->gateway), "mtu", (int)wan->mtu, "cause",
	                 model_text(wan->cause));
}

json_t *show_interface_model(const struct show_input *input)
{
	const struct gathered_service *services = input->gathered->services;
	const Vpnsip__Envelope *tunnels = services[VPNSIP__SERVICE__TUNNEL_AGENT].snapshot;
	const Vpnsip__Envelope *tracks = services[VPNSIP__SERVICE__TRACK_AGENT].snapshot;
	const char *name = words_get(input->words, "NAME");
	json_t *interfaces = json_array(), *drops = json_object();

	if (tunnels && tunnels->body_case == VPNSIP__ENVELOPE__BODY_TUNNEL_SNAPSHOT) {
		const Vpnsip__TunnelSnapshot *snapshot = tunnels->tunnel_snapshot;

		for (size_t i = 0; i < snapshot->n_tunnels; i++)
			if (!name || strcmp(snapshot->tunnels[i]->tunnel, name) == 0)
				json_array_append_new(interfaces,
				                      tunnel_model(input, snapshot->tunnels[i]));
		json_decref(drops);
		drops = drops_model(snapshot->drops, snapshot->n_drops);
	}
	if (tracks && tracks->body_case == VPNSIP__ENVELOPE__BODY_TRACK_SNAPSHOT)
		for (size_t i = 0; i < tracks->track_snapshot->n_wans; i++)
			if (!name || strcmp(tracks->track_snapshot->wans[i]->interface, name) == 0)
				json_array_append_new(interfaces,
				                      wan_model(tracks->track_snapshot->wans[i]));
	return json_pack("{s:b, s:o, s:o}", "is_brief", words_has(input->words, "brief"),
	                 "interfaces", interfaces, "drops_without_tunnel", drops);
}

static void print_brief(FILE *stream, const json_t *interfaces)
{
	const json_t *interface;
	size_t index;

	fprintf(stream, "%-16s%-18s%-8s%-10s%s\n", "Interface", "IP-Address", "Status", "Protocol",
	        "MTU");
	json_array_foreach (interfaces, index, interface) {
		const char *address = text_of(interface, "address");
		const char *status = flag_of(interface, "is_up") ? "up" : "down";

		fprintf(stream, "%-15s %-17s %-7s %-9s %lld\n", text_of(interface, "interface"),
		        *address ? address : "unassigned", status, status,
		        (long long)number_of(interface, "mtu"));
	}
}

static void print_rates(FILE *stream, const json_t *tunnel)
{
	long long interval = (long long)number_of(tunnel, "load_interval_sec");

	fprintf(stream, "  %lld second input rate %lld bits/sec, %lld packets/sec\n", interval,
	        (long long)number_of(tunnel, "rate_in_bit_per_sec"),
	        (long long)number_of(tunnel, "rate_in_packet_per_sec"));
	fprintf(stream, "  %lld second output rate %lld bits/sec, %lld packets/sec\n", interval,
	        (long long)number_of(tunnel, "rate_out_bit_per_sec"),
	        (long long)number_of(tunnel, "rate_out_packet_per_sec"));
	fprintf(stream, "     %lld packets input, %lld bytes\n",
	        (long long)number_of(tunnel, "packets_in"),
	        (long long)number_of(tunnel, "bytes_in"));
	fprintf(stream, "     %lld packets output, %lld bytes\n",
	        (long long)number_of(tunnel, "packets_out"),
	        (long long)number_of(tunnel, "bytes_out"));
}

static void print_sas(FILE *stream, const json_t *tunnel)
{
	const json_t *sa;
	size_t index;
	char age[32];

	json_array_foreach (json_object_get(tunnel, "sas"), index, sa) {
		fprintf(stream, "  SA %s SPI %s, %s, age %s, %lld s left\n",
		        text_of(sa, "direction"), text_of(sa, "spi"), text_of(sa, "algorithms"),
		        duration_text(number_of(sa, "age_sec"), age),
		        (long long)number_of(sa, "remaining_sec"));
		fprintf(stream,
		        "     %lld packets, %lld bytes, replay window %lld, replay drops %lld, "
		        "integrity drops %lld\n",
		        (long long)number_of(sa, "packets"), (long long)number_of(sa, "bytes"),
		        (long long)number_of(sa, "replay_window"),
		        (long long)number_of(sa, "replay_drops"),
		        (long long)number_of(sa, "integrity_drops"));
	}
}

static const char *tunnel_condition(const json_t *tunnel)
{
	return flag_of(tunnel, "wants_peer")   ? "packets are held, a peer is wanted"
	       : flag_of(tunnel, "is_dead")    ? "open, nothing received for the peer-dead time"
	       : flag_of(tunnel, "is_one_way") ? "open, traffic in one direction only"
	       : flag_of(tunnel, "is_idle")    ? "open, idle"
	       : flag_of(tunnel, "is_open")    ? "open"
	       : number_of(tunnel, "attempt")  ? "being set up"
	                                       : "resting";
}

static void print_tunnel(FILE *stream, const json_t *tunnel)
{
	const char *name = text_of(tunnel, "interface");
	const char *status = flag_of(tunnel, "is_up") ? "up" : "down";
	const char *unnumbered = text_of(tunnel, "unnumbered_interface");
	char address[64];

	fprintf(stream, "%s is %s, line protocol is %s\n", name,
	        flag_of(tunnel, "is_present") ? status : "missing", status);
	if (*text_of(tunnel, "description"))
		fprintf(stream, "  Description: %s\n", text_of(tunnel, "description"));
	if (*unnumbered)
		fprintf(stream, "  Interface is unnumbered. Using address of %s (%s)\n", unnumbered,
		        text_of(tunnel, "address"));
	else
		fprintf(stream, "  Internet address is %s/%lld\n", text_of(tunnel, "address"),
		        (long long)number_of(tunnel, "prefix_length"));
	fprintf(stream, "  MTU %lld bytes, BW %lld kbit/s\n", (long long)number_of(tunnel, "mtu"),
	        (long long)number_of(tunnel, "bandwidth_kbit"));
	fprintf(stream, "  Tunnel destination %s, %s\n", address_of(tunnel, "remote", address),
	        tunnel_condition(tunnel));
	print_rates(stream, tunnel);
	if (number_of(tunnel, "held_packets"))
		fprintf(stream, "     %lld packets held\n",
		        (long long)number_of(tunnel, "held_packets"));
	print_counts(stream, "     drops: ", json_object_get(tunnel, "drops"));
	print_sas(stream, tunnel);
}

static void print_wan(FILE *stream, const json_t *wan)
{
	const char *status = flag_of(wan, "is_up") ? "up" : "down";
	const char *address = text_of(wan, "address"), *gateway = text_of(wan, "gateway");

	fprintf(stream, "%s is %s, line protocol is %s\n", text_of(wan, "interface"), status,
	        status);
	fprintf(stream, "  Internet address is %s%s%s\n", *address ? address : "unassigned",
	        *gateway ? ", gateway " : "", gateway);
	fprintf(stream, "  MTU %lld bytes\n", (long long)number_of(wan, "mtu"));
	if (*text_of(wan, "cause"))
		fprintf(stream, "  Cannot be used: %s\n", text_of(wan, "cause"));
}

void show_interface_text(FILE *stream, const json_t *model)
{
	const json_t *interfaces = json_object_get(model, "interfaces"), *interface;
	size_t index;

	if (flag_of(model, "is_brief")) {
		print_brief(stream, interfaces);
		return;
	}
	json_array_foreach (interfaces, index, interface) {
		if (strcmp(text_of(interface, "kind"), "tunnel") == 0)
			print_tunnel(stream, interface);
		else
			print_wan(stream, interface);
	}
	print_counts(stream, "Dropped packets of no tunnel: ",
	             json_object_get(model, "drops_without_tunnel"));
}
