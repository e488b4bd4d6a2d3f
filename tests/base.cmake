ssmend_add_test(base_test SOURCES base_test.cc LIBS ssmend_base)
