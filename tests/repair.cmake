ssmend_add_test(repair_transaction_test SOURCES repair_transaction_test.cc repair_fixture.cc
                LIBS ssmend_repair)
ssmend_add_test(repair_crash_test SOURCES repair_crash_test.cc repair_faults.cc repair_fixture.cc
                LIBS ssmend_repair dl TIMEOUT 600)
ssmend_add_test(repair_recipe_test SOURCES repair_recipe_test.cc repair_fixture.cc
                LIBS ssmend_repair)
ssmend_add_test(repair_plan_test SOURCES repair_plan_test.cc repair_fixture.cc
                LIBS ssmend_repair dl)
