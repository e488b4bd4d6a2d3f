ssmend_add_test(repair_transaction_test SOURCES repair_transaction_test.cc repair_fixture.cc
                LIBS ssmend_repair)
ssmend_add_test(repair_crash_test SOURCES repair_crash_test.cc repair_faults.cc repair_fixture.cc
                LIBS ssmend_repair dl TIMEOUT 600)
ssmend_add_test(repair_recipe_test SOURCES repair_recipe_test.cc repair_fixture.cc
                LIBS ssmend_repair)
ssmend_add_test(repair_plan_test SOURCES repair_plan_test.cc repair_fixture.cc
                LIBS ssmend_repair dl)
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_test(NAME repair_ansible_test
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/repair_ansible_test.py)
  set_tests_properties(repair_ansible_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600
                       ENVIRONMENT "SSMEND=$<TARGET_FILE:ssmend>")
endif()
