/* SPDX-License-Identifier: GPL-3.0-or-later */
/* libcharon's life: settings, plugins, our back ends, logger, start and stop. */
#include "services/ike-agent/charon_internal.h"

#include <errno.h>
#include <malloc.h>
#include <plugins/plugin_feature.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/random.h>
#include <time.h>

#include "services/common/log.h"
#include "services/common/log_condition.h"
#include "services/ike-agent/abi_probe.h"

#define LEAVE_LIMIT_MSEC 600

#define NAMESPACE "ike-agent"
#define PLUGINS   "nonce openssl kdf pem"

struct charon_engine charon_engine;

static bool is_open;

struct setting {
	const char *name, *value;
};

/*
 * Retransmissions after 1, 1.8, 3.2, 5.8 s, then each 9 s, until charon_patience.c ends it. A cookie and block threshold per address would
 * hit the many sessions behind one carrier relay; tunnel-agent admits packets by what SDP announced instead.
 */
static const struct setting settings[] = {
	{"threads", "8"},
	{"ikesa_table_size", "1024"},
	{"ikesa_table_segments", "16"},
	{"dos_protection", "no"},
	{"reuse_ikesa", "no"},
	/* The initiator's order decides (the guide's "the initiator's choice is preferred"). */
	{"prefer_configured_proposals", "no"},
	{"retransmit_timeout", "1.0"},
	{"retransmit_base", "1.8"},
	{"retransmit_limit", "9"},
	{"retransmit_tries", "1000000"},
	{"half_open_timeout", "30"},
	{"keep_alive", "0"},
	{"fragment_size", "1280"},
	{"close_ike_on_child_failure", "yes"},
	{"delete_rekeyed_delay", "5"},
	{"install_routes", "no"},
	{"install_virtual_ip", "no"},
	{"follow_redirects", "no"},
	{"send_vendor_id", "no"},
	{"initiator_only", "no"},
};

/** Our SPIs have a random lower half in common; see ENGINE_LIFE_OF(). The upper one is where libcharon's table of IKE_SAs takes its hash from. */
static bool set_life(void)
{
	uint32_t life;
	char label[24];

	if (getrandom(&life, sizeof(life), 0) != sizeof(life))
		return false;
	snprintf(label, sizeof(label), "0x%08x", life);
	lib->settings->set_str(lib->settings, NAMESPACE ".spi_mask", "0x00000000ffffffff");
	lib->settings->set_str(lib->settings, NAMESPACE ".spi_label", label);
	return true;
}

static plugin_feature_t features[] = {
	PLUGIN_CALLBACK(kernel_ipsec_register, charon_kernel_ipsec_create),
	PLUGIN_PROVIDE(CUSTOM, "kernel-ipsec"),
	PLUGIN_CALLBACK(kernel_net_register, charon_kernel_net_create),
	PLUGIN_PROVIDE(CUSTOM, "kernel-net"),
	PLUGIN_CALLBACK(socket_register, charon_socket_create),
	PLUGIN_PROVIDE(CUSTOM, "socket"),
};

/* Before libcharon takes over: faults of the library itself. */
static void log_early(debug_t group, level_t level, char *format, ...)
{
	char text[256];
	va_list arguments;

	if (level > LEVEL_CTRL)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_line(LOG_DEBUG, "charon: %s", text);
}

static void log_message(logger_t *this, debug_t group, level_t level, int thread, ike_sa_t *ike_sa,
                        const char *message)
{
	struct charon_session *session = charon_session_of(ike_sa);

	const char *tunnel = session ? session->peer->tunnel : NULL;
	const char *number = session ? session->remote_number : NULL;
	const char *part = enum_to_name(debug_lower_names, group) ?: "";

	if (log_level() < LOG_DEBUG)
		log_debug(LOG_IKE, tunnel, number, "charon %s: %s", part, message);
	else if (log_condition_holds(tunnel, number))
		log_session(LOG_DEBUG, tunnel, number, "charon %s: %s", part, message);
	charon_session_release(session);
}

/* Never above CTRL: from level 3 on libcharon writes raw data, at level 4 keys. */
static level_t get_level(logger_t *this, debug_t group)
{
	return log_level() >= LOG_DEBUG || log_is_on(LOG_IKE, NULL) ? LEVEL_CTRL : LEVEL_SILENT;
}

static logger_t logger = {
	.log = log_message,
	.get_level = get_level,
};

/* libcharon asks for the level once: each time the logger is added. */
static void change_level(void)
{
	charon->bus->add_logger(charon->bus, &logger);
}

static bool has_key_derivation(void)
{
	kdf_t *kdf = lib->crypto->create_kdf(lib->crypto, KDF_PRF, PRF_HMAC_SHA2_256);

	if (!kdf)
		return false;
	kdf->destroy(kdf);
	return true;
}

/** The library and libcharon, checked, with our back ends. Undone by engine_close() whatever the result. */
static bool initialize(char *why, size_t why_size)
{
	dbg = log_early;
	is_open = true;
	if (!library_init("", NAMESPACE) || !libcharon_init()) {
		snprintf(why, why_size, "libcharon does not initialise");
		return false;
	}
	if (charon_abi_probe(why, why_size) != 0)
		return false;
	charon->bus->add_logger(charon->bus, &logger);
	for (size_t i = 0; i < countof(settings); i++)
		lib->settings->set_str(lib->settings, NAMESPACE ".%s", (char *)settings[i].value,
		                       settings[i].name);
	if (!set_life()) {
		snprintf(why, why_size, "no random numbers: %s", strerror(errno));
		return false;
	}
	lib->plugins->add_static_features(lib->plugins, NAMESPACE, features, countof(features),
	                                  TRUE, NULL, NULL);
	if (!charon->initialize(charon, PLUGINS)) {
		snprintf(why, why_size, "libcharon does not load its plugins (%s)", PLUGINS);
		return false;
	}
	if (!has_key_derivation()) {
		snprintf(why, why_size, "libcharon's plugin kdf is missing");
		return false;
	}
	return true;
}

static pthread_mutex_t keyring_mutex = PTHREAD_MUTEX_INITIALIZER;
static const struct config_keyring *known_keys;

void engine_use_keyring(const struct config_keyring *keyring)
{
	pthread_mutex_lock(&keyring_mutex);
	known_keys = keyring;
	pthread_mutex_unlock(&keyring_mutex);
}

bool charon_keyring_has(chunk_t identity)
{
	bool is_found = false;

	pthread_mutex_lock(&keyring_mutex);
	for (size_t i = 0; known_keys && i < known_keys->key_count && !is_found; i++)
		is_found = chunk_equals(identity, chunk_from_str(known_keys->keys[i].key_id));
	pthread_mutex_unlock(&keyring_mutex);
	return is_found;
}

bool engine_open(const struct config *config, const struct engine_host *host, char *why,
                 size_t why_size)
{
	charon_engine.config = config;
	charon_engine.host = host;
	charon_engine.is_leaving = false;
	/* Memory of a peak is given back rather than kept once per thread. */
	mallopt(M_ARENA_MAX, 2);
	if (!initialize(why, why_size) || !charon_config_open(config, why, why_size)) {
		engine_close();
		return false;
	}
	lib->credmgr->add_set(lib->credmgr, &charon_credentials);
	charon->backends->add_backend(charon->backends, &charon_backend);
	charon->bus->add_listener(charon->bus, &charon_listener);
	charon->start(charon);
	log_watch(change_level);
	return true;
}

static sem_t has_left;

/** Ends the process unless the engine has left in time. */
static void *leave_anyway(void *unused)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_nsec += LEAVE_LIMIT_MSEC * 1000000l;
	limit.tv_sec += limit.tv_nsec / 1000000000;
	limit.tv_nsec %= 1000000000;
	if (sem_timedwait(&has_left, &limit) != 0) {
		log_line(LOG_NOTICE, "left without waiting for libcharon's threads");
		_exit(EXIT_SUCCESS);
	}
	return NULL;
}

void engine_close(void)
{
	pthread_t watch;
	bool is_watched;

	if (!is_open)
		return;
	is_open = false;
	log_watch(NULL);
	charon_engine.is_leaving = true;
	sem_init(&has_left, 0, 0);
	is_watched = pthread_create(&watch, NULL, leave_anyway, NULL) == 0;
	if (charon) {
		charon->bus->remove_listener(charon->bus, &charon_listener);
		lib->credmgr->remove_set(lib->credmgr, &charon_credentials);
		charon->backends->remove_backend(charon->backends, &charon_backend);
		charon_sessions_free();
		charon_config_close();
	}
	libcharon_deinit();
	charon_responses_free();
	charon_deadlines_free();
	charon_numbers_free();
	library_deinit();
	sem_post(&has_left);
	if (is_watched)
		pthread_join(watch, NULL);
	sem_destroy(&has_left);
}
