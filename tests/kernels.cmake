# The kernel library's tests that need no GPU. Those that read the built library run where it is
# built; tests/gpu has the rest.
set(SSM_DIRECTORY ${CMAKE_SOURCE_DIR}/kernels)
ssmend_add_test(conv1d_reference_test SOURCES conv1d_reference_test.cc LIBS ssm_reference)
ssmend_add_test(kernel_choice_test
  SOURCES kernel_choice_test.cc ${SSM_DIRECTORY}/core/choose.cc ${SSM_DIRECTORY}/core/lzma.cc
  ${SSM_DIRECTORY}/core/pack.cc
          ${SSM_DIRECTORY}/core/check.cc ${SSM_DIRECTORY}/core/status.cc
          ${SSM_DIRECTORY}/conv1d/layout.cc)
target_include_directories(kernel_choice_test PRIVATE ${SSM_DIRECTORY})
target_compile_definitions(kernel_choice_test PRIVATE SSM_VERSION="test")

if(TARGET ssm_kernels)
  find_package(Python3 COMPONENTS Interpreter)
  add_test(NAME kernel_library_test
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/kernel_library_test.py
            ${CMAKE_BINARY_DIR} $<TARGET_FILE:ssm-compile>)
  set_tests_properties(kernel_library_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 180)
  set(nvrtc "${SSM_NVRTC_11}")
  if(NOT nvrtc)
    set(nvrtc "${SSM_NVRTC_13}")
  endif()
  add_test(NAME kernels_build_test
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/kernels_build_test.py
            $<TARGET_FILE:ssmend> $<TARGET_FILE:ssm-compile> ${SSM_DIRECTORY}
            ${CMAKE_BINARY_DIR}/share/ssmend/kernels ${nvrtc})
  set_tests_properties(kernels_build_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 180)
endif()
include(${CMAKE_CURRENT_SOURCE_DIR}/scan.cmake OPTIONAL)
