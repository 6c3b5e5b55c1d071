/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/common/log.h"
#include "services/common/service.h"

#define GROUP "vpnsip"

static bool changes_user(const char *user)
{
	return geteuid() == 0 && user && user[0];
}

/* -1 after logging when the user or the group does not exist. */
static int find_user(const char *user, uid_t *uid, gid_t *gid)
{
	const struct passwd *entry = getpwnam(user);
	const struct group *group = getgrnam(GROUP);

	if (!entry) {
		log_line(LOG_ERR,
		         "there is no user '%s': the set-up creates it, --user \"\" runs without",
		         user);
		return -1;
	}
	if (!group) {
		log_line(LOG_ERR, "there is no group '" GROUP "': the set-up creates it");
		return -1;
	}
	*uid = entry->pw_uid;
	*gid = group->gr_gid;
	return 0;
}

/* An existing directory is fine, whoever made it; its parents are made as needed. */
static int make_directory(const char *path, mode_t mode)
{
	char *parents = strdup(path);
	int result = -1;

	if (!parents)
		return -1;
	for (char *slash = strchr(parents + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(parents, 0755) != 0 && errno != EEXIST)
			goto out;
		*slash = '/';
	}
	if (mkdir(path, mode) == 0 || errno == EEXIST)
		result = 0;
out:
	if (result != 0)
		log_line(LOG_ERR, "cannot create %s: %m", parents);
	free(parents);
	return result;
}

static bool belongs_to(const struct stat *status, uid_t uid, gid_t gid)
{
	return status->st_uid == uid && status->st_gid == gid;
}

/* A container's root may change owners, but not look into or change what is no longer its own. */
static bool is_given(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	struct stat status;
	char *lock = NULL;
	bool result = false;

	if (asprintf(&lock, "%s/lock", path) < 0)
		return false;
	if (lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && belongs_to(&status, uid, gid) &&
	    (status.st_mode & 07777) == mode)
		result = lstat(lock, &status) != 0 || belongs_to(&status, uid, gid);
	free(lock);
	return result;
}

/* With the instance lock in it, which an earlier run as another user may have left. */
static int give_directory(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	int directory, result = -1;

	if (is_given(path, uid, gid, mode))
		return 0;
	/* By descriptor: a link put there by somebody else is not followed. */
	directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* The mode first, while it is ours: CAP_CHOWN alone is enough for a directory that was just made. */
	if (directory >= 0 && fchmod(directory, mode) == 0 && fchown(directory, uid, gid) == 0 &&
	    (fchownat(directory, "lock", uid, gid, AT_SYMLINK_NOFOLLOW) == 0 || errno == ENOENT))
		result = 0;
	if (result != 0)
		log_line(LOG_ERR, "cannot set owner and mode of %s: %m", path);
	if (directory >= 0)
		close(directory);
	return result;
}

int privileges_make_directories(const struct service *service, const char *user,
                                const char *run_directory, const char *state_directory)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	mode_t saved_mask = umask(0);
	char *own = NULL;
	int result = -1;

	if (changes_user(user) && find_user(user, &uid, &gid) != 0)
		goto out;
	if (asprintf(&own, "%s/%s", run_directory, service->name) < 0)
		goto out;
	if (make_directory(run_directory, 0755) != 0 || make_directory(own, 02750) != 0 ||
	    make_directory(state_directory, 0700) != 0)
		goto out;
	if (geteuid() == 0 && (give_directory(own, uid, gid, 02750) != 0 ||
	                       give_directory(state_directory, uid, gid, 0700) != 0))
		goto out;
	result = 0;
out:
	umask(saved_mask);
	free(own);
	return result;
}

static int become(uid_t uid, gid_t gid, const int *capabilities)
{
	capng_flags_t flags = CAPNG_DROP_SUPP_GRP;
	int error;

	/* A container may leave us without CAP_SETPCAP; no_new_privs stands for the bounding set there. */
	capng_get_caps_process();
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		flags |= CAPNG_CLEAR_BOUNDING;
	capng_clear(CAPNG_SELECT_BOTH);
	for (const int *capability = capabilities; capability && *capability >= 0; capability++)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)*capability);
	error = capng_change_id((int)uid, (int)gid, flags);
	if (error)
		log_line(LOG_ERR, "cannot drop privileges (step %d): %m", -error);
	return error ? -1 : 0;
}

/* Started as the service's user already, by systemd with what is needed to start: less is needed from here on. */
static int keep_only(const int *capabilities)
{
	int error = 0;

	capng_get_caps_process();
	for (int capability = 0; capability <= CAP_LAST_CAP; capability++) {
		const int *wanted = capabilities;

		while (wanted && *wanted >= 0 && *wanted != capability)
			wanted++;
		if (wanted && *wanted == capability)
			continue;
		error |= capng_update(CAPNG_DROP,
		                      CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE,
		                      (unsigned)capability);
	}
	if (!error)
		error = capng_apply(CAPNG_SELECT_CAPS);
	if (error)
		log_line(LOG_ERR, "cannot drop capabilities: %m");
	return error ? -1 : 0;
}

int privileges_drop(const char *user, const int *capabilities)
{
	bool changes = changes_user(user);
	uid_t uid;
	gid_t gid;

	if (!changes && geteuid() != 0 && keep_only(capabilities) != 0)
		return -1;
	if (changes && (find_user(user, &uid, &gid) != 0 || become(uid, gid, capabilities) != 0))
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		log_line(LOG_ERR, "cannot set no_new_privs: %m");
		return -1;
	}
	/* Keys in memory stay out of core files, and other processes of the same user cannot look. */
	if (changes)
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return 0;
}
