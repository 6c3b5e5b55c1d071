/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "services/common/log.h"

bool credentials_read(const char *file, char password[CREDENTIALS_SIZE])
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, password, CREDENTIALS_SIZE - 1);
	int error = errno;

	if (fd >= 0)
		close(fd);
	password[size > 0 ? size : 0] = '\0';
	if (size < 0) {
		log_line(LOG_ERR, "cannot read %s: %s", file, strerror(error));
		return false;
	}
	password[strcspn(password, "\r\n")] = '\0';
	if (!password[0])
		log_line(LOG_ERR, "%s holds no password in its first line", file);
	return password[0] != '\0';
}

void credentials_wipe(char password[CREDENTIALS_SIZE])
{
	explicit_bzero(password, CREDENTIALS_SIZE);
}
