ssmend_add_test(elf_test SOURCES elf_test.cc LIBS ssmend_elf)
ssmend_add_test(source_contract_test SOURCES source_contract_test.cc LIBS ssmend_elf)
