/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a program's main thread did that costs a data path: see path_counter.c. */
#ifndef VPNSIP_PATH_COUNTER_H
#define VPNSIP_PATH_COUNTER_H

#include <stdint.h>

struct path_costs {
	uint64_t allocations; /* malloc(), calloc(), realloc(), free(), by whomever: our own code or a library's */
	uint64_t locks; /* mutexes and read-write locks taken */
};

/** Since the start of the program. */
struct path_costs path_costs(void);

#endif
