# Read by cpack, once a generator: the packages whose libraries the program needs. CPack's own way
# (CPACK_DEBIAN_PACKAGE_SHLIBDEPS) asks for every ELF file of the package, and the kernel library of
# the other machine type has no packages here.
if(NOT CPACK_GENERATOR STREQUAL "DEB")
  return()
endif()
find_program(shlibdeps dpkg-shlibdeps)
if(NOT shlibdeps)
  message(FATAL_ERROR "dpkg-shlibdeps not found: install dpkg-dev")
endif()
set(folder ${CPACK_PACKAGE_DIRECTORY}/_CPack_Packages/depends)
file(WRITE ${folder}/debian/control "Source: ssmend\n\nPackage: ssmend\nArchitecture: any\n")
execute_process(COMMAND ${shlibdeps} -O -e${CPACK_SSMEND_PROGRAM} WORKING_DIRECTORY ${folder}
                RESULT_VARIABLE status OUTPUT_VARIABLE words ERROR_VARIABLE errors
                OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT status EQUAL 0 OR NOT words MATCHES "^shlibs:Depends=(.+)$")
  message(FATAL_ERROR "dpkg-shlibdeps ${CPACK_SSMEND_PROGRAM}: ${errors}")
endif()
set(CPACK_DEBIAN_PACKAGE_DEPENDS "${CMAKE_MATCH_1}")
