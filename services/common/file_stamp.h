/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What tells that a file is another one now: for files that are loaded anew when somebody has renewed them. */
#ifndef VPNSIP_FILE_STAMP_H
#define VPNSIP_FILE_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_stamp {
	uint64_t device, inode, size, changed_nsec;
};

/** Writes a stamp for each of the files; all zero for one that is NULL or cannot be looked at. True if one differs from before. */
bool file_stamps_update(struct file_stamp *stamps, const char *const *files, size_t count);

#endif
