"""Double-precision references in plain torch: what the packages' fused paths must give.

Written from the published formulas (Gu and Dao 2023; Dao and Gu 2024) and from the argument lists
of the packages, with loops over time and no code of theirs. Everything is computed in the dtype of
the inputs; callers pass float64 copies and let autograd give the gradients. Imports torch only.
"""

import torch
import torch.nn.functional as F


def causal_conv1d(x, weight, bias=None, activation=None, initial_states=None, seq_idx=None):
    """x (batch, dim, length), weight (dim, width), initial_states (batch, dim, width - 1)."""
    if activation not in (None, "silu", "swish"):
        raise ValueError(f"activation is {activation!r}, expected None, 'silu' or 'swish'")
    batch, dim, length = x.shape
    width = weight.shape[1]
    before = x.new_zeros(batch, dim, width - 1) if initial_states is None else initial_states
    line = torch.cat([before, x], dim=-1)
    out = x.new_zeros(batch, dim, length)
    for tap in range(width):
        term = line[:, :, tap : tap + length] * weight[None, :, tap, None]
        back = width - 1 - tap
        if seq_idx is not None and back > 0:
            same = torch.zeros(batch, length, dtype=torch.bool, device=x.device)
            same[:, back:] = seq_idx[:, back:] == seq_idx[:, :-back]
            term = term * same[:, None, :]
        out = out + term
    if bias is not None:
        out = out + bias[None, :, None]
    return out if activation is None else out * torch.sigmoid(out)


def causal_conv1d_update(x, conv_state, weight, bias=None, activation=None):
    """One step: x (batch, dim); conv_state (batch, dim, width), returned shifted by one."""
    state = torch.cat([conv_state[:, :, 1:], x[:, :, None]], dim=-1)
    out = (state[:, :, -weight.shape[1] :] * weight[None]).sum(-1)
    if bias is not None:
        out = out + bias
    return (out if activation is None else out * torch.sigmoid(out)), state


def _heads(matrix, dim):
    """B or C as (batch, dim, state, length), from (dim, state), (b, state, l), (b, g, state, l)."""
    if matrix.dim() == 2:
        return matrix[None, :, :, None]
    if matrix.dim() == 3:
        return matrix[:, None]
    return matrix.repeat_interleave(dim // matrix.shape[1], dim=1)


def selective_scan(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
    """u, delta, z (batch, dim, length); A (dim, state). Returns (out, last_state)."""
    batch, dim, length = u.shape
    if delta_bias is not None:
        delta = delta + delta_bias[None, :, None]
    if delta_softplus:
        delta = torch.where(delta > 20, delta, torch.log1p(torch.exp(delta.clamp(max=20))))
    B, C = _heads(B, dim), _heads(C, dim)
    state = u.new_zeros(batch, dim, A.shape[1])
    steps = []
    for step in range(length):
        b = B[..., step if B.shape[-1] > 1 else 0]
        c = C[..., step if C.shape[-1] > 1 else 0]
        size = delta[:, :, step, None]
        state = torch.exp(size * A[None]) * state + size * b * u[:, :, step, None]
        steps.append((state * c).sum(-1))
    out = torch.stack(steps, dim=-1)
    if D is not None:
        out = out + D[None, :, None] * u
    if z is not None:
        out = out * z * torch.sigmoid(z)
    return out, state


def mamba_inner(xz, conv_weight, conv_bias, x_proj_weight, dt_proj_weight, out_proj_weight,
                out_proj_bias, A, D, delta_bias, delta_softplus=True):
    """The fused path of Mamba: xz (batch, 2 dim, length), conv_weight (dim, 1, width)."""
    x, z = xz.chunk(2, dim=1)
    x = causal_conv1d(x, conv_weight[:, 0], conv_bias, "silu")
    rank, states = dt_proj_weight.shape[1], A.shape[1]
    projected = torch.einsum("bdl,rd->brl", x, x_proj_weight)
    delta = torch.einsum("brl,dr->bdl", projected[:, :rank], dt_proj_weight)
    B, C = projected[:, rank : rank + states], projected[:, rank + states :]
    y, _ = selective_scan(x, delta, A, B, C, D, z, delta_bias, delta_softplus)
    return F.linear(y.transpose(1, 2), out_proj_weight, out_proj_bias)


def mamba(weights, hidden):
    """A Mamba module: its named parameters, and hidden (batch, length, d_model)."""
    xz = F.linear(hidden, weights["in_proj.weight"], weights.get("in_proj.bias"))
    return mamba_inner(
        xz.transpose(1, 2), weights["conv1d.weight"], weights.get("conv1d.bias"),
        weights["x_proj.weight"], weights["dt_proj.weight"], weights["out_proj.weight"],
        weights.get("out_proj.bias"), -torch.exp(weights["A_log"]), weights["D"],
        weights["dt_proj.bias"])


def state_space_dual(x, dt, A, B, C, D=None, z=None, dt_bias=None):
    """Mamba-2's scan, step by step, with softplus and one decay a head.

    x, z (batch, length, heads, p); dt (batch, length, heads); A (heads,);
    B, C (batch, length, groups, n); D (heads,) or (heads, p).
    """
    batch, length, heads, size = x.shape
    dt = dt if dt_bias is None else dt + dt_bias
    dt = torch.where(dt > 20, dt, torch.log1p(torch.exp(dt.clamp(max=20))))
    B = B.repeat_interleave(heads // B.shape[2], dim=2)
    C = C.repeat_interleave(heads // C.shape[2], dim=2)
    state = x.new_zeros(batch, heads, size, B.shape[-1])
    steps = []
    for step in range(length):
        decay = torch.exp(dt[:, step] * A)[:, :, None, None]
        added = dt[:, step, :, None, None] * x[:, step, :, :, None] * B[:, step, :, None, :]
        state = decay * state + added
        steps.append((state * C[:, step, :, None, :]).sum(-1))
    out = torch.stack(steps, dim=1)
    if D is not None:
        out = out + x * (D[None, None, :, None] if D.dim() == 1 else D[None, None])
    return out if z is None else out * z * torch.sigmoid(z)


def gated_rms_norm(x, weight, z, eps, group_size, norm_before_gate):
    gate = z * torch.sigmoid(z)
    if not norm_before_gate:
        x = x * gate
    groups = x.unflatten(-1, (-1, group_size))
    normed = groups / torch.sqrt(groups.square().mean(-1, keepdim=True) + eps)
    out = normed.flatten(-2) * weight
    return out * gate if norm_before_gate else out


def mamba2_inner(zxbcdt, conv_weight, conv_bias, dt_bias, A, D, head_size, groups=1,
                 norm_weight=None, norm_eps=1e-6, norm_before_gate=True, out_proj_weight=None,
                 out_proj_bias=None):
    """The fused path of Mamba2: zxbcdt (batch, length, 2 dim + 2 groups n + heads)."""
    heads = A.shape[0]
    dim = heads * head_size
    shared = (conv_weight.shape[0] - dim) // 2  # groups * n
    z, xbc, dt = torch.split(zxbcdt, [dim, dim + 2 * shared, heads], dim=-1)
    xbc = causal_conv1d(xbc.transpose(1, 2), conv_weight, conv_bias, "silu").transpose(1, 2)
    x, B, C = torch.split(xbc, [dim, shared, shared], dim=-1)
    split = lambda tensor, count: tensor.unflatten(-1, (count, -1))
    y = state_space_dual(split(x, heads), dt, A, split(B, groups), split(C, groups), D,
                         split(z, heads) if norm_weight is None else None, dt_bias).flatten(-2)
    if norm_weight is not None:
        y = gated_rms_norm(y, norm_weight, z, norm_eps, dim // groups, norm_before_gate)
    return y if out_proj_weight is None else F.linear(y, out_proj_weight, out_proj_bias)


def mamba2(weights, hidden, head_size, groups=1, norm_eps=1e-5, norm_before_gate=False):
    """A Mamba2 module with its norm: its named parameters, and hidden (batch, length, d_model)."""
    zxbcdt = F.linear(hidden, weights["in_proj.weight"], weights.get("in_proj.bias"))
    return mamba2_inner(
        zxbcdt, weights["conv1d.weight"][:, 0], weights.get("conv1d.bias"), weights["dt_bias"],
        -torch.exp(weights["A_log"]), weights["D"], head_size, groups,
        weights.get("norm.weight"), norm_eps, norm_before_gate, weights["out_proj.weight"],
        weights.get("out_proj.bias"))


def worst(found, expected):
    """(largest error relative to the largest expected value, index of the worst element).

    A NaN or an infinity counts as an infinite error.
    """
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    if found.shape != expected.shape:
        return float("inf"), None
    error = (found - expected).abs()
    error = torch.where(torch.isfinite(found), error, torch.full_like(error, float("inf")))
    if error.numel() == 0:
        return 0.0, None
    largest = error.max()
    index = [int(part) for part in torch.nonzero(error == largest)[0]]
    return float(largest) / (float(expected.abs().max()) or 1.0), index
