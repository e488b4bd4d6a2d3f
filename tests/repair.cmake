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
  # repair_clients_test: uv and a conda client, where SSMEND_TEST_CLIENTS is set (40 MB from the
  # registry), else it says SKIP.
  foreach(name repair_ansible_test repair_environments_test repair_clients_test)
    add_test(NAME ${name}
             COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/${name}.py)
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600
                         ENVIRONMENT "SSMEND=$<TARGET_FILE:ssmend>")
  endforeach()
endif()
ssmend_add_test(jetpack_rows_test SOURCES jetpack_rows_test.cc LIBS ssmend_repair)
