ssmend_add_test(base_test SOURCES base_test.cc LIBS ssmend_base)

find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME layers_test COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/layers_test.py)
add_test(NAME format_test COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/format_test.sh)
set_tests_properties(format_test PROPERTIES SKIP_RETURN_CODE 77)
