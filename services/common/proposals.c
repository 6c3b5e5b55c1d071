/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/proposals.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "services/common/suggest.h"

#define TOKEN_SIZE 64

#define CBC_128 .block_size = 16, .iv_size = 16
#define GCM     .block_size = 4, .iv_size = 8, .icv_size = 16, .is_aead = true
#define CIPHER  .type = TRANSFORM_ENCRYPTION
#define HMAC    .type = TRANSFORM_INTEGRITY
#define PRF     .type = TRANSFORM_PRF
#define GROUP   .type = TRANSFORM_GROUP

/* RFC 8221 and 8247 say what is weak; group numbers are IANA's. */
static const struct transform transforms[] = {
	{CIPHER, "aes128", "aes-cbc-128", "esp-aes 128", "AES-CBC-128", CBC_128},
	{CIPHER, "aes192", "aes-cbc-192", "esp-aes 192", "AES-CBC-192", CBC_128},
	{CIPHER, "aes256", "aes-cbc-256", "esp-aes 256", "AES-CBC-256", CBC_128},
	{CIPHER, "aes128gcm16", "aes-gcm-128", "esp-gcm 128", "AES-GCM-128", GCM},
	{CIPHER, "aes192gcm16", "aes-gcm-192", "esp-gcm 192", "AES-GCM-192", GCM},
	{CIPHER, "aes256gcm16", "aes-gcm-256", "esp-gcm 256", "AES-GCM-256", GCM},
	{CIPHER, "chacha20poly1305", "chacha20-poly1305", "esp-chacha20-poly1305",
         "CHACHA20-POLY1305", GCM},
	{CIPHER, "3des", "3des", NULL, "3DES", .is_weak = true},
	{HMAC, "sha256", "sha256", "esp-sha256-hmac", "SHA256", .icv_size = 16},
	{HMAC, "sha384", "sha384", "esp-sha384-hmac", "SHA384", .icv_size = 24},
	{HMAC, "sha512", "sha512", "esp-sha512-hmac", "SHA512", .icv_size = 32},
	{HMAC, "sha1", "sha1", "esp-sha-hmac", "SHA1", .icv_size = 12, .is_weak = true},
	{HMAC, "md5", "md5", NULL, "MD5", .is_weak = true},
	{PRF, "prfsha256", "sha256", NULL, "SHA256"},
	{PRF, "prfsha384", "sha384", NULL, "SHA384"},
	{PRF, "prfsha512", "sha512", NULL, "SHA512"},
	{PRF, "prfsha1", "sha1", NULL, "SHA1", .is_weak = true},
	{PRF, "prfmd5", "md5", NULL, "MD5", .is_weak = true},
	{GROUP, "modp768", "1", "group1", "MODP-768", .number = 1, .is_weak = true},
	{GROUP, "modp1024", "2", "group2", "MODP-1024", .number = 2, .is_weak = true},
	{GROUP, "modp1536", "5", "group5", "MODP-1536", .number = 5, .is_weak = true},
	{GROUP, "modp2048", "14", "group14", "MODP-2048", .number = 14},
	{GROUP, "modp3072", "15", "group15", "MODP-3072", .number = 15},
	{GROUP, "modp4096", "16", "group16", "MODP-4096", .number = 16},
	{GROUP, "modp6144", "17", "group17", "MODP-6144", .number = 17},
	{GROUP, "modp8192", "18", "group18", "MODP-8192", .number = 18},
	{GROUP, "ecp256", "19", "group19", "ECP-256", .number = 19},
	{GROUP, "ecp384", "20", "group20", "ECP-384", .number = 20},
	{GROUP, "ecp521", "21", "group21", "ECP-521", .number = 21},
	{GROUP, "modp1024s160", "22", "group22", "MODP-1024-160", .number = 22, .is_weak = true},
	{GROUP, "modp2048s256", "24", "group24", "MODP-2048-256", .number = 24},
	{GROUP, "curve25519", "31", "group31", "CURVE-25519", .number = 31},
	{.type = TRANSFORM_SEQUENCE, "esn", NULL, NULL, "ESN"},
	{.type = TRANSFORM_SEQUENCE, "noesn", NULL, NULL, "no ESN"},
};

#define TRANSFORM_COUNT (sizeof(transforms) / sizeof(transforms[0]))

/* Other spellings of strongSwan's and of the field. */
static const char *const aliases[][2] = {
	{"aes", "aes128"},
	{"aes128gcm", "aes128gcm16"},
	{"aes128gcm128", "aes128gcm16"},
	{"aes192gcm", "aes192gcm16"},
	{"aes192gcm128", "aes192gcm16"},
	{"aes256gcm", "aes256gcm16"},
	{"aes256gcm128", "aes256gcm16"},
	{"sha", "sha1"},
	{"sha2_256", "sha256"},
	{"sha2_384", "sha384"},
	{"sha2_512", "sha512"},
	{"x25519", "curve25519"},
	{"esp-aes", "esp-aes 128"},
	{"esp-gcm", "esp-gcm 128"},
};

/** By which of its names a transform is written. */
enum naming { NAMED_BY_NOTATION, NAMED_FOR_IKE, NAMED_FOR_ESP };

static const char *name_of(const struct transform *transform, enum naming naming)
{
	switch (naming) {
	case NAMED_FOR_IKE:
		return transform->ike_name;
	case NAMED_FOR_ESP:
		return transform->esp_name;
	default:
		return transform->notation;
	}
}

/** `type` 0 = any. */
static const struct transform *find(const char *name, enum naming naming, enum transform_type type)
{
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (strcasecmp(name, aliases[i][0]) == 0)
			name = aliases[i][1];
	for (size_t i = 0; i < TRANSFORM_COUNT; i++) {
		const char *known = name_of(&transforms[i], naming);

		if ((!type || transforms[i].type == type) && known && strcasecmp(name, known) == 0)
			return &transforms[i];
	}
	return NULL;
}

/** What a list of one option understands, for the operator. */
static void explain(const char *what, const char *word, enum naming naming,
                    enum transform_type type, char *why, size_t why_size)
{
	const char *names[TRANSFORM_COUNT] = {0}, *near;
	size_t used;

	for (size_t i = 0; i < TRANSFORM_COUNT; i++)
		if (!type || transforms[i].type == type)
			names[i] = name_of(&transforms[i], naming);
	near = suggest_word(word, names, TRANSFORM_COUNT);
	used = (size_t)snprintf(why, why_size, "%s \"%s\" is not understood", what, word);
	if (near && used < why_size)
		snprintf(why + used, why_size - used, "; did you mean '%s'?", near);
}

static bool add(struct proposal *proposal, const struct transform *transform, char *why,
                size_t why_size)
{
	for (size_t i = 0; i < proposal->count; i++)
		if (proposal->transforms[i] == transform)
			return true;
	if (proposal->count == PROPOSAL_TRANSFORMS_MAX) {
		snprintf(why, why_size, "a proposal of more than %d algorithms",
		         PROPOSAL_TRANSFORMS_MAX);
		return false;
	}
	proposal->transforms[proposal->count++] = transform;
	return true;
}

const struct transform *proposal_first(const struct proposal *proposal, enum transform_type type)
{
	for (size_t i = 0; i < proposal->count; i++)
		if (proposal->transforms[i]->type == type)
			return proposal->transforms[i];
	return NULL;
}

const struct transform *proposal_weakness(const struct proposal *proposal)
{
	for (size_t i = 0; i < proposal->count; i++)
		if (proposal->transforms[i]->is_weak)
			return proposal->transforms[i];
	return NULL;
}

unsigned proposal_icv_size(const struct proposal *proposal)
{
	unsigned size = 0;

	for (size_t i = 0; i < proposal->count; i++)
		if (proposal->transforms[i]->icv_size > size)
			size = proposal->transforms[i]->icv_size;
	return size;
}

char *proposal_write(const struct proposal *proposal, char text[PROPOSAL_NOTATION_SIZE])
{
	size_t used = 0;

	text[0] = '\0';
	for (int type = TRANSFORM_ENCRYPTION; type <= TRANSFORM_SEQUENCE; type++)
		for (size_t i = 0; i < proposal->count && used < PROPOSAL_NOTATION_SIZE; i++)
			if ((int)proposal->transforms[i]->type == type)
				used += (size_t)snprintf(text + used, PROPOSAL_NOTATION_SIZE - used,
				                         "%s%s", used ? "-" : "",
				                         proposal->transforms[i]->notation);
	return text;
}

/** The pseudo-random functions by default: those of the integrity algorithms, or of an AEAD alone SHA-256. */
static bool add_default_prfs(struct proposal *proposal, char *why, size_t why_size)
{
	size_t count = proposal->count;
	bool is_good = true;

	if (proposal_first(proposal, TRANSFORM_PRF))
		return true;
	for (size_t i = 0; is_good && i < count; i++)
		if (proposal->transforms[i]->type == TRANSFORM_INTEGRITY)
			is_good = add(proposal,
			              find(proposal->transforms[i]->ike_name, NAMED_FOR_IKE,
			                   TRANSFORM_PRF),
			              why, why_size);
	if (is_good && !proposal_first(proposal, TRANSFORM_PRF))
		is_good = add(proposal, find("sha256", NAMED_FOR_IKE, TRANSFORM_PRF), why,
		              why_size);
	return is_good;
}

/** An AEAD has its integrity itself (RFC 5282 section 8): what is written beside it only chose the PRF. */
static void drop_integrity(struct proposal *proposal)
{
	size_t kept = 0;

	for (size_t i = 0; i < proposal->count; i++)
		if (proposal->transforms[i]->type != TRANSFORM_INTEGRITY)
			proposal->transforms[kept++] = proposal->transforms[i];
	proposal->count = kept;
}

/** Checks what every proposal needs, all of whose ciphers are AEADs or none. */
static bool complete(struct proposal *proposal, bool is_ike, const char *what, char *why,
                     size_t why_size)
{
	const struct transform *cipher = proposal_first(proposal, TRANSFORM_ENCRYPTION);
	const char *missing = NULL;

	if (!cipher)
		missing = "encryption algorithm";
	else if (!cipher->is_aead && !proposal_first(proposal, TRANSFORM_INTEGRITY))
		missing = "integrity algorithm";
	else if (is_ike && !proposal_first(proposal, TRANSFORM_GROUP))
		missing = "Diffie-Hellman group";
	if (missing) {
		snprintf(why, why_size, "%s names no %s", what, missing);
		return false;
	}
	for (size_t i = 0; i < proposal->count; i++) {
		const struct transform *transform = proposal->transforms[i];
		bool is_misplaced = is_ike ? transform->type == TRANSFORM_SEQUENCE
		                           : transform->type == TRANSFORM_PRF ||
		                                     (transform->type != TRANSFORM_SEQUENCE &&
		                                      !transform->esp_name);

		if (is_misplaced) {
			snprintf(why, why_size, "%s: %s has no place in %s", what, transform->shown,
			         is_ike ? "IKE" : "ESP");
			return false;
		}
	}
	if (is_ike && !add_default_prfs(proposal, why, why_size))
		return false;
	if (cipher->is_aead)
		drop_integrity(proposal);
	return true;
}

/** The part of the proposal with AEADs, or with the other ciphers. */
static struct proposal part_of(const struct proposal *whole, bool is_aead)
{
	struct proposal part = {.section = whole->section};

	for (size_t i = 0; i < whole->count; i++)
		if (whole->transforms[i]->type != TRANSFORM_ENCRYPTION ||
		    whole->transforms[i]->is_aead == is_aead)
			part.transforms[part.count++] = whole->transforms[i];
	return part;
}

/** Adds the proposal to the list: as two where AEADs stand beside others, the kind of the first cipher first. */
static bool add_proposal(struct proposal_list *list, const struct proposal *whole, bool is_ike,
                         const char *what, char *why, size_t why_size)
{
	const struct transform *first = proposal_first(whole, TRANSFORM_ENCRYPTION);
	bool is_aead = first && first->is_aead;

	for (int i = 0; i < 2; i++, is_aead = !is_aead) {
		struct proposal part = part_of(whole, is_aead);

		if (i > 0 && !proposal_first(&part, TRANSFORM_ENCRYPTION))
			break;
		if (!complete(&part, is_ike, what, why, why_size))
			return false;
		if (list->count == PROPOSALS_MAX) {
			snprintf(why, why_size, "more than %d proposals", PROPOSALS_MAX);
			return false;
		}
		list->items[list->count++] = part;
	}
	return true;
}

/** Takes the next word of `*rest`, parted by any of `separators`. False at the end. */
static bool next_word(const char **rest, const char *separators, char word[TOKEN_SIZE])
{
	size_t length;

	*rest += strspn(*rest, separators);
	length = strcspn(*rest, separators);
	if (!length)
		return false;
	snprintf(word, TOKEN_SIZE, "%.*s", (int)(length < TOKEN_SIZE ? length : TOKEN_SIZE - 1),
	         *rest);
	*rest += length;
	return true;
}

/** The names of one option of an ike-proposal section. */
static bool read_names(const char *names, enum transform_type type, const char *option,
                       struct proposal *proposal, char *why, size_t why_size)
{
	const char *rest = names ? names : "";
	char word[TOKEN_SIZE];

	while (next_word(&rest, " \t,", word)) {
		const struct transform *transform = find(word, NAMED_FOR_IKE, type);

		if (!transform) {
			explain(option, word, NAMED_FOR_IKE, type, why, why_size);
			return false;
		}
		if (!add(proposal, transform, why, why_size))
			return false;
	}
	return true;
}

bool proposals_of_section(const struct config_ike_proposal *section, struct proposal_list *list,
                          char *why, size_t why_size)
{
	struct proposal whole = {.section = section->name};
	char what[TOKEN_SIZE + 16];

	snprintf(what, sizeof(what), "ike-proposal \"%.*s\"", TOKEN_SIZE - 1, section->name);
	return read_names(section->encryption, TRANSFORM_ENCRYPTION, "encryption", &whole, why,
	                  why_size) &&
	       read_names(section->integrity, TRANSFORM_INTEGRITY, "integrity", &whole, why,
	                  why_size) &&
	       read_names(section->prf, TRANSFORM_PRF, "prf", &whole, why, why_size) &&
	       read_names(section->group, TRANSFORM_GROUP, "group", &whole, why, why_size) &&
	       add_proposal(list, &whole, true, what, why, why_size);
}

/** One name, of one word or two: "esp-gcm 256". */
static bool read_esp_name(const char *name, enum transform_type type, const char *option,
                          struct proposal *proposal, char *why, size_t why_size)
{
	char plain[TOKEN_SIZE] = "", word[TOKEN_SIZE];
	const char *rest = name ? name : "";
	const struct transform *transform;

	while (next_word(&rest, " \t", word)) {
		size_t used = strlen(plain);

		snprintf(plain + used, sizeof(plain) - used, "%s%s", used ? " " : "", word);
	}
	if (!plain[0])
		return true;
	transform = find(plain, NAMED_FOR_ESP, type);
	if (transform)
		return add(proposal, transform, why, why_size);
	explain(option, plain, NAMED_FOR_ESP, type, why, why_size);
	return false;
}

bool proposals_of_transform_set(const struct config_transform_set *section,
                                struct proposal_list *list, char *why, size_t why_size)
{
	struct proposal whole = {.section = section->name};
	char what[TOKEN_SIZE + 16];

	snprintf(what, sizeof(what), "transform-set \"%.*s\"", TOKEN_SIZE - 1, section->name);
	return read_esp_name(section->encryption, TRANSFORM_ENCRYPTION, "encryption", &whole, why,
	                     why_size) &&
	       read_esp_name(section->integrity, TRANSFORM_INTEGRITY, "integrity", &whole, why,
	                     why_size) &&
	       add_proposal(list, &whole, false, what, why, why_size);
}

/** One proposal in strongSwan's notation. */
static bool read_notation(const char *notation, bool is_ike, struct proposal_list *list, char *why,
                          size_t why_size)
{
	const char *what = is_ike ? "IKE proposal" : "ESP proposal";
	struct proposal whole = {0};
	const char *rest = notation;
	char word[TOKEN_SIZE], whole_name[TOKEN_SIZE * 2];

	while (next_word(&rest, "- ", word)) {
		const struct transform *transform = find(word, NAMED_BY_NOTATION, 0);

		if (!transform) {
			snprintf(whole_name, sizeof(whole_name), "%s \"%.*s\":", what, TOKEN_SIZE,
			         notation);
			explain(whole_name, word, NAMED_BY_NOTATION, 0, why, why_size);
			return false;
		}
		if (!add(&whole, transform, why, why_size))
			return false;
	}
	snprintf(whole_name, sizeof(whole_name), "%s \"%.*s\"", what, TOKEN_SIZE, notation);
	return add_proposal(list, &whole, is_ike, whole_name, why, why_size);
}

/** Takes the next of the comma separated proposals, without the blanks around it. */
static bool next_proposal(const char **rest, char word[PROPOSAL_NOTATION_SIZE])
{
	size_t length;

	*rest += strspn(*rest, ", \t");
	length = strcspn(*rest, ",");
	if (!length)
		return false;
	snprintf(word, PROPOSAL_NOTATION_SIZE, "%.*s",
	         (int)(length < PROPOSAL_NOTATION_SIZE ? length : PROPOSAL_NOTATION_SIZE - 1),
	         *rest);
	*rest += length;
	for (length = strlen(word); length > 0 && strchr(" \t", word[length - 1]); length--)
		word[length - 1] = '\0';
	return true;
}

static bool has_some(const struct proposal_list *list, char *why, size_t why_size)
{
	if (list->count == 0)
		snprintf(why, why_size, "no proposal is named");
	return list->count > 0;
}

bool proposals_of_ike_profile(const struct config *config, const struct config_ike_profile *profile,
                              struct proposal_list *list, char *why, size_t why_size)
{
	const char *rest = profile->proposals;
	char word[PROPOSAL_NOTATION_SIZE];

	list->count = 0;
	while (next_proposal(&rest, word)) {
		const struct config_ike_proposal *section = NULL;

		for (size_t i = 0; i < config->ike_proposal_count; i++)
			if (strcmp(config->ike_proposals[i].name, word) == 0)
				section = &config->ike_proposals[i];
		if (section ? !proposals_of_section(section, list, why, why_size)
		            : !read_notation(word, true, list, why, why_size))
			return false;
	}
	return has_some(list, why, why_size);
}

/** The group of `pfs`, "group19" or "19". NULL with `why` unless there is such a one. */
static const struct transform *read_pfs(const char *pfs, char *why, size_t why_size)
{
	const struct transform *group = find(pfs, NAMED_FOR_ESP, TRANSFORM_GROUP);

	if (!group)
		group = find(pfs, NAMED_FOR_IKE, TRANSFORM_GROUP);
	if (!group)
		explain("pfs =", pfs, NAMED_FOR_ESP, TRANSFORM_GROUP, why, why_size);
	return group;
}

bool proposals_of_ipsec_profile(const struct config *config,
                                const struct config_ipsec_profile *profile,
                                struct proposal_list *list, char *why, size_t why_size)
{
	const struct transform *group = profile->pfs ? read_pfs(profile->pfs, why, why_size) : NULL;
	const char *rest = profile->proposals;
	char word[PROPOSAL_NOTATION_SIZE];

	list->count = 0;
	if (profile->pfs && !group)
		return false;
	while (next_proposal(&rest, word)) {
		const struct config_transform_set *section = NULL;

		for (size_t i = 0; i < config->transform_set_count; i++)
			if (strcmp(config->transform_sets[i].name, word) == 0)
				section = &config->transform_sets[i];
		if (section ? !proposals_of_transform_set(section, list, why, why_size)
		            : !read_notation(word, false, list, why, why_size))
			return false;
	}
	for (size_t i = 0; group && i < list->count; i++)
		if (!proposal_first(&list->items[i], TRANSFORM_GROUP) &&
		    !add(&list->items[i], group, why, why_size))
			return false;
	return has_some(list, why, why_size);
}
