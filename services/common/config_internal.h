/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How the configuration is described: one table of options for each section. The grammar given to libconfuse, the reading,
 * the canonical print and the suggestions all come from these tables; config_check.c adds what concerns several values.
 * Private to the config_*.c files and keyring.c.
 */
#ifndef VPNSIP_CONFIG_INTERNAL_H
#define VPNSIP_CONFIG_INTERNAL_H

#include <confuse.h>
#include <stdarg.h>
#include <syslog.h>

#include "services/common/config.h"

/** How an option is written, and the type of its member. */
enum option_kind {
	OPTION_TEXT = 1,  /* char *: no control characters */
	OPTION_DIGITS,    /* char *: a telephone number */
	OPTION_INTERFACE, /* char *: a name that fits IFNAMSIZ */
	OPTION_BOOL,      /* bool */
	OPTION_UNSIGNED,  /* unsigned */
	OPTION_UINT16,    /* uint16_t */
	OPTION_UINT64,    /* uint64_t */
	OPTION_KILOBYTE,  /* uint64_t in bytes, written in kilobytes of 1024 */
	OPTION_SECONDS, /* unsigned in milliseconds, written in seconds with up to three decimals */
	OPTION_WORD,    /* int-sized enum: one of `words` */
	OPTION_WORD_SET,        /* unsigned: 1 << value of each, written { a, b } or a */
	OPTION_ADDRESS,         /* struct sockaddr_storage */
	OPTION_ADDRESS_PORT,    /* struct sockaddr_storage; `minimum` is the default port */
	OPTION_SERVER,          /* struct config_server: "dhcp", address[:port] or name[:port] */
	OPTION_PREFIX,          /* struct config_prefix */
	OPTION_FINGERPRINT,     /* the fingerprint members of struct config_peer */
	OPTION_PORT_RANGE,      /* two uint16_t in a row, written { first, last } */
	OPTION_LINE,            /* struct config_line *, by number */
	OPTION_TRUSTPOINT,      /* struct config_trustpoint *, by name */
	OPTION_CERTIFICATE_MAP, /* by name */
	OPTION_IKE_PROFILE,     /* by name */
	OPTION_IPSEC_PROFILE,   /* by name */
	OPTION_SLA,             /* by number */
	OPTION_TRACK,           /* by number */
	OPTION_TUNNEL,          /* struct config_peer *, by the name of its tunnel */
};

struct option_word {
	const char *text;
	int value;
};

struct config_option {
	const char *name;
	enum option_kind kind;
	size_t offset;           /* of the member */
	const char *fallback;    /* what it is when not written; NULL = stays empty */
	double minimum, maximum; /* as written; both 0 = the type's own range */
	const struct option_word *words;
	const char *required; /* not NULL: must be written, and this is why or what to write */
};

enum config_title {
	TITLE_NONE,   /* route { } */
	TITLE_TEXT,   /* ike-profile "default" { } */
	TITLE_DIGITS, /* line "0388881001" { } */
	TITLE_NUMBER, /* sla 1 { }, 1 or more */
};

struct config_reading;

/** A section that may be written several times: an array in struct config. */
struct config_section {
	const char *name;
	enum config_title title;
	const struct config_option *options;
	size_t size;                       /* of one element */
	size_t title_offset, line_offset;  /* in the element */
	size_t items_offset, count_offset; /* in struct config */
	/** Fills what depends on other values and checks the element alone. May be NULL. */
	void (*complete)(struct config_reading *reading, struct config *config, void *item);
};

/** In the order in which they are read: a section refers to earlier ones only. */
extern const struct config_section config_sections[];
extern const size_t config_section_count;

/** Options outside of sections; and those of timers { }, made from timer_definitions. Ended by a NULL name. */
extern const struct config_option config_root_options[];
const struct config_option *config_timer_options(void);

/** A file that is being read: where findings go, and how many were errors. */
struct config_reading {
	const char *file;
	config_report_fn *report;
	void *context;
	unsigned errors;
};

void config_error(struct config_reading *reading, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void config_warning(struct config_reading *reading, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void config_notice(struct config_reading *reading, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** An option as it was written. */
struct config_value {
	char *text;
	int line;
};

/** Parses `text` (wiped by the caller if it is secret) by `grammar`. NULL after an error report. Free with cfg_free(). */
cfg_t *config_parse(struct config_reading *reading, cfg_opt_t *grammar, const char *text);

/** What was written for an option, or NULL. `index` counts the values of a list. */
const struct config_value *config_value(cfg_t *section, const char *name, unsigned index);

/** Line in which a section begins. */
int config_section_line(cfg_t *section);

/** One cfg_opt_t for a value of any kind; is_list for { a, b }. */
cfg_opt_t config_value_option(const char *name, bool is_list);

/** Two options that a grammar needs: in each section, to catch the line of its opening brace; and in the root. */
cfg_opt_t config_line_option(void);
cfg_opt_t config_end_option(void);

/** Whole file as a string; `size` may be NULL. NULL after an error report. */
char *config_read_file(struct config_reading *reading, size_t *size);

/** Reads one value into its member. Reports at `line`. */
bool config_set_option(struct config_reading *reading, const struct config *config,
                       const struct config_option *option, void *item, const char *text, int line);

/** Frees what an item's options own. */
void config_clear_options(const struct config_option *options, void *item);

/** What a profile proposes is understood, and weak only where that is allowed. */
void config_check_ike_proposals(struct config_reading *reading, const struct config *config,
                                const struct config_ike_profile *profile);
void config_check_ipsec_proposals(struct config_reading *reading, const struct config *config,
                                  const struct config_ipsec_profile *profile);

/** Checks that look at several sections. */
void config_check_sections(struct config_reading *reading, const struct config *config);

/** Peers that have no key, or none but what the carrier says. */
void config_check_trust(struct config_reading *reading, const struct config *config);

/** The files of the trustpoints that IKE uses: owner, mode, key, validity. */
void config_check_certificates(struct config_reading *reading, const struct config *config);

void config_complete_trustpoint(struct config_reading *reading, struct config *config, void *item);
void config_complete_certificate_map(struct config_reading *reading, struct config *config,
                                     void *item);
void config_complete_crypto_signaling(struct config_reading *reading, struct config *config,
                                      void *item);
void config_complete_line(struct config_reading *reading, struct config *config, void *item);
void config_complete_ike_proposal(struct config_reading *reading, struct config *config,
                                  void *item);
void config_complete_transform_set(struct config_reading *reading, struct config *config,
                                   void *item);
void config_complete_ike_profile(struct config_reading *reading, struct config *config, void *item);
void config_complete_ipsec_profile(struct config_reading *reading, struct config *config,
                                   void *item);
void config_complete_peer(struct config_reading *reading, struct config *config, void *item);
void config_complete_sla(struct config_reading *reading, struct config *config, void *item);
void config_complete_route(struct config_reading *reading, struct config *config, void *item);

#endif
