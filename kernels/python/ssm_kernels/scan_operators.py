"""The scan as operators of the namespace ssm_kernels, for torch.compile: functional (the decode
step's state excepted), with shapes given by fake functions and the gradient registered, so that a
model is traced through them without a break (torch >= 2.4; older ones break the graph at the C call).

What is absent is an empty tensor in the results, because an operator returns tensors only.
"""

import torch

import selective_scan_cuda as _native

_CHUNK = 2048  # steps between two saved states


def unit_stride(tensor):
    """As the module takes it: unit stride along the last dimension."""
    if tensor is None or tensor.stride(-1) == 1:
        return tensor
    return tensor.contiguous()


def _fwd(u, delta, A, B, C, D, z, delta_bias, delta_softplus):
    out, x, *gated = _native.fwd(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
    return out, x, gated[0] if gated else u.new_empty(0)


def _like_delta(u, delta):
    """A result for every channel, laid out as delta where each channel has its own."""
    return torch.empty_like(delta) if delta.shape == u.shape else u.new_empty(u.shape)


def _fwd_fake(u, delta, A, B, C, D, z, delta_bias, delta_softplus):
    chunks = (u.shape[2] + _CHUNK - 1) // _CHUNK
    x = A.new_empty((u.shape[0], u.shape[1], chunks, 2 * A.shape[1]))
    out_z = u.new_empty(0) if z is None else torch.empty_like(z)
    return _like_delta(u, delta), x, out_z


def _bwd(u, delta, A, B, C, D, z, delta_bias, dout, x, out, delta_softplus):
    dout = unit_stride(dout)
    du, ddelta, dA, dB, dC, dD, ddelta_bias, *dz = _native.bwd(
        u, delta, A, B, C, D, z, delta_bias, dout, x, out, None, delta_softplus, False
    )
    found = [du, ddelta, dA, dB, dC, dD, ddelta_bias, dz[0] if dz else None]
    return tuple(u.new_empty(0) if gradient is None else gradient for gradient in found)


def _bwd_fake(u, delta, A, B, C, D, z, delta_bias, dout, x, out, delta_softplus):
    def dense(tensor):
        return u.new_empty(0) if tensor is None else tensor.new_empty(tensor.shape)

    return (
        torch.empty_like(u),
        torch.empty_like(delta) if delta.shape == u.shape else dense(delta),
        dense(A),
        dense(B),
        dense(C),
        dense(D),
        dense(delta_bias),
        u.new_empty(0) if z is None else torch.empty_like(z),
    )


def _update_fake(state, x, dt, A, B, C, D, z, dt_bias, dt_softplus, state_indices):
    return x.new_empty(x.shape)


def _setup_context(ctx, inputs, output):
    u, delta, A, B, C, D, z, delta_bias, ctx.delta_softplus = inputs
    out, x, _ = output
    ctx.save_for_backward(
        u, delta, A, B, C, D, z, delta_bias, x, None if z is None else out
    )


def _autograd(ctx, dout, _, dout_z):
    *inputs, x, out = ctx.saved_tensors
    D, z, delta_bias = inputs[5:]
    du, ddelta, dA, dB, dC, dD, ddelta_bias, dz = torch.ops.ssm_kernels.selective_scan_bwd(
        *inputs, dout if z is None else dout_z, x, out, ctx.delta_softplus
    )
    return (
        du,
        ddelta,
        dA,
        dB,
        dC,
        None if D is None else dD,
        None if z is None else dz,
        None if delta_bias is None else ddelta_bias,
        None,
    )


_INPUTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z,"
    " Tensor? delta_bias"
)
_SCHEMAS = {
    "selective_scan_fwd": f"({_INPUTS}, bool delta_softplus) -> (Tensor, Tensor, Tensor)",
    "selective_scan_bwd": f"({_INPUTS}, Tensor dout, Tensor x, Tensor? out, bool delta_softplus) ->"
    " (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    "selective_state_update": "(Tensor(a!) state, Tensor x, Tensor dt, Tensor A, Tensor B,"
    " Tensor C, Tensor? D, Tensor? z, Tensor? dt_bias, bool dt_softplus, Tensor? state_indices)"
    " -> Tensor",
}
_FUNCTIONS = {
    "selective_scan_fwd": (_fwd, _fwd_fake),
    "selective_scan_bwd": (_bwd, _bwd_fake),
    "selective_state_update": (_native.state_update, _update_fake),
}


def _register(library):
    # The results' strides follow the inputs', so these must arrive with those that were traced.
    exact = getattr(torch.Tag, "needs_exact_strides", torch.Tag.needs_fixed_stride_order)
    for name, (function, fake) in _FUNCTIONS.items():
        library.define(name + _SCHEMAS[name], tags=(exact,))
        library.impl(name, function, "CUDA")
        torch.library.register_fake(f"ssm_kernels::{name}", fake)
    torch.library.register_autograd(
        "ssm_kernels::selective_scan_fwd", _autograd, setup_context=_setup_context
    )


if hasattr(torch.library, "register_fake"):
    _library = torch.library.Library("ssm_kernels", "FRAGMENT")
    _register(_library)
    is_compiling = torch.compiler.is_compiling
else:

    def is_compiling():  # without fakes the operators cannot be traced
        return False


def scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus):
    """(out, last state) through the operator."""
    out, x, out_z = torch.ops.ssm_kernels.selective_scan_fwd(
        u, delta, A, B, C, D, z, delta_bias, delta_softplus
    )
    return out if z is None else out_z, x[:, :, -1, 1::2].detach()


def state_update(state, x, dt, A, B, C, D, z, dt_bias, dt_softplus, state_indices):
    return torch.ops.ssm_kernels.selective_state_update(
        state, x, dt, A, B, C, D, z, dt_bias, dt_softplus, state_indices
    )
