"""causal_conv1d_fn and causal_conv1d_update with autograd and torch.compile.

An eager call goes straight to the C module; autograd.Function is entered only where a gradient is
wanted. Under torch.compile the call becomes an operator of the namespace ssm_kernels, which Inductor
keeps whole (torch >= 2.4; older ones break the graph at the C call, which is right but slower).
"""

import torch

import causal_conv1d_cuda as _native

_ACTIVATIONS = (None, "silu", "swish")


def _check_activation(activation):
    if activation not in _ACTIVATIONS:
        raise NotImplementedError(
            f"activation is {activation!r}, expected None, 'silu' or 'swish'"
        )
    return activation is not None


def _new_states(x, weight):
    batch, dim = x.shape[:2]
    states = torch.empty(
        batch, weight.shape[1] - 1, dim, device=x.device, dtype=x.dtype
    )
    return states.transpose(1, 2)


class _CausalConv1d(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, seq_idx, initial_states, final_states, wanted, silu):
        if wanted and final_states is None:
            final_states = _new_states(x, weight)
        out = _native.causal_conv1d_fwd(
            x, weight, bias, seq_idx, initial_states, final_states, silu
        )
        ctx.save_for_backward(x, weight, bias, seq_idx, initial_states)
        ctx.silu = silu
        return out if final_states is None else (out, final_states)

    @staticmethod
    def backward(ctx, dout, dfinal_states=None):
        x, weight, bias, seq_idx, initial_states = ctx.saved_tensors
        dx, dweight, dbias, dinitial = _native.causal_conv1d_bwd(
            x,
            weight,
            bias,
            dout,
            seq_idx,
            initial_states,
            dfinal_states,
            None,
            initial_states is not None and ctx.needs_input_grad[4],
            ctx.silu,
        )
        return dx, dweight, dbias, None, dinitial, None, None, None


def _plain_function(silu):
    """The same for a call without sequences and states: an argument or attribute fewer is time."""

    class _PlainCausalConv1d(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, bias):
            ctx.save_for_backward(x, weight, bias)
            return _native.causal_conv1d_fwd(x, weight, bias, silu)

        @staticmethod
        def backward(ctx, dout):
            x, weight, bias = ctx.saved_tensors
            dx, dweight, dbias, _ = _native.causal_conv1d_bwd(
                x, weight, bias, dout, None, None, None, None, False, silu
            )
            return dx, dweight, dbias

    return _PlainCausalConv1d


# What Function.apply ends in. Its own Python layer (default arguments, functorch's wrappers) takes
# longer than the call itself and has nothing to do here unless a functorch transform is active.
_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", None)
_plain = [getattr(super(torch.autograd.Function, _plain_function(silu)), "apply", None)
          for silu in (False, True)]
_apply_at_once = getattr(super(torch.autograd.Function, _CausalConv1d), "apply", None)
if _transforms_active is None or _apply_at_once is None:
    _transforms_active = lambda: True  # noqa: E731
_is_grad_enabled = torch.is_grad_enabled


def causal_conv1d_fn(
    x,
    weight,
    bias=None,
    seq_idx=None,
    initial_states=None,
    return_final_states=False,
    final_states_out=None,
    activation=None,
):
    """Causal depthwise convolution.

    x: (batch, dim, seqlen), any strides; weight: (dim, width), width 2 to 4; bias: (dim,)
    seq_idx: (batch, seqlen) int32; initial_states, final_states_out: (batch, dim, width - 1)
    Returns out as x, or (out, final_states) with return_final_states. The arithmetic is float32.
    """
    silu = activation is not None and _check_activation(activation)
    if _is_compiling():
        return _compiled_fn(
            x, weight, bias, seq_idx, initial_states, return_final_states, final_states_out, silu
        )
    final_states = final_states_out if return_final_states else None
    if _is_grad_enabled() and (
        x.requires_grad
        or weight.requires_grad
        or (bias is not None and bias.requires_grad)
        or (initial_states is not None and initial_states.requires_grad)
    ):
        if _transforms_active():
            apply = _CausalConv1d.apply
        elif seq_idx is None and initial_states is None and not return_final_states:
            return _plain[silu](x, weight, bias)
        else:
            apply = _apply_at_once
        return apply(
            x, weight, bias, seq_idx, initial_states, final_states, return_final_states, silu
        )
    if return_final_states and final_states is None:
        final_states = _new_states(x, weight)
    out = _native.causal_conv1d_fwd(
        x, weight, bias, seq_idx, initial_states, final_states, silu
    )
    return out if final_states is None else (out, final_states)


def causal_conv1d_update(
    x,
    conv_state,
    weight,
    bias=None,
    activation=None,
    cache_seqlens=None,
    conv_state_indices=None,
):
    """One or a few steps with a kept state, which is updated in place.

    x: (batch, dim) or (batch, dim, seqlen); conv_state: (batch or rows, dim, state_len >= width - 1)
    cache_seqlens: (batch,) int32, conv_state is then a circular buffer
    conv_state_indices: (batch,) int32, rows of conv_state; a negative one gives zeros
    Returns out as x.
    """
    silu = activation is not None and _check_activation(activation)
    function = _native.causal_conv1d_update
    if _is_compiling():
        function = _compiled_update
    return function(x, conv_state, weight, bias, silu, cache_seqlens, conv_state_indices)


if hasattr(torch, "compiler") and hasattr(torch.compiler, "is_compiling"):
    _is_compiling = torch.compiler.is_compiling
else:

    def _is_compiling():
        return False


# The operators of the compiled path: functional (the state of update excepted), so that Inductor
# needs no copies, with shapes given by the fake functions.
_library = torch.library.Library("ssm_kernels", "DEF")
_library.define(
    "causal_conv1d_fwd(Tensor x, Tensor weight, Tensor? bias, Tensor? seq_idx,"
    " Tensor? initial_states, bool return_final_states, bool silu) -> (Tensor, Tensor)"
)
_library.define(
    "causal_conv1d_bwd(Tensor x, Tensor weight, Tensor? bias, Tensor dout, Tensor? seq_idx,"
    " Tensor? initial_states, Tensor? dfinal_states, bool return_dinitial_states, bool silu)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
_library.define(
    "causal_conv1d_update(Tensor x, Tensor(a!) conv_state, Tensor weight, Tensor? bias, bool silu,"
    " Tensor? cache_seqlens, Tensor? conv_state_indices) -> Tensor"
)


def _fwd(x, weight, bias, seq_idx, initial_states, return_final_states, silu):
    final_states = _new_states(x, weight) if return_final_states else None
    out = _native.causal_conv1d_fwd(
        x, weight, bias, seq_idx, initial_states, final_states, silu
    )
    return out, x.new_empty(0) if final_states is None else final_states


def _fwd_fake(x, weight, bias, seq_idx, initial_states, return_final_states, silu):
    final_states = _new_states(x, weight) if return_final_states else x.new_empty(0)
    return torch.empty_like(x), final_states


def _bwd(
    x, weight, bias, dout, seq_idx, initial_states, dfinal_states, return_dinitial_states, silu
):
    dx, dweight, dbias, dinitial = _native.causal_conv1d_bwd(
        x,
        weight,
        bias,
        dout,
        seq_idx,
        initial_states,
        dfinal_states,
        None,
        return_dinitial_states,
        silu,
    )
    nothing = x.new_empty(0)
    return dx, dweight, nothing if dbias is None else dbias, nothing if dinitial is None else dinitial


def _bwd_fake(
    x, weight, bias, dout, seq_idx, initial_states, dfinal_states, return_dinitial_states, silu
):
    dbias = x.new_empty(0) if bias is None else torch.empty_like(bias)
    dinitial = _new_states(x, weight) if return_dinitial_states else x.new_empty(0)
    dweight = torch.empty(weight.shape, device=weight.device, dtype=weight.dtype)
    return torch.empty_like(x), dweight, dbias, dinitial


def _update_fake(x, conv_state, weight, bias, silu, cache_seqlens, conv_state_indices):
    return torch.empty_like(x)


def _setup_context(ctx, inputs, output):
    x, weight, bias, seq_idx, initial_states, return_final_states, silu = inputs
    ctx.save_for_backward(x, weight, bias, seq_idx, initial_states)
    ctx.return_final_states = return_final_states
    ctx.silu = silu


def _autograd(ctx, dout, dfinal_states):
    x, weight, bias, seq_idx, initial_states = ctx.saved_tensors
    wants_initial = initial_states is not None and ctx.needs_input_grad[4]
    dx, dweight, dbias, dinitial = torch.ops.ssm_kernels.causal_conv1d_bwd(
        x,
        weight,
        bias,
        dout,
        seq_idx,
        initial_states,
        dfinal_states if ctx.return_final_states else None,
        wants_initial,
        ctx.silu,
    )
    return (
        dx,
        dweight,
        None if bias is None else dbias,
        None,
        dinitial if wants_initial else None,
        None,
        None,
    )


_library.impl("causal_conv1d_fwd", _fwd, "CUDA")
_library.impl("causal_conv1d_bwd", _bwd, "CUDA")
_library.impl("causal_conv1d_update", _native.causal_conv1d_update, "CUDA")
if hasattr(torch.library, "register_fake"):
    torch.library.register_fake("ssm_kernels::causal_conv1d_fwd", _fwd_fake)
    torch.library.register_fake("ssm_kernels::causal_conv1d_bwd", _bwd_fake)
    torch.library.register_fake("ssm_kernels::causal_conv1d_update", _update_fake)
    torch.library.register_autograd(
        "ssm_kernels::causal_conv1d_fwd", _autograd, setup_context=_setup_context
    )
else:

    def _is_compiling():  # noqa: F811 - without fakes the operators cannot be traced
        return False


def _compiled_fn(
    x, weight, bias, seq_idx, initial_states, return_final_states, final_states_out, silu
):
    out, final_states = torch.ops.ssm_kernels.causal_conv1d_fwd(
        x, weight, bias, seq_idx, initial_states, return_final_states, silu
    )
    if not return_final_states:
        return out
    if final_states_out is not None:
        final_states = final_states_out.copy_(final_states)
    return out, final_states


def _compiled_update(x, conv_state, weight, bias, silu, cache_seqlens, conv_state_indices):
    return torch.ops.ssm_kernels.causal_conv1d_update(
        x, conv_state, weight, bias, silu, cache_seqlens, conv_state_indices
    )
