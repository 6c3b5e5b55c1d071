/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Lets one allocation of a program fail. Loaded before the C library (LD_PRELOAD), so that any unit test can be run with it as
 * it is:
 *
 *   ALLOC_FAILURE=N     the Nth allocation by one of our own objects fails, once; 0 = none
 *   ALLOC_COUNT=FILE    writes at the end how many there were
 *
 * A crash ends the program with status 99 and the line "crash OFFSET OFFSET ..." on standard error: where in the program, innermost
 * first; cmocka is kept from catching it.
 *
 * Only those that the program itself asks for are counted: those of libraries, which are not ours to mend, and of cmocka are not.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);                /* NOLINT(bugprone-reserved-identifier) */
extern void *__libc_calloc(size_t count, size_t size);  /* NOLINT(bugprone-reserved-identifier) */
extern void *__libc_realloc(void *memory, size_t size); /* NOLINT(bugprone-reserved-identifier) */

static uintptr_t program_begin, program_end;
static atomic_ulong count;
static unsigned long failing;
static pid_t counted_process; /* its children are left alone */

/** Of the program's code; what addr2line wants. */
static uintptr_t program_base;

/* The process ends here whatever these functions do. NOLINTBEGIN(bugprone-signal-handler) */
static void on_crash(int number)
{
	char text[512] = "crash";
	void *frames[32];
	int depth = backtrace(frames, 32);
	size_t used = strlen(text);

	(void)number;
	for (int i = 0; i < depth && used + 32 < sizeof(text); i++) {
		uintptr_t address = (uintptr_t)frames[i];

		if (address >= program_begin && address < program_end)
			used += (size_t)snprintf(text + used, sizeof(text) - used, " 0x%lx",
			                         (unsigned long)(address - program_base));
	}
	text[used++] = '\n';
	if (write(STDERR_FILENO, text, used) < 0)
		_exit(98);
	_exit(99);
}
/* NOLINTEND(bugprone-signal-handler) */

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the headers' names begin with underscores. */

static bool is_crash(int number)
{
	return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL;
}

int sigaction(int number, const struct sigaction *restrict action,
              struct sigaction *restrict before)
{
	int (*real)(int, const struct sigaction *, struct sigaction *) = dlsym(RTLD_NEXT,
	                                                                       "sigaction");

	return real(number, is_crash(number) ? NULL : action, before);
}

sighandler_t signal(int number, sighandler_t handler)
{
	sighandler_t (*real)(int, sighandler_t) = dlsym(RTLD_NEXT, "signal");

	return real(number, is_crash(number) ? on_crash : handler);
}

static int find_program(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	(void)context;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0)
			continue;
		program_base = info->dlpi_addr;
		program_begin = info->dlpi_addr + part->p_vaddr;
		program_end = program_begin + part->p_memsz;
	}
	return 1; /* the first is the program itself */
}

static __attribute__((constructor)) void begin(void)
{
	const char *number = getenv("ALLOC_FAILURE");

	dl_iterate_phdr(find_program, NULL);
	failing = number != NULL ? strtoul(number, NULL, 10) : 0;
	counted_process = getpid();
	for (int number = 1; number < 32; number++)
		if (is_crash(number))
			signal(number, on_crash);
}

static __attribute__((destructor)) void end(void)
{
	const char *file = getenv("ALLOC_COUNT");
	char text[32];
	int fd;

	if (file == NULL || getpid() != counted_process)
		return;
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	snprintf(text, sizeof(text), "%lu\n", atomic_load(&count));
	if (fd >= 0 && write(fd, text, strlen(text)) > 0)
		close(fd);
}

static bool fails(const void *caller)
{
	uintptr_t address = (uintptr_t)caller;

	if (address < program_begin || address >= program_end ||
	    atomic_fetch_add(&count, 1) + 1 != failing)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(memory, size);
}

char *strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);

	return copy != NULL ? memcpy(copy, text, size) : NULL;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
