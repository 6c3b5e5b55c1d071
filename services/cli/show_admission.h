/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show call admission: its pure parts. */
#ifndef VPNSIP_CLI_SHOW_ADMISSION_H
#define VPNSIP_CLI_SHOW_ADMISSION_H

#include "coordinator.pb-c.h"
#include "services/cli/show.h"

/** `now_usec` is monotonic. */
json_t *admission_model(const Vpnsip__CallAdmission *admission, uint64_t now_usec);

show_text_fn show_admission_text;

#endif
