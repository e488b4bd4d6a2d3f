"""The decode step against mamba_ssm's Triton kernel, in one run on one GPU.

    scan_update_benchmark.py FOLDER_OF_MODULES MAMBA_SSM_FOLDER

In a graph of 32 steps over rotating inputs: device time alone; `call`: host time of one eager call,
through each package's Python function. `GB/s`: the state read and written, over ours.
"""

import os
import statistics
import sys
import time
import types

import torch

SHAPES = [  # batch, heads, dim, states, groups; heads 0: Mamba's first version
    (1, 0, 1536, 16, 1),
    (1, 0, 5120, 16, 1),
    (64, 0, 4096, 16, 1),
    (256, 0, 5120, 16, 1),
    (1, 24, 64, 128, 1),
    (64, 80, 64, 128, 1),
    (128, 80, 64, 64, 8),
]
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
STEPS = 32


def make(shape, dtype, seed):
    batch, heads, dim, states, groups = shape
    generator = torch.Generator("cuda").manual_seed(seed)

    def randn(*sizes, dtype=dtype):
        return torch.randn(*sizes, generator=generator, device="cuda").to(dtype)

    wide = torch.float32
    if not heads:
        A = -torch.rand(dim, states, generator=generator, device="cuda") - 0.1
        tensors = [randn(batch, dim, states), randn(batch, dim), randn(batch, dim), A]
        tensors += [randn(batch, states), randn(batch, states), randn(dim, dtype=wide)]
        return tensors + [randn(batch, dim), randn(dim, dtype=wide)]
    A = (-torch.rand(heads, generator=generator, device="cuda") - 0.1)[:, None, None]
    tensors = [randn(batch, heads, dim, states), randn(batch, heads, dim)]
    tensors += [randn(batch, heads)[..., None].expand(-1, -1, dim), A.expand(-1, dim, states)]
    tensors += [randn(batch, groups, states), randn(batch, groups, states)]
    tensors += [randn(heads, dtype=wide)[:, None].expand(-1, dim), randn(batch, heads, dim)]
    return tensors + [randn(heads, dtype=wide)[:, None].expand(-1, dim)]


def call(function, tensors):
    state, x, dt, A, B, C, D, z, bias = tensors
    return function(state, x, dt, A, B, C, D, z, bias, True)


def device_time(function, sets):
    call(function, sets[0])
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream()
    with torch.cuda.graph(graph, stream=stream):
        for k in range(STEPS):
            call(function, sets[k % len(sets)])
    times = []
    for _ in range(12):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        graph.replay()
        after.record()
        torch.cuda.synchronize()
        times.append(before.elapsed_time(after) * 1000 / STEPS)
    return statistics.median(times[2:])


def host_time(function, tensors):
    for _ in range(20):
        call(function, tensors)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(300):
        call(function, tensors)
    spent = (time.perf_counter() - start) / 300 * 1e6
    torch.cuda.synchronize()
    return spent


def main():
    if not torch.cuda.is_available():
        print("SKIP: no CUDA device")
        return 77
    folder, upstream = (os.path.abspath(path) for path in sys.argv[1:3])
    sys.path[:0] = [folder, upstream]
    package = types.ModuleType("mamba_ssm")  # without its imports of models
    package.__path__ = [os.path.join(upstream, "mamba_ssm")]
    sys.modules["mamba_ssm"] = package
    from mamba_ssm.ops.triton.selective_state_update import selective_state_update as theirs
    from ssm_kernels import selective_state_update as ours

    print(torch.cuda.get_device_name(0))
    for shape in SHAPES:
        for name, dtype in DTYPES.items():
            size = torch.tensor([], dtype=dtype).element_size()
            state_bytes = shape[0] * max(shape[1], 1) * shape[2] * shape[3] * size
            sets = [make(shape, dtype, k) for k in range(max(1, min(8, (100 << 20) // state_bytes)))]
            found, wanted = [t.clone() for t in sets[0]], [t.clone() for t in sets[0]]
            out, expected = call(ours, found).float(), call(theirs, wanted).float()
            differs = ((out - expected).norm() / expected.norm()).item()
            if not differs < 2e-2:
                print(f"error: {shape} {name}: the two differ by {differs:.1e}")
                return 1
            a, b = device_time(ours, sets), device_time(theirs, sets)
            print(
                f"{str(shape):24} {name:4} ours {a:7.2f} us  triton {b:7.2f} us  ratio {b / a:5.2f}"
                f"  {2 * state_bytes / a / 1e3:5.0f} GB/s",
                flush=True,
            )
    tensors = make(SHAPES[0], torch.float16, 0)
    print(f"call: ours {host_time(ours, tensors):.1f} us, triton {host_time(theirs, tensors):.1f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
