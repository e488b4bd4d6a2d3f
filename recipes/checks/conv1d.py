"""causal_conv1d_fn with and without its activation, forward and backward, and the update step."""

import check


def run():
    import torch
    import reference

    reason = check.gpu_missing()
    if reason:
        check.not_checked("causal_conv1d_fn", reason, gpu_is_missing=True)
        return
    from causal_conv1d import causal_conv1d_fn, causal_conv1d_update
    limits = {torch.float32: (1e-6, 1e-5), torch.float16: (1e-3, 4e-3),
              torch.bfloat16: (8e-3, 2e-2)}
    for dtype, limit in limits.items():
        for width, activation, length in ((4, "silu", 151), (4, None, 64), (2, "silu", 3)):
            torch.manual_seed(0)
            batch, dim = 2, 64
            inputs = {"x": torch.randn(batch, dim, length, dtype=torch.float64),
                      "weight": torch.randn(dim, width, dtype=torch.float64),
                      "bias": torch.randn(dim, dtype=torch.float64)}
            short = str(dtype).split(".")[1]
            name = f"causal_conv1d_fn {short} width {width} {activation or 'plain'}"
            with check.step(name):
                check.run_case(
                    name, f"{short}, {batch}x{dim}x{length}", inputs,
                    lambda t: causal_conv1d_fn(t["x"], t["weight"], bias=t["bias"],
                                               activation=activation),
                    lambda t: reference.causal_conv1d(t["x"], t["weight"], t["bias"], activation),
                    limit, dtype)
        with check.step(f"causal_conv1d_update {short}"):
            update(causal_conv1d_update, reference, dtype, limit[0])


def update(function, reference, dtype, limit):
    import torch

    short = str(dtype).split(".")[1]
    comparison = check.Comparison(f"causal_conv1d_update {short}")
    torch.manual_seed(1)
    weight = torch.randn(64, 4, dtype=torch.float64).to(dtype)
    bias = torch.randn(64, dtype=torch.float64).to(dtype)
    state = torch.randn(2, 64, 4, dtype=torch.float64).to(dtype)
    state_here, state_there = state.to(check.DEVICE), state.double()
    for number in range(3):
        x = torch.randn(2, 64, dtype=torch.float64).to(dtype)
        found = function(x.to(check.DEVICE), state_here, weight.to(check.DEVICE),
                         bias.to(check.DEVICE), "silu")
        expected, state_there = reference.causal_conv1d_update(
            x.double(), state_there, weight.double(), bias.double(), "silu")
        comparison.add(f"step {number + 1}", found, expected, limit)
        comparison.add(f"state {number + 1}", state_here.clone(), state_there, limit)
    comparison.report(f"{short}, 2x64, 3 steps")


if __name__ == "__main__":
    check.main(run)
