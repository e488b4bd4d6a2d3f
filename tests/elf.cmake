ssmend_add_test(elf_test SOURCES elf_test.cc LIBS ssmend_elf)
