# The selective scan's tests that need no GPU: the reference against finite differences, the plan, and
# the kernels themselves, compiled as C++ and run thread by thread (emulate/device.h).
set(SCAN_DIRECTORY ${CMAKE_SOURCE_DIR}/kernels/scan)
set(SCAN_PLAN_SOURCES ${SCAN_DIRECTORY}/scan_plan.cc ${SCAN_DIRECTORY}/scan_single_plan.cc)
set(SCAN_HOST_SOURCES ${SCAN_PLAN_SOURCES} ${SCAN_DIRECTORY}/scan_reference.cc)
set(SCAN_KERNEL_SOURCES
  ${SCAN_DIRECTORY}/scan_lanes.cu ${SCAN_DIRECTORY}/scan_steps.cu
  ${SCAN_DIRECTORY}/scan_rows.cu ${SCAN_DIRECTORY}/scan_split.cu
  ${SCAN_DIRECTORY}/scan_single.cu ${SCAN_DIRECTORY}/scan_single_backward.cu
  ${SCAN_DIRECTORY}/scan_backward.cu ${SCAN_DIRECTORY}/scan_ends.cu
  ${SCAN_DIRECTORY}/scan_both_ends.cu
  ${SCAN_DIRECTORY}/scan_gradient.cu ${SCAN_DIRECTORY}/scan_finish.cu)
set(SCAN_COMPLEX_SOURCES
  ${SCAN_DIRECTORY}/scan_complex.cu ${SCAN_DIRECTORY}/scan_complex_backward.cu)
set(SCAN_UPDATE_SOURCES ${SCAN_DIRECTORY}/scan_update.cu ${SCAN_DIRECTORY}/scan_step.cu)
set_source_files_properties(
  ${SCAN_KERNEL_SOURCES} ${SCAN_COMPLEX_SOURCES} ${SCAN_UPDATE_SOURCES} PROPERTIES
  LANGUAGE CXX
  COMPILE_OPTIONS
  "-x;c++;-include;${CMAKE_CURRENT_SOURCE_DIR}/emulate/device.h;-Wno-unknown-pragmas;-Wno-maybe-uninitialized;-Wno-uninitialized")

function(ssmend_add_scan_test name)
  ssmend_add_test(${name} SOURCES ${name}.cc ${ARGN} TIMEOUT 600)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/kernels)
  # Kernels read and write memory as wider words than it was declared with, as CUDA allows.
  target_compile_options(${name} PRIVATE -O2 -fno-strict-aliasing)
endfunction()

ssmend_add_scan_test(scan_reference_test ${SCAN_DIRECTORY}/scan_reference.cc)
ssmend_add_scan_test(scan_plan_test ${SCAN_PLAN_SOURCES})
if(NOT SSMEND_SANITIZE)  # fibers and AddressSanitizer do not go together
  ssmend_add_scan_test(scan_forward_kernels_test ${SCAN_HOST_SOURCES} ${SCAN_KERNEL_SOURCES})
  ssmend_add_scan_test(scan_backward_kernels_test ${SCAN_HOST_SOURCES} ${SCAN_KERNEL_SOURCES})
  ssmend_add_scan_test(scan_complex_kernels_test
    ${SCAN_DIRECTORY}/scan_complex_plan.cc ${SCAN_DIRECTORY}/scan_reference.cc
    ${SCAN_DIRECTORY}/scan_finish.cu ${SCAN_COMPLEX_SOURCES})
  ssmend_add_scan_test(scan_update_kernel_test
    ${SCAN_DIRECTORY}/scan_reference.cc ${SCAN_UPDATE_SOURCES})
endif()

# The package's functions and operators, with stand-ins for the native modules.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
add_test(NAME scan_operators_test
  COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/scan_operators_test.py)
set_tests_properties(scan_operators_test PROPERTIES
  SKIP_RETURN_CODE 77 TIMEOUT 1500
  ENVIRONMENT "SSMEND_TEST_CACHE=${SSMEND_TEST_CACHE}")
