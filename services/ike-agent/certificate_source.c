/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/certificate_source.h"

#include <pthread.h>
#include <stdlib.h>

#include "services/common/file_stamp.h"
#include "services/common/log.h"

#define FILES 4

struct certificate_source {
	const struct config_trustpoint *trustpoint;
	pthread_mutex_t mutex; /* of `store` */
	struct certificate_store *store;
	struct file_stamp stamps[FILES];
	bool is_tried;
	char cause[CERTIFICATE_CAUSE_SIZE];
};

struct certificate_source *certificate_source_new(const struct config_trustpoint *trustpoint)
{
	struct certificate_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->trustpoint = trustpoint;
	pthread_mutex_init(&source->mutex, NULL);
	return source;
}

void certificate_source_free(struct certificate_source *source)
{
	if (!source)
		return;
	certificate_store_release(source->store);
	pthread_mutex_destroy(&source->mutex);
	free(source);
}

static void replace(struct certificate_source *source, struct certificate_store *fresh)
{
	struct certificate_store *old;

	pthread_mutex_lock(&source->mutex);
	old = source->store;
	source->store = fresh;
	pthread_mutex_unlock(&source->mutex);
	certificate_store_release(old);
}

bool certificate_source_refresh(struct certificate_source *source)
{
	const struct config_trustpoint *trustpoint = source->trustpoint;
	const char *const files[FILES] = {trustpoint->certificate_file, trustpoint->key_file,
	                                  trustpoint->ca_file, trustpoint->crl_file};
	const bool is_renewal = source->store != NULL;
	struct certificate_store *fresh;
	struct certificate_facts facts;

	if (!file_stamps_update(source->stamps, files, FILES) && source->is_tried)
		return false;
	source->is_tried = true;
	fresh = certificate_store_load(trustpoint, source->cause);
	if (!fresh) {
		log_line(LOG_ERR, "trustpoint %s: %s%s", trustpoint->name, source->cause,
		         is_renewal ? "; what was loaded before stays in use" : "");
		return false;
	}
	source->cause[0] = '\0';
	certificate_facts_read(fresh->own, &facts);
	log_line(LOG_INFO, "trustpoint %s: %s %s, serial %s, %d root%s", trustpoint->name,
	         is_renewal ? "renewed," : "loaded,", facts.subject, facts.serial,
	         sk_X509_num(fresh->authorities), sk_X509_num(fresh->authorities) == 1 ? "" : "s");
	replace(source, fresh);
	return true;
}

struct certificate_store *certificate_source_hold(struct certificate_source *source)
{
	struct certificate_store *store;

	pthread_mutex_lock(&source->mutex);
	store = certificate_store_hold(source->store);
	pthread_mutex_unlock(&source->mutex);
	return store;
}

const char *certificate_source_cause(const struct certificate_source *source)
{
	return source->cause;
}

const struct config_trustpoint *certificate_source_trustpoint(
	const struct certificate_source *source)
{
	return source->trustpoint;
}
