"""ssm_kernels.causal_conv1d_fn and _update: autograd, autocast-free dtypes, torch.compile."""

import sys

import torch

from conv1d_cases import case, make_inputs, reference
from ssm_kernels import causal_conv1d_fn, causal_conv1d_update

failures = []


def close(what, got, expected, limit):
    error = (got.double() - expected.double()).abs().max().item()
    if not error <= limit:
        failures.append(f"{what}: error {error:.3g}, limit {limit:.3g}")


def check(name, function, c):
    inputs = make_inputs(c)
    expected = reference(c, inputs)
    leaves = [inputs[key] for key in ("x", "weight", "bias", "initial")]
    x, weight, bias, initial = [
        None if leaf is None else leaf.detach().requires_grad_() for leaf in leaves
    ]
    result = function(
        x, weight, bias, seq_idx=inputs["seq_idx"], initial_states=initial,
        return_final_states=c["final"], activation="silu" if c["silu"] else None,
    )
    out = result[0] if c["final"] else result
    close(f"{name} out", out, expected["out"], 2e-5)
    total = (out * inputs["dout"]).sum()
    if c["final"]:
        close(f"{name} final", result[1], expected["final"], 0)
        total = total + (result[1] * inputs["dfinal"]).sum()
    total.backward()
    close(f"{name} dx", x.grad, expected["dx"], 2e-5)
    close(f"{name} dweight", weight.grad, expected["dweight"], 2e-3)
    close(f"{name} dbias", bias.grad, expected["dbias"], 2e-3)
    if initial is not None:
        close(f"{name} dinitial", initial.grad, expected["dinitial"], 2e-5)


def main():
    torch.manual_seed(5)
    cases = [
        case(dtype=torch.float32),
        case(dtype=torch.float32, layout="channels", initial=True, final=True),
        case(dtype=torch.float32, layout="channels", seq_idx="two"),
    ]
    compiled = torch.compile(causal_conv1d_fn, fullgraph=True)
    for c in cases:
        check("eager", causal_conv1d_fn, c)
        check("compiled", compiled, c)
    x, state = torch.randn(4, 64, device="cuda"), torch.randn(4, 64, 4, device="cuda")
    weight, bias = torch.randn(64, 4, device="cuda"), torch.randn(64, device="cuda")
    eager_state, compiled_state = state.clone(), state.clone()
    eager = causal_conv1d_update(x, eager_state, weight, bias, "silu")
    update = torch.compile(causal_conv1d_update, fullgraph=True)
    close("compiled update", update(x, compiled_state, weight, bias, "silu"), eager, 0)
    close("compiled update state", compiled_state, eager_state, 0)
    expected = torch.nn.functional.silu(
        (torch.cat([state[:, :, 1:], x[:, :, None]], 2).double() * weight.double()).sum(2) + bias
    )
    close("update", eager, expected, 1e-5)
    for line in failures:
        print("wrong:", line)
    print(f"conv1d package: {len(failures)} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
