/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Keys and certificates, offered one session at a time. This is where a pinned fingerprint is enforced: a key or certificate that
 * SDP did not announce is never offered, so nothing can authenticate with it.
 */
#include "services/ike-agent/charon_internal.h"

#include "services/ike-agent/fingerprint.h"

/** Enumerates one key, which it owns. */
struct key_enumerator {
	enumerator_t public;
	shared_key_t *key;
	bool is_done;
};

METHOD(enumerator_t, key_venumerate, bool, struct key_enumerator *this, va_list args)
{
	shared_key_t **key;
	id_match_t *me, *other;

	VA_ARGS_VGET(args, key, me, other);
	if (this->is_done)
		return FALSE;
	this->is_done = true;
	*key = this->key;
	if (me)
		*me = ID_MATCH_PERFECT;
	if (other)
		*other = ID_MATCH_PERFECT;
	return TRUE;
}

METHOD(enumerator_t, key_destroy, void, struct key_enumerator *this)
{
	this->key->destroy(this->key);
	free(this);
}

static enumerator_t *enumerate_key(const struct charon_session *session)
{
	struct key_enumerator *this;

	INIT(this,
	     .public =
	             {
			     .enumerate = enumerator_enumerate_default,
			     .venumerate = _key_venumerate,
			     .destroy = _key_destroy,
		     },
	     .key = shared_key_create(SHARED_IKE, chunk_clone(chunk_create((u_char *)session->key,
	                                                                   session->key_size))), );
	return &this->public;
}

/** True if the key carries a fingerprint that SDP announced, or SDP announced none. */
static bool is_key_pinned(const struct charon_session *session)
{
	for (size_t i = 0; i < session->pin_count; i++) {
		const struct engine_pin *pin = &session->pins[i];

		if (pin->is_pre_shared_key && fingerprint_fits(session->key, session->key_size,
		                                               pin->hash, pin->value, pin->size))
			return true;
	}
	return session->pin_count == 0;
}

static enumerator_t *create_shared_enumerator(credential_set_t *this, shared_key_type_t type,
                                              identification_t *me, identification_t *other)
{
	struct charon_session *session = charon_session_of(charon->bus->get_sa(charon->bus));
	enumerator_t *enumerator = NULL;

	if (!session || type != SHARED_IKE || !session->key)
		goto out;
	if (other && !charon_identity_is_peer(session, other)) {
		char text[64];

		charon_identity_text(other, text, sizeof(text));
		charon_report_verdict(IKE_GUARD_IDENTITY,
		                      "peer key-id %s is not the number of the call, %s", text,
		                      session->remote_number);
	} else if (!is_key_pinned(session)) {
		charon_report_verdict(IKE_GUARD_FINGERPRINT,
		                      "peer's key does not match the pinned fingerprint");
	} else {
		enumerator = enumerate_key(session);
	}
out:
	charon_session_release(session);
	return enumerator;
}

static enumerator_t *create_private_enumerator(credential_set_t *this, key_type_t type,
                                               identification_t *key_id)
{
	struct charon_session *session = charon_session_of(charon->bus->get_sa(charon->bus));
	enumerator_t *enumerator = NULL;

	if (session)
		enumerator = charon_private_keys_enumerate(session, key_id);
	charon_session_release(session);
	return enumerator;
}

static enumerator_t *create_cert_enumerator(credential_set_t *this, certificate_type_t certificate,
                                            key_type_t key, identification_t *identity,
                                            bool is_trusted)
{
	struct charon_session *session = charon_session_of(charon->bus->get_sa(charon->bus));
	enumerator_t *enumerator = NULL;

	if (session && (certificate == CERT_ANY || certificate == CERT_X509))
		enumerator = charon_certificates_enumerate(session, identity, is_trusted);
	charon_session_release(session);
	return enumerator;
}

credential_set_t charon_credentials = {
	.create_private_enumerator = create_private_enumerator,
	.create_cert_enumerator = create_cert_enumerator,
	.create_shared_enumerator = create_shared_enumerator,
	.create_cdp_enumerator = (void *)return_null,
	.cache_cert = (void *)nop,
};
