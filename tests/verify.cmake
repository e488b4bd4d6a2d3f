ssmend_add_test(verify_packages_test SOURCES verify_packages_test.cc LIBS ssmend_verify)

ssmend_add_test(verify_native_test SOURCES verify_native_test.cc LIBS ssmend_report)
add_test(NAME verify_cli_test
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/verify_cli_test.py
                 $<TARGET_FILE:ssmend>)
set_tests_properties(verify_cli_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)

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
