# The selective scan's host sources, for the library and for the references.
list(APPEND SSM_LIBRARY_SOURCES
  scan/scan_backward.cc scan/scan_complex.cc scan/scan_complex_plan.cc scan/scan_forward.cc
  scan/scan_launch.cc scan/scan_plan.cc scan/scan_single_plan.cc scan/scan_update.cc)
list(APPEND SSM_REFERENCE_SOURCES scan/scan_reference.cc)
