/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What was agreed on with an IKE_SA and its child, in words that need no strongSwan header. */
#include "services/ike-agent/charon_internal.h"

struct name {
	uint16_t algorithm;
	const char *text;
};

static const struct name ciphers[] = {
	{ENCR_AES_CBC, "AES-CBC"},
	{ENCR_AES_GCM_ICV16, "AES-GCM"},
	{ENCR_CHACHA20_POLY1305, "CHACHA20-POLY1305"},
	{ENCR_3DES, "3DES"},
	{},
};

static const struct name integrities[] = {
	{AUTH_HMAC_SHA2_256_128, "SHA256"}, {AUTH_HMAC_SHA2_384_192, "SHA384"},
	{AUTH_HMAC_SHA2_512_256, "SHA512"}, {AUTH_HMAC_SHA1_96, "SHA1"},
	{AUTH_HMAC_MD5_96, "MD5"},          {},
};

static const struct name prfs[] = {
	{PRF_HMAC_SHA2_256, "SHA256"}, {PRF_HMAC_SHA2_384, "SHA384"}, {PRF_HMAC_SHA2_512, "SHA512"},
	{PRF_HMAC_SHA1, "SHA1"},       {PRF_HMAC_MD5, "MD5"},         {},
};

/** The name of what the proposal has of this type; empty if it has none. The configuration offers no others than those above. */
static void write_algorithm(proposal_t *proposal, transform_type_t type, const struct name *names,
                            char text[ENGINE_ALGORITHM_SIZE], unsigned *key_bits)
{
	uint16_t algorithm, size = 0;

	text[0] = '\0';
	if (!proposal->get_algorithm(proposal, type, &algorithm, &size))
		return;
	while (names->text && names->algorithm != algorithm)
		names++;
	snprintf(text, ENGINE_ALGORITHM_SIZE, "%s", names->text ?: "");
	if (key_bits)
		*key_bits = size;
}

static void describe_suite(proposal_t *proposal, struct engine_suite *suite)
{
	uint16_t number, unused;

	*suite = (struct engine_suite){};
	if (!proposal)
		return;
	write_algorithm(proposal, ENCRYPTION_ALGORITHM, ciphers, suite->encryption,
	                &suite->key_bits);
	write_algorithm(proposal, INTEGRITY_ALGORITHM, integrities, suite->integrity, NULL);
	write_algorithm(proposal, PSEUDO_RANDOM_FUNCTION, prfs, suite->prf, NULL);
	/* libcharon numbers the groups as IANA does. */
	if (proposal->get_algorithm(proposal, KEY_EXCHANGE_METHOD, &number, &unused))
		suite->group = number;
	suite->has_extended_sequence = proposal->get_algorithm(proposal, EXTENDED_SEQUENCE_NUMBERS,
	                                                       &number, &unused) &&
	                               number == EXT_SEQ_NUMBERS;
}

void charon_describe_ike(ike_sa_t *ike_sa, struct engine_ike *ike)
{
	host_t *remote = ike_sa->get_other_host(ike_sa);
	uint32_t sa = ike_sa->get_unique_id(ike_sa);

	*ike = (struct engine_ike){
		.established_mono_usec = ike_sa->get_statistic(ike_sa, STAT_ESTABLISHED) *
	                                 1000000ull,
		.is_nat_local = ike_sa->has_condition(ike_sa, COND_NAT_HERE),
		.is_nat_remote = ike_sa->has_condition(ike_sa, COND_NAT_THERE),
		.has_fragmentation = ike_sa->supports_extension(ike_sa, EXT_IKE_FRAGMENTATION),
	};
	memcpy(&ike->remote, remote->get_sockaddr(remote), *remote->get_sockaddr_len(remote));
	describe_suite(ike_sa->get_proposal(ike_sa), &ike->suite);
	charon_read_lifetime(sa, &ike->rekeys_mono_usec, &ike->ends_mono_usec);
}

static void describe_selectors(child_sa_t *child_sa, bool is_local,
                               char texts[ENGINE_SELECTORS_MAX][ENGINE_SELECTOR_SIZE])
{
	enumerator_t *selectors = child_sa->create_ts_enumerator(child_sa, is_local);
	traffic_selector_t *selector;
	size_t count = 0;

	while (count < ENGINE_SELECTORS_MAX && selectors->enumerate(selectors, &selector))
		snprintf(texts[count++], ENGINE_SELECTOR_SIZE, "%R", selector);
	selectors->destroy(selectors);
}

void charon_describe_child(child_sa_t *child_sa, struct engine_child *child)
{
	*child = (struct engine_child){
		.inbound_spi = ntohl(child_sa->get_spi(child_sa, TRUE)),
		.outbound_spi = ntohl(child_sa->get_spi(child_sa, FALSE)),
		.installed_mono_usec = child_sa->get_installtime(child_sa) * 1000000ull,
	};
	describe_suite(child_sa->get_proposal(child_sa), &child->suite);
	describe_selectors(child_sa, true, child->local_selectors);
	describe_selectors(child_sa, false, child->remote_selectors);
}
