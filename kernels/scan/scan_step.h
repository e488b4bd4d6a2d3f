// The decode step's call, told for the kernels of known types (scan_step.cu). Host code.
#pragma once

#include "scan/scan_params.h"
#include "scan/scan_step_params.h"

namespace ssm {

// `views` with strides of less than 2^31; 1 << lane_bits lanes share one channel's states.
inline ScanStepParams step_params(const ScanUpdateParams& views, int batch, int lane_bits) {
  const auto rows = [](const ScanView& view) {
    return ScanStepRows{static_cast<int>(view.batch_stride), static_cast<int>(view.head_stride),
                        view.channel_stride};
  };
  ScanStepParams p = {};
  p.state = views.state.data;
  p.x = views.x.data;
  p.dt = views.dt.data;
  p.z = views.z.data;
  p.out = views.out.data;
  p.A = static_cast<const float*>(views.A.data);
  p.B = views.B.data;
  p.C = views.C.data;
  p.D = views.D.data;
  p.dt_bias = views.dt_bias.data;
  p.rows = views.rows;
  p.state_at = rows(views.state);
  p.x_at = rows(views.x);
  p.dt_at = rows(views.dt);
  p.z_at = rows(views.z);
  p.out_at = rows(views.out);
  p.A_head = rows(views.A).head;
  p.A_channel = views.A.channel_stride;
  p.A_state = views.A.state_stride;
  p.B_batch = rows(views.B).batch;
  p.B_group = rows(views.B).head;
  p.C_batch = rows(views.C).batch;
  p.C_group = rows(views.C).head;
  p.D_head = rows(views.D).head;
  p.D_channel = views.D.channel_stride;
  p.bias_head = rows(views.dt_bias).head;
  p.bias_channel = views.dt_bias.channel_stride;
  p.batch = batch;
  p.dim = views.dim;
  p.states = views.states;
  p.group_heads = views.group_heads;
  p.lane_bits = lane_bits;
  p.D_type = views.D.dtype;
  p.bias_type = views.dt_bias.dtype;
  p.softplus = views.softplus;
  return p;
}

}  // namespace ssm
