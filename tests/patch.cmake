ssmend_add_test(patch_match_test SOURCES patch_match_test.cc LIBS ssmend_patch)
ssmend_add_test(patch_bytes_test SOURCES patch_bytes_test.cc LIBS ssmend_patch)
ssmend_add_test(patch_rules_test SOURCES patch_rules_test.cc LIBS ssmend_patch)
ssmend_add_test(patch_diff_test SOURCES patch_diff_test.cc LIBS ssmend_patch)

# Released sources, patched for every contract and computed with on the CPU: python with torch and
# einops is needed. The long run: tests/patch_matrix/run.py DRIVER RULES CACHE --whole.
set(SSMEND_TEST_CACHE "${CMAKE_BINARY_DIR}/test-cache" CACHE PATH
    "Where the tests keep real environments (10 GB)")
add_executable(patch_driver patch_matrix/patch_driver.cc)
target_link_libraries(patch_driver PRIVATE ssmend_patch)
add_test(NAME patch_matrix_test
         COMMAND Python3::Interpreter -B ${CMAKE_CURRENT_SOURCE_DIR}/patch_matrix/run.py
                 $<TARGET_FILE:patch_driver>
                 ${CMAKE_SOURCE_DIR}/patches ${CMAKE_BINARY_DIR}/patch-matrix)
set_tests_properties(patch_matrix_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1800
  ENVIRONMENT "SSMEND_TEST_CACHE=${SSMEND_TEST_CACHE}")
