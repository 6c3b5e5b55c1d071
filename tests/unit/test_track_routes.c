/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "services/common/address.h"
#include "services/track-agent/route_plan.h"

/* A branch router: wan0 (backup), prim0 (primary), lan0, tunnel vsip2; the whole of it as plain data. */
static struct netfacts_link links[] = {
	{.index = 1, .name = "lo", .is_up = true, .mtu = 65536},
	{.index = 2, .name = "wan0", .is_up = true, .mtu = 1454},
	{.index = 3, .name = "prim0", .is_up = true, .mtu = 1500},
	{.index = 4, .name = "lan0", .is_up = true, .mtu = 1500},
	{.index = 5, .name = "vsip2", .is_up = true, .mtu = 1380},
};
static struct netfacts_address addresses[4];
static struct netfacts_route kernel_routes[40];
static struct netfacts_rule kernel_rules[20];
static struct netfacts facts;

static struct config_line line;
static struct config_peer peer;
static struct config_sla sla;
static struct config_track track;
static struct config_route routes[2];
static struct config config;
static struct track_core *core;
static struct route_plan plan;
static struct wan_routes *leases;

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage result;

	assert_true(address_parse(text, &result));
	return result;
}

static int set_up(void **context)
{
	(void)context;
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		links[i].is_up = true;
	addresses[0] = (struct netfacts_address){address("198.51.100.10"), 2, 24};
	addresses[1] = (struct netfacts_address){address("192.0.2.10"), 3, 24};
	addresses[2] = (struct netfacts_address){address("10.1.0.1"), 4, 24};
	addresses[3] = (struct netfacts_address){address("172.16.0.1"), 5, 32};
	memset(kernel_routes, 0, sizeof(kernel_routes));
	memset(kernel_rules, 0, sizeof(kernel_rules));
	kernel_routes[0] = (struct netfacts_route){.kind = ROUTE_UNICAST,
	                                           .destination = address("0.0.0.0"),
	                                           .table = ROUTE_TABLE_MAIN,
	                                           .metric = 1000,
	                                           .protocol = 16,
	                                           .link_index = 2,
	                                           .gateway = address("198.51.100.1")};
	facts = (struct netfacts){links, 5, addresses, 4, kernel_routes, 1, kernel_rules, 0};
	line = (struct config_line){.number = "0388881001", .wan_interface = "wan0"};
	peer = (struct config_peer){.number = "0388882001",
	                            .tunnel = "vsip2",
	                            .if_id = 2,
	                            .address = {address("172.16.0.1"), 32}};
	sla = (struct config_sla){.number = 1,
	                          .interface = "prim0",
	                          .target = address("203.0.113.9"),
	                          .gateway = address("192.0.2.1"),
	                          .frequency_msec = 1000,
	                          .timeout_msec = 100,
	                          .threshold_msec = 100};
	track = (struct config_track){.number = 1, .sla = &sla, .down_count = 1, .up_count = 1};
	routes[0] = (struct config_route){.destination = {address("10.2.0.0"), 24},
	                                  .gateway = address("192.0.2.1"),
	                                  .interface = "prim0",
	                                  .track = &track,
	                                  .metric = 1};
	routes[1] = (struct config_route){
		.destination = {address("10.2.0.0"), 24}, .peer = &peer, .metric = 250};
	config = (struct config){.tunnel_source = address("10.255.0.1"),
	                         .lines = &line,
	                         .line_count = 1,
	                         .peers = &peer,
	                         .peer_count = 1,
	                         .slas = &sla,
	                         .sla_count = 1,
	                         .tracks = &track,
	                         .track_count = 1,
	                         .routes = routes,
	                         .route_count = 2};
	core = track_core_new(&config, 0);
	leases = wan_routes_new(&config);
	return core == NULL || leases == NULL;
}

static int tear_down(void **context)
{
	(void)context;
	track_core_free(core);
	wan_routes_free(leases);
	route_plan_free(&plan);
	return 0;
}

static void build(void)
{
	route_plan_free(&plan);
	plan = route_plan_build(&config, &facts, core, leases);
	assert_true(plan.is_complete);
}

static const struct planned_route *find(uint32_t table, const char *destination, unsigned length,
                                        uint32_t metric)
{
	struct netfacts_route wanted = {.table = table,
	                                .destination = address(destination),
	                                .prefix_length = length,
	                                .metric = metric};

	for (size_t i = 0; i < plan.route_count; i++)
		if (netfacts_route_is_same(&plan.routes[i].route, &wanted))
			return &plan.routes[i];
	return NULL;
}

static bool has_rule(uint32_t priority, const char *from, const char *to, const char *oif,
                     uint32_t table, bool is_unreachable)
{
	struct netfacts_rule wanted = {.priority = priority,
	                               .protocol = ROUTE_PROTOCOL_VPNSIP,
	                               .table = table,
	                               .is_unreachable = is_unreachable};

	if (from != NULL)
		wanted.from = address(from);
	if (to != NULL)
		wanted.to = address(to);
	snprintf(wanted.oif, sizeof(wanted.oif), "%s", oif);
	for (size_t i = 0; i < plan.rule_count; i++)
		if (netfacts_rule_is_equal(&plan.rules[i], &wanted))
			return true;
	return false;
}

/* A kernel that does as it is told. */
static bool obey(void *context, const struct route_change *change)
{
	(void)context;
	switch (change->kind) {
	case ROUTE_CHANGE_ADD:
		for (size_t i = 0; i < facts.route_count; i++)
			if (netfacts_route_is_same(&kernel_routes[i], change->route)) {
				kernel_routes[i] = *change->route;
				return true;
			}
		kernel_routes[facts.route_count++] = *change->route;
		return true;
	case RULE_CHANGE_ADD:
		kernel_rules[facts.rule_count++] = *change->rule;
		return true;
	default:
		return false;
	}
}

struct step_log {
	enum route_change_kind kinds[64];
	const struct netfacts_route *routes[64];
	size_t count;
};

static bool note(void *context, const struct route_change *change)
{
	struct step_log *log = context;

	log->kinds[log->count] = change->kind;
	log->routes[log->count++] = change->route;
	return true;
}

static void the_whole_plan(void **context)
{
	const struct planned_route *route;

	(void)context;
	build();
	route = find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, UINT32_MAX);
	assert_non_null(route);
	assert_true(route->is_guard && route->is_wanted);
	assert_int_equal(route->route.kind, ROUTE_UNREACHABLE);
	route = find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, 1);
	assert_non_null(route);
	assert_true(route->is_wanted);
	assert_int_equal(route->route.link_index, 3);
	route = find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, 250);
	assert_non_null(route);
	assert_true(route->is_wanted);
	assert_int_equal(route->route.link_index, 5);
	assert_true(address_is_equal(&route->route.source, &peer.address.address));
	route = find(5600, "0.0.0.0", 0, 0);
	assert_non_null(route);
	assert_true(address_is_equal(&route->route.gateway, &kernel_routes[0].gateway));
	assert_non_null(find(5600, "198.51.100.0", 24, 0));
	route = find(5700, "203.0.113.9", 32, 0);
	assert_non_null(route);
	assert_true(address_is_equal(&route->route.gateway, &sla.gateway));
	assert_non_null(find(5700, "0.0.0.0", 0, 0));
	assert_true(has_rule(5600, "198.51.100.10", NULL, "", 5600, false));
	assert_true(has_rule(5600, "10.255.0.1", NULL, "", 5600, false));
	assert_true(has_rule(5601, "198.51.100.10", NULL, "", 0, true));
	assert_true(has_rule(5601, "10.255.0.1", NULL, "", 0, true));
	assert_true(has_rule(5700, NULL, NULL, "prim0", 5700, false));
	assert_true(has_rule(5700, "192.0.2.10", "203.0.113.9", "", 5700, false));
	assert_int_equal(plan.route_count, 7);
	assert_int_equal(plan.rule_count, 6);
}

static void lines_of_one_wan_share_a_table(void **context)
{
	struct config_line lines[3] = {line, line, line};

	(void)context;
	config.lines = lines;
	config.line_count = 3;
	build();
	assert_non_null(find(5600, "0.0.0.0", 0, 0));
	assert_null(find(5601, "0.0.0.0", 0, 0));
	assert_int_equal(plan.route_count, 7);
	assert_int_equal(plan.rule_count, 6);
	/* Another gateway is another way out. */
	lines[2].gateway = address("198.51.100.9");
	build();
	assert_null(find(5601, "0.0.0.0", 0, 0));
	assert_non_null(find(5602, "0.0.0.0", 0, 0));
	/* And so is another WAN. */
	lines[1].wan_interface = "lan0";
	build();
	assert_non_null(find(5601, "0.0.0.0", 0, 0));
	assert_true(has_rule(5600, "10.1.0.1", NULL, "", 5601, false));
	config.lines = &line;
	config.line_count = 1;
}

static void guards_are_installed_first_and_nothing_twice(void **context)
{
	struct step_log log = {.count = 0};

	(void)context;
	build();
	assert_int_equal(route_plan_apply(&plan, &facts, note, &log), 0);
	assert_int_equal(log.count, 13);
	assert_int_equal(log.kinds[0], ROUTE_CHANGE_ADD);
	assert_int_equal(log.routes[0]->kind, ROUTE_UNREACHABLE);
	assert_int_equal(route_plan_apply(&plan, &facts, obey, NULL), 0);
	log.count = 0;
	assert_int_equal(route_plan_apply(&plan, &facts, note, &log), 0);
	assert_int_equal(log.count, 0);
}

static void a_track_down_takes_only_the_primary_route(void **context)
{
	struct step_log log = {.count = 0};

	(void)context;
	build();
	route_plan_apply(&plan, &facts, obey, NULL);
	track_core_send_failed(core, &core->probes[0], "Network is down", 1);
	build();
	route_plan_apply(&plan, &facts, note, &log);
	assert_int_equal(log.count, 1);
	assert_int_equal(log.kinds[0], ROUTE_CHANGE_REMOVE);
	assert_int_equal(log.routes[0]->metric, 1);
	assert_string_equal(find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, 1)->cause, "the track is down");
}

static void a_lost_tunnel_leaves_the_guard(void **context)
{
	(void)context;
	facts.link_count = 4;
	facts.address_count = 3;
	build();
	assert_false(find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, 250)->is_wanted);
	assert_true(find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, UINT32_MAX)->is_wanted);
	facts.link_count = 5;
	build();
	assert_true(find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, 250)->is_wanted);
	assert_int_equal(find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, 250)->route.source.ss_family, 0);
	links[4].is_up = false;
	build();
	assert_false(find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, 250)->is_wanted);
}

static void an_unnumbered_tunnel_lends_its_source(void **context)
{
	struct sockaddr_storage lan = address("10.1.0.1");

	(void)context;
	memset(&peer.address, 0, sizeof(peer.address));
	peer.unnumbered = "lan0";
	build();
	assert_true(
		address_is_equal(&find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, 250)->route.source, &lan));
}

/* Without its WAN a session's packets must end at the unreachable rule, not leave by the main table. */
static void a_lost_wan_leaves_the_rules(void **context)
{
	(void)context;
	links[1].is_up = false;
	build();
	assert_null(find(5600, "0.0.0.0", 0, 0));
	assert_true(has_rule(5600, "10.255.0.1", NULL, "", 5600, false));
	assert_true(has_rule(5601, "10.255.0.1", NULL, "", 0, true));
	assert_false(has_rule(5600, "198.51.100.10", NULL, "", 5600, false));
}

static void others_are_left_alone(void **context)
{
	struct step_log log = {.count = 0};

	(void)context;
	kernel_routes[1] = (struct netfacts_route){.kind = ROUTE_UNICAST,
	                                           .destination = address("10.2.0.0"),
	                                           .prefix_length = 24,
	                                           .table = ROUTE_TABLE_MAIN,
	                                           .metric = 1,
	                                           .protocol = 4,
	                                           .link_index = 4};
	kernel_routes[2] = (struct netfacts_route){.kind = ROUTE_UNICAST,
	                                           .destination = address("10.9.0.0"),
	                                           .prefix_length = 24,
	                                           .table = ROUTE_TABLE_MAIN,
	                                           .protocol = ROUTE_PROTOCOL_VPNSIP,
	                                           .link_index = 4};
	facts.route_count = 3;
	build();
	assert_false(find(ROUTE_TABLE_MAIN, "10.2.0.0", 24, 1)->is_wanted);
	route_plan_apply(&plan, &facts, note, &log);
	assert_int_equal(log.kinds[log.count - 1], ROUTE_CHANGE_REMOVE);
	assert_ptr_equal(log.routes[log.count - 1], &kernel_routes[2]);
	for (size_t i = 0; i < log.count; i++)
		if (log.kinds[i] == ROUTE_CHANGE_REMOVE)
			assert_ptr_not_equal(log.routes[i], &kernel_routes[1]);
}

static void purge_takes_all_of_ours(void **context)
{
	struct step_log log = {.count = 0};

	(void)context;
	build();
	route_plan_apply(&plan, &facts, obey, NULL);
	route_plan_purge(&facts, note, &log);
	assert_int_equal(log.count, 13);
	for (size_t i = 0; i < log.count; i++) {
		assert_true(log.kinds[i] == ROUTE_CHANGE_REMOVE ||
		            log.kinds[i] == RULE_CHANGE_REMOVE);
		assert_ptr_not_equal(log.routes[i], &kernel_routes[0]);
	}
}

static struct wan_route lease_route(const char *destination, unsigned length, const char *gateway)
{
	return (struct wan_route){address(destination), length,
	                          gateway != NULL ? address(gateway)
	                                          : (struct sockaddr_storage){0}};
}

static void routes_of_the_lease_stand_in_the_lines_table(void **context)
{
	const struct wan_route routes_of_lease[] = {
		lease_route("10.99.7.0", 16, "198.51.100.2"),
		lease_route("203.0.113.0", 24, NULL),
		lease_route("10.98.0.0", 16, "192.0.2.99"),
		lease_route("0.0.0.0", 0, "198.51.100.3"),
	};
	const struct planned_route *route;

	(void)context;
	assert_true(wan_routes_set(leases, "wan0", routes_of_lease, 4));
	build();
	route = find(ROUTE_TABLE_LINE, "10.99.0.0", 16, 0);
	assert_non_null(route);
	assert_true(route->is_wanted);
	assert_int_equal(route->route.link_index, 2);
	assert_true(address_is_equal(&route->route.gateway, &(struct sockaddr_storage){0}) ==
	            false);
	route = find(ROUTE_TABLE_LINE, "203.0.113.0", 24, 0);
	assert_non_null(route);
	assert_true(route->is_wanted);
	assert_int_equal(route->route.gateway.ss_family, 0);
	/* a gateway elsewhere is named, not installed */
	route = find(ROUTE_TABLE_LINE, "10.98.0.0", 16, 0);
	assert_non_null(route);
	assert_false(route->is_wanted);
	assert_string_equal(route->cause, "the lease's gateway is not on the WAN's network");
	/* the lease's default route wins over the router option, not over the configuration */
	struct sockaddr_storage gateway = address("198.51.100.3");

	assert_true(address_is_equal(&find(ROUTE_TABLE_LINE, "0.0.0.0", 0, 0)->route.gateway,
	                             &gateway));
	line.gateway = address("198.51.100.9");
	build();
	assert_true(address_is_equal(&find(ROUTE_TABLE_LINE, "0.0.0.0", 0, 0)->route.gateway,
	                             &line.gateway));
	/* nothing of it in the main table */
	assert_null(find(ROUTE_TABLE_MAIN, "203.0.113.0", 24, 0));
	/* the lease is gone */
	assert_true(wan_routes_set(leases, "wan0", NULL, 0));
	build();
	assert_null(find(ROUTE_TABLE_LINE, "203.0.113.0", 24, 0));
}

static void an_order_for_no_wan_is_refused(void **context)
{
	struct wan_route many[WAN_ROUTES_MAXIMUM + 1] = {0};

	(void)context;
	assert_false(wan_routes_set(leases, "lan0", NULL, 0));
	assert_false(wan_routes_set(leases, "wan0", many, WAN_ROUTES_MAXIMUM + 1));
}

static void a_restart_keeps_the_routes_of_the_lease_for_a_while(void **context)
{
	const struct wan_route one = lease_route("203.0.113.0", 24, "198.51.100.2");
	struct wan_routes *later = wan_routes_new(&config);

	(void)context;
	assert_non_null(later);
	assert_true(wan_routes_set(leases, "wan0", &one, 1));
	build();
	assert_int_equal(route_plan_apply(&plan, &facts, obey, NULL), 0);
	wan_routes_adopt(later, &config, &facts);
	/* neither the connected network nor the default route is taken for the lease's */
	assert_int_equal(later->sets[0].count, 1);
	assert_true(later->sets[0].is_adopted);
	struct route_plan same = route_plan_build(&config, &facts, core, later);
	struct step_log steps = {.count = 0};

	assert_int_equal(route_plan_apply(&same, &facts, note, &steps), 0);
	assert_int_equal(steps.count, 0);
	route_plan_free(&same);
	/* ordered: it stays; not ordered: it goes */
	assert_true(wan_routes_disown(later));
	assert_false(wan_routes_disown(later));
	assert_int_equal(later->sets[0].count, 0);
	assert_true(wan_routes_set(later, "wan0", &one, 1));
	assert_false(wan_routes_disown(later));
	assert_int_equal(later->sets[0].count, 1);
	wan_routes_free(later);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_whole_plan),
		TEST(lines_of_one_wan_share_a_table),
		TEST(guards_are_installed_first_and_nothing_twice),
		TEST(a_track_down_takes_only_the_primary_route),
		TEST(a_lost_tunnel_leaves_the_guard),
		TEST(an_unnumbered_tunnel_lends_its_source),
		TEST(a_lost_wan_leaves_the_rules),
		TEST(others_are_left_alone),
		TEST(purge_takes_all_of_ours),
		TEST(routes_of_the_lease_stand_in_the_lines_table),
		TEST(an_order_for_no_wan_is_refused),
		TEST(a_restart_keeps_the_routes_of_the_lease_for_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
