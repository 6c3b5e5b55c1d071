/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telephone numbers as the other side writes them, brought to the digits that the configuration uses. Pure. */
#ifndef VPNSIP_SIP_NUMBER_H
#define VPNSIP_SIP_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

/** Longest number in digits, with its NUL (E.164 allows 15; national prefixes and extensions get room). */
#define NUMBER_SIZE 33

/**
 * Writes the digits of `text` into `digits`: a sip:, sips: or tel: URI or its user part. Scheme,
 * parameters, host and visual separators (RFC 3966 section 5.1.1) are taken off and "+81" becomes "0" for the country code
 * "81" and the trunk prefix "0" (at most 15 digits; a country code of "" knows no global form). False if no plain number is left: another country's number in global form
 * is not the same as a national one, so it is refused instead of shortened.
 */
bool number_normalise(const char *text, const char *country_code, const char *trunk_prefix,
                      char digits[NUMBER_SIZE]);

#endif
