"""Run inside an environment under test: is what its mamba_ssm computes right?

Prints one JSON object. `error` holds the exception text where a path fails; otherwise `checks` maps
"path/quantity" to the largest error relative to the float64 reference (recipes/checks/reference.py,
whose directory is the first argument). The second argument picks the path:
  mamba        mamba_inner_fn in float64, both checkpoint levels, a strided input, output and every
               gradient; and a whole Mamba module
  mamba2       mamba_split_conv1d_scan_combined in float64, with its Triton parts replaced by torch
  import       import causal_conv1d_cuda first, nothing else
  import-torch the same after torch
"""

import json
import sys
import traceback


def gradients(output, inputs, upstream):
    import torch

    return torch.autograd.grad((output * upstream).sum(), list(inputs.values()))


def compare(label, run, reference_run, inputs, checks, reference):
    """Both functions take the dict of inputs; compares the output and every gradient."""
    import torch

    found_inputs = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    wanted_inputs = {name: tensor.double().clone().requires_grad_()
                     for name, tensor in inputs.items()}
    found, wanted = run(found_inputs), reference_run(wanted_inputs)
    upstream = torch.randn(wanted.shape, dtype=torch.float64)
    checks[f"{label}/output"] = reference.worst(found, wanted)[0]
    for name, got, want in zip(inputs, gradients(found, found_inputs, upstream.to(found.dtype)),
                               gradients(wanted, wanted_inputs, upstream)):
        checks[f"{label}/d_{name}"] = reference.worst(got, want)[0]


def mamba_inputs(dim=6, states=3, rank=2, length=19, width=4, model=5, batch=2):
    import torch

    double = dict(dtype=torch.float64)
    return {
        "xz": torch.randn(batch, 2 * dim, length, **double),
        "conv_weight": torch.randn(dim, 1, width, **double),
        "conv_bias": torch.randn(dim, **double),
        "x_proj": torch.randn(rank + 2 * states, dim, **double) / 3,
        "dt_proj": torch.randn(dim, rank, **double),
        "out_proj": torch.randn(model, dim, **double),
        "A": -torch.rand(dim, states, **double) - 0.1,
        "D": torch.randn(dim, **double),
        "delta_bias": torch.randn(dim, **double),
    }


def check_mamba(reference, checks):
    import torch
    from mamba_ssm.ops import selective_scan_interface as interface

    def fused(level):
        return lambda t: interface.MambaInnerFn.apply(
            t["xz"], t["conv_weight"], t["conv_bias"], t["x_proj"], t["dt_proj"], t["out_proj"],
            None, t["A"], None, None, t["D"], t["delta_bias"], None, None, True, level)

    def expected(t):
        return reference.mamba_inner(t["xz"], t["conv_weight"], t["conv_bias"], t["x_proj"],
                                     t["dt_proj"], t["out_proj"], None, t["A"], t["D"],
                                     t["delta_bias"])

    for level in (0, 1):
        compare(f"mamba_inner_fn level {level}", fused(level), expected, mamba_inputs(), checks,
                reference)
    short = mamba_inputs(length=2, batch=1)  # shorter than the convolution
    compare("mamba_inner_fn length 2", fused(1), expected, short, checks, reference)

    from mamba_ssm import Mamba

    module = Mamba(d_model=8, d_state=3, d_conv=4).double()
    names = [name for name, _ in module.named_parameters()]
    inputs = {name: tensor.detach() for name, tensor in module.named_parameters()}
    inputs["hidden"] = torch.randn(2, 11, 8, dtype=torch.float64)
    compare("Mamba", lambda t: torch.func.functional_call(
        module, {name: t[name] for name in names}, (t["hidden"],)),
        lambda t: reference.mamba(t, t["hidden"]), inputs, checks, reference)


def replace_triton(combined, reference):
    """mamba_ssm's Mamba-2 scan needs a GPU; its convolution calls are what is under test here."""
    import torch

    def scan(x, dt, A, B, C, D, z, dt_bias):
        return reference.state_space_dual(x, dt, A, B, C, D, z, dt_bias)

    def forward(x, dt, A, B, C, chunk_size, D=None, z=None, dt_bias=None, **_):
        with torch.no_grad():
            return (scan(x, dt, A, B, C, D, z, dt_bias), scan(x, dt, A, B, C, D, None, dt_bias),
                    None, None, None, None)

    def backward(dout, x, dt, A, B, C, out, chunk_size, D=None, z=None, dt_bias=None, dx=None,
                 ddt=None, dB=None, dC=None, dz=None, recompute_output=False, **_):
        parts = [part.detach().clone().requires_grad_() for part in (x, dt, A, B, C, D, z, dt_bias)]
        with torch.enable_grad():
            result = scan(*parts)
        found = torch.autograd.grad(result, parts, dout)
        for given, value in zip((dx, ddt, dB, dC, dz), (found[0], found[1], *found[3:5], found[6])):
            given.copy_(value)
        answer = [dx, ddt, found[2], dB, dC, found[5], dz, found[7], None]
        return (*answer, result.detach()) if recompute_output else tuple(answer)

    combined._mamba_chunk_scan_combined_fwd = forward
    combined._mamba_chunk_scan_combined_bwd = backward


def check_mamba2(reference, checks):
    import torch
    from mamba_ssm.ops.triton import ssd_combined as combined

    replace_triton(combined, reference)
    heads, size, states, length, model = 3, 4, 2, 13, 7
    dim, double = heads * size, dict(dtype=torch.float64)
    inputs = {
        "zxbcdt": torch.randn(2, length, 2 * dim + 2 * states + heads, **double),
        "conv_weight": torch.randn(dim + 2 * states, 4, **double),
        "conv_bias": torch.randn(dim + 2 * states, **double),
        "dt_bias": torch.randn(heads, **double),
        "A": -torch.rand(heads, **double) - 0.1,
        "D": torch.randn(heads, **double),
        "out_proj": torch.randn(model, dim, **double),
    }
    compare("mamba_split_conv1d_scan_combined",
            lambda t: combined.mamba_split_conv1d_scan_combined(
                t["zxbcdt"], t["conv_weight"], t["conv_bias"], t["dt_bias"], t["A"], t["D"],
                chunk_size=8, outproj_weight=t["out_proj"], headdim=size),
            lambda t: reference.mamba2_inner(
                t["zxbcdt"], t["conv_weight"], t["conv_bias"], t["dt_bias"], t["A"], t["D"], size,
                out_proj_weight=t["out_proj"]),
            inputs, checks, reference)


def main():
    sys.path.append(sys.argv[1])
    path, answer = sys.argv[2], {"checks": {}, "error": None}
    try:
        if path == "import":
            import causal_conv1d_cuda  # noqa: F401
        elif path == "import-torch":
            import torch
            import causal_conv1d_cuda  # noqa: F401, F811
        else:
            import torch
            import reference

            torch.manual_seed(0)
            check = {"mamba": check_mamba, "mamba2": check_mamba2}[path]
            check(reference, answer["checks"])
    except Exception as error:  # the text is what the tests compare
        answer["error"] = f"{type(error).__name__}: {error}"
        answer["trace"] = traceback.format_exc()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
