/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/internal.h"

void bus_describe(struct bus_description *description, const char *format, ...)
{
	(void)description;
	(void)format;
}

void bus_describe_counter(struct bus_description *description, const char *name, uint64_t value)
{
	(void)description;
	(void)name;
	(void)value;
}
