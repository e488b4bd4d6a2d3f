# What is installed, and the packages: `cmake --build build --target package` makes a .deb and a
# .tar.gz; .ci/wheel makes a wheel out of the same installed tree.
install(TARGETS ssmend RUNTIME DESTINATION bin)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/patches ${CMAKE_SOURCE_DIR}/recipes
        DESTINATION share/ssmend PATTERN "__pycache__" EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/tool/report/schemas DESTINATION share/ssmend)
# The kernel library, where this build made it.
install(DIRECTORY ${CMAKE_BINARY_DIR}/share/ssmend/kernels DESTINATION share/ssmend OPTIONAL)

# Completions and man page come out of the program's own options, so they need a program that runs
# here: by itself, or in an emulator.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL CMAKE_HOST_SYSTEM_PROCESSOR OR CMAKE_CROSSCOMPILING_EMULATOR)
  set(generated ${CMAKE_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated})
  add_custom_command(
    OUTPUT ${generated}/ssmend.bash ${generated}/_ssmend ${generated}/ssmend.fish
           ${generated}/ssmend.1
    COMMAND ssmend generate bash > ${generated}/ssmend.bash
    COMMAND ssmend generate zsh > ${generated}/_ssmend
    COMMAND ssmend generate fish > ${generated}/ssmend.fish
    COMMAND ssmend generate man > ${generated}/ssmend.1
    DEPENDS ssmend VERBATIM)
  add_custom_target(ssmend_generated ALL DEPENDS ${generated}/ssmend.1)
  install(FILES ${generated}/ssmend.bash DESTINATION share/bash-completion/completions
          RENAME ssmend)
  install(FILES ${generated}/_ssmend DESTINATION share/zsh/vendor-completions)
  install(FILES ${generated}/ssmend.fish DESTINATION share/fish/vendor_completions.d)
  install(FILES ${generated}/ssmend.1 DESTINATION share/man/man1)
endif()

set(CPACK_GENERATOR "DEB;TGZ")
set(CPACK_PACKAGE_NAME ssmend)
set(CPACK_PACKAGE_CONTACT "the ssmend developers <ssmend@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY
    "mends Python environments whose Mamba / SSM extensions do not load or do not work")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
if(SSMEND_PORTABLE)
  # Linked statically and without symbols for a glibc of our choice (.ci/cross): nothing to find out.
  set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6 (>= 2.31)")
else()
  set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_LIST_DIR}/package_depends.cmake)
  set(CPACK_SSMEND_PROGRAM ${CMAKE_BINARY_DIR}/bin/ssmend)
  set(CPACK_STRIP_FILES ON)
endif()
set(debian_x86_64 amd64)
set(debian_aarch64 arm64)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE ${debian_${CMAKE_SYSTEM_PROCESSOR}})
set(CPACK_SYSTEM_NAME linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_THREADS 2)
include(CPack)
