# SPDX-License-Identifier: GPL-3.0-or-later
# The target strongswan::charon: the distribution's libcharon with the headers of its source package.
