# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab: two routers, a host behind each, two networks and a telephone carrier, in network namespaces."""
