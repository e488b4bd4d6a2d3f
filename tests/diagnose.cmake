ssmend_add_test(diagnose_test SOURCES diagnose_test.cc LIBS ssmend_diagnose)
ssmend_add_test(diagnose_python_test SOURCES diagnose_python_test.cc LIBS ssmend_diagnose)

add_test(NAME fault_table_test
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/fixtures/test_faults.py)
set_tests_properties(fault_table_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600
                     ENVIRONMENT "SSMEND=$<TARGET_FILE:ssmend>")
