/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/data_plane.h"

static bool sends_dummies(const struct config_ipsec_profile *profile)
{
	return profile->dummy_rate > 0 || profile->dummy_interval_sec > 0;
}

static bool has_extended_without_window(const struct config_ipsec_profile *profile)
{
	return profile->has_extended_sequence && profile->replay_window == 0;
}

static bool sets_df(const struct config_ipsec_profile *profile)
{
	return profile->df_bit == DF_SET;
}

/** A property of a profile, and the data plane that lacks it. */
struct property {
	bool (*is_wanted)(const struct config_ipsec_profile *profile);
	enum config_data_plane lacking;
	const char *text;
};

static const struct property properties[] = {
	{sends_dummies, DATA_PLANE_KERNEL,
         "dummy-rate, dummy-interval: the kernel sends no dummy packets"},
	{has_extended_without_window, DATA_PLANE_KERNEL,
         "esn = true with replay-window = 0: the kernel counts extended numbers with a window "
         "alone"},
	{sets_df, DATA_PLANE_KERNEL, "df-bit = set: the kernel clears or copies the bit"},
};

const char *data_plane_lacks(enum config_data_plane data_plane,
                             const struct config_ipsec_profile *profile)
{
	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		if (properties[i].lacking == data_plane && properties[i].is_wanted(profile))
			return properties[i].text;
	return NULL;
}
