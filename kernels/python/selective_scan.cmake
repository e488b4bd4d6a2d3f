# The three drop-in modules of the selective scan.
foreach(module selective_scan_cuda selective_scan_cuda_core selective_scan_cuda_oflex)
  list(APPEND SSM_MODULES ${module})
  set(SSM_MODULE_${module}_SOURCES
    python/${module}.cc python/selective_scan.cc python/tensor.cc python/library.cc)
endforeach()
list(APPEND SSM_MODULE_selective_scan_cuda_core_SOURCES python/vmamba_scan.cc)
list(APPEND SSM_MODULE_selective_scan_cuda_oflex_SOURCES python/vmamba_scan.cc)
