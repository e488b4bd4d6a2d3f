# Finds or fetches the two NVRTCs: 11.8 compiles sm_72 to sm_90 into cubins every driver from CUDA
# 11.4 on loads; sm_100 and later need 13.x. The packages come through pip, by name and version; a
# path may be given instead (-DSSM_NVRTC_11=/path/libnvrtc.so.11.2).
find_package(Python3 COMPONENTS Interpreter)

# Unpacks a wheel's libnvrtc into the build tree and sets `variable` to it; leaves it empty where pip
# cannot get it.
function(ssm_fetch_nvrtc variable requirement folder pattern)
  set(target ${CMAKE_BINARY_DIR}/nvrtc/${folder})
  file(GLOB_RECURSE found ${target}/${pattern})
  if(NOT found AND Python3_Interpreter_FOUND)
    message(STATUS "kernels: fetching ${requirement} with pip")
    execute_process(
      COMMAND ${Python3_EXECUTABLE} -m pip download -q --no-deps --only-binary=:all:
              --disable-pip-version-check -d ${target} ${requirement}
      RESULT_VARIABLE status ERROR_VARIABLE words OUTPUT_QUIET)
    file(GLOB wheels ${target}/*.whl)
    if(status EQUAL 0 AND wheels)
      foreach(wheel IN LISTS wheels)
        file(ARCHIVE_EXTRACT INPUT ${wheel} DESTINATION ${target})
        file(REMOVE ${wheel})
      endforeach()
    else()
      string(STRIP "${words}" words)
      message(STATUS "kernels: pip cannot fetch ${requirement}: ${words}")
    endif()
    file(GLOB_RECURSE found ${target}/${pattern})
  endif()
  if(found)
    list(GET found 0 first)
    set(${variable} ${first} CACHE FILEPATH "libnvrtc of ${folder}" FORCE)
  endif()
endfunction()

set(SSM_NVRTC_11 "" CACHE FILEPATH "libnvrtc.so of CUDA 11.8")
set(SSM_NVRTC_13 "" CACHE FILEPATH "libnvrtc.so of CUDA 13")
if(NOT SSM_NVRTC_11)
  ssm_fetch_nvrtc(SSM_NVRTC_11 nvidia-cuda-nvrtc-cu11==11.8.89 cu11 libnvrtc.so.11.2)
endif()
if(NOT SSM_NVRTC_13)
  file(GLOB toolkit_nvrtc /usr/local/cuda*/lib64/libnvrtc.so.13)
  if(toolkit_nvrtc)
    list(GET toolkit_nvrtc 0 first)
    set(SSM_NVRTC_13 ${first} CACHE FILEPATH "libnvrtc.so of CUDA 13" FORCE)
  else()
    ssm_fetch_nvrtc(SSM_NVRTC_13 nvidia-cuda-nvrtc==13.0.* cu13 libnvrtc.so.13)
  endif()
endif()
