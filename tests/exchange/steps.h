/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VPNSIP_EXCHANGE_STEPS_H
#define VPNSIP_EXCHANGE_STEPS_H

#include "tests/exchange/stage.h"

/** Plays the story to its end. Tells whether it held; else it has said on stderr where and why not. */
bool steps_play(struct stage *stage, bool is_verbose);

#endif
