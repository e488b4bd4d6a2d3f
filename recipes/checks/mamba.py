"""The modules people use, `mamba` (Mamba) or `mamba2` (Mamba2): fused paths forward and backward
beside float64, in float32 and in half, and some training steps whose loss must follow a float64
run of the same steps."""

import os

import check

LENGTH = 151


def run(which):
    import torch

    reason = check.gpu_missing()
    title = "Mamba" if which == "mamba" else "Mamba2"
    if reason:
        check.not_checked(title, reason, gpu_is_missing=True)
        return
    if which == "mamba2" and check.DEVICE != "cuda":
        check.not_checked(title, "its scan is written in Triton and needs a GPU")
        return
    make, expected = (mamba if which == "mamba" else mamba2)()
    for dtype, limits in ((torch.float32, (2e-5, 2e-4)), (torch.float16, (5e-3, 2e-2)),
                          (torch.bfloat16, (4e-2, 1.5e-1))):
        short = str(dtype).split(".")[1]
        name = f"{title} {short} forward and backward"
        with check.step(name):
            module_case(name, title, make, expected, dtype, limits)
    if which == "mamba":
        with check.step("Mamba without the fused path"):
            module_case("Mamba without the fused path", title, lambda: make(use_fast_path=False),
                        expected, torch.float32, (2e-5, 2e-4))
    with check.step(f"{title} training"):
        training(f"{title} training", make, expected, rate=40.0 if which == "mamba" else 0.5)


def mamba():
    import reference
    from mamba_ssm import Mamba

    return (lambda **more: Mamba(d_model=64, d_state=8, **more)), reference.mamba


def one_configuration_a_kernel():
    """Keeps Triton's tuner from compiling and timing a dozen variants of every kernel: numbers are
    checked here, not speed. The smallest variant is kept, as the one that fits every GPU."""
    import triton

    def size(config):
        product = max(config.num_stages, 1)
        for value in config.kwargs.values():
            product *= value if isinstance(value, int) and value > 0 else 1
        return product

    tuner = triton.autotune
    triton.autotune = lambda configs, *args, **more: tuner([min(configs, key=size)], *args, **more)


def mamba2():
    import functools
    import reference

    one_configuration_a_kernel()
    os.environ["TRITON_F32_DEFAULT"] = "ieee"  # Triton's products would be in TF32, off by 1e-3
    from mamba_ssm.modules.mamba2 import Mamba2

    # Eight heads: the row stride must be a multiple of 8 for the channel-last convolution.
    make = lambda **more: Mamba2(d_model=64, d_state=16, headdim=16, chunk_size=64, **more)
    return make, functools.partial(reference.mamba2, head_size=16)


def module_case(name, title, make, expected, dtype, limits):
    import torch

    torch.manual_seed(0)
    module = make().to(dtype).to(check.DEVICE)
    names = [key for key, _ in module.named_parameters()]
    inputs = {key: tensor.detach().double().cpu() for key, tensor in module.named_parameters()}
    inputs["hidden"] = torch.randn(2, LENGTH, 64, dtype=torch.float64)
    check.run_case(
        name, f"{title}, {str(dtype).split('.')[1]}, 2x{LENGTH}x64", inputs,
        lambda t: torch.func.functional_call(module, {key: t[key] for key in names},
                                             (t["hidden"],)),
        lambda t: expected(t, t["hidden"]), limits, dtype)


def training(name, make, expected, rate, steps=5):
    """Plain gradient descent towards a fixed target; the losses of both runs side by side."""
    import torch

    comparison = check.Comparison(name)
    torch.manual_seed(3)
    module = make().to(check.DEVICE)
    weights = {key: tensor.detach().double().cpu().requires_grad_()
               for key, tensor in module.named_parameters()}
    hidden = torch.randn(2, LENGTH, 64, dtype=torch.float64)
    target = torch.randn(2, LENGTH, 64, dtype=torch.float64)
    found, wanted = [], []
    for _ in range(steps):
        loss = (module(hidden.float().to(check.DEVICE)) - target.float().to(check.DEVICE)).square()
        gradients = torch.autograd.grad(loss.mean(), list(module.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(module.parameters(), gradients):
                parameter -= rate * gradient
        found.append(loss.mean().detach())
        loss = (expected(weights, hidden) - target).square().mean()
        gradients = torch.autograd.grad(loss, list(weights.values()))
        weights = {key: (tensor - rate * gradient).detach().requires_grad_()
                   for (key, tensor), gradient in zip(weights.items(), gradients)}
        wanted.append(loss.detach())
    if not wanted[-1] < 0.97 * wanted[0]:
        check.failed(name, f"the reference run does not learn: {[float(x) for x in wanted]}")
        return
    comparison.add(f"{steps} losses", torch.stack(found), torch.stack(wanted), 1e-5)
    for (key, want), got in zip(weights.items(), module.parameters()):
        comparison.add(key, got, want, 1e-4)
    comparison.report(f"float32, {steps} steps, loss {float(wanted[0]):.4f} to "
                      f"{float(wanted[-1]):.4f}")


if __name__ == "__main__":
    check.main(run)
