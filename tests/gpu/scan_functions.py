"""ssm_kernels.selective_scan_fn and mamba_inner_fn on a GPU: values and gradients against float64,
the deterministic mode bit for bit, CUDA graphs, VMamba's modules, and what errors say.

    python scan_functions.py FOLDER_OF_MODULES [--updates]
"""

import itertools
import os
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scan_common import Inputs, error, load_ours, reference

failures = []


def expect(name, value, limit):
    if not value <= limit:
        failures.append(name)
        print(f"error: {name}: {value:.2e}, limit {limit:.1e}")


def check_autograd(functions):
    inputs = Inputs(2, 64, 300, 16, torch.float32, groups=2, seed=3)
    _, gated, last, wanted = reference(inputs)
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs.tensors()]
    out, state = functions.selective_scan_fn(*leaves, True, return_last_state=True)
    out.backward(inputs.dout)
    expect("selective_scan_fn out", error(out, gated), 2e-5)
    expect("selective_scan_fn state", error(state, last), 2e-5)
    for name, leaf in zip(wanted, leaves):
        expect(f"selective_scan_fn d{name}", error(leaf.grad, wanted[name]), 1e-4)


def check_inner(functions):
    generator = torch.Generator("cuda").manual_seed(7)

    def randn(*sizes):
        return torch.randn(*sizes, generator=generator, device="cuda") * 0.3

    dim, states, rank, length = 64, 16, 4, 200
    values = [
        randn(2, 2 * dim, length),
        randn(dim, 1, 4),
        randn(dim),
        randn(rank + 2 * states, dim),
        randn(dim, rank),
        randn(32, dim),
        None,
        -torch.rand(dim, states, generator=generator, device="cuda") - 0.1,
    ]
    D, bias = randn(dim), randn(dim)
    leaves = [None if v is None else v.clone().requires_grad_() for v in values]
    out = functions.mamba_inner_fn(*leaves, None, None, D, bias, None, None, True)
    out.square().sum().backward()

    wide = [None if v is None else v.double().requires_grad_() for v in values]
    xz, conv, conv_bias, x_proj, dt_proj, out_proj, _, A = wide
    x, z = xz.chunk(2, dim=1)
    x = F.silu(F.conv1d(F.pad(x, (3, 0)), conv, conv_bias, groups=dim))
    projected = torch.einsum("bdl,pd->bpl", x, x_proj)
    dt = F.softplus(torch.einsum("brl,dr->bdl", projected[:, :rank], dt_proj) + bias.double()[:, None])
    B, C = projected[:, rank : rank + states], projected[:, rank + states :]
    h = torch.zeros(2, dim, states, device="cuda", dtype=torch.float64)
    steps = []
    for t in range(length):
        h = torch.exp(dt[:, :, t, None] * A) * h + (dt * x)[:, :, t, None] * B[:, None, :, t]
        steps.append((h * C[:, None, :, t]).sum(-1))
    y = (torch.stack(steps, 2) + D.double()[:, None] * x) * F.silu(z)
    wanted = torch.einsum("bdl,od->blo", y, out_proj)
    wanted.square().sum().backward()
    expect("mamba_inner_fn out", error(out, wanted), 1e-4)
    for index, (leaf, double) in enumerate(zip(leaves, wide)):
        if leaf is not None:
            expect(f"mamba_inner_fn gradient {index}", error(leaf.grad, double.grad), 1e-3)


def check_deterministic(module, is_complex=False):
    inputs = Inputs(4, 1024, 300, 16, torch.float32, is_complex=is_complex, seed=5)
    out, x, _ = inputs.forward(module)
    torch.use_deterministic_algorithms(True)
    first = inputs.backward(module, x, out)
    second = inputs.backward(module, x, out)
    torch.use_deterministic_algorithms(False)
    plain = inputs.backward(module, x, out)
    for a, b, c in zip(first, second, plain):
        if not torch.equal(a, b):
            failures.append("deterministic")
            print("error: two deterministic backward passes differ")
        expect("atomic against deterministic", error(c, a), 1e-5)


def check_graph(module, is_complex=False):
    inputs = Inputs(2, 256, 500, 16, torch.float16, is_complex=is_complex, seed=9)
    wanted = inputs.forward(module)
    stream = torch.cuda.Stream()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        captured = inputs.forward(module)
        gradients = inputs.backward(module, captured[1], captured[0])
    for tensor in captured + gradients:
        tensor.fill_(float("nan"))
    graph.replay()
    torch.cuda.synchronize()
    expect("graph", error(captured[2], wanted[2].double()), 0.0)
    for a, b in zip(gradients, inputs.backward(module, wanted[1], wanted[0])):
        expect("graph gradients", error(a, b), 1e-3)


def check_update(functions):
    generator = torch.Generator("cuda").manual_seed(13)

    def randn(*sizes):
        return torch.randn(*sizes, generator=generator, device="cuda")

    half, brain = torch.float16, torch.bfloat16
    kinds = [(torch.float32, torch.float32), (half, half), (brain, brain)]
    kinds += [(torch.float32, half), (torch.float32, brain), (half, torch.float32)]
    limits = {torch.float32: 1e-5, half: 1.5e-3, brain: 1.2e-2}
    # One batch and several, a last block half full, several passes, states that are no whole words.
    shapes = ((1, 40, 16), (3, 40, 16), (5, 72, 24), (2, 24, 320), (2, 24, 7), (6, 24, 128))
    for (state_type, dtype), (batch, dim, states) in itertools.product(kinds, shapes):
        state = randn(batch, dim, states).to(state_type)
        A = -torch.rand(dim, states, generator=generator, device="cuda")
        x, dt, z = (randn(batch, dim).to(dtype) for _ in range(3))
        B, C = (randn(batch, states).to(dtype) for _ in range(2))
        D, bias = randn(dim), randn(dim)
        wide = F.softplus(dt.double() + bias.double())
        wanted = state.double() * torch.exp(wide[..., None] * A.double())
        wanted += (wide * x.double())[..., None] * B.double()[:, None]
        out = (wanted * C.double()[:, None]).sum(-1) + D.double() * x.double()
        out *= F.silu(z.double())
        found = functions.selective_state_update(state, x, dt, A, B, C, D, z, bias, True)
        name = f"update {batch}x{dim}x{states} {state_type} {dtype}"
        expect(name, error(found, out), max(limits[dtype], 1e-5))
        expect(name + ", state", error(state, wanted), limits[state_type])
    batch, states = 3, 16
    # Mamba2: heads that share a step size and a decay, two groups, states by index.
    heads, dim = 4, 24
    state = randn(5, heads, dim, states)
    before = state.double()
    x, z = randn(batch, heads, dim), randn(batch, heads, dim)
    dt = randn(batch, heads)[..., None].expand(-1, -1, dim)
    A = -torch.rand(heads, device="cuda")[:, None, None].expand(-1, dim, states)
    B, C = randn(batch, 2, states), randn(batch, 2, states)
    rows = torch.tensor([4, -1, 0], device="cuda", dtype=torch.int32)
    found = functions.selective_state_update(
        state, x, dt, A, B, C, None, z, None, True, state_batch_indices=rows
    )
    for b, row in enumerate(rows.tolist()):
        if row < 0:
            expect("update skipped row", found[b].abs().max().item(), 0.0)
            continue
        step = F.softplus(dt[b].double())
        spread = [factor[b].double().repeat_interleave(2, 0)[:, None] for factor in (B, C)]
        wanted = before[row] * torch.exp(step[..., None] * A.double())
        wanted += (step * x[b].double())[..., None] * spread[0]
        out = (wanted * spread[1]).sum(-1) * F.silu(z[b].double())
        expect("update heads", error(found[b], out), 1e-5)
        expect("update heads state", error(state[row], wanted), 1e-5)


def check_update_graph(functions):
    """Steps that follow one another in a graph: each needs the state that the last one left."""
    generator = torch.Generator("cuda").manual_seed(17)

    def randn(*sizes):
        return torch.randn(*sizes, generator=generator, device="cuda")

    batch, dim, states, steps = 1, 4096, 16, 8
    state, A = randn(batch, dim, states), -torch.rand(dim, states, device="cuda")
    inputs = [[randn(batch, dim) for _ in range(2)] for _ in range(steps)]
    B, C, first = randn(batch, states), randn(batch, states), state.clone()

    def walk(state):
        x = torch.zeros(batch, dim, device="cuda")
        for own, dt in inputs:  # the output is a part of the next input
            x = functions.selective_state_update(state, own + 0.5 * x, dt, A, B, C, None, None, None, True)
        return x

    wanted_state = state.clone()
    wanted = walk(wanted_state)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
        found = walk(state)
    for _ in range(20):
        state.copy_(first)
        found.fill_(float("nan"))
        graph.replay()
        expect("update graph", error(found, wanted), 0.0)
        expect("update graph, state", error(state, wanted_state), 0.0)


def check_vmamba(folder):
    core = load_ours(folder, "selective_scan_cuda_core")
    oflex = load_ours(folder, "selective_scan_cuda_oflex")
    inputs = Inputs(2, 96, 196, 1, torch.float16, groups=4, gate=False, seed=11)
    out, _, _, wanted = reference(inputs)
    u, delta, A, B, C, D, _, bias = inputs.tensors()
    half, x = core.fwd(u, delta, A, B, C, D, bias, True, 1)
    wide, _ = oflex.fwd(u, delta, A, B, C, D, bias, True, 1, True)
    assert half.dtype == torch.float16 and wide.dtype == torch.float32
    expect("core out", error(half, out), 1.5e-3)
    expect("oflex out", error(wide, out), 1e-5)
    for name, dout in (("core", inputs.dout), ("oflex", inputs.dout.float())):
        module = core if name == "core" else oflex
        found = module.bwd(u, delta, A, B, C, D, bias, dout, x, True, 1)
        for key, value in zip(["u", "delta", "A", "B", "C", "D", "delta_bias"], found):
            expect(f"{name} d{key}", error(value, wanted[key]), 6e-3)
    # One row of delta for two channels.
    shared = delta[:, ::2].contiguous()
    out, x = oflex.fwd(u, shared, A, B, C, D, bias[::2].contiguous(), True, 1, True)
    full, _ = oflex.fwd(
        u, shared.repeat_interleave(2, 1), A, B, C, D, bias[::2].repeat_interleave(2), True, 1, True
    )
    expect("shared delta", error(out, full.double()), 1e-6)
    ddelta = oflex.bwd(
        u, shared, A, B, C, D, bias[::2].contiguous(), inputs.dout, x, True, 1
    )[1]
    assert ddelta.shape == shared.shape


def check_errors(module):
    inputs = Inputs(1, 8, 20, 4, torch.float16)
    u, delta, A, B, C, D, z, bias = inputs.tensors()
    for change, words in (
        ((u.cpu(), delta, A, B, C, D, z, bias), "u: not on a CUDA device"),
        ((u, delta.float(), A, B, C, D, z, bias), "delta: dtype is float32"),
        ((u, delta, A.half(), B, C, D, z, bias), "A: dtype is float16"),
        ((u, delta, A, B[:, :, :3], C, D, z, bias), "B: size(2) is 3"),
        ((u, delta, A, B, C, D[:4], z, bias), "D: size(0) is 4"),
        ((u.transpose(1, 2).contiguous().transpose(1, 2), delta, A, B, C, D, z, bias), "u: stride"),
    ):
        try:
            module.fwd(*change, True)
        except RuntimeError as reason:
            if words in str(reason):
                continue
            words = f"{words!r}, found {reason}"
        failures.append(words)
        print(f"error: expected an exception with {words}")


def main():
    if not torch.cuda.is_available():
        print("SKIP: no CUDA device")
        return 77
    folder = os.path.abspath(sys.argv[1])
    sys.path.insert(0, folder)
    import selective_scan_cuda as module
    import ssm_kernels

    if "--updates" in sys.argv:  # for compute-sanitizer
        check_update(ssm_kernels)
        print(f"decode steps only, {len(failures)} failures")
        return 1 if failures else 0
    check_autograd(ssm_kernels)
    check_deterministic(module)
    check_deterministic(module, is_complex=True)
    check_graph(module)
    check_graph(module, is_complex=True)
    check_vmamba(folder)
    check_errors(module)
    check_update(ssm_kernels)
    check_update_graph(ssm_kernels)
    check_inner(ssm_kernels)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
