ssmend_add_test(loader_test SOURCES loader_test.cc LIBS ssmend_loader)

# `ssmend resolve` against the real ld.so. Exit code 77: a tool for it is not installed.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND AND TARGET ssmend)
  set(conformance ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/conformance/run.py
                  --ssmend $<TARGET_FILE:ssmend>)
  add_test(NAME loader_conformance COMMAND ${conformance} --seeds 200)
  add_test(NAME loader_conformance_root COMMAND ${conformance} --root --seeds 60)
  add_test(NAME loader_conformance_aarch64 COMMAND ${conformance} --aarch64 --seeds 40)
  add_test(NAME loader_conformance_python
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/conformance/python_orders.py
                   --ssmend $<TARGET_FILE:ssmend>)
  add_test(NAME loader_conformance_musl
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/conformance/musl.py
                   --ssmend $<TARGET_FILE:ssmend>)
  set_tests_properties(loader_conformance loader_conformance_musl loader_conformance_root
                       loader_conformance_aarch64 loader_conformance_python PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77)
endif()
