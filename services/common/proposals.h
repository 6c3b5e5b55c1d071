/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * IKE and ESP proposals as the configuration writes them: in strongSwan's notation, or by the names and group numbers of
 * the field in ike-proposal and transform-set sections. Pure.
 */
#ifndef VPNSIP_PROPOSALS_H
#define VPNSIP_PROPOSALS_H

#include "services/common/config.h"

#define PROPOSALS_MAX           16 /* of one profile */
#define PROPOSAL_TRANSFORMS_MAX 24 /* of one proposal */
#define PROPOSAL_NOTATION_SIZE  256

enum transform_type {
	TRANSFORM_ENCRYPTION = 1,
	TRANSFORM_INTEGRITY,
	TRANSFORM_PRF,
	TRANSFORM_GROUP,
	TRANSFORM_SEQUENCE, /* extended sequence numbers or not */
};

/** An algorithm that can be negotiated (RFC 7296 section 3.3.2). All are static. */
struct transform {
	enum transform_type type;
	const char *notation; /* strongSwan's: "aes128gcm16" */
	const char *
		ike_name; /* in an ike-proposal section: "aes-gcm-128"; NULL = it has no place there */
	const char *esp_name; /* in a transform-set section: "esp-gcm 128"; NULL = no place there */
	const char *shown;    /* "AES-GCM-128" */
	unsigned number;      /* of a group (IANA) */
	bool is_weak;         /* 3DES, MD5, SHA-1, groups 1, 2, 5 and 22 */
	bool is_aead;
	unsigned block_size, iv_size; /* octets; of encryption in ESP */
	unsigned icv_size;            /* octets; of an AEAD, or of integrity in ESP */
};

/** One proposal: per type the transforms that may be agreed on, best first. */
struct proposal {
	const struct transform *transforms[PROPOSAL_TRANSFORMS_MAX];
	size_t count;
	const char *
		section; /* the name of the section that it is from; NULL = written in the profile */
};

struct proposal_list {
	struct proposal items[PROPOSALS_MAX];
	size_t count;
};

/**
 * What a profile proposes, best first. False with a sentence in `why` that names what is not understood or missing. Weak ones are
 * read like others: see proposal_weakness().
 */
bool proposals_of_ike_profile(const struct config *config, const struct config_ike_profile *profile,
                              struct proposal_list *list, char *why, size_t why_size);
/** The same for ESP. `pfs` gives a group to the proposals that have none. */
bool proposals_of_ipsec_profile(const struct config *config,
                                const struct config_ipsec_profile *profile,
                                struct proposal_list *list, char *why, size_t why_size);

/** What a section says: one proposal, or two where AEADs stand beside other ciphers (RFC 5282 section 8). */
bool proposals_of_section(const struct config_ike_proposal *section, struct proposal_list *list,
                          char *why, size_t why_size);
bool proposals_of_transform_set(const struct config_transform_set *section,
                                struct proposal_list *list, char *why, size_t why_size);

/** The first weak transform, or NULL. */
const struct transform *proposal_weakness(const struct proposal *proposal);

/** The first transform of the type, or NULL. */
const struct transform *proposal_first(const struct proposal *proposal, enum transform_type type);

/** Octets of the largest integrity check value that may be agreed on for ESP. */
unsigned proposal_icv_size(const struct proposal *proposal);

/** Writes strongSwan's notation, cut to PROPOSAL_NOTATION_SIZE. Returns `text`. */
char *proposal_write(const struct proposal *proposal, char text[PROPOSAL_NOTATION_SIZE]);

#endif
