# SPDX-License-Identifier: GPL-3.0-or-later

# vpnsip_service(NAME source... [LIBS library...])
# A program NAME, linked with vpnsip_common (and with it vpnsip_bus and vpnsip_proto), installed to sbin.
function(vpnsip_service name)
	cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
	add_executable(${name} ${arg_SOURCES} ${arg_UNPARSED_ARGUMENTS})
	target_link_libraries(${name} PRIVATE vpnsip_common ${arg_LIBS})
	install(TARGETS ${name} DESTINATION ${CMAKE_INSTALL_SBINDIR})
endfunction()

# vpnsip_unit_test(NAME source... [LIBS library...])
# One cmocka program NAME, run by ctest under the label "unit" within 60 s.
function(vpnsip_unit_test name)
	cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
	add_executable(${name} ${arg_SOURCES} ${arg_UNPARSED_ARGUMENTS})
	target_link_libraries(${name} PRIVATE ${arg_LIBS} PkgConfig::CMOCKA)
	add_test(NAME ${name} COMMAND ${name})
	set_tests_properties(${name} PROPERTIES TIMEOUT 60 LABELS unit)
endfunction()
