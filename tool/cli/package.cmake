# What is installed, and the packages: `cmake --build build --target package` makes a .deb and a
# .tar.gz; .ci/wheel makes a wheel out of the same installed tree.
install(TARGETS ssmend RUNTIME DESTINATION bin)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/patches ${CMAKE_SOURCE_DIR}/recipes
        DESTINATION share/ssmend PATTERN "__pycache__" EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/tool/report/schemas DESTINATION share/ssmend)
# The kernel library, where this build made it.
install(DIRECTORY ${CMAKE_BINARY_DIR}/share/ssmend/kernels DESTINATION share/ssmend OPTIONAL)

# Completions and man page come out of the program's own options, so they need a program that runs
# here; a cross build takes those of the host's build.
if(NOT CMAKE_CROSSCOMPILING)
  set(generated ${CMAKE_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated})
  add_custom_command(
    OUTPUT ${generated}/ssmend.bash ${generated}/_ssmend ${generated}/ssmend.fish
           ${generated}/ssmend.1
    COMMAND $<TARGET_FILE:ssmend> generate bash > ${generated}/ssmend.bash
    COMMAND $<TARGET_FILE:ssmend> generate zsh > ${generated}/_ssmend
    COMMAND $<TARGET_FILE:ssmend> generate fish > ${generated}/ssmend.fish
    COMMAND $<TARGET_FILE:ssmend> generate man > ${generated}/ssmend.1
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
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_STRIP_FILES ON)
set(CPACK_THREADS 2)
include(CPack)
