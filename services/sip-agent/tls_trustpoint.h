/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The trustpoints of the configuration, loaded: our certificate chain and key, the roots that we believe, revocation lists. Their
 * files are looked at for each new connection, so that renewed ones are used from the next connection on.
 */
#ifndef VPNSIP_SIP_TLS_TRUSTPOINT_H
#define VPNSIP_SIP_TLS_TRUSTPOINT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "services/common/config.h"
#include "services/common/file_stamp.h"

#define TRUSTPOINT_CAUSE_SIZE 256
#define TRUSTPOINT_FILES      4

struct trustpoint {
	const struct config_trustpoint *config;
	SSL_CTX *context; /* NULL until it was loaded once; what was loaded last stays in use */
	struct file_stamp stamps[TRUSTPOINT_FILES];
	bool is_tried; /* the stamps are those of the last attempt to load */
	char subject[256], issuer[256];
	time_t not_before, not_after; /* of our certificate; 0 = we show none */
	unsigned authorities;
	time_t crl_next_update; /* 0 = none */
	time_t loaded_at;
	char load_cause[TRUSTPOINT_CAUSE_SIZE]; /* of the last attempt; "" = it went well */
};

void trustpoint_init(struct trustpoint *trustpoint, const struct config_trustpoint *config);
void trustpoint_free(struct trustpoint *trustpoint);

/** Loads it anew if a file has changed since. True when it was loaded anew. A fault is logged once. */
bool trustpoint_refresh(struct trustpoint *trustpoint, time_t now);

/**
 * Why it cannot be used at this time, in a sentence that is written to `why`; NULL = it can. A clock that stands before this
 * program was built, or before our certificate begins, tells nothing about anybody's certificate.
 */
const char *trustpoint_obstacle(const struct trustpoint *trustpoint, time_t now,
                                char why[TRUSTPOINT_CAUSE_SIZE]);

/** The cause why the clock cannot be right; NULL = it may be. Pure. */
const char *trustpoint_clock_obstacle(time_t now);

#endif
