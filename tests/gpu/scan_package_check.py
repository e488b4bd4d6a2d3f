"""ssm_kernels' scan functions under torch.compile on a GPU, what the saved tensor x means, and
tensors of another device.

    PYTHONPATH=FOLDER_OF_MODULES python scan_package_check.py
"""

import os
import sys

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scan_common import Inputs, error, reference

failures = []


def expect(name, value, limit):
    if not value <= limit:
        failures.append(name)
        print(f"error: {name}: {value:.2e}, limit {limit:.1e}")


def check_compiled(functions):
    for name, options in (
        ("plain", {}),
        ("no z", dict(gate=False, bias=False)),
        ("turned", dict(turned=True)),
        ("complex", dict(is_complex=True)),
    ):
        torch.compiler.reset()
        compiled = torch.compile(functions.selective_scan_fn, fullgraph=True)
        inputs = Inputs(2, 64, 300, 16, torch.float32, groups=2, seed=3, **options)
        _, gated, last, wanted = reference(inputs)
        for way, function in (("eager", functions.selective_scan_fn), ("compiled", compiled)):
            leaves = [
                None if tensor is None else tensor.detach().clone().requires_grad_()
                for tensor in inputs.tensors()
            ]
            out, state = function(*leaves, True, return_last_state=True)
            out.backward(inputs.dout)
            expect(f"{way} {name} out", error(out, gated), 2e-5)
            expect(f"{way} {name} state", error(state, last), 2e-5)
            for key, leaf in zip(("u", "delta", "A", "B", "C", "D", "z", "delta_bias"), leaves):
                if leaf is not None:
                    expect(f"{way} {name} d{key}", error(leaf.grad, wanted[key]), 1e-4)
            with torch.no_grad():
                expect(f"{way} {name} no_grad", error(function(*inputs.tensors(), True), gated), 2e-5)


def check_compiled_inner(functions):
    generator = torch.Generator("cuda").manual_seed(7)
    dim, states, rank = 64, 16, 4
    shapes = [(2, 2 * dim, 200), (dim, 1, 4), (dim,), (rank + 2 * states, dim), (dim, rank)]
    values = [0.3 * torch.randn(s, generator=generator, device="cuda") for s in shapes + [(32, dim)]]
    A = -torch.rand(dim, states, generator=generator, device="cuda") - 0.1
    results = []
    torch.compiler.reset()
    for function in (functions.mamba_inner_fn, torch.compile(functions.mamba_inner_fn, fullgraph=True)):
        leaves = [v.clone().requires_grad_() for v in values + [A]]
        out = function(*leaves[:6], None, leaves[6], delta_softplus=True)
        out.square().sum().backward()
        results.append([out] + [leaf.grad for leaf in leaves])
    for index, (eager, compiled) in enumerate(zip(*results)):
        expect(f"compiled mamba_inner_fn {index}", error(compiled, eager), 1e-3)


def check_compiled_update(functions):
    torch.compiler.reset()
    update = torch.compile(functions.selective_state_update, fullgraph=True)
    state = torch.randn(3, 40, 16, device="cuda")
    x, dt, z = (torch.randn(3, 40, device="cuda") for _ in range(3))
    A, (B, C) = -torch.rand(40, 16, device="cuda"), torch.randn(2, 3, 16, device="cuda")
    eager_state, compiled_state = state.clone(), state.clone()
    eager = functions.selective_state_update(eager_state, x, dt, A, B, C, None, z, None, True)
    found = update(compiled_state, x, dt, A, B, C, None, z, None, True)
    expect("compiled update", error(found, eager), 0.0)
    expect("compiled update state", error(compiled_state, eager_state), 0.0)
    assert not torch.equal(state, eager_state)


def check_saved(module):
    """x has (decay since the first step, state) after every 2048 steps and the last."""
    for is_complex in (False, True):
        inputs = Inputs(2, 8, 4500, 4, torch.float32, decay=1e-3, is_complex=is_complex, seed=21)
        x = inputs.forward(module)[1]
        assert x.shape == (2, 8, 3, 8) and x.is_complex() == is_complex
        dt = torch.nn.functional.softplus(inputs.delta.double() + inputs.delta_bias.double()[:, None])
        for chunk, end in enumerate((2048, 4096, 4500)):
            wide = inputs.A.to(torch.complex128 if is_complex else torch.float64)
            decay = torch.exp(dt[:, :, :end].sum(2)[..., None] * wide)
            # The product of 4,500 rotations: a rounding of each.
            expect(f"x decay {end}", error(x[:, :, chunk, 0::2], decay), 1e-3)
            short = Inputs(2, 8, 4500, 4, torch.float32, decay=1e-3, is_complex=is_complex, seed=21)
            steps = 2 * end if is_complex else end
            for name in ("u", "delta", "z"):
                setattr(short, name, getattr(short, name)[..., :end])
            short.B, short.C = short.B[..., :steps], short.C[..., :steps]
            state = reference(short, gradients=False)[2]
            expect(f"x state {end}", error(x[:, :, chunk, 1::2], state), 2e-4)


def check_devices(module, functions):
    if torch.cuda.device_count() < 2:
        print("devices: one GPU only, not run")
        return
    inputs = Inputs(2, 64, 300, 16, torch.float32, seed=1)
    wanted = inputs.forward(module)
    try:
        arguments = inputs.tensors()
        arguments[2] = arguments[2].to("cuda:1")
        module.fwd(*arguments, True)
        failures.append("no error for A on another device")
    except RuntimeError as reason:
        if "A: on cuda:1, expected cuda:0" not in str(reason):
            failures.append(str(reason))
    # The tensors' device counts, not the current one.
    second = [None if t is None else t.to("cuda:1") for t in inputs.tensors()]
    out, x, gated = module.fwd(*second, inputs.softplus)
    assert gated.device.index == 1
    expect("second device", error(gated.to("cuda:0"), wanted[2]), 0.0)


def main():
    if not torch.cuda.is_available():
        print("SKIP: no CUDA device")
        return 77
    import selective_scan_cuda as module
    import ssm_kernels

    check_saved(module)
    check_devices(module, ssm_kernels)
    check_compiled(ssm_kernels)
    check_compiled_inner(ssm_kernels)
    check_compiled_update(ssm_kernels)
    for line in failures:
        print("wrong:", line)
    print(f"scan package: {len(failures)} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
