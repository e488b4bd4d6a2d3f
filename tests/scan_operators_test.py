"""ssm_kernels.selective_scan_fn, selective_state_update and mamba_inner_fn without a GPU: the eager
way and torch.compile through the operators, against plain torch in float64, values and gradients.

The native modules are stood in for by torch code that keeps their contracts, so what is tested is
the package's own: argument order, what is saved, which gradient goes where, shapes and strides that
the operators promise. Needs torch >= 2.4, its own or the test environment's; SKIP without.
"""

import os
import pathlib
import sys
import types

HERE = pathlib.Path(__file__).resolve().parent

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    torch = None

failures = []


def compose(u, delta, A, B, C, D, z, delta_bias, softplus):
    """(out, gated, states) of the scan, differentiable."""
    batch, dim, length = u.shape
    dt = delta if delta_bias is None else delta + delta_bias[:, None]
    if softplus:
        dt = F.softplus(dt)

    def at(factor, t):
        if factor.dim() == 2:
            return factor[None]
        if A.is_complex():
            factor = torch.complex(factor[..., 0::2], factor[..., 1::2])
        return factor[..., t].repeat_interleave(dim // factor.shape[1], 1)

    h = torch.zeros(batch, dim, A.shape[1], dtype=A.dtype)
    steps = []
    for t in range(length):
        h = torch.exp(dt[:, :, t, None] * A) * h + (dt * u)[:, :, t, None] * at(B, t)
        y = (h * at(C, t)).sum(-1)
        steps.append(2 * y.real if y.is_complex() else y)
    out = torch.stack(steps, 2)
    if D is not None:
        out = out + D[:, None] * u
    return out, out if z is None else out * F.silu(z), h


def scan_module():
    def check(*rows):
        for tensor in rows:
            assert tensor is None or tensor.stride(-1) == 1, "stride of the last dimension"

    def fwd(u, delta, A, B, C, D, z, delta_bias, softplus):
        check(u, delta, B, C, D, z, delta_bias)
        with torch.no_grad():
            out, gated, state = compose(u, delta, A, B, C, D, z, delta_bias, softplus)
            x = torch.zeros(*u.shape[:2], (u.shape[2] + 2047) // 2048, 2 * A.shape[1], dtype=A.dtype)
            x[:, :, -1, 1::2] = state
        return [torch.empty_like(delta).copy_(out), x] + (
            [] if z is None else [torch.empty_like(z).copy_(gated)]
        )

    def bwd(u, delta, A, B, C, D, z, delta_bias, dout, x, out, dz, softplus, recompute):
        check(u, delta, B, C, D, z, delta_bias, dout)
        assert x.shape[3] == 2 * A.shape[1] and dz is None and not recompute
        with torch.enable_grad():
            leaves = [
                None if tensor is None else tensor.detach().requires_grad_()
                for tensor in (u, delta, A, B, C, D, z, delta_bias)
            ]
            found, gated, _ = compose(*leaves, softplus)
            assert z is None or torch.allclose(found, out), "out as the forward pass left it"
            used = [leaf for leaf in leaves if leaf is not None]
            grads = iter(torch.autograd.grad(gated, used, dout))
        du, ddelta, dA, dB, dC, dD, dz, dbias = (
            None if leaf is None else next(grads).contiguous() for leaf in leaves
        )
        result = [torch.empty_like(u).copy_(du), torch.empty_like(delta).copy_(ddelta)]
        return result + [dA, dB, dC, dD, dbias] + (
            [] if z is None else [torch.empty_like(z).copy_(dz)]
        )

    def state_update(state, x, dt, A, B, C, D, z, dt_bias, softplus, rows):
        assert rows is None
        dt = dt if dt_bias is None else dt + dt_bias
        dt = F.softplus(dt) if softplus else dt
        if x.dim() == 2:
            spread = [f[:, None] for f in (B, C)]
        else:
            spread = [f.repeat_interleave(x.shape[1] // f.shape[1], 1)[:, :, None] for f in (B, C)]
        state.copy_(torch.exp(dt[..., None] * A) * state + (dt * x)[..., None] * spread[0])
        out = (state * spread[1]).sum(-1)
        out = out if D is None else out + D * x
        return (out if z is None else out * F.silu(z)).contiguous()

    module = types.ModuleType("selective_scan_cuda")
    module.fwd, module.bwd, module.state_update = fwd, bwd, state_update
    return module


def conv_module():
    def conv(x, weight, bias):
        padded = F.pad(x, (weight.shape[1] - 1, 0))
        return F.silu(F.conv1d(padded, weight[:, None], bias, groups=x.shape[1]))

    def fwd(x, weight, bias, *_):
        return torch.empty_like(x).copy_(conv(x, weight, bias))

    def bwd(x, weight, bias, dout, *_):
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_() for tensor in (x, weight, bias)]
            dx, dweight, dbias = torch.autograd.grad(conv(*leaves), leaves, dout)
        return [torch.empty_like(x).copy_(dx), dweight, dbias, None]

    module = types.ModuleType("causal_conv1d_cuda")
    module.causal_conv1d_fwd, module.causal_conv1d_bwd = fwd, bwd
    module.causal_conv1d_update = lambda *_: None
    return module


def same(name, found, wanted):
    if found.shape != wanted.shape or not (found - wanted).abs().max() <= 1e-9:
        failures.append(name)
        print(f"error: {name}: {tuple(found.shape)} against {tuple(wanted.shape)}"
              + (f", differs by {(found - wanted).abs().max():.2e}"
                 if found.shape == wanted.shape else ""))


def with_gradients(function, arguments, *rest):
    leaves = [None if a is None else a.detach().clone().requires_grad_() for a in arguments]
    found = function(*leaves, *rest)
    out, *others = found if isinstance(found, tuple) else (found,)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    (out * weight).sum().backward()
    return [out.detach()] + [o.detach() for o in others] + [
        leaf.grad for leaf in leaves if leaf is not None
    ]


def scan_inputs(is_complex=False, grouped=True, fixed=False, options=True, turned=False):
    def randn(*sizes, dtype=torch.float64):
        return torch.randn(*sizes, dtype=dtype)

    batch, dim, states, length = 2, 4, 3, 6
    dtype = torch.complex128 if is_complex else torch.float64
    A = -torch.rand(dim, states, dtype=torch.float64)
    if is_complex:
        A = torch.complex(A, randn(dim, states))
    steps = 2 * length if is_complex else length
    rows = (lambda: randn(batch, length, dim).transpose(1, 2)) if turned else (
        lambda: randn(batch, dim, length))
    B = randn(dim, states, dtype=dtype) if fixed else (
        randn(batch, 2, states, steps) if grouped else randn(batch, states, steps))
    C = randn(batch, 2, states, steps) if grouped else randn(batch, states, steps)
    optional = [randn(dim), rows(), randn(dim)] if options else [None, None, None]
    return [rows(), torch.rand(batch, dim, length, dtype=torch.float64), A, B, C, *optional]


def check_scan(package, compiled):
    def plain(u, delta, A, B, C, D, z, bias, softplus, _):
        B, C = (f.unsqueeze(1) if f.dim() == 3 else f for f in (B, C))
        _, gated, state = compose(u, delta, A, B, C, D, z, bias, softplus)
        return gated, state.detach()

    for name, options in (
        ("grouped", {}),
        ("one group", dict(grouped=False)),
        ("fixed B", dict(fixed=True)),
        ("no options", dict(options=False)),
        ("other strides", dict(turned=True)),
        ("complex", dict(is_complex=True)),
        ("complex fixed B", dict(is_complex=True, fixed=True, options=False)),
    ):
        torch.compiler.reset()
        arguments = scan_inputs(**options)
        wanted = with_gradients(plain, arguments, True, True)
        for way, function in (("eager", package.selective_scan_fn), ("compiled", compiled)):
            found = with_gradients(function, arguments, True, True)
            for index, (a, b) in enumerate(zip(found, wanted)):
                same(f"{way} {name} {index}", a, b)
            with torch.no_grad():
                same(f"{way} {name} without gradients", function(*arguments, True), wanted[0])


def check_update(package):
    compiled = torch.compile(package.selective_state_update, fullgraph=True, backend="aot_eager")
    for name, x_shape, factor in (("one head", (2, 4), (2, 3)), ("heads", (2, 4, 2), (2, 2, 3))):
        x, dt, z = (torch.randn(x_shape, dtype=torch.float64) for _ in range(3))
        state = torch.randn(*x_shape, 3, dtype=torch.float64)
        A = -torch.rand(*x_shape[1:], 3, dtype=torch.float64)
        B, C = torch.randn(factor, dtype=torch.float64), torch.randn(factor, dtype=torch.float64)
        D, bias = (torch.randn(x_shape[1:], dtype=torch.float64) for _ in range(2))
        step = F.softplus(dt + bias)
        wide = [f[:, None] if len(x_shape) == 2 else f.repeat_interleave(2, 1)[:, :, None]
                for f in (B, C)]
        wanted = torch.exp(step[..., None] * A) * state + (step * x)[..., None] * wide[0]
        out = ((wanted * wide[1]).sum(-1) + D * x) * F.silu(z)
        for way, function in (("eager", package.selective_state_update), ("compiled", compiled)):
            kept = state.clone()
            same(f"{way} update {name}", function(kept, x, dt, A, B, C, D, z, bias, True), out)
            same(f"{way} update state {name}", kept, wanted)


def check_inner(package):
    def plain(xz, conv_weight, conv_bias, x_proj, dt_proj, out_proj, A, D, bias, *norms):
        x, z = xz.chunk(2, 1)
        x = F.conv1d(F.pad(x, (3, 0)), conv_weight, conv_bias, groups=x.shape[1])
        x = F.silu(x)
        rank, states = dt_proj.shape[1], A.shape[1] * (2 if A.is_complex() else 1)
        projected = torch.einsum("bdl,pd->blp", x, x_proj)
        parts = [projected[..., :rank] @ dt_proj.t(), projected[..., rank : rank + states],
                 projected[..., rank + states :]]
        for i, norm in enumerate(norms):
            square = parts[i].square().mean(-1, keepdim=True)
            parts[i] = parts[i] / torch.sqrt(square + 1e-6) * norm
        delta, B, C = (part.transpose(1, 2) for part in parts)
        if A.is_complex():
            B, C = (f.unflatten(1, (-1, 2)).transpose(2, 3).flatten(2) for f in (B, C))
        _, y, _ = compose(x, delta, A, B.unsqueeze(1), C.unsqueeze(1), D, z, bias, True)
        return torch.einsum("bdl,od->blo", y, out_proj)

    def ours(function):
        def call(xz, conv_weight, conv_bias, x_proj, dt_proj, out_proj, A, D, bias, *norms):
            dt_norm, b_norm, c_norm = norms or (None, None, None)
            return function(xz, conv_weight, conv_bias, x_proj, dt_proj, out_proj, None, A, None,
                            None, D, bias, b_rms_weight=b_norm, c_rms_weight=c_norm,
                            dt_rms_weight=dt_norm)
        return call

    compiled = torch.compile(package.mamba_inner_fn, fullgraph=True, backend="aot_eager")
    dim, states, rank = 4, 3, 2
    for name, parts, norms in (("plain", 1, False), ("normalised", 1, True), ("complex", 2, False)):
        shapes = [(2, 2 * dim, 6), (dim, 1, 4), (dim,), (rank + 2 * states * parts, dim),
                  (dim, rank), (5, dim), (dim, states), (dim,), (dim,)]
        shapes += [(dim,), (states,), (states,)] if norms else []
        arguments = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
        arguments[6] = -arguments[6].abs()
        if parts == 2:
            arguments[6] = torch.complex(arguments[6], torch.randn(dim, states, dtype=torch.float64))
        wanted = with_gradients(plain, arguments)
        for way, function in (("eager", package.mamba_inner_fn), ("compiled", compiled)):
            found = with_gradients(ours(function), arguments)
            for index, (a, b) in enumerate(zip(found, wanted)):
                # (the norms are float32 inside, as the original's)
                if norms:
                    a, b = a.float().double().mul(1e-4), b.mul(1e-4)
                same(f"{way} mamba_inner_fn {name} {index}", a, b)


def main():
    if torch is None:
        sys.path.insert(0, str(HERE / "real"))
        import make_environment

        try:
            python = make_environment.base_environment() / "bin" / "python"
        except make_environment.Unavailable as reason:
            print(f"SKIP: {reason}")
            return 77
        os.execv(python, [str(python), *sys.argv])
    if not hasattr(torch.library, "register_fake"):
        print(f"SKIP: torch {torch.__version__} has no torch.library.register_fake")
        return 77
    torch.manual_seed(3)
    sys.modules["selective_scan_cuda"] = scan_module()
    sys.modules["causal_conv1d_cuda"] = conv_module()
    sys.path.insert(0, str(HERE.parent / "kernels" / "python"))
    sys.dont_write_bytecode = True
    import ssm_kernels
    from ssm_kernels import conv1d, scan_operators

    for owner, names in (
        (scan_operators, {"selective_scan_fwd": "_fwd", "selective_scan_bwd": "_bwd"}),
        (conv1d, {"causal_conv1d_fwd": "_fwd", "causal_conv1d_bwd": "_bwd"}),
    ):
        for name, function in names.items():
            torch.library.impl(f"ssm_kernels::{name}", "CPU", getattr(owner, function))
    torch.library.impl(
        "ssm_kernels::selective_state_update", "CPU", sys.modules["selective_scan_cuda"].state_update
    )
    arguments = scan_inputs()
    torch.library.opcheck(
        torch.ops.ssm_kernels.selective_scan_fwd.default,
        tuple(a.requires_grad_() for a in arguments) + (True,),
    )
    compiled = torch.compile(ssm_kernels.selective_scan_fn, fullgraph=True, backend="aot_eager")
    check_scan(ssm_kernels, compiled)
    check_update(ssm_kernels)
    check_inner(ssm_kernels)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
