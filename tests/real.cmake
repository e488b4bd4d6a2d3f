# Tests on real environments (tests/real): torch and the packages from the registry, made once under
# SSMEND_TEST_CACHE. They say SKIP where there is no network, no compiler, or an old Python.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
set(SSMEND_TEST_CACHE "${CMAKE_BINARY_DIR}/test-cache" CACHE PATH
    "Where the tests keep real environments (10 GB)")
foreach(topic repair findings bad_input verify earlier aarch64)
  add_test(NAME real_${topic}
           COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/real/run.py test_${topic})
  set_tests_properties(real_${topic} PROPERTIES
    SKIP_RETURN_CODE 77 TIMEOUT 1500
    ENVIRONMENT "SSMEND=$<TARGET_FILE:ssmend>;SSMEND_TEST_CACHE=${SSMEND_TEST_CACHE}")
endforeach()
