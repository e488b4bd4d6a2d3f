"""selective_scan_fn and mamba_inner_fn with the arguments of mamba_ssm, over selective_scan_cuda.

The scan has its own autograd.Function; mamba_inner_fn is composed of it, causal_conv1d_fn and
torch's linear layers, so autograd works through it without a hand-written backward pass.
"""

import torch
import torch.nn.functional as F

import selective_scan_cuda as _native
from ssm_kernels.conv1d import causal_conv1d_fn


def _unit_stride(tensor):
    if tensor is None or tensor.stride(-1) == 1:
        return tensor
    return tensor.contiguous()


def _grouped(factor):
    """B or C as the module takes it: (batch, groups, states, length), or (dim, states)."""
    return factor.unsqueeze(1) if factor.dim() == 3 else factor


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

    u, delta, z: (batch, dim, length); A: (dim, states) float32
    B, C: (batch, states, length), (batch, groups, states, length) or (dim, states)
    D, delta_bias: (dim,) float32
    Returns out as u, or (out, last_state) with the state (batch, dim, states) after the last step,
    which has no gradient.
    """
    out, last_state = _SelectiveScan.apply(
        _unit_stride(u),
        _unit_stride(delta),
        A,
        _unit_stride(_grouped(B)),
        _unit_stride(_grouped(C)),
        _unit_stride(D),
        _unit_stride(z),
        _unit_stride(delta_bias),
        bool(delta_softplus),
    )
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
    if state.dim() == 4:
        if B.dim() == 2:
            B, C = B.unsqueeze(1), C.unsqueeze(1)
        return _native.state_update(
            state, x, dt, A, B, C, D, z, dt_bias, bool(dt_softplus), state_batch_indices
        )

    def one_head(tensor, dimension):
        return None if tensor is None else tensor.unsqueeze(dimension)

    return _native.state_update(
        state.unsqueeze(1),
        x.unsqueeze(1),
        dt.unsqueeze(1),
        A.unsqueeze(0),
        one_head(B, 1) if B.dim() == 2 else B,
        one_head(C, 1) if C.dim() == 2 else C,
        one_head(D, 0),
        one_head(z, 1),
        one_head(dt_bias, 0),
        bool(dt_softplus),
        state_batch_indices,
    ).squeeze(1)


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
):
    """A Mamba block from its input projection to its output projection.

    xz: (batch, 2 * dim, length), both halves of the input projection; conv1d_weight: (dim, 1, width)
    x_proj_weight: (rank + 2 * states, dim); delta_proj_weight: (dim, rank)
    B and C are taken from x_proj unless given. Returns (batch, length, out).
    """
    rank = delta_proj_weight.shape[1]
    states = A.shape[-1]
    length = xz.shape[-1]
    x, z = xz.chunk(2, dim=1)
    x = causal_conv1d_fn(x, conv1d_weight.squeeze(1), conv1d_bias, activation="silu")
    batch = x.shape[0]
    projected = F.linear(x.transpose(1, 2).reshape(batch * length, -1), x_proj_weight)
    delta = (delta_proj_weight @ projected[:, :rank].t()).unflatten(1, (batch, length))
    delta = delta.transpose(0, 1)

    def factor(given, values, bias):
        if given is not None:
            return given
        if bias is not None:
            values = values + bias.to(values.dtype)
        return values.unflatten(0, (batch, length)).transpose(1, 2).contiguous()

    B = factor(B, projected[:, rank : rank + states], B_proj_bias)
    C = factor(C, projected[:, -states:], C_proj_bias)
    out = selective_scan_fn(x, delta, A, B, C, D, z, delta_bias, delta_softplus)
    return F.linear(out.transpose(1, 2), out_proj_weight, out_proj_bias)
