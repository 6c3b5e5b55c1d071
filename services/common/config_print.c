/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The canonical form: every option with its value in force, in the order of the tables. */
#include <inttypes.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/config_internal.h"

#define LONGEST_NAME 22

/* Double quotes would expand ${...} and escapes; single quotes know only \\ and \'. */
static void print_quoted(FILE *stream, const char *text)
{
	char quote = strpbrk(text, "\"\\$") ? '\'' : '"';

	fputc(quote, stream);
	for (; *text; text++) {
		if (quote == '\'' && (*text == '\'' || *text == '\\'))
			fputc('\\', stream);
		fputc(*text, stream);
	}
	fputc(quote, stream);
}

static void print_seconds(FILE *stream, unsigned msec)
{
	char decimals[8];
	size_t length;

	snprintf(decimals, sizeof(decimals), ".%03u", msec % 1000);
	length = strlen(decimals);
	while (length > 1 && decimals[length - 1] == '0')
		length--;
	fprintf(stream, "%u%.*s", msec / 1000, length > 1 ? (int)length : 0, decimals);
}

static void print_fingerprint(FILE *stream, const struct config_peer *peer)
{
	fprintf(stream, "\"%s ", peer->fingerprint_hash);
	for (size_t i = 0; i < peer->fingerprint_size; i++)
		fprintf(stream, "%s%02X", i ? ":" : "", peer->fingerprint[i]);
	fputc('"', stream);
}

static void print_words(FILE *stream, const struct config_option *option, unsigned set)
{
	const char *separator = "{ ";

	for (const struct option_word *word = option->words; word->text; word++) {
		if (!(set & 1u << word->value))
			continue;
		fprintf(stream, "%s%s", separator, word->text);
		separator = ", ";
	}
	fputs(" }", stream);
}

static void print_server(FILE *stream, const struct config_server *server)
{
	char text[ADDRESS_TEXT_SIZE];

	switch (server->kind) {
	case SERVER_ADDRESS:
		fprintf(stream, "\"%s\"",
		        server->port ? address_format_port(&server->address, text)
		                     : address_format(&server->address, text));
		break;
	case SERVER_NAME:
		fprintf(stream, "\"%s", server->name);
		if (server->port)
			fprintf(stream, ":%u", server->port);
		fputc('"', stream);
		break;
	case SERVER_DHCP:
		fputs("dhcp", stream);
		break;
	case SERVER_NONE:
		break;
	}
}

static bool is_set(const struct config_option *option, const void *item)
{
	const void *member = (const char *)item + option->offset;

	switch (option->kind) {
	case OPTION_ADDRESS:
	case OPTION_ADDRESS_PORT:
	case OPTION_PREFIX: /* its address comes first */
		return ((const struct sockaddr_storage *)member)->ss_family != 0;
	case OPTION_SERVER:
		return ((const struct config_server *)member)->kind != SERVER_NONE;
	case OPTION_WORD_SET:
		return *(const unsigned *)member != 0;
	case OPTION_FINGERPRINT:
		return ((const struct config_peer *)item)->has_fingerprint;
	case OPTION_TEXT:
	case OPTION_DIGITS:
	case OPTION_INTERFACE:
	case OPTION_LINE:
	case OPTION_TRUSTPOINT:
	case OPTION_CERTIFICATE_MAP:
	case OPTION_IKE_PROFILE:
	case OPTION_IPSEC_PROFILE:
	case OPTION_SLA:
	case OPTION_TRACK:
	case OPTION_TUNNEL:
		return *(void *const *)member != NULL;
	default:
		return true;
	}
}

/* Names the section that a member points to. */
static void print_reference(FILE *stream, const struct config_option *option, const void *member)
{
	switch (option->kind) {
	case OPTION_LINE:
		print_quoted(stream, (*(struct config_line *const *)member)->number);
		break;
	case OPTION_TRUSTPOINT:
		print_quoted(stream, (*(struct config_trustpoint *const *)member)->name);
		break;
	case OPTION_CERTIFICATE_MAP:
		print_quoted(stream, (*(struct config_certificate_map *const *)member)->name);
		break;
	case OPTION_IKE_PROFILE:
		print_quoted(stream, (*(struct config_ike_profile *const *)member)->name);
		break;
	case OPTION_IPSEC_PROFILE:
		print_quoted(stream, (*(struct config_ipsec_profile *const *)member)->name);
		break;
	case OPTION_SLA:
		fprintf(stream, "%u", (*(struct config_sla *const *)member)->number);
		break;
	case OPTION_TRACK:
		fprintf(stream, "%u", (*(struct config_track *const *)member)->number);
		break;
	case OPTION_TUNNEL:
		print_quoted(stream, (*(struct config_peer *const *)member)->tunnel);
		break;
	default:
		break;
	}
}

static void print_value(FILE *stream, const struct config_option *option, const void *item)
{
	const void *member = (const char *)item + option->offset;
	char text[ADDRESS_TEXT_SIZE];

	switch (option->kind) {
	case OPTION_TEXT:
	case OPTION_DIGITS:
	case OPTION_INTERFACE:
		print_quoted(stream, *(char *const *)member);
		break;
	case OPTION_BOOL:
		fputs(*(const bool *)member ? "true" : "false", stream);
		break;
	case OPTION_UNSIGNED:
		fprintf(stream, "%u", *(const unsigned *)member);
		break;
	case OPTION_UINT16:
		fprintf(stream, "%u", *(const uint16_t *)member);
		break;
	case OPTION_UINT64:
		fprintf(stream, "%" PRIu64, *(const uint64_t *)member);
		break;
	case OPTION_KILOBYTE:
		fprintf(stream, "%" PRIu64, *(const uint64_t *)member / 1024);
		break;
	case OPTION_SECONDS:
		print_seconds(stream, *(const unsigned *)member);
		break;
	case OPTION_WORD:
		for (const struct option_word *word = option->words; word->text; word++)
			if (word->value == *(const int *)member)
				fputs(word->text, stream);
		break;
	case OPTION_WORD_SET:
		print_words(stream, option, *(const unsigned *)member);
		break;
	case OPTION_SERVER:
		print_server(stream, member);
		break;
	case OPTION_ADDRESS:
		fprintf(stream, "\"%s\"", address_format(member, text));
		break;
	case OPTION_ADDRESS_PORT:
		fprintf(stream, "\"%s\"", address_format_port(member, text));
		break;
	case OPTION_PREFIX:
		fprintf(stream, "\"%s\"",
		        address_format_prefix(&((const struct config_prefix *)member)->address,
		                              ((const struct config_prefix *)member)->length,
		                              text));
		break;
	case OPTION_FINGERPRINT:
		print_fingerprint(stream, item);
		break;
	case OPTION_PORT_RANGE:
		fprintf(stream, "{ %u, %u }", ((const uint16_t *)member)[0],
		        ((const uint16_t *)member)[1]);
		break;
	default:
		print_reference(stream, option, member);
		break;
	}
}

static void print_options(FILE *stream, const struct config_option *options, const void *item,
                          const char *indent)
{
	for (const struct config_option *option = options; option->name; option++) {
		if (!is_set(option, item))
			continue;
		fprintf(stream, "%s%-*s = ", indent, LONGEST_NAME, option->name);
		print_value(stream, option, item);
		fputc('\n', stream);
	}
}

static void print_section(FILE *stream, const struct config *config,
                          const struct config_section *section)
{
	const char *items = *(char *const *)((const char *)config + section->items_offset);
	size_t count = *(const size_t *)((const char *)config + section->count_offset);

	for (size_t i = 0; i < count; i++) {
		const char *item = items + i * section->size;
		const void *title = item + section->title_offset;

		fprintf(stream, "\n%s ", section->name);
		if (section->title == TITLE_NUMBER)
			fprintf(stream, "%u ", *(const unsigned *)title);
		else if (section->title != TITLE_NONE) {
			print_quoted(stream, *(char *const *)title);
			fputc(' ', stream);
		}
		fputs("{\n", stream);
		print_options(stream, section->options, item, "    ");
		fputs("}\n", stream);
	}
}

void config_print(const struct config *config, FILE *stream)
{
	print_options(stream, config_root_options, config, "");
	for (size_t i = 0; i < config_section_count; i++)
		print_section(stream, config, &config_sections[i]);
	fputs("\ntimers {\n", stream);
	print_options(stream, config_timer_options(), config, "    ");
	fputs("}\n", stream);
}
