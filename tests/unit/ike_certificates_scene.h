/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two engines that authenticate by certificates: two authorities, one with an authority below it, and B's own trustpoint. */
#ifndef VPNSIP_TEST_IKE_CERTIFICATES_SCENE_H
#define VPNSIP_TEST_IKE_CERTIFICATES_SCENE_H

#include "ike_engine_pair.h"

#include "certificate_fixture.h"
#include "services/ike-agent/certificate_verify.h"

static char directory[] = "/tmp/vpnsip-certificates-XXXXXX";
static struct identity root, middle, foreign_root;
static struct config_trustpoint ours; /* of B with the CA */
static char *ca_file;

/** With `has_chain` the intermediate certificate too. */
static inline struct config_trustpoint trustpoint_of(const char *name,
                                                     const struct identity *identity,
                                                     bool has_chain, bool has_ca)
{
	return write_trustpoint(directory, name, identity, has_chain ? middle.certificate : NULL,
	                        has_ca ? ca_file : NULL);
}

static inline void publish_list(const struct identity *issuer, X509 *revoked, long end_sec)
{
	X509_CRL *list = make_list(issuer, revoked, end_sec);

	ours.crl_file = write_pem(directory, "ours.crl", NULL, NULL, 0, list);
	X509_CRL_free(list);
}

static inline struct engine_pin pin_of(X509 *certificate, const char *hash)
{
	struct engine_pin pin = {0};

	snprintf(pin.hash, sizeof(pin.hash), "%s", hash);
	pin.size = certificate_fingerprint(certificate, hash, pin.value);
	return pin;
}

static inline int make_authorities(void **state)
{
	static struct identity leaf;

	(void)state;
	assert_non_null(mkdtemp(directory));
	root = make_identity(&(struct recipe){.name = "CN=Root,O=Bank", .is_authority = true});
	foreign_root = make_identity(&(struct recipe){.name = "CN=Other", .is_authority = true});
	middle = make_identity(&(struct recipe){
		.name = "CN=Branches,O=Bank", .issuer = &root, .is_authority = true});
	ca_file = write_pem(directory, "ca.pem", NULL, &root.certificate, 1, NULL);
	leaf = make_identity(&(struct recipe){.name = "CN=head,O=Bank", .issuer = &middle});
	ours = trustpoint_of("ours", &leaf, true, true);
	return 0;
}

static inline int remove_authorities(void **state)
{
	char command[64];

	(void)state;
	free_made();
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

#endif
