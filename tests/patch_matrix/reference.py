"""Plain float64 references of what the patched files compute, from their definitions, and CPU
stand-ins for the Triton functions that ssd_combined.py calls around the convolution."""
import torch
import torch.nn.functional as F

from standins import conv_formula, scan_formula


def mamba_inner(xz, conv_weight, conv_bias, x_proj, delta_proj, out_proj, A, D, delta_bias):
    """xz (b, 2d, l); the whole Mamba mixer after its input projection."""
    x, z = xz.chunk(2, dim=1)
    x = conv_formula(x, conv_weight.squeeze(1), conv_bias, None, None, True)
    rank, states = delta_proj.shape[1], A.shape[1]
    projected = torch.einsum("bdl,ed->bel", x, x_proj)
    delta = torch.einsum("brl,dr->bdl", projected[:, :rank], delta_proj)
    B = projected[:, None, rank:rank + states]
    C = projected[:, None, -states:]
    _, gated, _ = scan_formula(x, delta, A, B, C, D, z, delta_bias, True)
    return torch.einsum("bdl,ed->ble", gated, out_proj)


def ssd(x, dt, A, B, C, D, z, dt_bias, seq_idx, dt_limit):
    """x (b, l, h, p), dt (b, l, h), B and C (b, l, g, n), D (h) or (h, p); ungated and gated."""
    if dt_bias is not None:
        dt = dt + dt_bias
    dt = F.softplus(dt).clamp(*dt_limit)
    heads, groups = x.shape[2], B.shape[2]
    B = B.repeat_interleave(heads // groups, dim=2)
    C = C.repeat_interleave(heads // groups, dim=2)
    state = x.new_zeros(x.shape[0], heads, x.shape[3], B.shape[3])
    steps = []
    for t in range(x.shape[1]):
        if seq_idx is not None and t > 0:
            state = state * (seq_idx[:, t] == seq_idx[:, t - 1])[:, None, None, None]
        decay = torch.exp(dt[:, t] * A)[:, :, None, None]
        state = decay * state + (dt[:, t, :, None] * x[:, t])[..., None] * B[:, t, :, None, :]
        steps.append((state * C[:, t, :, None, :]).sum(-1))
    out = torch.stack(steps, dim=1)
    if D is not None:
        out = out + x * (D[:, None] if D.dim() == 1 else D)
    return out, (out * F.silu(z) if z is not None else out), state


def mamba2_combined(zxbcdt, conv_weight, conv_bias, dt_bias, A, D, heads, head_dim, groups,
                    seq_idx, activation, norm_weight, eps, out_proj):
    dim = heads * head_dim
    states = (conv_weight.shape[0] - dim) // groups // 2
    z, xBC, dt = torch.split(zxbcdt, [dim, dim + 2 * groups * states, heads], dim=-1)
    xBC = conv_formula(xBC.transpose(1, 2), conv_weight, conv_bias, seq_idx, None,
                       activation in ("silu", "swish")).transpose(1, 2)
    x, B, C = torch.split(xBC, [dim, groups * states, groups * states], dim=-1)
    shape = x.shape[:2]
    x = x.reshape(*shape, heads, head_dim)
    B, C = B.reshape(*shape, groups, states), C.reshape(*shape, groups, states)
    gate = None if norm_weight is not None else z.reshape(*shape, heads, head_dim)
    _, y, _ = ssd(x, dt, A, B, C, D, gate, dt_bias, seq_idx, (0.0, float("inf")))
    y = y.reshape(*shape, dim)
    if norm_weight is not None:
        y = gated_norm(y, z, norm_weight, eps, dim // groups)
    return y @ out_proj.t() if out_proj is not None else y


def gated_norm(y, z, weight, eps, group_size):
    y = y * F.silu(z)
    grouped = y.unflatten(-1, (-1, group_size))
    grouped = grouped * torch.rsqrt(grouped.square().mean(-1, keepdim=True) + eps)
    return grouped.flatten(-2) * weight


def _grads(function, inputs, dout):
    held = [t.detach().requires_grad_() if t is not None else None for t in inputs]
    with torch.enable_grad():
        out = function(*held)
    present = [t for t in held if t is not None]
    found = iter(torch.autograd.grad(out, present, dout.detach()))
    return out.detach(), [next(found) if t is not None else None for t in held]


def _into(given, value):
    if given is None:
        return value.clone()
    given.copy_(value)
    return given


def replace_triton_functions(module):
    """Puts CPU functions in the place of the Triton ones of ssd_combined.py, which fill the views
    they are given as the real ones do."""

    def chunk_fwd(x, dt, A, B, C, chunk_size, D=None, z=None, dt_bias=None, initial_states=None,
                  seq_idx=None, dt_softplus=False, dt_limit=(0.0, float("inf")), **_):
        assert dt_softplus and initial_states is None
        out, gated, state = ssd(x, dt, A, B, C, D, z, dt_bias, seq_idx, dt_limit)
        return gated, out, dt, None, None, state

    def chunk_bwd(dout, x, dt, A, B, C, out, chunk_size, D=None, z=None, dt_bias=None,
                  initial_states=None, dfinal_states=None, seq_idx=None, dt_softplus=False,
                  dt_limit=(0.0, float("inf")), dx=None, ddt=None, dB=None, dC=None, dz=None,
                  recompute_output=False):
        def formula(x, dt, A, B, C, D, z, dt_bias):
            return ssd(x, dt, A, B, C, D, z, dt_bias, seq_idx, dt_limit)[1]

        gated, grads = _grads(formula, (x, dt, A, B, C, D, z, dt_bias), dout)
        gx, gdt, gA, gB, gC, gD, gz, gbias = grads
        result = (_into(dx, gx), _into(ddt, gdt), gA, _into(dB, gB), _into(dC, gC), gD,
                  _into(dz, gz) if z is not None else None, gbias, None)
        return result + ((gated,) if recompute_output else ())

    def norm_fwd(x, weight, bias, eps, z=None, out=None, group_size=None, norm_before_gate=True,
                 is_rms_norm=False):
        assert is_rms_norm and not norm_before_gate and bias is None
        return _into(out, gated_norm(x, z, weight, eps, group_size or x.shape[-1])), None, x.new_ones(x.shape[0])

    def norm_bwd(dy, x, weight, bias, eps, mean, rstd, z=None, group_size=None,
                 norm_before_gate=True, is_rms_norm=False, recompute_output=False, dz=None,
                 out=None):
        def formula(x, z, weight):
            return gated_norm(x, z, weight, eps, group_size or x.shape[-1])

        value, (gx, gz, gweight) = _grads(formula, (x, z, weight), dy)
        rest = (_into(out, value),) if recompute_output else ()
        return (gx, gweight, None, _into(dz, gz)) + rest

    module._mamba_chunk_scan_combined_fwd = chunk_fwd
    module._mamba_chunk_scan_combined_bwd = chunk_bwd
    module._layer_norm_fwd = norm_fwd
    module._layer_norm_bwd = norm_bwd
