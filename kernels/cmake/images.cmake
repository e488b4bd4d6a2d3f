# One pack a unit and architecture, so that ninja compiles them side by side and again only where a
# source changed; then one assembler file that embeds them all.
# A GPU of sm_86 or sm_89 runs the sm_80 image (one major version, a lower minor one): images of its own
# would take the build of all beyond four minutes on two cores. Orin, sm_87, takes only its exact SM.
set(SSM_ARCHITECTURES_11 sm_72 sm_75 sm_80 sm_87 sm_90 compute_87)
set(SSM_ARCHITECTURES_13 sm_100 sm_110 sm_120)
set(SSM_ARCHITECTURES "" CACHE STRING "Only these architectures (for work on the kernels); all if empty")
# The images are the same for every machine type: a second build of the same sources need not compile
# them again. What that folder lacks is compiled.
set(SSM_IMAGES_FROM "" CACHE PATH "Take images from this folder, kernels/images of another build")

file(STRINGS units.txt SSM_UNITS REGEX "^[^#]")
set(SSM_IMAGE_PACKS)

function(ssm_add_images nvrtc toolkit architectures)
  if(NOT nvrtc)
    message(STATUS "kernels: no NVRTC ${toolkit}, so these images are left out: ${architectures}")
    return()
  endif()
  message(STATUS "kernels: NVRTC ${toolkit} ${nvrtc} for ${architectures}")
  set(packs ${SSM_IMAGE_PACKS})
  set(shrink ${CMAKE_CURRENT_SOURCE_DIR}/compile/shrink_pack.py)
  foreach(source IN LISTS SSM_UNITS)
    get_filename_component(unit ${source} NAME_WE)
    foreach(architecture IN LISTS architectures)
      set(pack ${CMAKE_CURRENT_BINARY_DIR}/images/${unit}.${architecture}.pack)
      list(APPEND packs ${pack})
      if(SSM_IMAGES_FROM AND EXISTS ${SSM_IMAGES_FROM}/${unit}.${architecture}.pack)
        set(made ${SSM_IMAGES_FROM}/${unit}.${architecture}.pack)
        add_custom_command(OUTPUT ${pack} COMMAND ${CMAKE_COMMAND} -E copy ${made} ${pack}
          DEPENDS ${made} COMMENT "image pack ${unit} ${architecture}" VERBATIM)
        continue()
      endif()
      add_custom_command(
        OUTPUT ${pack}
        COMMAND ${SSM_COMPILE} --nvrtc ${nvrtc} --kernels ${CMAKE_CURRENT_SOURCE_DIR}
                --arch ${architecture} --store --output ${pack} --depfile ${pack}.d ${source}
        COMMAND ${Python3_EXECUTABLE} ${shrink} ${pack}
        DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} ${SSM_COMPILE} ${shrink}
        DEPFILE ${pack}.d
        COMMENT "NVRTC ${toolkit} ${unit} ${architecture}" VERBATIM)
    endforeach()
  endforeach()
  set(SSM_IMAGE_PACKS ${packs} PARENT_SCOPE)
endfunction()

file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/images)
foreach(toolkit 11 13)
  set(wanted ${SSM_ARCHITECTURES_${toolkit}})
  if(SSM_ARCHITECTURES)
    set(kept)
    foreach(architecture IN LISTS wanted)
      if(architecture IN_LIST SSM_ARCHITECTURES)
        list(APPEND kept ${architecture})
      endif()
    endforeach()
    set(wanted ${kept})
  endif()
  if(wanted)
    ssm_add_images("${SSM_NVRTC_${toolkit}}" ${toolkit} "${wanted}")
  endif()
endforeach()

# What an earlier choice of architectures left: the manifest lists the packs of that folder.
file(GLOB present ${CMAKE_CURRENT_BINARY_DIR}/images/*.pack)
foreach(pack IN LISTS present)
  if(NOT pack IN_LIST SSM_IMAGE_PACKS)
    file(REMOVE ${pack} ${pack}.d)
  endif()
endforeach()

set(assembler ".section .rodata\n.balign 64\n.globl ssm_embedded_pack\n.globl ssm_embedded_pack_end\n")
string(APPEND assembler ".hidden ssm_embedded_pack\n.hidden ssm_embedded_pack_end\nssm_embedded_pack:\n")
foreach(pack IN LISTS SSM_IMAGE_PACKS)
  string(APPEND assembler ".incbin \"${pack}\"\n")
endforeach()
string(APPEND assembler "ssm_embedded_pack_end:\n.byte 0\n.section .note.GNU-stack,\"\",%progbits\n")
set(SSM_EMBEDDED_SOURCE ${CMAKE_CURRENT_BINARY_DIR}/embedded_images.S)
file(CONFIGURE OUTPUT ${SSM_EMBEDDED_SOURCE} CONTENT "${assembler}" @ONLY)
add_custom_target(ssm_images DEPENDS ${SSM_IMAGE_PACKS})
