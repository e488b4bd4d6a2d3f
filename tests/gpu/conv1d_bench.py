"""Times causal_conv1d_cuda beside upstream's build and a device-to-device copy, in one run.

usage: conv1d_bench.py [--upstream FILE.so] [--only TEXT]
Prints one line a row: time on the GPU, rate (bytes read + written), ratio to the rate of a large
copy and of a copy of the row's own bytes, ratio to upstream. Ours, the copy and upstream take turns.
"""

import argparse
import importlib.util
import os
import statistics
import sys
import time

import torch

import causal_conv1d_cuda as native

REPEATS = 30
NAMES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def load_upstream(path):
    if not path:
        return None
    spec = importlib.util.spec_from_file_location("causal_conv1d_cuda", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def medians(groups):
    """The median time on the GPU of each group of calls, in ms. A group's calls do the same work on
    other tensors; the groups take turns. The GPU is kept busy before each call, so that it never
    waits for the host."""
    for calls in groups:
        for call in calls[:3]:
            call()
    times = [[] for _ in groups]
    for repeat in range(REPEATS):
        for calls, found in zip(groups, times):
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(60_000)
            start.record()
            calls[repeat % len(calls)]()
            stop.record()
            found.append((start, stop))
    torch.cuda.synchronize()
    return [statistics.median(a.elapsed_time(b) for a, b in found) for found in times]


def copy_calls(count, sets):
    """Copies that read and write `count` bytes together."""
    pairs = [torch.empty(2, count // 2, device="cuda", dtype=torch.uint8) for _ in range(sets)]
    return [lambda pair=pair: pair[1].copy_(pair[0]) for pair in pairs]


def copy_rate():
    return (512 << 20) / medians([copy_calls(512 << 20, 1)])[0] / 1e9


def draw(batch, dim, length, dtype, layout):
    if layout == "channels":
        return torch.randn(batch, length, dim, device="cuda", dtype=dtype).transpose(1, 2)
    return torch.randn(batch, dim, length, device="cuda", dtype=dtype)


def sets_for(batch, dim, length, dtype, tensors):
    bytes_each = batch * dim * length * dtype.itemsize * tensors
    return max(2, min(8, -(-(200 << 20) // bytes_each)))


def forward_calls(module, batch, dim, length, dtype, layout):
    weight = torch.randn(dim, 4, device="cuda", dtype=dtype)
    bias = torch.randn(dim, device="cuda", dtype=dtype)
    calls = []
    for _ in range(sets_for(batch, dim, length, dtype, 2)):
        x = draw(batch, dim, length, dtype, layout)
        out = torch.empty_like(x)
        calls.append(lambda x=x, out=out: module.causal_conv1d_fwd(
            x, weight, bias, None, None, out, None, True))
    return calls, 2 * batch * dim * length * dtype.itemsize


def backward_calls(module, batch, dim, length, dtype, layout):
    weight = torch.randn(dim, 4, device="cuda", dtype=dtype)
    bias = torch.randn(dim, device="cuda", dtype=dtype)
    dweight = torch.zeros(dim, 4, device="cuda")
    dbias = torch.zeros(dim, device="cuda")
    calls = []
    for _ in range(sets_for(batch, dim, length, dtype, 3)):
        x, dout = (draw(batch, dim, length, dtype, layout) for _ in range(2))
        dx = torch.empty_like(x)
        calls.append(lambda x=x, dout=dout, dx=dx: module.causal_conv1d_bwd(
            x, weight, bias, dout, None, None, None, dx, dweight, dbias, None, True))
    return calls, 3 * batch * dim * length * dtype.itemsize


SHAPES = [  # name, direction, batch, dim, length, layout
    ("fwd", forward_calls, 8, 4096, 2048, "rows"),
    ("fwd", forward_calls, 2, 2048, 8192, "rows"),
    ("fwd", forward_calls, 8, 4096, 2047, "rows"),
    ("fwd", forward_calls, 64, 384, 196, "rows"),
    ("fwd", forward_calls, 8, 4096, 2048, "channels"),
    ("fwd", forward_calls, 8, 4096, 2047, "channels"),
    ("fwd", forward_calls, 1, 1536, 32768, "channels"),
    ("bwd", backward_calls, 8, 4096, 2048, "rows"),
    ("bwd", backward_calls, 2, 2048, 8192, "rows"),
    ("bwd", backward_calls, 8, 4096, 2047, "rows"),
    ("bwd", backward_calls, 64, 384, 196, "rows"),
    ("bwd", backward_calls, 8, 4096, 2048, "channels"),
    ("bwd", backward_calls, 8, 4096, 2047, "channels"),
]


def bench_shapes(upstream, only):
    rate = copy_rate()
    print(f"copy: {rate:.2f} TB/s")
    for name, make, batch, dim, length, layout in SHAPES:
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            label = f"{name} {batch}x{dim}x{length} {layout} {NAMES[dtype]}"
            if only and only not in label:
                continue
            calls, count = make(native, batch, dim, length, dtype, layout)
            groups = [calls, copy_calls(count, len(calls))]
            if upstream is not None:
                groups.append(make(upstream, batch, dim, length, dtype, layout)[0])
            ours, same, *theirs = medians(groups)
            line = f"{label:38} {ours * 1e3:8.1f} us {count / ours / 1e9:5.2f} TB/s"
            line += f" copy x{count / ours / 1e9 / rate:.2f}, same size x{same / ours:.2f}"
            if theirs:
                line += f"  upstream {theirs[0] * 1e3:8.1f} us  x{theirs[0] / ours:.2f}"
            print(line, flush=True)
            del calls, groups
            torch.cuda.empty_cache()


def update_calls(module, dtype):
    weight = torch.randn(4096, 4, device="cuda", dtype=dtype)
    bias = torch.randn(4096, device="cuda", dtype=dtype)
    calls = []
    for _ in range(20):
        x = torch.randn(64, 4096, 1, device="cuda", dtype=dtype)
        state = torch.randn(64, 4096, 4, device="cuda", dtype=dtype)
        out = torch.empty_like(x)
        calls.append(lambda x=x, state=state, out=out: module.causal_conv1d_update(
            x, state, weight, bias, out, True, None, None))
    return calls


def graph_microseconds(calls):
    calls[0]()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return medians([[graph.replay]])[0] * 1e3 / len(calls)


def bench_update(upstream):
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        ours = graph_microseconds(update_calls(native, dtype))
        line = f"update 64x4096 w4 {NAMES[dtype]} in a graph: {ours:.2f} us"
        if upstream is not None:
            theirs = graph_microseconds(update_calls(upstream, dtype))
            line += f"  upstream {theirs:.2f} us  x{theirs / ours:.2f}"
        print(line, flush=True)


def host_microseconds(call):
    """Time to come back from a call, the GPU far ahead of it: best of 7 runs of 200."""
    best = float("inf")
    for _ in range(7):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(200):
            call()
        best = min(best, (time.perf_counter() - start) / 200 * 1e6)
    torch.cuda.synchronize()
    return best


def upstream_function(upstream, folder):
    """causal_conv1d_fn of the package beside upstream's build, over that build."""
    if upstream is None or not os.path.isdir(os.path.join(folder, "causal_conv1d")):
        return None
    sys.path.insert(0, folder)
    sys.modules["causal_conv1d_cuda"] = upstream
    from causal_conv1d import causal_conv1d_fn

    sys.modules["causal_conv1d_cuda"] = native
    sys.path.remove(folder)
    return causal_conv1d_fn


def bench_host(upstream, folder):
    from ssm_kernels import causal_conv1d_fn, causal_conv1d_update

    x = torch.randn(1, 64, 16, device="cuda", dtype=torch.float16)
    weight, bias = torch.randn(64, 4, device="cuda"), torch.randn(64, device="cuda")
    out, state = torch.empty_like(x), torch.zeros(1, 64, 4, device="cuda", dtype=torch.float16)
    step, step_out = x[:, :, :1].contiguous(), torch.empty(1, 64, 1, device="cuda", dtype=x.dtype)
    trained = weight.clone().requires_grad_()
    rows = []
    for name, module in (("ours", native), ("upstream", upstream)):
        if module is None:
            continue
        rows += [
            (f"{name} causal_conv1d_fwd, 8 arguments", lambda m=module: m.causal_conv1d_fwd(
                x, weight, bias, None, None, out, None, True)),
            (f"{name} causal_conv1d_update, 8 arguments", lambda m=module: m.causal_conv1d_update(
                step, state, weight, bias, step_out, True, None, None)),
        ]
    rows += [
        ("ours causal_conv1d_fwd, 7 arguments (allocates)", lambda: native.causal_conv1d_fwd(
            x, weight, bias, None, None, None, True)),
        ("ssm_kernels.causal_conv1d_fn, no gradient", lambda: causal_conv1d_fn(
            x, weight, bias, activation="silu")),
        ("ssm_kernels.causal_conv1d_fn, autograd", lambda: causal_conv1d_fn(
            x, trained, bias, activation="silu")),
        ("ssm_kernels.causal_conv1d_update", lambda: causal_conv1d_update(
            step, state, weight, bias, "silu")),
        ("torch.empty_like", lambda: torch.empty_like(x)),
    ]
    theirs = upstream_function(upstream, folder)
    if theirs is not None:
        rows += [
            ("upstream causal_conv1d_fn, no gradient", lambda: theirs(
                x, weight, bias, activation="silu")),
            ("upstream causal_conv1d_fn, autograd", lambda: theirs(
                x, trained, bias, activation="silu")),
        ]
    for name, call in rows:
        print(f"host {name}: {host_microseconds(call):.2f} us", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream")
    parser.add_argument("--only")
    options = parser.parse_args()
    upstream = load_upstream(options.upstream)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {REPEATS} runs, medians")
    bench_shapes(upstream, options.only)
    if not options.only:
        bench_update(upstream)
        bench_host(upstream, os.path.dirname(options.upstream or ""))


if __name__ == "__main__":
    main()
