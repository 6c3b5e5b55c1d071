/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Counts allocations and locks of a program's main thread. Linked into a unit test, or loaded before the C library (LD_PRELOAD) of any
 * program as it is:
 *
 *   COST_FILE=FILE   holds struct path_costs, up to date at any moment
 *   COST_SPOIL=1     the control: each packet that the program sends with sendmmsg() costs an allocation and a lock more
 */
#include "path_counter.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);                /* NOLINT(bugprone-reserved-identifier) */
extern void *__libc_calloc(size_t count, size_t size);  /* NOLINT(bugprone-reserved-identifier) */
extern void *__libc_realloc(void *memory, size_t size); /* NOLINT(bugprone-reserved-identifier) */
extern void __libc_free(void *memory);                  /* NOLINT(bugprone-reserved-identifier) */

static struct path_costs own_costs;
static struct path_costs *costs = &own_costs;
static pthread_t main_thread;
static bool is_counting, is_spoilt;

static int (*real_mutex_lock)(pthread_mutex_t *);
static int (*real_read_lock)(pthread_rwlock_t *);
static int (*real_write_lock)(pthread_rwlock_t *);
static int (*real_sendmmsg)(int, struct mmsghdr *, unsigned, int);

/* Other constructors may lock before ours runs. */
static void find_functions(void)
{
	real_mutex_lock = dlsym(RTLD_NEXT, "pthread_mutex_lock");
	real_read_lock = dlsym(RTLD_NEXT, "pthread_rwlock_rdlock");
	real_write_lock = dlsym(RTLD_NEXT, "pthread_rwlock_wrlock");
	real_sendmmsg = dlsym(RTLD_NEXT, "sendmmsg");
}

static __attribute__((constructor)) void begin(void)
{
	const char *file = getenv("COST_FILE");
	int descriptor = file ? open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

	if (descriptor >= 0 && ftruncate(descriptor, sizeof(*costs)) == 0)
		costs = mmap(NULL, sizeof(*costs), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor,
		             0);
	if (costs == MAP_FAILED)
		abort();
	is_spoilt = getenv("COST_SPOIL") != NULL;
	main_thread = pthread_self();
	is_counting = true;
}

struct path_costs path_costs(void)
{
	return *costs;
}

static void count(uint64_t *counter)
{
	if (is_counting && pthread_equal(pthread_self(), main_thread))
		++*counter;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the headers' names begin with underscores. */

void *malloc(size_t size)
{
	count(&costs->allocations);
	return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
	count(&costs->allocations);
	return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size)
{
	count(&costs->allocations);
	return __libc_realloc(memory, size);
}

void free(void *memory)
{
	if (memory)
		count(&costs->allocations);
	__libc_free(memory);
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	if (!real_mutex_lock)
		find_functions();
	count(&costs->locks);
	return real_mutex_lock(mutex);
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
	if (!real_read_lock)
		find_functions();
	count(&costs->locks);
	return real_read_lock(lock);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
	if (!real_write_lock)
		find_functions();
	count(&costs->locks);
	return real_write_lock(lock);
}

static void spoil(size_t packets)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

	while (packets-- > 0) {
		void *volatile memory = malloc(1);

		free(memory);
		pthread_mutex_lock(&mutex);
		pthread_mutex_unlock(&mutex);
	}
}

int sendmmsg(int descriptor, struct mmsghdr *messages, unsigned number, int flags)
{
	if (!real_sendmmsg)
		find_functions();
	for (unsigned i = 0; is_spoilt && i < number; i++)
		spoil(messages[i].msg_hdr.msg_iovlen);
	return real_sendmmsg(descriptor, messages, number, flags);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
