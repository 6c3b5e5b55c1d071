/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From the parsed file to struct config: the tables of config_options.c, walked in their order. */
#define OPENSSL_SUPPRESS_DEPRECATED /* SHA-256 without EVP, which three of the services need for nothing else: 1.7 MB each */
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/config_internal.h"

#define MOST_OPTIONS  48
#define MOST_SECTIONS 16

/* A dead peer is given up after this many of its times to answer. */
#define DPD_RETRIES 5

static void read_options(struct config_reading *reading, const struct config *config,
                         const struct config_option *options, cfg_t *section, void *item, int line)
{
	for (const struct config_option *option = options; option->name; option++) {
		const struct config_value *value = config_value(section, option->name, 0);

		if (option->kind == OPTION_PORT_RANGE)
			continue;
		for (unsigned i = 1; value && config_value(section, option->name, i); i++) {
			const struct config_value *more = config_value(section, option->name, i);

			config_set_option(reading, config, option, item, more->text, more->line);
		}
		if (value)
			config_set_option(reading, config, option, item, value->text, value->line);
		else if (option->required)
			config_error(reading, line, "%s is missing: %s", option->name,
			             option->required);
		else if (option->fallback)
			config_set_option(reading, config, option, item, option->fallback, line);
	}
}

static void read_port_range(struct config_reading *reading, struct config *config,
                            const struct config_option *option, cfg_t *root)
{
	const struct config_value *first = config_value(root, option->name, 0);
	const struct config_value *last = config_value(root, option->name, 1);
	uint16_t *range = (uint16_t *)((char *)config + option->offset);

	if (!first) {
		sscanf(option->fallback, "%hu %hu", &range[0], &range[1]);
		return;
	}
	if (!last || config_value(root, option->name, 2)) {
		config_error(reading, first->line, "%s: expected two ports: { 50000, 50999 }",
		             option->name);
		return;
	}
	if (config_set_option(reading, config, option, config, first->text, first->line)) {
		struct config_option second = *option;

		second.offset += sizeof(uint16_t);
		if (config_set_option(reading, config, &second, config, last->text, last->line) &&
		    range[0] > range[1])
			config_error(reading, first->line, "%s: the first port is above the last",
			             option->name);
	}
}

static void read_title(struct config_reading *reading, const struct config *config,
                       const struct config_section *section, cfg_t *parsed, void *item, int line)
{
	static const enum option_kind kinds[] = {
		[TITLE_TEXT] = OPTION_TEXT,
		[TITLE_DIGITS] = OPTION_DIGITS,
		[TITLE_NUMBER] = OPTION_UNSIGNED,
	};
	struct config_option title = {.name = section->name, .offset = section->title_offset};

	if (section->title == TITLE_NONE)
		return;
	title.kind = kinds[section->title];
	if (section->title == TITLE_NUMBER) {
		title.minimum = 1;
		title.maximum = INT_MAX;
	}
	config_set_option(reading, config, &title, item, cfg_title(parsed), line);
}

static bool read_section(struct config_reading *reading, struct config *config,
                         const struct config_section *section, cfg_t *root)
{
	unsigned count = cfg_size(root, section->name);
	char *items = calloc(count ? count : 1, section->size);

	if (!items)
		return false;
	*(char **)((char *)config + section->items_offset) = items;
	*(size_t *)((char *)config + section->count_offset) = count;
	for (unsigned i = 0; i < count; i++) {
		cfg_t *parsed = cfg_getnsec(root, section->name, i);
		char *item = items + i * section->size;
		int line = config_section_line(parsed);
		unsigned errors_before = reading->errors;

		*(int *)(item + section->line_offset) = line;
		read_title(reading, config, section, parsed, item, line);
		read_options(reading, config, section->options, parsed, item, line);
		/* What follows from a wrong value would only be a second error about the same. */
		if (section->complete && reading->errors == errors_before)
			section->complete(reading, config, item);
	}
	return true;
}

static void read_timers(struct config_reading *reading, struct config *config, cfg_t *root)
{
	const struct config_option *options = config_timer_options();
	cfg_t *section = cfg_size(root, "timers") ? cfg_getsec(root, "timers") : NULL;

	for (size_t i = 0; i < TIMER_COUNT; i++) {
		const struct timer_definition *timer = &timer_definitions[i];
		const struct config_value *value =
			section ? config_value(section, options[i].name, 0) : NULL;

		config->timer_msec[i] = timer->default_msec;
		if (!value || !config_set_option(reading, config, &options[i], config, value->text,
		                                 value->line))
			continue;
		if (config->timer_msec[i] < timer->minimum_msec ||
		    config->timer_msec[i] > timer->maximum_msec)
			config_warning(reading, value->line,
			               "timer %s = %s: recommended are %g to %g seconds",
			               timer->name, value->text, timer->minimum_msec / 1000.0,
			               timer->maximum_msec / 1000.0);
	}
}

static size_t add_options(cfg_opt_t *grammar, size_t count, const struct config_option *options)
{
	for (; options->name; options++)
		grammar[count++] = config_value_option(options->name,
		                                       options->kind == OPTION_PORT_RANGE ||
		                                               options->kind == OPTION_WORD_SET);
	return count;
}

/* Parses by a grammar made from the tables. libconfuse copies it. */
static cfg_t *parse(struct config_reading *reading, const char *text)
{
	cfg_opt_t sections[MOST_SECTIONS][MOST_OPTIONS], timers[MOST_OPTIONS], root[MOST_OPTIONS];
	cfg_opt_t end = CFG_END();
	size_t count = add_options(root, 0, config_root_options), inner;

	for (size_t i = 0; i < config_section_count; i++) {
		const struct config_section *section = &config_sections[i];
		cfg_flag_t flags = CFGF_MULTI;

		sections[i][0] = config_line_option();
		inner = add_options(sections[i], 1, section->options);
		sections[i][inner] = end;
		if (section->title != TITLE_NONE)
			flags |= CFGF_TITLE | CFGF_NO_TITLE_DUPES;
		root[count++] = (cfg_opt_t)CFG_SEC(section->name, sections[i], flags);
	}
	timers[0] = config_line_option();
	inner = add_options(timers, 1, config_timer_options());
	timers[inner] = end;
	root[count++] = (cfg_opt_t)CFG_SEC("timers", timers, CFGF_NONE);
	root[count++] = config_end_option();
	root[count] = end;
	return config_parse(reading, root, text);
}

static void write_digest(const char *text, size_t size, char digest[65])
{
	unsigned char octets[SHA256_DIGEST_LENGTH];
	SHA256_CTX context;

	SHA256_Init(&context);
	SHA256_Update(&context, text, size);
	SHA256_Final(octets, &context);
	for (unsigned i = 0; i < sizeof(octets); i++)
		snprintf(digest + 2 * i, 3, "%02x", octets[i]);
}

static bool build(struct config_reading *reading, struct config *config, cfg_t *root)
{
	read_options(reading, config, config_root_options, root, config, 0);
	for (const struct config_option *option = config_root_options; option->name; option++)
		if (option->kind == OPTION_PORT_RANGE)
			read_port_range(reading, config, option, root);
	read_timers(reading, config, root);
	for (size_t i = 0; i < config_section_count; i++)
		if (!read_section(reading, config, &config_sections[i], root))
			return false;
	if (reading->errors > 0)
		return true;
	if (!config_index(config))
		return false;
	config_check_sections(reading, config);
	return true;
}

struct config *config_load(const char *file, config_report_fn *report, void *context)
{
	struct config_reading reading = {.file = file, .report = report, .context = context};
	struct config *config = calloc(1, sizeof(*config));
	cfg_t *root = NULL;
	size_t size = 0;
	char *text = config_read_file(&reading, &size);

	if (!text)
		goto out;
	root = parse(&reading, text);
	if (!root)
		goto out;
	if (config)
		write_digest(text, size, config->digest);
	if (!config || !(config->file = strdup(file)) || !build(&reading, config, root))
		config_error(&reading, 0, "out of memory");
out:
	if (root)
		cfg_free(root);
	free(text);
	if (config && (!config->file || reading.errors)) {
		config_free(config);
		config = NULL;
	}
	return config;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config_section_count; i++) {
		const struct config_section *section = &config_sections[i];
		char *items = *(char **)((char *)config + section->items_offset);
		size_t count = *(size_t *)((char *)config + section->count_offset);

		for (size_t j = 0; items && j < count; j++) {
			char *item = items + j * section->size;

			config_clear_options(section->options, item);
			if (section->title == TITLE_TEXT || section->title == TITLE_DIGITS)
				free(*(char **)(item + section->title_offset));
		}
		free(items);
	}
	config_clear_options(config_root_options, config);
	config_free_index(config);
	free(config->file);
	free(config);
}

unsigned config_dead_peer_sec(const struct config_ike_profile *profile)
{
	return profile->dpd_interval_sec
	               ? profile->dpd_interval_sec + DPD_RETRIES * profile->dpd_retry_sec
	               : 0;
}

const struct config_crypto_signaling *config_crypto_signaling_for(
	const struct config *config, const struct sockaddr_storage *remote)
{
	const struct config_crypto_signaling *best = NULL;

	for (size_t i = 0; i < config->crypto_signaling_count; i++) {
		const struct config_crypto_signaling *entry = &config->crypto_signalings[i];
		const struct config_prefix *prefix = &entry->remote_address;

		if (prefix->address.ss_family &&
		    !address_is_in_prefix(remote, &prefix->address, prefix->length))
			continue;
		/* The default has length 0: any entry that fits is better, also one for 0.0.0.0/0. */
		if (!best || prefix->length > best->remote_address.length ||
		    !best->remote_address.address.ss_family)
			best = entry;
	}
	return best;
}
