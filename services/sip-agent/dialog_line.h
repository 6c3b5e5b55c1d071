/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A dialog's record as a line of JSON. */
#ifndef VPNSIP_SIP_DIALOG_LINE_H
#define VPNSIP_SIP_DIALOG_LINE_H

#include "services/sip-agent/dialog_store.h"

#define DIALOG_LINE_SIZE 65536

/** All of it, ended by a newline. False when it is too long. */
bool dialog_line_print(char line[DIALOG_LINE_SIZE], const struct dialog_record *record);

/** What changes while the dialog stays as it is. */
bool dialog_line_print_state(char line[DIALOG_LINE_SIZE], const struct dialog_record *record);

#endif
