"""selective_scan_fn and mamba_inner_fn with the arguments of mamba_ssm, over selective_scan_cuda.

The scan has its own autograd.Function; mamba_inner_fn is composed of it, causal_conv1d_fn and
torch's linear layers, so autograd works through it without a hand-written backward pass.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

import selective_scan_cuda as _native
from ssm_kernels import scan_operators as _operators
from ssm_kernels.conv1d import causal_conv1d_fn
from ssm_kernels.scan_operators import unit_stride as _unit_stride


def _grouped(factor):
    """B or C as the module takes it: (batch, groups, states, length), or (dim, states)."""
    return factor.unsqueeze(1) if factor.dim() == 3 else factor


def _wants_gradient(tensors):
    if not torch.is_grad_enabled():
        return False
    return any(tensor is not None and tensor.requires_grad for tensor in tensors)


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, z, delta_bias, delta_softplus):
        out, x, *gated = _native.fwd(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
        ctx.delta_softplus = delta_softplus
        ctx.save_for_backward(
            u, delta, A, B, C, D, z, delta_bias, x, out if gated else None
        )
        last_state = x[:, :, -1, 1::2]
        ctx.mark_non_differentiable(last_state)
        return (gated[0] if gated else out), last_state

    @staticmethod
    @once_differentiable
    def backward(ctx, dout, _):
        u, delta, A, B, C, D, z, delta_bias, x, out = ctx.saved_tensors
        du, ddelta, dA, dB, dC, dD, ddelta_bias, *dz = _native.bwd(
            u,
            delta,
            A,
            B,
            C,
            D,
            z,
            delta_bias,
            _unit_stride(dout),
            x,
            out,
            None,
            ctx.delta_softplus,
            False,
        )
        return du, ddelta, dA, dB, dC, dD, dz[0] if dz else None, ddelta_bias, None


def selective_scan_fn(
    u,
    delta,
    A,
    B,
    C,
    D=None,
    z=None,
    delta_bias=None,
    delta_softplus=False,
    return_last_state=False,
):
    """Mamba's selective scan.

    u, delta, z: (batch, dim, length); A: (dim, states) float32 or complex64
    B, C: (batch, states, length), (batch, groups, states, length) or (dim, states) of A's type;
        with a complex A the first two have twice the length, real and imaginary parts in turn
    D, delta_bias: (dim,) float32
    Returns out as u, or (out, last_state) with the state (batch, dim, states) after the last step,
    which has no gradient.
    """
    arguments = (
        _unit_stride(u),
        _unit_stride(delta),
        A,
        _unit_stride(_grouped(B)),
        _unit_stride(_grouped(C)),
        _unit_stride(D),
        _unit_stride(z),
        _unit_stride(delta_bias),
    )
    softplus = bool(delta_softplus)
    if _operators.is_compiling():
        out, last_state = _operators.scan(*arguments, softplus)
    elif _wants_gradient(arguments):
        out, last_state = _SelectiveScan.apply(*arguments, softplus)
    else:
        out, x, *gated = _native.fwd(*arguments, softplus)
        out, last_state = gated[0] if gated else out, x[:, :, -1, 1::2]
    return (out, last_state) if return_last_state else out


def selective_state_update(
    state,
    x,
    dt,
    A,
    B,
    C,
    D=None,
    z=None,
    dt_bias=None,
    dt_softplus=False,
    state_batch_indices=None,
):
    """One decode step; state is advanced in place.

    state: (batch, dim, states) or (batch, heads, dim, states); x, dt, z: (batch, [heads,] dim)
    A: ([heads,] dim, states); B, C: (batch, [groups,] states); D, dt_bias: ([heads,] dim)
    state_batch_indices: (batch,) int32, the state's row; a negative one gives zeros
    Returns out as x.
    """
    update = _operators.state_update if _operators.is_compiling() else _native.state_update
    return update(
        state, x, dt, A, B, C, D, z, dt_bias, bool(dt_softplus), state_batch_indices
    )


def _rms_norm(values, weight, eps):
    wide = values.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps) * weight.float()
    return wide.to(values.dtype)


def mamba_inner_fn(
    xz,
    conv1d_weight,
    conv1d_bias,
    x_proj_weight,
    delta_proj_weight,
    out_proj_weight,
    out_proj_bias,
    A,
    B=None,
    C=None,
    D=None,
    delta_bias=None,
    B_proj_bias=None,
    C_proj_bias=None,
    delta_softplus=True,
    checkpoint_lvl=1,
    b_rms_weight=None,
    c_rms_weight=None,
    dt_rms_weight=None,
    b_c_dt_rms_eps=1e-6,
):
    """A Mamba block from its input projection to its output projection.

    xz: (batch, 2 * dim, length), both halves of the input projection; conv1d_weight: (dim, 1, width)
    x_proj_weight: (rank + 2 * states, dim), twice the states where A is complex;
    delta_proj_weight: (dim, rank)
    B and C are taken from x_proj unless given. The rms weights normalise B, C and delta over their
    states or channels. checkpoint_lvl is taken and has no effect: autograd keeps what it needs.
    Returns (batch, length, out).
    """
    rank = delta_proj_weight.shape[1]
    states = A.shape[-1] * (2 if A.is_complex() else 1)
    length = xz.shape[-1]
    x, z = xz.chunk(2, dim=1)
    x = causal_conv1d_fn(x, conv1d_weight.squeeze(1), conv1d_bias, activation="silu")
    batch, dim = x.shape[:2]
    projected = F.linear(x.transpose(1, 2).reshape(batch * length, dim), x_proj_weight)
    # (dim, batch * length): the length is the fastest dimension, as the scan reads it.
    delta = delta_proj_weight @ projected[:, :rank].t()
    if dt_rms_weight is not None:
        delta = _rms_norm(delta.t(), dt_rms_weight, b_c_dt_rms_eps).t().contiguous()
    delta = delta.to(x.dtype).unflatten(1, (batch, length)).transpose(0, 1)

    def factor(given, values, bias, rms_weight):
        if given is not None:
            return given
        if bias is not None:
            values = values + bias.to(values.dtype)
        if rms_weight is not None:
            values = _rms_norm(values, rms_weight, b_c_dt_rms_eps)
        values = values.to(x.dtype).unflatten(0, (batch, length))
        if A.is_complex():  # pairs stay side by side
            values = values.unflatten(2, (-1, 2)).transpose(1, 2).flatten(2)
        else:
            values = values.transpose(1, 2)
        return values.contiguous()

    B = factor(B, projected[:, rank : rank + states], B_proj_bias, b_rms_weight)
    C = factor(C, projected[:, -states:], C_proj_bias, c_rms_weight)
    out = selective_scan_fn(x, delta, A, B, C, D, z, delta_bias, delta_softplus)
    return F.linear(out.transpose(1, 2), out_proj_weight, out_proj_bias)
