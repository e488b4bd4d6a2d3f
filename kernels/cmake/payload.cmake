# The payload: what `ssmend kernels install` copies from, one folder a platform, with a manifest; and
# the same as an ordinary wheel. Sources go along for `ssmend kernels build` on the target.
find_package(Python3 COMPONENTS Interpreter)
# The interpreter is asked: in a cross build CMake looks for the headers in vain, and those of this
# machine serve (the modules use the limited API of Python 3.8).
execute_process(COMMAND ${Python3_EXECUTABLE} -c "import sysconfig; print(sysconfig.get_path('include'))"
                OUTPUT_VARIABLE python_include OUTPUT_STRIP_TRAILING_WHITESPACE)
if(EXISTS ${python_include}/Python.h)
  set(SSM_PYTHON_INCLUDE ${python_include})
  # Debian's pyconfig.h includes <MACHINE-linux-gnu/pythonX.Y/pyconfig.h>, and only this machine's is
  # installed. It serves the other one too: both are LP64 Linux, and the limited API asks it for
  # nothing else.
  foreach(machine x86_64 aarch64)
    file(GLOB own /usr/include/${CMAKE_HOST_SYSTEM_PROCESSOR}-linux-gnu/python3.*)
    foreach(folder IN LISTS own)
      get_filename_component(name ${folder} NAME)
      set(other ${CMAKE_CURRENT_BINARY_DIR}/pyconfig/${machine}-linux-gnu)
      file(MAKE_DIRECTORY ${other})
      file(CREATE_LINK ${folder} ${other}/${name} SYMBOLIC)
    endforeach()
  endforeach()
else()
  message(STATUS "kernels: no Python.h found (python3-dev), so the Python modules are left out")
endif()

set(SSM_MODULES)
if(SSM_PYTHON_INCLUDE)
  set(SSM_MODULES causal_conv1d_cuda)
  set(SSM_MODULE_causal_conv1d_cuda_SOURCES
    python/causal_conv1d_cuda.cc python/tensor.cc python/library.cc)
  include(python/selective_scan.cmake OPTIONAL)  # appends its modules
endif()
set(SSM_PACKAGE_FILES
  python/ssm_kernels/__init__.py python/ssm_kernels/conv1d.py python/ssm_kernels/scan.py
  python/ssm_kernels/scan_operators.py)

find_program(SSM_CROSS_AARCH64 aarch64-linux-gnu-g++)
if(CMAKE_CROSSCOMPILING)
  # Only the payload for the machine that the tool is built for. Not with the tool's compiler: the
  # library fixes its own symbol versions.
  set(machines ${CMAKE_SYSTEM_PROCESSOR})
  set(compiler ${SSM_BUILD_CXX})
  if(NOT CMAKE_SYSTEM_PROCESSOR STREQUAL CMAKE_HOST_SYSTEM_PROCESSOR)
    set(compiler ${SSM_CROSS_AARCH64})
  endif()
  if(NOT compiler)
    message(FATAL_ERROR "kernels: no aarch64-linux-gnu-g++, install g++-aarch64-linux-gnu")
  endif()
  ssm_add_platform(${CMAKE_SYSTEM_PROCESSOR} ${compiler})
else()
  ssm_add_platform(${CMAKE_HOST_SYSTEM_PROCESSOR} ${CMAKE_CXX_COMPILER})
  set(machines ${CMAKE_HOST_SYSTEM_PROCESSOR})
  if(CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL "x86_64" AND SSM_CROSS_AARCH64)
    ssm_add_platform(aarch64 ${SSM_CROSS_AARCH64})
    list(APPEND machines aarch64)
  elseif(CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL "x86_64")
    message(STATUS "kernels: no aarch64-linux-gnu-g++, so no aarch64 payload")
  endif()
endif()

# One command for all platforms: two that run side by side would take each other's folder away.
set(source_copy ${SSM_PAYLOAD}/source/units.txt)
file(GLOB_RECURSE device_sources CONFIGURE_DEPENDS *.cu *.cuh *params.h)
add_custom_command(OUTPUT ${source_copy}
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/python/copy_sources.py
          ${CMAKE_CURRENT_SOURCE_DIR} ${SSM_PAYLOAD}/source
  DEPENDS ${device_sources} ${CMAKE_CURRENT_SOURCE_DIR}/units.txt
          ${CMAKE_CURRENT_SOURCE_DIR}/python/copy_sources.py
  COMMENT "device sources" VERBATIM)

add_custom_target(ssm_device_sources DEPENDS ${source_copy})
set(manifests)
foreach(machine IN LISTS machines)
  set(manifest ${SSM_PAYLOAD}/linux_${machine}/manifest.json)
  add_custom_command(OUTPUT ${manifest}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/python/make_payload.py
            --tree ${SSM_PAYLOAD}/linux_${machine} --version ${PROJECT_VERSION} --machine ${machine}
            --packs ${CMAKE_CURRENT_BINARY_DIR}/images
            --wheels ${CMAKE_BINARY_DIR}/wheels
    DEPENDS ${SSM_OUTPUTS_${machine}} ${CMAKE_CURRENT_SOURCE_DIR}/python/make_payload.py
    COMMENT "${machine} payload and wheel" VERBATIM)
  add_custom_target(ssm_payload_${machine} ALL DEPENDS ${manifest} ssm_device_sources)
  list(APPEND manifests ${manifest})
endforeach()
add_custom_target(ssm_kernels DEPENDS ${manifests})
