"""selective_scan_fn: z gate, D, delta bias, softplus, B and C varying in time; with gradients."""

import check


def run():
    import torch
    import reference

    reason = check.gpu_missing()
    if reason:
        check.not_checked("selective_scan_fn", reason, gpu_is_missing=True)
        return
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    float32 = {name: torch.float32 for name in ("A", "D", "delta_bias")}
    limits = {torch.float32: (1e-5, 1e-4), torch.float16: (2e-3, 1e-2),
              torch.bfloat16: (1.6e-2, 5e-2)}
    for dtype, limit in limits.items():
        for batch, dim, states, length in ((2, 64, 16, 372), (1, 8, 8, 5)):
            torch.manual_seed(0)
            double = dict(dtype=torch.float64)
            inputs = {"u": torch.randn(batch, dim, length, **double),
                      "delta": torch.rand(batch, dim, length, **double) - 1,
                      "A": -torch.rand(dim, states, **double) - 0.2,
                      "B": torch.randn(batch, states, length, **double),
                      "C": torch.randn(batch, states, length, **double),
                      "D": torch.randn(dim, **double),
                      "z": torch.randn(batch, dim, length, **double),
                      "delta_bias": torch.rand(dim, **double) - 0.5}
            short = str(dtype).split(".")[1]
            name = f"selective_scan_fn {short} {batch}x{dim}x{length} state {states}"
            with check.step(name):
                check.run_case(
                    name, f"{short}, batch {batch}, dim {dim}, state {states}, length {length}",
                    inputs, lambda t: selective_scan_fn(**t, delta_softplus=True),
                    lambda t: reference.selective_scan(**t, delta_softplus=True)[0], limit, dtype,
                    float32)


if __name__ == "__main__":
    check.main(run)
