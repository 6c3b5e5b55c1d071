/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show services, show timers, show running-config */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "services/cli/show.h"
#include "services/common/config.h"

/* As that service sees its peer; the same words as for the service itself. */
static const char *const peer_healths[] = {
	[VPNSIP__PEER_HEALTH__PEER_HEALTH_UNSPECIFIED] = "",
	[VPNSIP__PEER_HEALTH__PEER_ABSENT] = "absent",
	[VPNSIP__PEER_HEALTH__PEER_UP] = "up",
	[VPNSIP__PEER_HEALTH__PEER_SILENT] = "silent",
};

json_t *show_peer_model(const Vpnsip__PeerStatus *peer)
{
	return json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name",
		bus_service_name(peer->service), "health",
		peer->health <= VPNSIP__PEER_HEALTH__PEER_SILENT ? peer_healths[peer->health] : "",
		"events_received", (json_int_t)peer->events_received, "events_lost",
		(json_int_t)peer->events_lost, "gaps", (json_int_t)peer->gaps, "snapshots",
		(json_int_t)peer->snapshots, "requests_sent", (json_int_t)peer->requests_sent,
		"requests_failed", (json_int_t)peer->requests_failed, "requests_timed_out",
		(json_int_t)peer->requests_timed_out);
}

/* "same" as the file is now, "differs", or "" when that cannot be told. */
static const char *compare_config(const struct show_input *input,
                                  const Vpnsip__ServiceStatus *status)
{
	if (!input->config || !*status->config_digest)
		return "";
	return strcmp(input->config->digest, status->config_digest) == 0 ? "same" : "differs";
}

static void add_status(json_t *object, const struct show_input *input,
                       const Vpnsip__ServiceStatus *status)
{
	json_t *peers = json_array();
	char epoch[32];

	snprintf(epoch, sizeof(epoch), "%016" PRIx64, status->epoch);
	for (size_t i = 0; i < status->n_peers; i++)
		json_array_append_new(peers, show_peer_model(status->peers[i]));
	json_object_update_new(
		object, json_pack("{s:o, s:i, s:i, s:I, s:I, s:i, s:s, s:o, s:o, s:s, s:I, s:I, "
	                          "s:I, s:I, s:o}",
	                          "version", model_text(status->version), "process_id",
	                          (int)status->process_id, "user_id", (int)status->user_id,
	                          "uptime_sec", (json_int_t)status->uptime_sec, "resident_kbyte",
	                          (json_int_t)status->resident_kbyte, "loop_lag_usec",
	                          (int)status->loop_lag_usec, "epoch", epoch, "config_file",
	                          model_text(status->config_file), "config_digest",
	                          model_text(status->config_digest), "config",
	                          compare_config(input, status), "refused_peers",
	                          (json_int_t)status->refused_peers, "refused_messages",
	                          (json_int_t)status->refused_messages, "undecodable_messages",
	                          (json_int_t)status->undecodable_messages, "listener_restarts",
	                          (json_int_t)status->listener_restarts, "peers", peers));
}

/* Silent: the process is there and does not answer. */
static const char *health_of(const struct gathered_service *service)
{
	return service->status                                            ? "up"
	       : service->process_id || service->outcome == BUS_TIMED_OUT ? "silent"
	                                                                  : "absent";
}

json_t *show_services_model(const struct show_input *input)
{
	json_t *services = json_array();

	for (int i = VPNSIP__SERVICE__COORDINATOR; i < VPNSIP__SERVICE__CLI; i++) {
		const struct gathered_service *service = &input->gathered->services[i];
		json_t *object = json_pack(
			"{s:s, s:s, s:i}", "name", bus_service_name((Vpnsip__Service)i), "health",
			health_of(service), "process_id", (int)service->process_id);

		if (service->status &&
		    service->status->body_case == VPNSIP__ENVELOPE__BODY_SERVICE_STATUS)
			add_status(object, input, service->status->service_status);
		json_array_append_new(services, object);
	}
	return json_pack("{s:o}", "services", services);
}

void show_services_text(FILE *stream, const json_t *model)
{
	const json_t *service;
	size_t index;
	char uptime[32];

	fprintf(stream, "%-20s%-8s%-9s%-11s%-10s%-10s%-18s%s\n", "Service", "Health", "Process",
	        "Uptime", "RSS kB", "Lag usec", "Epoch", "Configuration");
	json_array_foreach (json_object_get(model, "services"), index, service) {
		fprintf(stream, "%-19s %-7s ", text_of(service, "name"),
		        text_of(service, "health"));
		if (strcmp(text_of(service, "health"), "up") == 0)
			fprintf(stream, "%-8lld %-10s %-9lld %-9lld %-17s %s\n",
			        (long long)number_of(service, "process_id"),
			        duration_text(number_of(service, "uptime_sec"), uptime),
			        (long long)number_of(service, "resident_kbyte"),
			        (long long)number_of(service, "loop_lag_usec"),
			        text_of(service, "epoch"), text_of(service, "config"));
		else if (number_of(service, "process_id"))
			fprintf(stream, "%lld\n", (long long)number_of(service, "process_id"));
		else
			fprintf(stream, "--\n");
	}
}

json_t *show_timers_model(const struct show_input *input)
{
	const Vpnsip__Envelope *reply =
		input->gathered->services[VPNSIP__SERVICE__COORDINATOR].snapshot;
	json_t *timers = json_array();

	if (reply && reply->body_case == VPNSIP__ENVELOPE__BODY_COORDINATOR_SNAPSHOT)
		for (size_t i = 0; i < reply->coordinator_snapshot->n_timers; i++) {
			const Vpnsip__TimerSetting *timer = reply->coordinator_snapshot->timers[i];

			json_array_append_new(
				timers, json_pack("{s:o, s:I, s:I, s:I, s:I, s:o}", "name",
			                          model_text(timer->name), "value_msec",
			                          (json_int_t)timer->value_msec, "default_msec",
			                          (json_int_t)timer->default_msec, "minimum_msec",
			                          (json_int_t)timer->minimum_msec, "maximum_msec",
			                          (json_int_t)timer->maximum_msec, "text",
			                          model_text(timer->text)));
		}
	return json_pack("{s:o}", "timers", timers);
}

static double seconds_of(const json_t *timer, const char *key)
{
	return (double)number_of(timer, key) / 1000;
}

void show_timers_text(FILE *stream, const json_t *model)
{
	const json_t *timer;
	size_t index;
	char range[48];

	fprintf(stream, "%-18s%-10s%-10s%-14s%s\n", "Timer", "Seconds", "Default", "Recommended",
	        "Meaning");
	json_array_foreach (json_object_get(model, "timers"), index, timer) {
		snprintf(range, sizeof(range), "%g-%g", seconds_of(timer, "minimum_msec"),
		         seconds_of(timer, "maximum_msec"));
		fprintf(stream, "%-17s %-9g %-9g %-13s %s\n", text_of(timer, "name"),
		        seconds_of(timer, "value_msec"), seconds_of(timer, "default_msec"), range,
		        text_of(timer, "text"));
	}
}

static const char *loaded_digest(const struct show_input *input)
{
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++) {
		const Vpnsip__Envelope *reply = input->gathered->services[i].status;

		if (reply && reply->body_case == VPNSIP__ENVELOPE__BODY_SERVICE_STATUS)
			return reply->service_status->config_digest;
	}
	return "";
}

json_t *show_config_model(const struct show_input *input)
{
	const char *digest = loaded_digest(input);
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	json_t *model;

	if (!stream)
		return NULL;
	if (input->config)
		config_print(input->config, stream);
	fclose(stream);
	model = json_pack("{s:o, s:b, s:b, s:o}", "file", model_text(input->config_file),
	                  "is_loaded", *digest != '\0', "is_same_as_loaded",
	                  input->config && strcmp(input->config->digest, digest) == 0, "text",
	                  model_text(text));
	free(text);
	return model;
}

void show_config_text(FILE *stream, const json_t *model)
{
	fprintf(stream, "# %s, defaults included; files with secrets are only named\n",
	        text_of(model, "file"));
	if (!flag_of(model, "is_loaded"))
		fprintf(stream, "# no service answers: this is the file, not what runs\n");
	else if (!flag_of(model, "is_same_as_loaded"))
		fprintf(stream,
		        "# changed since the services were started: this is not what runs\n");
	fputs(text_of(model, "text"), stream);
}
