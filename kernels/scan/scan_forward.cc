// The forward launcher: checks, plans, starts one kernel.
#include "scan/scan_complex.h"
#include "scan/scan_launch.h"

ssm_status ssm_scan_forward(const ssm_scan_forward_args* arguments) {
  using namespace ssm;
  const ssm_scan_forward_args& args = *arguments;
  ScanSizes sizes;
  const int device = args.in.u.device;
  SSM_TRY(check_scan_inputs(args.in, device, &sizes));
  const bool out_is_float = args.out.dtype == SSM_FLOAT32;
  const int out_dtype = out_is_float ? static_cast<int>(SSM_FLOAT32) : args.in.u.dtype;
  SSM_TRY(check_scan_rows("out", args.out, out_dtype, sizes, device, false));
  SSM_TRY(check_scan_rows("out_z", args.out_z, out_dtype, sizes, device, !present(args.in.z)));
  if (present(args.out_z) && !present(args.in.z)) {
    return fail(SSM_INVALID_ARGUMENT, "out_z: present, expected only with z");
  }
  SSM_TRY(check_saved_states(args.x, sizes, device, true));
  if (sizes.batch == 0 || sizes.dim == 0 || sizes.length == 0) return SSM_OK;
  if (sizes.batch > kMaxGridY) {
    return fail(SSM_INVALID_ARGUMENT, "u: batch %lld, expected at most %lld",
                static_cast<long long>(sizes.batch), static_cast<long long>(kMaxGridY));
  }
  if (sizes.complex) return complex_scan_forward(args, sizes);
  const ssm_device* facts = nullptr;
  SSM_TRY(device_facts(device, &facts));

  ScanParams params = make_scan_params(args.in, sizes);
  params.out = make_rows(args.out);
  params.out_z = make_rows(args.out_z);
  params.out_is_float = out_is_float;
  params.rows_aligned = params.rows_aligned && rows_16_bytes(args.out) && rows_16_bytes(args.out_z);
  params.x = static_cast<float*>(args.x.data);
  ScanShape shape = make_shape(args.in, sizes, facts->multiprocessors);
  shape.near_rows = shape.near_rows && rows_near(params.out) && rows_near(params.out_z);
  const ScanPlan plan = plan_forward(shape, false);
  params.time_warps = plan.time_warps;
  return launch_scan(plan, args.in.u.dtype, args.queue, params, 1);
}
