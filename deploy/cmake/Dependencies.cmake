# SPDX-License-Identifier: GPL-3.0-or-later
#
# The distribution's libraries as imported targets:
#   nng::nng            PkgConfig::LIBEVENT     PkgConfig::PROTOBUF_C
#   PkgConfig::SOFIA    PkgConfig::OPENSSL      PkgConfig::LIBCONFUSE      PkgConfig::JANSSON
#   PkgConfig::NFTABLES PkgConfig::NL_ROUTE     PkgConfig::MNL             PkgConfig::CAP_NG
#   PkgConfig::EDIT     PkgConfig::SQLITE       PkgConfig::CONNTRACK       PkgConfig::SYSTEMD
#   PkgConfig::ZLIB     PkgConfig::CARES        PkgConfig::CURL
#   PkgConfig::NFQUEUE  PkgConfig::CMOCKA   (unit tests)

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(nng CONFIG REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)

foreach(dependency
	LIBEVENT=libevent PROTOBUF_C=libprotobuf-c
	SOFIA=sofia-sip-ua OPENSSL=openssl LIBCONFUSE=libconfuse JANSSON=jansson
	NFTABLES=libnftables NFQUEUE=libnetfilter_queue NL_ROUTE=libnl-route-3.0 MNL=libmnl CAP_NG=libcap-ng
	EDIT=libedit SQLITE=sqlite3 CONNTRACK=libnetfilter_conntrack SYSTEMD=libsystemd
	ZLIB=zlib CARES=libcares CURL=libcurl CMOCKA=cmocka)
	string(REPLACE "=" ";" dependency ${dependency})
	list(GET dependency 0 name)
	list(GET dependency 1 module)
	pkg_check_modules(${name} REQUIRED QUIET IMPORTED_TARGET ${module})
endforeach()
