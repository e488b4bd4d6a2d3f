// The launchers of the scan with a complex A; ssm_scan.h's functions hand over to them after their
// own checks.
#pragma once

#include "scan/scan_launch.h"

namespace ssm {

ssm_status complex_scan_forward(const ssm_scan_forward_args& args, const ScanSizes& sizes);

uint64_t complex_workspace_bytes(const ssm_scan_backward_args& args, const ScanSizes& sizes);
ssm_status complex_scan_backward(const ssm_scan_backward_args& args, const ScanSizes& sizes);

}  // namespace ssm
