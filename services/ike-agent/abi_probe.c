/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The layouts that depend on how libcharon was configured are daemon_t and peer_cfg_t (members in the
 * middle exist only with ME). Members read as methods must point into the library that implements
 * them, and what is written through one layout must come back through the other.
 */
#include "services/ike-agent/abi_probe.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <daemon.h>
#include <library.h>

struct method {
	const char *name;
	const char *library;
	const void *address;
};

/** NULL when the method's address lies in its library, else the name of the method. */
static const char *first_misplaced(const struct method *methods, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		Dl_info info;
		if (!methods[i].address || !dladdr(methods[i].address, &info) || !info.dli_fname ||
		    !strstr(info.dli_fname, methods[i].library))
			return methods[i].name;
	}
	return NULL;
}

static const char *probe_daemon(void)
{
	const struct method methods[] = {
		{"charon->initialize", "libcharon.so", charon->initialize},
		{"charon->start", "libcharon.so", charon->start},
		{"charon->load_loggers", "libcharon.so", charon->load_loggers},
		{"charon->set_default_loggers", "libcharon.so", charon->set_default_loggers},
		{"charon->set_level", "libcharon.so", charon->set_level},
		{"charon->bus->add_listener", "libcharon.so", charon->bus->add_listener},
		{"lib->settings->set_str", "libstrongswan.so", lib->settings->set_str},
		{"lib->plugins->add_static_features", "libstrongswan.so",
	         lib->plugins->add_static_features},
	};
	return first_misplaced(methods, countof(methods));
}

static const char *probe_peer_config(void)
{
	const uint32_t if_id_in = 11, if_id_out = 12;
	ike_cfg_create_t ike = {
		.version = IKEV2,
		.local = "192.0.2.1",
		.local_port = 4500,
		.remote = "192.0.2.2",
		.remote_port = 4500,
	};
	peer_cfg_create_t peer = {
		.cert_policy = CERT_ALWAYS_SEND,
		.unique = UNIQUE_NEVER,
		.if_id_in = if_id_in,
		.if_id_out = if_id_out,
	};
	peer_cfg_t *cfg = peer_cfg_create("abi-probe", ike_cfg_create(&ike), &peer);
	const struct method methods[] = {
		{"peer_cfg->get_if_id", "libcharon.so", cfg->get_if_id},
		{"peer_cfg->get_ref", "libcharon.so", cfg->get_ref},
		{"peer_cfg->destroy", "libcharon.so", cfg->destroy},
	};
	const char *fault = first_misplaced(methods, countof(methods));

	/* A configuration whose methods are misplaced is leaked: destroy cannot be called. */
	if (fault)
		return fault;
	if (cfg->get_if_id(cfg, TRUE) != if_id_in || cfg->get_if_id(cfg, FALSE) != if_id_out)
		fault = "peer_cfg's if_id";
	cfg->destroy(cfg);
	return fault;
}

int charon_abi_probe(char *why, size_t size)
{
	const char *fault = probe_daemon();

	if (!fault)
		fault = probe_peer_config();
	if (!fault)
		return 0;
	snprintf(why, size, "libcharon's layout differs from its headers at %s", fault);
	return -1;
}

#ifdef VPNSIP_ABI_PROBE_MAIN
/* The probe alone, run when the build is configured. */
int main(void)
{
	char why[128] = "libcharon does not start";

	if (!library_init("", "abi-probe") || !libcharon_init() ||
	    charon_abi_probe(why, sizeof(why)) != 0) {
		puts(why);
		return 3;
	}
	libcharon_deinit();
	library_deinit();
	return 0;
}
#endif
