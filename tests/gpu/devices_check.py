"""Several GPUs: tensors of one device while another is the current one, each device's own stream,
and modules loaded in every context, against float64 references.

    PYTHONPATH=FOLDER_OF_MODULES python devices_check.py
Exit status 77 where there are fewer than two GPUs.
"""

import os
import sys
import threading

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import conv1d_cases
import scan_common

failures = []
checks = 0


def expect(name, value, limit):
    global checks
    checks += 1
    if not value <= limit:
        failures.append(f"{name}: {value:.3g}, limit {limit:.1g}")


def close(name, found, wanted, limit=2e-5):
    expect(name, scan_common.error(found, wanted), limit)


class Conv1d:
    """One call of each operation; everything lies on `device`."""

    def __init__(self, device, layout):
        self.case = conv1d_cases.case(
            dtype=torch.float32, layout=layout, length=1283, initial=layout != "rows"
        )
        self.inputs = conv1d_cases.make_inputs(self.case, device)
        self.wanted = conv1d_cases.reference(self.case, self.inputs)
        self.device = device

    def run(self, native):
        i = self.inputs
        x, weight, bias, initial = i["x"], i["weight"], i["bias"], i["initial"]
        out = native.causal_conv1d_fwd(x, weight, bias, None, initial, None, True)
        results = native.causal_conv1d_bwd(
            x, weight, bias, i["dout"], None, initial, None, None, initial is not None, True
        )
        # With a state that already holds the last inputs but one, a step repeats the last output.
        state = x[:, :, -5:-1].contiguous()
        step = native.causal_conv1d_update(x[:, :, -1].contiguous(), state, weight, bias, True)
        return [out, *results[:3], step]

    def check(self, name, found):
        wanted = self.wanted
        names = ("out", "dx", "dweight", "dbias")
        for key, value in zip(names, found):
            assert value.device == torch.device(self.device), (name, key, value.device)
            close(f"{name} {key}", value, wanted[key])
        close(f"{name} step", found[4], wanted["out"][:, :, -1])


class Scan:
    def __init__(self, device, length):
        with torch.cuda.device(device):
            self.inputs = scan_common.Inputs(2, 64, length, 16, torch.float32, groups=2, seed=length)
            self.wanted = scan_common.reference(self.inputs)
        self.device = device

    def run(self, native):
        out, x, gated = self.inputs.forward(native)
        return [out, gated, *self.inputs.backward(native, x, out)]

    def check(self, name, found):
        out, gated, _, gradients = self.wanted
        assert found[0].device == torch.device(self.device), name
        close(f"{name} out", found[0], out)
        close(f"{name} gated", found[1], gated)
        order = ("u", "delta", "A", "B", "C", "D", "delta_bias", "z")
        for key, value in zip(order, found[2:]):
            close(f"{name} d{key}", value, gradients[key], 1e-4)


def check_current_device(works, module):
    """The tensors' device counts, whichever is current; each is met first under another's context."""
    count = torch.cuda.device_count()
    for _ in range(2):
        for work in works:
            for current in reversed(range(count)):
                with torch.cuda.device(current):
                    found = work.run(module)
                    assert torch.cuda.current_device() == current
                work.check(f"{type(work).__name__} on {work.device}, current {current}", found)


def check_streams(works, module):
    """Work goes to the current stream of the tensors' device: it waits there for their values."""
    for work in works:
        index = torch.device(work.device).index
        stream = torch.cuda.Stream(device=index)
        other = torch.device("cuda", (index + 1) % torch.cuda.device_count())
        tensors = (work.inputs.values() if isinstance(work.inputs, dict) else
                   [*work.inputs.tensors(), work.inputs.dout])
        tensors = [t for t in tensors if t is not None]
        kept = [t.clone() for t in tensors]
        for t in tensors:
            t.fill_(float("nan"))
        torch.cuda.synchronize(index)
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            for t, value in zip(tensors, kept):
                t.copy_(value)
            with torch.cuda.device(other):
                found = work.run(module)
        stream.synchronize()
        work.check(f"{type(work).__name__} on a stream of {work.device}", found)


def check_threads(works, module):
    """Each device from a thread of its own, at the same time."""
    found = [None] * len(works)

    def run(index):
        torch.cuda.set_device(works[index].device)
        for _ in range(20):
            found[index] = works[index].run(module)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for device in range(torch.cuda.device_count()):
        torch.cuda.synchronize(device)
    for work, values in zip(works, found):
        work.check(f"{type(work).__name__} on {work.device} in a thread", values)


def check_mixed(conv1d):
    x, weight = torch.randn(2, 64, 16, device="cuda:0"), torch.randn(64, 4, device="cuda:1")
    try:
        conv1d.causal_conv1d_fwd(x, weight, None, True)
        failures.append("no error for a weight of another device")
    except RuntimeError as error:
        if "weight: on cuda:1, expected cuda:0" not in str(error):
            failures.append(f"another error: {error}")


def check_functions():
    """Autograd runs the backward pass in a thread of each device."""
    from ssm_kernels import causal_conv1d_fn

    for device in ("cuda:1", "cuda:0"):
        work = Conv1d(device, "rows")
        leaves = [work.inputs[k].detach().requires_grad_() for k in ("x", "weight", "bias")]
        out = causal_conv1d_fn(*leaves, activation="silu")
        out.backward(work.inputs["dout"])
        for key, value in zip(("out", "dx", "dweight", "dbias"), [out] + [t.grad for t in leaves]):
            close(f"function on {device} {key}", value, work.wanted[key])


def main():
    if torch.cuda.device_count() < 2:
        print(f"SKIP: {torch.cuda.device_count()} GPUs, 2 needed")
        return 77
    import causal_conv1d_cuda
    import selective_scan_cuda

    torch.manual_seed(3)
    check_mixed(causal_conv1d_cuda)
    devices = [f"cuda:{index}" for index in reversed(range(torch.cuda.device_count()))]
    conv1d = [Conv1d(d, layout) for d in devices for layout in ("rows", "channels", "strided")]
    scan = [Scan(d, length) for d in devices for length in (300, 2100)]
    for works, module in ((conv1d, causal_conv1d_cuda), (scan, selective_scan_cuda)):
        check_current_device(works, module)
        check_streams(works, module)
        check_threads(works, module)
    check_functions()
    for line in failures:
        print("wrong:", line)
    print(f"devices: {torch.cuda.device_count()} GPUs, {checks} comparisons, {len(failures)} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
