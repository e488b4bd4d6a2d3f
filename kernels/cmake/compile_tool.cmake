# The program that compiles the images runs on the machine that builds, also where the tool is built
# for another one: a cross build makes it with the build machine's own compiler.
if(CMAKE_CROSSCOMPILING)
  find_program(SSM_BUILD_CXX NAMES c++ g++ clang++ REQUIRED)
  set(SSM_COMPILE ${CMAKE_CURRENT_BINARY_DIR}/ssm-compile)
  set(sources compile/main.cc compile/compile.cc compile/find_nvrtc.cc compile/jobs.cc core/lzma.cc core/pack.cc)
  list(TRANSFORM sources PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  add_custom_command(OUTPUT ${SSM_COMPILE}
    COMMAND ${SSM_BUILD_CXX} -std=c++20 -O2 -I${CMAKE_CURRENT_SOURCE_DIR} ${sources} -ldl
            -o ${SSM_COMPILE}
    DEPENDS ${sources} compile/compile.h compile/jobs.h core/pack.h
    COMMENT "ssm-compile for this machine" VERBATIM)
else()
  add_library(ssm_compile STATIC compile/compile.cc compile/find_nvrtc.cc compile/jobs.cc core/lzma.cc core/pack.cc)
  target_include_directories(ssm_compile PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(ssm_compile PUBLIC ${CMAKE_DL_LIBS})
  add_executable(ssm-compile compile/main.cc)
  target_link_libraries(ssm-compile PRIVATE ssm_compile)
  set(SSM_COMPILE ssm-compile)
endif()
