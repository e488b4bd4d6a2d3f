ssmend_add_test(base_test SOURCES base_test.cc LIBS ssmend_base)

find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME layers_test COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/layers_test.py)
add_test(NAME format_test COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/format_test.sh)
set_tests_properties(format_test PROPERTIES SKIP_RETURN_CODE 77)
add_test(NAME tidy_test COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tidy_test.sh ${CMAKE_BINARY_DIR})
set_tests_properties(tidy_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
