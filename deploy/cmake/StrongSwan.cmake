# SPDX-License-Identifier: GPL-3.0-or-later
#
# strongswan::charon: the distribution's libcharon with the headers of its upstream release.
# Link it PRIVATE to a library of the charon_*.c files only: its flags (a forced config.h, no format
# checks, because strongSwan redefines printf's conversions) are not for other code.
# Without headers or library the target does not exist, and ike-agent is left out of the build.

set(STRONGSWAN_LIBRARY_DIR /usr/lib/ipsec CACHE PATH "Folder of libcharon.so.0 and libstrongswan.so.0")

execute_process(
	COMMAND dpkg-query -W -f "\${Version}" strongswan-libcharon
	OUTPUT_VARIABLE strongswan_package ERROR_QUIET)
string(REGEX REPLACE "-[^-]*$" "" strongswan_installed "${strongswan_package}")

if(DEFINED ENV{STRONGSWAN_SRC})
	set(strongswan_default $ENV{STRONGSWAN_SRC})
else()
	set(strongswan_default /var/cache/vpnsip/strongswan-${strongswan_installed})
endif()
set(STRONGSWAN_SRC ${strongswan_default} CACHE PATH "strongSwan's source tree (headers suffice)")

set(libcharon ${STRONGSWAN_LIBRARY_DIR}/libcharon.so.0)
set(libstrongswan ${STRONGSWAN_LIBRARY_DIR}/libstrongswan.so.0)

foreach(needed ${libcharon} ${libstrongswan} ${STRONGSWAN_SRC}/configure.ac)
	if(NOT EXISTS ${needed})
		message(STATUS "strongSwan: ${needed} is missing, so ike-agent is NOT built. Run deploy/setup.")
		return()
	endif()
endforeach()

file(STRINGS ${STRONGSWAN_SRC}/configure.ac strongswan_headers REGEX "^AC_INIT\\(")
string(REGEX REPLACE ".*\\[strongSwan\\],\\[([^]]+)\\].*" "\\1" strongswan_headers "${strongswan_headers}")
if(NOT strongswan_headers STREQUAL strongswan_installed)
	message(FATAL_ERROR "strongSwan ${strongswan_package} is installed, but the headers in ${STRONGSWAN_SRC} are of "
		"${strongswan_headers}. Run deploy/setup, and set STRONGSWAN_SRC if they are elsewhere.")
endif()

add_library(strongswan::charon INTERFACE IMPORTED GLOBAL)
target_include_directories(strongswan::charon INTERFACE
	${STRONGSWAN_SRC}/src/libstrongswan ${STRONGSWAN_SRC}/src/libcharon)
target_compile_options(strongswan::charon INTERFACE
	"SHELL:-include ${PROJECT_SOURCE_DIR}/services/ike-agent/strongswan_config.h"
	-Wno-format -Wno-pointer-sign)
target_link_libraries(strongswan::charon INTERFACE ${libcharon} ${libstrongswan})
target_link_options(strongswan::charon INTERFACE -Wl,-rpath,${STRONGSWAN_LIBRARY_DIR})

# How the library was built, told by what it exports.
execute_process(COMMAND ${CMAKE_NM} -D ${libcharon} OUTPUT_VARIABLE strongswan_exports)
if(strongswan_exports MATCHES " connect_manager_create\n")
	target_compile_definitions(strongswan::charon INTERFACE ME)
endif()
if(strongswan_exports MATCHES " main_mode_create\n")
	target_compile_definitions(strongswan::charon INTERFACE USE_IKEV1)
endif()

# The result is kept per version of the package, so that an upgrade is probed again.
string(MAKE_C_IDENTIFIER "STRONGSWAN_ABI_${strongswan_package}" probe)
try_run(${probe} ${probe}_COMPILED
	SOURCES ${PROJECT_SOURCE_DIR}/services/ike-agent/abi_probe.c
	COMPILE_DEFINITIONS -DVPNSIP_ABI_PROBE_MAIN -D_GNU_SOURCE= -iquote ${PROJECT_SOURCE_DIR}
	LINK_LIBRARIES strongswan::charon
	COMPILE_OUTPUT_VARIABLE probe_compilation
	RUN_OUTPUT_VARIABLE probe_output)
if(NOT ${probe}_COMPILED)
	unset(${probe} CACHE)
	unset(${probe}_COMPILED CACHE)
	message(FATAL_ERROR "strongSwan ${strongswan_package}: the ABI probe does not compile:\n${probe_compilation}")
endif()
if(NOT ${probe} EQUAL 0)
	unset(${probe} CACHE)
	unset(${probe}_COMPILED CACHE)
	message(FATAL_ERROR "strongSwan ${strongswan_package}: the ABI probe failed: ${probe_output}")
endif()
message(STATUS "strongSwan: ${strongswan_package}, headers ${STRONGSWAN_SRC}, ABI probe passed")
