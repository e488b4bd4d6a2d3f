"""Stand-ins for the native modules, in plain Python on the CPU: strict about the number and the kind
of their arguments, as pybind11 is, and correct in double precision."""
import sys
import types

import torch
import torch.nn.functional as F

# Contract letter -> parameters of fwd, bwd, update (the table of call contracts).
ARITY = {"A": (4, 6, 5), "B": (5, 7, 5), "C": (7, 10, 5), "D": (7, 10, 6), "E": (7, 10, 7),
         "F": (8, 12, 8)}


def _taps(x, weight, seq_idx, initial_states):
    """For every tap: its input (batch, dim, length) and the mask of the steps it may reach."""
    width, length = weight.shape[-1], x.shape[-1]
    before = initial_states if initial_states is not None else x.new_zeros(
        x.shape[0], x.shape[1], width - 1)
    padded = torch.cat([before, x], dim=-1)
    for tap in range(width):
        mask = None
        if seq_idx is not None:
            back = width - 1 - tap
            mask = torch.zeros(seq_idx.shape, dtype=torch.bool)
            mask[:, back:] = seq_idx[:, back:] == seq_idx[:, :length - back]
            mask = mask[:, None, :]
        yield tap, padded[..., tap:tap + length], mask


def conv_formula(x, weight, bias, seq_idx, initial_states, silu):
    """x (batch, dim, length), weight (dim, width); a tap never reaches into another sequence."""
    out = x.new_zeros(x.shape)
    for tap, part, mask in _taps(x, weight, seq_idx, initial_states):
        out = out + (part if mask is None else part * mask) * weight[:, tap, None]
    if bias is not None:
        out = out + bias[:, None]
    return F.silu(out) if silu else out


def _check(name, args, count, flags, optional):
    if len(args) != count:
        raise TypeError(f"{name}(): incompatible function arguments: {len(args)} given, "
                        f"{count} expected")
    for position, value in enumerate(args):
        if position in flags:
            good = isinstance(value, bool)
        else:
            good = isinstance(value, torch.Tensor) or (value is None and position in optional)
        if not good:
            raise TypeError(f"{name}(): argument {position} is {type(value).__name__}")


def _gradients(x, weight, bias, dout, seq_idx, initial_states, dfinal_states, silu):
    """Written out, for autograd does not run inside a custom operator of causal-conv1d; the test of
    this file compares it with autograd."""
    assert dfinal_states is None
    width = weight.shape[-1]
    if silu:
        before = conv_formula(x, weight, bias, seq_idx, initial_states, False)
        sigmoid = torch.sigmoid(before)
        dout = dout * sigmoid * (1 + before * (1 - sigmoid))
    dpadded = x.new_zeros(x.shape[0], x.shape[1], x.shape[2] + width - 1)
    dweight = torch.zeros_like(weight)
    for tap, part, mask in _taps(x, weight, seq_idx, initial_states):
        reached = dout if mask is None else dout * mask
        dpadded[..., tap:tap + x.shape[2]] += reached * weight[:, tap, None]
        dweight[:, tap] = (reached * part).sum((0, 2))
    dbias = None if bias is None else dout.sum((0, 2))
    dstates = None if initial_states is None else dpadded[..., :width - 1]
    return dpadded[..., width - 1:], dweight, dbias, dstates


def make_conv_module(letter):
    fwd_count, bwd_count, update_count = ARITY[letter]
    module = types.ModuleType("causal_conv1d_cuda")

    def causal_conv1d_fwd(*args):
        _check("causal_conv1d_fwd", args, fwd_count, {fwd_count - 1},
               {2} | set(range(3, fwd_count - 1)) - ({5} if letter == "F" else set()))
        x, weight, bias = args[:3]
        seq_idx = args[3] if letter != "A" else None
        initial_states = args[4] if letter in "CDEF" else None
        out = conv_formula(x, weight, bias, seq_idx, initial_states, args[-1])
        if letter != "F":
            return out
        args[5].copy_(out)
        return None

    def causal_conv1d_bwd(*args):
        x, weight, bias, dout = args[:4] if len(args) >= 4 else (None,) * 4
        flags = {bwd_count - 1} | ({8} if letter in "CDE" else set())
        # F: dx, dweight, dbias, dinitial_states are the caller's; elsewhere dx may be None.
        optional = {2} | set(range(4, bwd_count - 1)) - ({7, 8} if letter == "F" else set())
        _check("causal_conv1d_bwd", args, bwd_count, flags, optional)
        if letter == "A":
            seq_idx, states, dfinal, dx = None, None, None, args[4]
        elif letter == "B":
            seq_idx, states, dfinal, dx = args[4], None, None, args[5]
        else:
            seq_idx, states, dfinal, dx = args[4:8]
        gx, gweight, gbias, gstates = _gradients(x, weight, bias, dout, seq_idx, states, dfinal,
                                                 args[-1])
        if dx is None:
            dx = torch.empty_like(x)
        dx.copy_(gx)
        if letter == "F":
            args[8].copy_(gweight)
            if args[9] is not None:
                args[9].copy_(gbias)
            if args[10] is not None:
                args[10].copy_(gstates)
            return None
        gbias = gbias if bias is not None else torch.empty(0)
        return [dx, gweight, gbias] if letter in "AB" else [dx, gweight, gbias, gstates]

    def causal_conv1d_update(*args):
        flag = 5 if letter == "F" else 4
        _check("causal_conv1d_update", args, update_count, {flag}, {3} | set(range(flag + 1, 8)))
        x, state, weight, bias = args[:4]
        lens, at = (*args[flag + 1:], None, None)[:2]
        assert lens is None or not lens.any(), "a circular buffer is not in this stand-in"
        rows = torch.arange(x.shape[0]) if at is None else at.long()
        state[rows] = torch.cat([state[rows][..., 1:], x[..., None]], dim=-1)
        out = conv_formula(state[rows], weight, bias, None, None, args[flag])[..., -1]
        if letter != "F":
            return out
        args[4].copy_(out)
        return None

    module.causal_conv1d_update = causal_conv1d_update
    module.causal_conv1d_fwd = causal_conv1d_fwd
    module.causal_conv1d_bwd = causal_conv1d_bwd
    return module


def scan_formula(u, delta, A, B, C, D, z, delta_bias, softplus):
    """u (b, d, l), B and C (b, 1, n, l), A (d, n); gives the ungated and the gated result."""
    if delta_bias is not None:
        delta = delta + delta_bias[..., None]
    if softplus:
        delta = F.softplus(delta)
    state = u.new_zeros(u.shape[0], u.shape[1], A.shape[1])
    steps = []
    for t in range(u.shape[-1]):
        decay = torch.exp(delta[:, :, t, None] * A)
        state = decay * state + (delta[:, :, t] * u[:, :, t])[..., None] * B[:, 0, None, :, t]
        steps.append((state * C[:, 0, None, :, t]).sum(-1))
    out = torch.stack(steps, dim=-1)
    if D is not None:
        out = out + u * D[:, None]
    return out, (out * F.silu(z) if z is not None else out), state


def make_scan_module():
    module = types.ModuleType("selective_scan_cuda")

    def fwd(*args):
        if len(args) != 9:
            raise TypeError("fwd(): incompatible function arguments")
        out, gated, state = scan_formula(*args)
        x = torch.stack([torch.ones_like(state), state], dim=-1).flatten(-2)[:, :, None]
        return [out, x] + ([gated] if args[6] is not None else [])

    def bwd(*args):
        if len(args) != 14:
            raise TypeError("bwd(): incompatible function arguments")
        u, delta, A, B, C, D, z, delta_bias, dout, _, _, dz, softplus, recompute = args
        inputs = [t.detach().requires_grad_() if t is not None else None
                  for t in (u, delta, A, B, C, D, z, delta_bias)]
        with torch.enable_grad():
            _, gated, _ = scan_formula(*inputs, softplus)
        present = [t for t in inputs if t is not None]
        found = iter(torch.autograd.grad(gated, present, dout.detach()))
        grads = [next(found) if t is not None else None for t in inputs]
        du, ddelta, dA, dB, dC, dD, gz, dbias = grads
        result = [du, ddelta, dA, dB, dC, dD, dbias]
        if z is not None:
            if dz is None:
                dz = torch.empty_like(z)
            dz.copy_(gz)
            result += [dz] + ([gated.detach()] if recompute else [])
        return result

    module.fwd, module.bwd = fwd, bwd
    return module


def make_triton():
    """Enough of Triton for its decorators and annotations at import; nothing can be launched."""
    triton = types.ModuleType("triton")
    language = types.ModuleType("triton.language")
    language.constexpr = int

    def function_of(name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None

    language.__getattr__ = triton.__getattr__ = function_of
    libdevice = types.ModuleType("triton.language.extra.libdevice")

    def decorator(*args, **kwargs):
        if len(args) == 1 and callable(args[0]) and not kwargs:
            return args[0]
        return lambda function: function

    triton.jit = decorator
    triton.heuristics = lambda *args, **kwargs: (lambda function: function)

    def autotune(configs, *args, **kwargs):
        def keep(function):
            function.configs = configs
            return function
        return keep

    triton.autotune = autotune
    triton.Config = lambda values, num_warps=4, **kwargs: types.SimpleNamespace(
        kwargs=values, num_warps=num_warps)
    triton.cdiv = lambda a, b: (a + b - 1) // b
    triton.next_power_of_2 = lambda n: 1 << (n - 1).bit_length()
    triton.__version__ = "3.0.0"
    triton.language = language
    return {"triton": triton, "triton.language": language,
            "triton.language.extra": types.ModuleType("triton.language.extra"),
            "triton.language.extra.libdevice": libdevice}


def make_transformers(removed_names):
    """The names that mamba_ssm takes from transformers and huggingface_hub."""
    modules = {}
    for name in ("transformers", "transformers.generation", "transformers.utils",
                 "transformers.utils.hub", "huggingface_hub"):
        modules[name] = types.ModuleType(name)
    generation = modules["transformers.generation"]
    for name in ("GenerateDecoderOnlyOutput", "TextStreamer"):
        setattr(generation, name, type(name, (), {}))
    if not removed_names:
        generation.GreedySearchDecoderOnlyOutput = type("GreedySearchDecoderOnlyOutput", (), {})
        generation.SampleDecoderOnlyOutput = type("SampleDecoderOnlyOutput", (), {})
    modules["transformers.utils"].WEIGHTS_NAME = "pytorch_model.bin"
    modules["transformers.utils"].CONFIG_NAME = "config.json"
    modules["transformers.utils.hub"].cached_file = lambda *args, **kwargs: None
    modules["huggingface_hub"].PyTorchModelHubMixin = type("PyTorchModelHubMixin", (), {})
    return modules


def install(letter, with_triton=True, removed_names=False, with_conv=True):
    if with_conv:
        sys.modules["causal_conv1d_cuda"] = make_conv_module(letter)
    sys.modules["selective_scan_cuda"] = make_scan_module()
    sys.modules.update(make_transformers(removed_names))
    if with_triton:
        sys.modules.update(make_triton())
    else:
        sys.modules["triton"] = None  # an import of it raises ModuleNotFoundError
