/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The proposals that the configuration names: understood, complete, and weak only by the operator's wish. */
#include "services/common/config_internal.h"
#include "services/common/proposals.h"

void config_complete_ike_proposal(struct config_reading *reading, struct config *config, void *item)
{
	const struct config_ike_proposal *section = item;
	struct proposal_list list = {0};
	char why[256];

	(void)config;
	if (!proposals_of_section(section, &list, why, sizeof(why)))
		config_error(reading, section->line_number, "%s", why);
}

void config_complete_transform_set(struct config_reading *reading, struct config *config,
                                   void *item)
{
	const struct config_transform_set *section = item;
	struct proposal_list list = {0};
	char why[256];

	(void)config;
	if (!proposals_of_transform_set(section, &list, why, sizeof(why)))
		config_error(reading, section->line_number, "%s", why);
}

/** Each weak algorithm is told once. */
static void check_weakness(struct config_reading *reading, const struct proposal_list *list,
                           bool is_allowed, int line)
{
	static const char *const types[] = {
		[TRANSFORM_ENCRYPTION] = "encryption",
		[TRANSFORM_INTEGRITY] = "integrity",
		[TRANSFORM_PRF] = "prf",
		[TRANSFORM_GROUP] = "dh-group",
	};
	const struct transform *told[PROPOSALS_MAX * PROPOSAL_TRANSFORMS_MAX];
	size_t told_count = 0;

	for (size_t i = 0; i < list->count; i++) {
		for (size_t j = 0; j < list->items[i].count; j++) {
			const struct transform *transform = list->items[i].transforms[j];
			size_t k = 0;

			while (k < told_count && told[k] != transform)
				k++;
			if (!transform->is_weak || k < told_count)
				continue;
			told[told_count++] = transform;
			if (is_allowed)
				config_warning(reading, line, "weaker %s is deprecated: %s",
				               types[transform->type], transform->shown);
			else
				config_error(reading, line,
				             "weaker %s is deprecated: %s; write allow-weak = true "
				             "if the other side has nothing better",
				             types[transform->type], transform->shown);
		}
	}
}

void config_check_ike_proposals(struct config_reading *reading, const struct config *config,
                                const struct config_ike_profile *profile)
{
	struct proposal_list list;
	char why[256];

	if (proposals_of_ike_profile(config, profile, &list, why, sizeof(why)))
		check_weakness(reading, &list, profile->allows_weak, profile->line_number);
	else
		config_error(reading, profile->line_number, "proposals: %s", why);
}

void config_check_ipsec_proposals(struct config_reading *reading, const struct config *config,
                                  const struct config_ipsec_profile *profile)
{
	struct proposal_list list;
	char why[256];

	if (proposals_of_ipsec_profile(config, profile, &list, why, sizeof(why)))
		check_weakness(reading, &list, profile->allows_weak, profile->line_number);
	else
		config_error(reading, profile->line_number, "proposals: %s", why);
}
