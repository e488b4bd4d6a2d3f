"""The selective scan's speed against mamba's own binary, in one run on one GPU.

    python scan_benchmark.py FOLDER_OF_MODULES UPSTREAM.so [--set NAME] [--only WORD] [--json FILE]

Times are medians of device time between two events, with the host's work hidden behind a sleeping
kernel and the inputs rotated beyond the cache. `exp` is the share of the exponential unit's rate
(16 a clock and multiprocessor) that batch * dim * length * states forward exponentials need;
`bytes` the share of the rate of a device-to-device copy, measured first, at which every input would
be read and every output written once.
"""

import argparse
import json
import os
import statistics
import sys

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scan_common import DTYPES, Inputs, load_module, load_ours

SETS = {
    "main": [
        (8, 2048, 2048, 16, 1),
        (1, 2048, 8192, 16, 1),
        (8, 1536, 1024, 16, 1),
        (64, 384, 196, 16, 1),
        (64, 384, 192, 16, 1),
        (1, 256, 2048, 16, 1),
        (1, 1536, 2048, 16, 1),
        (2, 1536, 4096, 16, 1),
    ],
    "states": [(2, 2048, 2048, 64, 1), (2, 2048, 2048, 128, 1), (8, 2048, 2048, 8, 1)],
    "vmamba": [
        (batch, 4 * channels, length, states, 4)
        for states in (1, 16)
        for batch in (1, 8, 64)
        for channels, length in ((96, 3136), (192, 784), (384, 196), (768, 49))
    ],
}
CACHE_BYTES = 128 << 20


def input_sets(shape, dtype, gate):
    batch, dim, length, states, groups = shape
    size = torch.tensor([], dtype=dtype).element_size()
    bytes_each = (4 + 2 * gate) * batch * dim * length * size
    count = max(1, min(8, CACHE_BYTES // bytes_each + 1))
    return [
        Inputs(batch, dim, length, states, dtype, groups=groups, gate=gate, seed=seed)
        for seed in range(count)
    ]


def time_calls(calls, rounds, per_round):
    """Median microseconds of one call."""
    for call in calls[:2]:
        call()
    torch.cuda.synchronize()
    times = []
    k = 0
    for _ in range(rounds):
        torch.cuda._sleep(1_500_000)
        events = []
        for _ in range(per_round):
            before = torch.cuda.Event(enable_timing=True)
            after = torch.cuda.Event(enable_timing=True)
            before.record()
            calls[k % len(calls)]()
            after.record()
            events.append((before, after))
            k += 1
        torch.cuda.synchronize()
        times += [before.elapsed_time(after) * 1000 for before, after in events]
    return statistics.median(times)


def copy_rate():
    """Bytes a second, read and written."""
    source = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2e6 * source.numel() / time_calls([lambda: target.copy_(source)], 3, 10)


def least_bytes(shape, dtype, backward, gate):
    batch, dim, length, states, groups = shape
    size = torch.tensor([], dtype=dtype).element_size()
    rows = (5 + 3 * gate) if backward else (3 + 2 * gate)
    factors = (4 if backward else 2) * batch * groups * states * length
    return size * (rows * batch * dim * length + factors)


def measure(modules, shape, dtype, backward, rounds, gate):
    sets = input_sets(shape, dtype, gate)
    row = {}
    for name, module in modules.items():
        saved = [inputs.forward(module) for inputs in sets]
        if backward:
            calls = [
                lambda i=inputs, s=results: i.backward(module, s[1], s[0])
                for inputs, results in zip(sets, saved)
            ]
        else:
            calls = [lambda i=inputs: i.forward(module) for inputs in sets]
        row[name] = time_calls(calls, rounds, 5 if backward else 10)
        del calls, saved
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("upstream")
    parser.add_argument("--set", default="main")
    parser.add_argument("--only", default="")
    parser.add_argument("--direction", default="both")
    parser.add_argument("--dtypes", default="f32,f16,bf16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-gate", action="store_true")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("SKIP: no CUDA device")
        return 77
    modules = {"ours": load_ours(arguments.folder)}
    if os.path.exists(arguments.upstream):
        modules["upstream"] = load_module(arguments.upstream, "selective_scan_cuda")
    facts = torch.cuda.get_device_properties(0)
    rate = 16 * facts.multi_processor_count * facts.clock_rate * 1e3 if hasattr(
        facts, "clock_rate"
    ) else 16 * facts.multi_processor_count * 1.755e9
    print(f"{facts.name}, {facts.multi_processor_count} multiprocessors, torch {torch.__version__}")
    bytes_a_second = copy_rate()
    print(f"copy {bytes_a_second / 1e12:.2f} TB/s")
    rows = []
    for group in arguments.set.split(","):
        for shape in SETS[group]:
            name = "x".join(str(size) for size in shape[:3]) + f" n{shape[3]} g{shape[4]}"
            if arguments.only not in name:
                continue
            for direction in ("fwd", "bwd"):
                if arguments.direction not in ("both", direction):
                    continue
                for dtype in arguments.dtypes.split(","):
                    row = measure(
                        modules,
                        shape,
                        DTYPES[dtype],
                        direction == "bwd",
                        arguments.rounds,
                        not arguments.no_gate,
                    )
                    batch, dim, length, states, _ = shape
                    row["exp"] = batch * dim * length * states / rate * 1e6 / row["ours"]
                    least = least_bytes(
                        shape, DTYPES[dtype], direction == "bwd", not arguments.no_gate
                    )
                    row["bytes"] = least / bytes_a_second * 1e6 / row["ours"]
                    rows.append(dict(shape=name, direction=direction, dtype=dtype, **row))
                    upstream = row.get("upstream", float("nan"))
                    print(
                        f"{name:24} {direction} {dtype:4} ours {row['ours']:8.1f} us"
                        f"  upstream {upstream:8.1f} us  ratio {upstream / row['ours']:5.2f}"
                        f"  exp {row['exp']:4.2f}  bytes {row['bytes']:4.2f}",
                        flush=True,
                    )
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(dict(gpu=facts.name, rows=rows), file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
