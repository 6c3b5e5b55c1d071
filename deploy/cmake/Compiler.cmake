# SPDX-License-Identifier: GPL-3.0-or-later
# The language, the warnings, hardening and the sanitizers: the same for every target.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_C_COMPILER_LAUNCHER)
	set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

add_compile_definitions(_GNU_SOURCE=)
add_compile_options(-Wall -Wextra -fno-common -fstack-protector-strong -fno-omit-frame-pointer)
add_link_options(-Wl,-z,relro,-z,now -Wl,--as-needed)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
	# Cutting a text off is what snprintf is called for, and gcc's opinion on it changes with the optimisation level.
	add_compile_options(-Wno-format-truncation)
else()
	# clang warns of GNU C even where it is asked for: the kernel's messages are structs that end in an array, with more behind it.
	add_compile_options(-Wno-gnu-variable-sized-type-not-at-end)
endif()
if(VPNSIP_WERROR)
	add_compile_options(-Werror)
endif()

if(VPNSIP_SANITIZE)
	list(JOIN VPNSIP_SANITIZE "," sanitizers)
	add_compile_options(-fsanitize=${sanitizers} -fno-sanitize-recover=all)
	add_link_options(-fsanitize=${sanitizers})
	if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
		# The instrumentation itself makes gcc see uninitialised values and overflows.
		add_compile_options(-Wno-maybe-uninitialized -Wno-stringop-truncation -Wno-stringop-overflow)
	endif()
else()
	add_compile_options($<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
endif()
