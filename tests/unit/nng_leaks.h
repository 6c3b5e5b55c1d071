/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For tests in which connections end all the time: what nng 1.5.2 then loses is not our leak. A deaf listener is never freed (bare sockets
 * that are dialled and closed over and over lose the same blocks), nor a message that is sent while its connection is closed.
 */
#ifndef VPNSIP_TEST_NNG_LEAKS_H
#define VPNSIP_TEST_NNG_LEAKS_H

#ifdef __SANITIZE_ADDRESS__
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libnng.so\n";
}
#endif

#endif
