/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/file_stamp.h"

#include <string.h>
#include <sys/stat.h>

static struct file_stamp stamp_of(const char *file)
{
	struct stat status;

	if (!file || stat(file, &status) != 0)
		return (struct file_stamp){0};
	return (struct file_stamp){
		.device = (uint64_t)status.st_dev,
		.inode = (uint64_t)status.st_ino,
		.size = (uint64_t)status.st_size,
		.changed_nsec = (uint64_t)status.st_ctim.tv_sec * 1000000000u +
	                        (uint64_t)status.st_ctim.tv_nsec,
	};
}

bool file_stamps_update(struct file_stamp *stamps, const char *const *files, size_t count)
{
	bool has_changed = false;

	for (size_t i = 0; i < count; i++) {
		const struct file_stamp now = stamp_of(files[i]);

		has_changed |= memcmp(&now, &stamps[i], sizeof(now)) != 0;
		stamps[i] = now;
	}
	return has_changed;
}
