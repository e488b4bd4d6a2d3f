ssmend_add_test(verify_packages_test SOURCES verify_packages_test.cc LIBS ssmend_verify)

ssmend_add_test(verify_native_test SOURCES verify_native_test.cc LIBS ssmend_report)
add_test(NAME verify_cli_test
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/verify_cli_test.py
                 $<TARGET_FILE:ssmend>)
set_tests_properties(verify_cli_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)

# The native check's cases over a driver that runs nothing, for an H100 and a small Orin.
if(TARGET ssm_kernels)
  add_library(stand_in_driver SHARED emulate/driver.c)
  set_target_properties(stand_in_driver PROPERTIES
    OUTPUT_NAME cuda VERSION 1 SOVERSION 1 C_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/stand-in)
  set(library ${CMAKE_BINARY_DIR}/share/ssmend/kernels)
  set(library ${library}/linux_${CMAKE_SYSTEM_PROCESSOR}/ssm_kernels/libssm_kernels.so)
  add_executable(verify_reach_test verify_reach_test.cc)
  target_compile_definitions(verify_reach_test PRIVATE
    SSMEND_KERNEL_LIBRARY="${library}" SSMEND_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_link_libraries(verify_reach_test PRIVATE ssmend_verify GTest::gtest_main)
  add_dependencies(verify_reach_test stand_in_driver ssm_kernels)
  foreach(processors 8 132)
    add_test(NAME verify_reach_test_${processors} COMMAND verify_reach_test)
    set(folder ${CMAKE_CURRENT_BINARY_DIR})
    set_tests_properties(verify_reach_test_${processors} PROPERTIES TIMEOUT 120 ENVIRONMENT
      "LD_LIBRARY_PATH=${folder}/stand-in;STAND_IN_PROCESSORS=${processors};STAND_IN_LAUNCHES=${folder}/launches_${processors}.txt")
  endforeach()
endif()

# The wrong kernels that `verify --inject` plants, in a build with SSMEND_INJECT; in every build:
# that the edits which make them still find their places.
set(make_faults ${CMAKE_CURRENT_SOURCE_DIR}/inject/make_faults.py)
add_test(NAME inject_faults_test
         COMMAND Python3::Interpreter ${make_faults} --check ${CMAKE_SOURCE_DIR}/kernels)
ssmend_add_test(verify_inject_test
                SOURCES verify_inject_test.cc ${CMAKE_SOURCE_DIR}/tool/verify/inject.cc
                LIBS ssmend_verify)
if(SSMEND_INJECT)
  set(SSMEND_INJECT_ARCHITECTURE "sm_90" CACHE STRING "Of the wrong kernels: that of the test's GPU")
  if(TARGET ssm_images)
    add_custom_target(ssm_faults ALL
      COMMAND Python3::Interpreter ${make_faults} ${CMAKE_SOURCE_DIR}/kernels
              --compiler $<TARGET_FILE:ssm-compile> --nvrtc ${SSM_NVRTC_11}
              --arch ${SSMEND_INJECT_ARCHITECTURE} --images ${CMAKE_BINARY_DIR}/kernels/images
              --to ${CMAKE_BINARY_DIR}/share/ssmend/inject
      DEPENDS ssm_images VERBATIM)
  endif()
endif()
