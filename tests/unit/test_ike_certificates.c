/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Authentication by certificates, two engines against each other: every method with what is right, and with everything that is
 * wrong about the peer. A is whoever deviates; B is ours and judges it.
 *
 * Some functions are wrapped (ld --wrap): an attacker's side does not care that its own certificate is of no use, and the
 * controls take one or both looks at the peer's certificate away.
 */
#define _GNU_SOURCE
#include "ike_certificates_scene.h"

/** Which looks at the peer's certificate are taken away from B. */
static enum { NOTHING, CREDENTIAL_SET, AUTHORIZE, BOTH } blinded;
static _Thread_local bool is_second_look;

const char *__wrap_certificate_store_obstacle(const struct certificate_store *store, time_t now,
                                              char *why)
{
	(void)store;
	(void)now;
	why[0] = '\0';
	return NULL;
}

struct certificate_verdict __real_certificate_verify(const struct certificate_store *store,
                                                     const struct certificate_expectation *expected,
                                                     X509 *certificate, STACK_OF(X509) * others,
                                                     time_t now);

struct certificate_verdict __wrap_certificate_verify(const struct certificate_store *store,
                                                     const struct certificate_expectation *expected,
                                                     X509 *certificate, STACK_OF(X509) * others,
                                                     time_t now)
{
	if (blinded == BOTH || (blinded == CREDENTIAL_SET && !is_second_look))
		return (struct certificate_verdict){.fault = CERTIFICATE_GOOD};
	return __real_certificate_verify(store, expected, certificate, others, now);
}

bool __real_charon_certificate_is_good(const void *session, void *ike_sa);

bool __wrap_charon_certificate_is_good(const void *session, void *ike_sa)
{
	bool is_good;

	if (blinded == BOTH || blinded == AUTHORIZE)
		return true;
	is_second_look = true;
	is_good = __real_charon_certificate_is_good(session, ike_sa);
	is_second_look = false;
	return is_good;
}

/* The attacker signs with `signing` where the key `stolen_name_of` belongs to the certificate that it shows. */
static EVP_PKEY *stolen_name_of, *signing;

int __real_i2d_PrivateKey(const EVP_PKEY *key, unsigned char **octets);

int __wrap_i2d_PrivateKey(const EVP_PKEY *key, unsigned char **octets)
{
	const bool is_forged = stolen_name_of && EVP_PKEY_eq(key, stolen_name_of) == 1;

	return __real_i2d_PrivateKey(is_forged ? signing : key, octets);
}

void *__real_charon_private_keys_enumerate(const void *session, void *key_id);

/* libcharon asks for the certificate's key: whatever key there is, is that one. */
void *__wrap_charon_private_keys_enumerate(const void *session, void *key_id)
{
	return __real_charon_private_keys_enumerate(session, stolen_name_of ? NULL : key_id);
}

static int reset(void **state)
{
	blinded = NOTHING;
	stolen_name_of = signing = NULL;
	ours.revocation = REVOCATION_NONE;
	return leave(state);
}

static void expect_up(const struct variant *a, const struct variant *b)
{
	start_pair(a, b);
	assert_true(carry(both_up, 5000));
	carry(never, 50);
	assert_int_equal(sides[0].session.sa_count, 1);
	assert_int_equal(sides[1].session.sa_count, 1);
	leave(NULL);
}

/** B refuses A with these words, whoever begins, and counts it in this class. */
static void expect_refusal(const struct variant *a, const struct variant *b,
                           enum ike_guard_class class, const char *cause)
{
	for (int is_reverse = 0; is_reverse < 2; is_reverse++) {
		struct side *judge = &sides[!is_reverse];

		start_pair(is_reverse ? b : a, is_reverse ? a : b);
		if (!carry(both_final, 5000) || !strstr(judge->session.cause, cause))
			fail_msg("%s: <%s>, expected <%s>",
			         is_reverse ? "as initiator" : "as responder", judge->session.cause,
			         cause);
		assert_int_equal(judge->installs, 0);
		assert_int_equal(judge->refused_for, class);
		leave(NULL);
	}
}

/* --- what is right --- */

static void self_signed(void **state)
{
	static const struct {
		const char *kind, *hash;
	} rows[] = {{"RSA 2048", "SHA256"},
	            {"RSA 3072", "SHA512"},
	            {"P-256", "SHA256"},
	            {"P-384", "SHA384"}};
	static const char *const fingerprints[] = {"SHA-256", "SHA-384", "SHA-512", "SHA-256"};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct identity a = make_identity(&(struct recipe){
			.name = "CN=a", .kind = rows[i].kind, .hash = rows[i].hash});
		struct identity b = make_identity(&(struct recipe){.name = "CN=b"});
		struct config_trustpoint of_a = trustpoint_of("a", &a, false, false);
		struct config_trustpoint of_b = trustpoint_of("b", &b, false, false);
		struct engine_pin pin_a = pin_of(a.certificate, fingerprints[i]);
		struct engine_pin pin_b = pin_of(b.certificate, "SHA-256");
		char expected[ENGINE_FINGERPRINT_SIZE];

		start_pair(&(struct variant){.trustpoint = &of_a, .announced = &pin_b},
		           &(struct variant){
				   .trustpoint = &of_b, .announced = &pin_a, .configured = &pin_a});
		assert_true(carry(both_up, 5000));
		assert_string_equal(sides[1].session.authentication.remote,
		                    rows[i].kind[0] == 'R' ? "RSA" : "ECDSA");
		assert_string_equal(sides[1].session.authentication.subject, "CN=a");
		certificate_print_fingerprint(a.certificate, fingerprints[i], expected,
		                              sizeof(expected));
		assert_string_equal(sides[1].session.authentication.fingerprint, expected);
		assert_string_equal(sides[0].session.authentication.local,
		                    rows[i].kind[0] == 'R' ? "RSA" : "ECDSA");
		assert_true(sides[1].session.authentication.valid_until > time(NULL));
		leave(NULL);
	}
}

static void signed_by_an_authority(void **state)
{
	struct identity a = make_identity(&(struct recipe){.name = "CN=branch1,O=Bank",
	                                                   .issuer = &middle,
	                                                   .alternative = "DNS:branch1.example"});
	struct config_trustpoint of_a = trustpoint_of("a", &a, true, true);
	struct config_certificate_map map = {.name = "branches",
	                                     .subject_name = "co cn=branch1",
	                                     .issuer_name = "co cn=branches",
	                                     .alternative_name = "eq branch1.example"};
	struct variant plain_a = {.trustpoint = &of_a}, plain_b = {.trustpoint = &ours};
	struct engine_pin pin = pin_of(a.certificate, "SHA-256");

	(void)state;
	expect_up(&plain_a, &plain_b);
	expect_up(&plain_a, &(struct variant){.trustpoint = &ours, .map = &map});
	expect_up(&plain_a,
	          &(struct variant){.trustpoint = &ours, .announced = &pin, .configured = &pin});
	/* Both kinds of list: there and valid, and of no consequence when it is not there. */
	ours.revocation = REVOCATION_CACHED;
	ours.crl_file = "/nonexistent";
	expect_up(&plain_a, &plain_b);
	start_pair(&plain_a, &plain_b);
	assert_true(carry(both_up, 5000));
	assert_string_equal(sides[1].session.authentication.issuer, "CN=Branches, O=Bank");
	assert_string_equal(sides[1].session.authentication.local, "ECDSA");
	assert_memory_equal(sides[1].session.authentication.fingerprint, "SHA-256 ", 8);
}

/* --- what is wrong --- */

static void wrong_fingerprint(void **state)
{
	struct identity a = make_identity(&(struct recipe){.name = "CN=a"});
	struct identity b = make_identity(&(struct recipe){.name = "CN=b"});
	struct identity leaf = make_identity(&(struct recipe){.name = "CN=c", .issuer = &middle});
	struct config_trustpoint of_a = trustpoint_of("a", &a, false, false);
	struct config_trustpoint of_b = trustpoint_of("b", &b, false, false);
	struct config_trustpoint of_leaf = trustpoint_of("leaf", &leaf, true, true);
	struct engine_pin pin_a = pin_of(a.certificate, "SHA-256");
	struct engine_pin pin_b = pin_of(b.certificate, "SHA-256");
	struct variant self_a = {.trustpoint = &of_a, .announced = &pin_b};
	struct variant ca_a = {.trustpoint = &of_leaf};
	struct engine_pin key_pin = pin_a;

	(void)state;
	expect_refusal(&self_a, &(struct variant){.trustpoint = &of_b, .announced = &pin_b},
	               IKE_GUARD_FINGERPRINT, "does not match the fingerprint of the call");
	expect_refusal(
		&self_a,
		&(struct variant){.trustpoint = &of_b, .announced = &pin_a, .configured = &pin_b},
		IKE_GUARD_FINGERPRINT, "does not match the pinned fingerprint");
	expect_refusal(&self_a, &(struct variant){.trustpoint = &of_b}, IKE_GUARD_FINGERPRINT,
	               "neither the call nor the configuration names a fingerprint");
	expect_refusal(&ca_a, &(struct variant){.trustpoint = &ours, .announced = &pin_a},
	               IKE_GUARD_FINGERPRINT, "does not match the fingerprint of the call");
	expect_refusal(&ca_a, &(struct variant){.trustpoint = &ours, .configured = &pin_a},
	               IKE_GUARD_FINGERPRINT, "does not match the pinned fingerprint");
	/* Of a key it says nothing about a certificate, even if the value is the same. */
	key_pin.is_pre_shared_key = true;
	expect_refusal(&self_a, &(struct variant){.trustpoint = &of_b, .announced = &key_pin},
	               IKE_GUARD_FINGERPRINT, "does not match the fingerprint of the call");
}

/** Each look alone refuses; without both the same peer comes up, so it is the pin that refuses. */
static void either_look_refuses(void **state)
{
	struct identity a = make_identity(&(struct recipe){.name = "CN=a"});
	struct identity b = make_identity(&(struct recipe){.name = "CN=b"});
	struct config_trustpoint of_a = trustpoint_of("a", &a, false, false);
	struct config_trustpoint of_b = trustpoint_of("b", &b, false, false);
	struct engine_pin pin_b = pin_of(b.certificate, "SHA-256");
	struct variant attacker = {.trustpoint = &of_a, .announced = &pin_b};
	struct variant victim = {.trustpoint = &of_b, .announced = &pin_b};

	(void)state;
	blinded = CREDENTIAL_SET;
	expect_refusal(&attacker, &victim, IKE_GUARD_FINGERPRINT,
	               "does not match the fingerprint of the call");
	blinded = AUTHORIZE;
	expect_refusal(&attacker, &victim, IKE_GUARD_FINGERPRINT,
	               "does not match the fingerprint of the call");
	blinded = BOTH;
	expect_up(&attacker, &victim);
}

static void wrong_time(void **state)
{
	static const struct {
		long begin_sec, end_sec;
		const char *cause;
	} rows[] = {{-2 * DAY_SEC, -DAY_SEC, "peer's certificate expired at "},
	            {DAY_SEC, 2 * DAY_SEC, "not yet valid"}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct identity self = make_identity(&(struct recipe){
			.name = "CN=a", .begin_sec = rows[i].begin_sec, .end_sec = rows[i].end_sec});
		struct identity leaf =
			make_identity(&(struct recipe){.name = "CN=b",
		                                       .issuer = &middle,
		                                       .begin_sec = rows[i].begin_sec,
		                                       .end_sec = rows[i].end_sec});
		struct identity b = make_identity(&(struct recipe){.name = "CN=c"});
		struct config_trustpoint of_self = trustpoint_of("self", &self, false, false);
		struct config_trustpoint of_leaf = trustpoint_of("leaf", &leaf, true, true);
		struct config_trustpoint of_b = trustpoint_of("b", &b, false, false);
		struct engine_pin pin = pin_of(self.certificate, "SHA-256");
		struct engine_pin pin_b = pin_of(b.certificate, "SHA-256");

		expect_refusal(&(struct variant){.trustpoint = &of_self, .announced = &pin_b},
		               &(struct variant){.trustpoint = &of_b, .announced = &pin},
		               IKE_GUARD_EXPIRED, rows[i].cause);
		expect_refusal(&(struct variant){.trustpoint = &of_leaf},
		               &(struct variant){.trustpoint = &ours}, IKE_GUARD_EXPIRED,
		               rows[i].cause);
	}
}

static void untrusted(void **state)
{
	struct identity stranger = make_identity(
		&(struct recipe){.name = "CN=branch1,O=Bank", .issuer = &foreign_root});
	struct identity self = make_identity(&(struct recipe){.name = "CN=branch1,O=Bank"});
	struct identity branch =
		make_identity(&(struct recipe){.name = "CN=branch1,O=Bank", .issuer = &middle});
	/* A leaf may not sign: its basicConstraints say so. */
	struct identity minted =
		make_identity(&(struct recipe){.name = "CN=branch2,O=Bank", .issuer = &branch});
	struct config_trustpoint of_stranger = trustpoint_of("stranger", &stranger, false, true);
	struct config_trustpoint of_self = trustpoint_of("self", &self, false, true);
	struct config_trustpoint of_branch = trustpoint_of("branch", &branch, false, true);
	struct config_trustpoint of_minted = trustpoint_of("minted", &minted, true, true);
	struct variant victim = {.trustpoint = &ours};
	X509 *const chain[] = {minted.certificate, branch.certificate, middle.certificate};

	(void)state;
	write_pem(directory, "minted.pem", NULL, chain, 3, NULL);
	expect_refusal(&(struct variant){.trustpoint = &of_stranger}, &victim, IKE_GUARD_UNTRUSTED,
	               "is not trusted");
	expect_refusal(&(struct variant){.trustpoint = &of_self}, &victim, IKE_GUARD_UNTRUSTED,
	               "is not trusted");
	/* Without the intermediate certificate there is no way up to the root. */
	expect_refusal(&(struct variant){.trustpoint = &of_branch}, &victim, IKE_GUARD_UNTRUSTED,
	               "is not trusted");
	expect_refusal(&(struct variant){.trustpoint = &of_minted}, &victim, IKE_GUARD_UNTRUSTED,
	               "is not trusted");
	blinded = BOTH;
	expect_up(&(struct variant){.trustpoint = &of_stranger}, &victim);
}

static void revoked(void **state)
{
	struct identity a = make_identity(&(struct recipe){.name = "CN=a", .issuer = &root});
	struct config_trustpoint of_a = trustpoint_of("a", &a, false, true);
	struct variant attacker = {.trustpoint = &of_a}, victim = {.trustpoint = &ours};

	(void)state;
	publish_list(&root, a.certificate, 30 * DAY_SEC);
	ours.revocation = REVOCATION_CACHED;
	expect_refusal(&attacker, &victim, IKE_GUARD_REVOKED, "is revoked: serial ");
	ours.revocation = REVOCATION_STRICT;
	expect_refusal(&attacker, &victim, IKE_GUARD_REVOKED, "is revoked: serial ");
	/* The control: the same list, not looked at. */
	ours.revocation = REVOCATION_NONE;
	expect_up(&attacker, &victim);
	/* A list that is out of date: counts for nothing when strict, and still names whom it named. */
	publish_list(&root, a.certificate, -DAY_SEC);
	ours.revocation = REVOCATION_CACHED;
	expect_refusal(&attacker, &victim, IKE_GUARD_REVOKED, "is revoked: serial ");
	publish_list(&root, NULL, -DAY_SEC);
	expect_up(&attacker, &victim);
	ours.revocation = REVOCATION_STRICT;
	expect_refusal(&attacker, &victim, IKE_GUARD_UNTRUSTED,
	               "there is no valid revocation list of ");
	publish_list(&root, NULL, 30 * DAY_SEC);
	expect_up(&attacker, &victim);
}

static void wrong_map(void **state)
{
	struct identity a = make_identity(
		&(struct recipe){.name = "CN=branch1,OU=Branches,O=Bank", .issuer = &middle});
	struct config_trustpoint of_a = trustpoint_of("a", &a, true, true);
	struct config_certificate_map maps[] = {
		{.name = "m", .subject_name = "co cn=branch2"},
		{.name = "m", .issuer_name = "ne CN=Branches, O=Bank"},
		{.name = "m", .alternative_name = "co branch1"},
		{.name = "m", .subject_name = "co cn=branch1", .issuer_name = "nc bank"}};

	(void)state;
	for (size_t i = 0; i < 4; i++)
		expect_refusal(&(struct variant){.trustpoint = &of_a},
		               &(struct variant){.trustpoint = &ours, .map = &maps[i]},
		               IKE_GUARD_UNTRUSTED, "does not fit certificate-map m");
}

static void weak(void **state)
{
	static const struct recipe recipes[] = {{.name = "CN=a", .kind = "RSA 1024"},
	                                        {.name = "CN=a", .hash = "SHA1"},
	                                        {.name = "CN=a", .kind = "RSA 2048", .hash = "MD5"},
	                                        {.name = "CN=a", .kind = "P-224"},
	                                        {.name = "CN=a", .key_usage = "keyCertSign"}};
	static const char *const causes[] = {"is weak: RSA, 1024 bits", "weak hash: SHA-1",
	                                     "weak hash: neither", "is weak: ECDSA, 224 bits",
	                                     "may not be used for signatures"};

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct identity a = make_identity(&recipes[i]);
		struct identity b = make_identity(&(struct recipe){.name = "CN=b"});
		struct config_trustpoint of_a = trustpoint_of("a", &a, false, false);
		struct config_trustpoint of_b = trustpoint_of("b", &b, false, false);
		struct engine_pin pin_a = pin_of(a.certificate, "SHA-256");
		struct engine_pin pin_b = pin_of(b.certificate, "SHA-256");
		struct variant other = {.trustpoint = &of_a, .announced = &pin_b};

		expect_refusal(&other, &(struct variant){.trustpoint = &of_b, .announced = &pin_a},
		               IKE_GUARD_UNTRUSTED, causes[i]);
		if (i == 1)
			expect_up(&other, &(struct variant){.trustpoint = &of_b,
			                                    .announced = &pin_a,
			                                    .allows_sha1 = true});
		if (i == 0)
			expect_up(&other, &(struct variant){.trustpoint = &of_b,
			                                    .announced = &pin_a,
			                                    .allows_weak = true});
	}
}

static void wrong_signature(void **state)
{
	struct identity a = make_identity(&(struct recipe){.name = "CN=a"});
	struct identity b = make_identity(&(struct recipe){.name = "CN=b"});
	struct config_trustpoint of_a, of_b = trustpoint_of("b", &b, false, false);
	struct engine_pin pin_a, pin_b = pin_of(b.certificate, "SHA-256");

	(void)state;
	/* Somebody else's name on it, and a signature that is not its own key's. */
	X509_sign(a.certificate, b.key, EVP_sha256());
	of_a = trustpoint_of("a", &a, false, false);
	pin_a = pin_of(a.certificate, "SHA-256");
	expect_refusal(&(struct variant){.trustpoint = &of_a, .announced = &pin_b},
	               &(struct variant){.trustpoint = &of_b, .announced = &pin_a},
	               IKE_GUARD_UNTRUSTED, "is not signed by its own key");
}

/* Right certificate, chain, fingerprint and identity, all of which anybody can overhear; AUTH is signed by another key. */
static void signed_by_another_key(void **state)
{
	static const char *const kinds[] = {"P-256", "RSA 2048"};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct identity a = make_identity(
			&(struct recipe){.name = "CN=a", .issuer = &middle, .kind = kinds[i]});
		struct identity thief =
			make_identity(&(struct recipe){.name = "CN=t", .kind = kinds[i]});
		struct config_trustpoint of_a = trustpoint_of("a", &a, true, true);
		struct engine_pin pin_a = pin_of(a.certificate, "SHA-256");
		struct variant attacker = {.trustpoint = &of_a};
		struct variant victim = {.trustpoint = &ours, .announced = &pin_a};

		stolen_name_of = a.key;
		signing = thief.key;
		expect_refusal(&attacker, &victim, IKE_GUARD_SIGNATURE,
		               "peer's signature is not of its certificate's key");
		/* The control: the same way to the key, and it is the certificate's. */
		signing = a.key;
		expect_up(&attacker, &victim);
		stolen_name_of = NULL;
	}
}

static void wrong_identity(void **state)
{
	struct identity a = make_identity(&(struct recipe){.name = "CN=a", .issuer = &middle});
	struct config_trustpoint of_a = trustpoint_of("a", &a, true, true);
	struct variant other = {
		.trustpoint = &of_a, .own_number = "0388889999", .matches_any = true};

	(void)state;
	start_pair(&other, &(struct variant){.trustpoint = &ours});
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer key-id 0388889999 is not the number of the call, 0388881001");
	leave(NULL);
	expect_up(&other, &(struct variant){.trustpoint = &ours, .matches_any = true});
}

static void other_method(void **state)
{
	struct identity a = make_identity(&(struct recipe){.name = "CN=a", .issuer = &middle});
	struct config_trustpoint of_a = trustpoint_of("a", &a, true, true);
	struct variant with_certificate = {.trustpoint = &of_a};

	(void)state;
	start_pair(&plain, &(struct variant){.trustpoint = &ours});
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer authenticates with a pre-shared key, and a certificate is "
	                    "configured for it");
	leave(NULL);
	start_pair(&with_certificate, &plain);
	assert_true(carry(both_final, 5000));
	assert_string_equal(sides[1].session.cause,
	                    "peer authenticates with a certificate, and a pre-shared key is "
	                    "configured for it");
}

#define CASE(function) cmocka_unit_test_teardown(function, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(self_signed),
		CASE(signed_by_an_authority),
		CASE(wrong_fingerprint),
		CASE(either_look_refuses),
		CASE(wrong_time),
		CASE(untrusted),
		CASE(revoked),
		CASE(wrong_map),
		CASE(weak),
		CASE(wrong_signature),
		CASE(wrong_identity),
		CASE(other_method),
		CASE(signed_by_another_key),
	};

	return cmocka_run_group_tests(tests, make_authorities, remove_authorities);
}
