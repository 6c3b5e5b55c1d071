/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The show commands. Each makes a model (a JSON object) from what the services answered; --json prints the model, else its
 * text renderer does, from the model alone. Models and texts are pure functions.
 */
#ifndef VPNSIP_CLI_SHOW_H
#define VPNSIP_CLI_SHOW_H

#include <jansson.h>
#include <stdio.h>

#include "services/cli/gather.h"
#include "services/cli/words.h"

struct config;

/** What a model is made of. */
struct show_input {
	const struct gathered *gathered;
	const struct words *words;
	const struct config
		*config;         /* the file that the services loaded, as it is now; may be NULL */
	const char *config_file; /* its name; may be NULL */
};

typedef json_t *show_model_fn(const struct show_input *input);
typedef void show_text_fn(FILE *stream, const json_t *model);

show_model_fn show_session_model, show_registration_model, show_registrar_model, show_nat_model,
	show_track_model, show_interface_model, show_timers_model, show_services_model,
	show_security_model, show_config_model, show_dhcp_model, show_crypto_session_model,
	show_crypto_ipsec_model, show_crypto_ikev2_sa_model, show_crypto_ikev2_session_model,
	show_crypto_ikev2_proposal_model, show_crypto_admission_model;
show_text_fn show_session_text, show_registration_text, show_registrar_text, show_nat_text,
	show_track_text, show_interface_text, show_timers_text, show_services_text,
	show_security_text, show_config_text, show_dhcp_text, show_crypto_session_text,
	show_crypto_ipsec_text, show_crypto_ikev2_sa_text, show_crypto_ikev2_session_text,
	show_crypto_ikev2_proposal_text, show_crypto_admission_text;

/* Helpers of models. */

/** {"address": "192.0.2.1", "port": 5060}; 0.0.0.0 and 0 for none. */
json_t *model_address(const Vpnsip__SocketAddress *address);

/** A message's text: what is not ASCII or UTF-8 in it becomes '?', for some of it comes from outside. */
json_t *model_text(const char *text);

/** "192.0.2.1", or "" for none. */
json_t *model_bytes_address(ProtobufCBinaryData bytes);

/** Name of an enum's value without `prefix`; "" for unspecified. */
json_t *model_enum(const ProtobufCEnumDescriptor *type, int value, const char *prefix);

/** Whole seconds from `since` to `now`, both microseconds; 0 if `since` is 0 or later. */
json_int_t model_seconds(uint64_t since_usec, uint64_t now_usec);

/** Wall clock, local time: "2026-11-21 02:14:07", or "" for never. */
json_t *model_moment(uint64_t at_usec);

/** "0x8000017D". */
json_t *model_handle(uint64_t handle);

/** One of ServiceStatus.peers. */
json_t *show_peer_model(const Vpnsip__PeerStatus *peer);

/* Helpers of texts: members of an object; "" , 0 and false when absent. */
const char *text_of(const json_t *object, const char *key);
json_int_t number_of(const json_t *object, const char *key);
bool flag_of(const json_t *object, const char *key);

/** "192.0.2.1:5060" of a model_address(). `text` has room for it. */
const char *address_of(const json_t *object, const char *key, char text[64]);

/** One line: the title, then "reason 3, other reason 1"; nothing when there are none. */
void print_counts(FILE *stream, const char *title, const json_t *counts);

/** "00:01:42". */
const char *duration_text(json_int_t seconds, char text[32]);

#endif
