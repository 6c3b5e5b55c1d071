/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The password of a line, read from its file when it is needed and wiped afterwards. */
#ifndef VPNSIP_SIP_CREDENTIALS_H
#define VPNSIP_SIP_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>

#define CREDENTIALS_SIZE 257 /* longest password, with its NUL */

/** The first line of `file`, without its end. False after logging why (never the content). */
bool credentials_read(const char *file, char password[CREDENTIALS_SIZE]);

void credentials_wipe(char password[CREDENTIALS_SIZE]);

#endif
