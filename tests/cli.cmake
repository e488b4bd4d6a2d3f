# The program as a user runs it.
add_test(NAME cases_test COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/cases/run_cases.py
                                 $<TARGET_FILE:ssmend>)
add_test(NAME generated_test
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/report/generated_test.py
                 $<TARGET_FILE:ssmend>)
add_test(NAME shells_test
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/report/shells_test.py
                 $<TARGET_FILE:ssmend>)
set_tests_properties(shells_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
add_test(NAME wheel_test
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/report/wheel_test.py
                 $<TARGET_FILE:ssmend>)
add_test(NAME json_test
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/report/json_test.py
                 $<TARGET_FILE:ssmend>)
set_tests_properties(json_test PROPERTIES SKIP_RETURN_CODE 77)
set_tests_properties(cases_test generated_test wheel_test PROPERTIES TIMEOUT 300)
