// The forward launcher: checks, plans, starts the kernels.
#include "scan/scan_complex.h"
#include "scan/scan_launch.h"

namespace ssm {
namespace {

// The states at the chunks' ends, from the start of the workspace, then the sums of step sizes.
struct Workspace {
  int64_t dt_sums = 0;  // offset in floats
  uint64_t bytes = 0;
};

Workspace lay_out(const ScanSizes& sizes, const ScanPlan& plan) {
  Workspace w;
  if (plan.chunks.count <= 1) return w;
  const int64_t chunks = sizes.batch * sizes.dim * plan.chunks.count;
  w.dt_sums = (chunks * sizes.states + 63) / 64 * 64;
  w.bytes = static_cast<uint64_t>(w.dt_sums + chunks) * sizeof(float);
  return w;
}

ssm_status plan_of(const ssm_scan_forward_args& args, const ScanSizes& sizes, ScanShape* shape,
                   ScanPlan* plan) {
  const ssm_device* facts = nullptr;
  SSM_TRY(device_facts(args.in.u.device, &facts));
  *shape = make_shape(args.in, sizes, facts->multiprocessors);
  shape->near_rows =
      shape->near_rows && rows_near(make_rows(args.out)) && rows_near(make_rows(args.out_z));
  shape->aligned = shape->aligned && rows_16_bytes(args.out) && rows_16_bytes(args.out_z);
  *plan = plan_forward(*shape);
  return SSM_OK;
}

}  // namespace
}  // namespace ssm

ssm_status ssm_scan_forward_workspace_bytes(const ssm_scan_forward_args* args, uint64_t* bytes) {
  using namespace ssm;
  *bytes = 0;
  ScanSizes sizes;
  SSM_TRY(check_scan_inputs(args->in, args->in.u.device, &sizes));
  if (sizes.complex || sizes.batch == 0 || sizes.dim == 0 || sizes.length == 0) return SSM_OK;
  ScanShape shape;
  ScanPlan plan;
  SSM_TRY(plan_of(*args, sizes, &shape, &plan));
  *bytes = lay_out(sizes, plan).bytes;
  return SSM_OK;
}

ssm_status ssm_scan_forward(const ssm_scan_forward_args* arguments) {
  using namespace ssm;
  const ssm_scan_forward_args& args = *arguments;
  ScanSizes sizes;
  const int device = args.in.u.device;
  SSM_TRY(check_scan_inputs(args.in, device, &sizes));
  const int out_dtype =
      args.out.dtype == SSM_FLOAT32 ? static_cast<int>(SSM_FLOAT32) : args.in.u.dtype;
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
  ScanShape shape;
  ScanPlan plan;
  SSM_TRY(plan_of(args, sizes, &shape, &plan));
  const Workspace w = lay_out(sizes, plan);
  ScanParams params = make_forward_params(args, sizes);
  const bool chunked = w.bytes > 0 && args.workspace && args.workspace_bytes >= w.bytes;
  if (chunked) {
    float* floats = static_cast<float*>(args.workspace);
    params.chunks = {
        floats,          nullptr,          floats + w.dt_sums, plan.chunks.steps, plan.chunks.count,
        plan.chunks.run, plan.chunks.runs, plan.chunks.carried};
    SSM_TRY(launch_chunks(shape, plan.chunks, args.in.u.dtype, args.queue, {params, {}, 1}));
  }
  return launch_scan(plan, args.in.u.dtype, args.queue, params, chunked ? plan.chunks.count : 1);
}
