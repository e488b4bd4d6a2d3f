# The library and its Python modules for one machine. Both are C++ without its runtime: no libstdc++
# among the NEEDED entries, no symbol newer than glibc 2.27 (core/libc_versions.h). They are built by
# plain commands, so that this machine and a cross compiler take the same way.
set(SSM_PAYLOAD ${CMAKE_BINARY_DIR}/share/ssmend/kernels)
set(SSM_PLATFORMS)

set(SSM_HOST_FLAGS -std=c++17 -O2 -g0 -fPIC -fno-exceptions -fno-rtti -fno-threadsafe-statics
  -fvisibility=hidden -fno-stack-protector -Wall -Wextra -I${CMAKE_CURRENT_SOURCE_DIR}
  -DSSM_VERSION="${PROJECT_VERSION}")
set(SSM_LINK_FLAGS -shared -nodefaultlibs -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs
  -Wl,--build-id=sha1 -Wl,-O1,--hash-style=gnu -s)
# --no-as-needed keeps libdl, where glibc before 2.34 has dlopen.
set(SSM_LINK_LIBRARIES -Wl,--no-as-needed -l:libdl.so.2 -Wl,--as-needed -lc -lgcc)

file(GLOB SSM_HEADERS CONFIGURE_DEPENDS *.h core/*.h conv1d/*.h scan/*.h python/*.h)

# ssm_compile_objects(OUT machine compiler flags... SOURCES ...)
function(ssm_compile_objects variable machine compiler)
  cmake_parse_arguments(ARG "" "" "SOURCES;FLAGS" ${ARGN})
  set(objects)
  foreach(source IN LISTS ARG_SOURCES)
    get_filename_component(path ${source} ABSOLUTE)
    get_filename_component(name ${source} NAME)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${machine}/${name}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${compiler} ${SSM_HOST_FLAGS} ${ARG_FLAGS} -c ${path} -o ${object}
      DEPENDS ${path} ${SSM_HEADERS} COMMENT "${machine} ${name}" VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  set(${variable} ${objects} PARENT_SCOPE)
endfunction()

function(ssm_add_platform machine compiler)
  set(tree ${SSM_PAYLOAD}/linux_${machine})
  set(build ${CMAKE_CURRENT_BINARY_DIR}/${machine})
  file(MAKE_DIRECTORY ${build} ${tree}/ssm_kernels)
  set(flags)
  if(machine STREQUAL "x86_64")
    set(flags -mtls-dialect=gnu2)  # no __tls_get_addr, so no ld-linux among the NEEDED entries
  endif()
  ssm_compile_objects(objects ${machine} ${compiler} SOURCES ${SSM_LIBRARY_SOURCES} FLAGS ${flags})
  set(embedded ${build}/embedded_images.o)
  add_custom_command(OUTPUT ${embedded}
    COMMAND ${compiler} -c ${SSM_EMBEDDED_SOURCE} -o ${embedded}
    DEPENDS ${SSM_EMBEDDED_SOURCE} ${SSM_IMAGE_PACKS} COMMENT "${machine} embedded images" VERBATIM)
  set(library ${tree}/ssm_kernels/libssm_kernels.so)
  add_custom_command(OUTPUT ${library}
    COMMAND ${compiler} ${SSM_LINK_FLAGS} -Wl,-soname,libssm_kernels.so -o ${library}
            ${objects} ${embedded} ${SSM_LINK_LIBRARIES}
    DEPENDS ${objects} ${embedded} COMMENT "${machine} libssm_kernels.so" VERBATIM)
  set(outputs ${library})
  foreach(module IN LISTS SSM_MODULES)
    ssm_compile_objects(module_objects ${machine} ${compiler} SOURCES ${SSM_MODULE_${module}_SOURCES}
      FLAGS ${flags} -isystem ${SSM_PYTHON_INCLUDE}
      -isystem ${CMAKE_CURRENT_BINARY_DIR}/pyconfig -DPy_LIMITED_API=0x03080000)
    set(output ${tree}/${module}.abi3.so)
    # Python's own symbols stay undefined: the interpreter has them.
    set(link ${SSM_LINK_FLAGS})
    list(TRANSFORM link REPLACE ",-z,defs" "")
    add_custom_command(OUTPUT ${output}
      COMMAND ${compiler} ${link} -o ${output} ${module_objects} ${SSM_LINK_LIBRARIES}
      DEPENDS ${module_objects} COMMENT "${machine} ${module}" VERBATIM)
    list(APPEND outputs ${output})
  endforeach()
  foreach(file IN LISTS SSM_PACKAGE_FILES)
    get_filename_component(name ${file} NAME)
    add_custom_command(OUTPUT ${tree}/ssm_kernels/${name}
      COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${tree}/ssm_kernels/${name}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file} VERBATIM)
    list(APPEND outputs ${tree}/ssm_kernels/${name})
  endforeach()
  set(SSM_OUTPUTS_${machine} ${outputs} PARENT_SCOPE)
endfunction()
