"""The scan modules against a float64 reference on a GPU, forward and backward, with fresh inputs and
poisoned memory, one option varied at a time.

    python scan_correctness.py FOLDER_OF_MODULES [--quick] [--only WORD]
"""

import argparse
import os
import sys
import time

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scan_common import DTYPES, Inputs, error, load_ours, poison, reference

# Relative norms: float32 sums; half and bfloat16 are bounded by the rounding of the results.
LIMITS = {"f32": 2e-5, "f16": 1.5e-3, "bf16": 1.2e-2}
BASE = dict(batch=2, dim=96, length=372, states=16)
FULL = dict(batch=8, dim=1536, length=200, states=16)  # fills an H100: the sequential kernel


def cases(quick):
    yield "base", BASE
    yield "full", FULL
    yield "long", dict(BASE, dim=8, length=5000)
    if quick:
        for length in (49, 64, 196, 784, 4099):
            yield f"single quick {length}", dict(BASE, dim=24, length=length, states=1, groups=2)
        return
    for length in (1, 2, 31, 32, 33, 64, 127, 128, 129, 256, 257, 1024, 2047, 2048, 2049, 4096):
        yield f"length {length}", dict(BASE, dim=24, length=length)
        if length < 300:
            yield f"full length {length}", dict(FULL, length=length)
    for states in (1, 2, 3, 4, 5, 8, 15, 17, 32, 64, 100, 128, 255, 256):
        yield f"states {states}", dict(BASE, dim=40, length=130, states=states)
    for states in (1, 8, 24, 64, 128):
        yield f"full states {states}", dict(FULL, batch=4, dim=3072, length=70, states=states)
    for states in (8, 16, 24, 64, 128):
        yield f"whole tiles states {states}", dict(FULL, batch=2, dim=1344, length=96, states=states)
        yield f"whole chunks states {states}", dict(BASE, batch=1, length=4384, states=states)
    for base, name in ((BASE, ""), (FULL, "full ")):
        yield name + "groups", dict(base, groups=4)
        yield name + "padded rows", dict(base, pad=3)
        yield name + "aligned padded rows", dict(base, length=368, pad=8)
        yield name + "no z", dict(base, gate=False)
        yield name + "no D", dict(base, skip=False)
        yield name + "no bias", dict(base, bias=False)
        yield name + "no softplus", dict(base, softplus=False)
        yield name + "nothing", dict(base, gate=False, skip=False, bias=False, softplus=False)
        yield name + "fixed B", dict(base, variable_B=False)
        yield name + "fixed C", dict(base, variable_C=False)
        yield name + "fixed B and C", dict(base, variable_B=False, variable_C=False)
    yield "one channel", dict(BASE, batch=1, dim=1, length=3000)
    yield "batch of one", dict(BASE, batch=1, dim=2048, length=300)
    yield "few states full", dict(FULL, batch=16, dim=1536, length=49, states=2)
    yield "few states long", dict(BASE, dim=4, length=5000, states=2)
    yield from single_cases()
    yield "aligned chunks", dict(BASE, batch=1, dim=1536, length=4160, states=12, groups=2)
    yield "aligned full groups", dict(FULL, dim=1600, length=96, states=9, groups=16)
    yield "length 65536", dict(BASE, batch=1, dim=4, length=65536, states=8)
    for base, name in ((BASE, ""), (FULL, "full ")):
        yield name + "turned", dict(base, turned=True, groups=2)
        yield name + "underflow", dict(base, decay=50.0)


def single_cases():
    """One state: every way a row is shared out, in 16-byte loads and in elements."""
    base = dict(BASE, states=1, groups=4)
    for length in (1, 7, 31, 49, 64, 120, 128, 196, 256, 257, 784, 2048, 2049, 3136, 4096, 4097):
        yield f"single length {length}", dict(base, length=length)
    for length in (49, 64, 196, 784, 3136):
        yield f"single full {length}", dict(base, batch=8, dim=1536, length=length)
    for length in (49, 5000):
        yield f"single long {length}", dict(base, batch=1, dim=8, length=length)
        yield f"single padded {length}", dict(base, length=length, pad=3)
        yield f"single aligned padded {length}", dict(base, length=length // 8 * 8, pad=8)
        yield f"single turned {length}", dict(base, length=length, turned=True)
        yield f"single underflow {length}", dict(base, length=length, decay=50.0)
        yield f"single nothing {length}", dict(
            base, length=length, gate=False, skip=False, bias=False, softplus=False
        )
    yield "single length 65536", dict(base, batch=1, dim=8, length=65536)


def complex_cases(quick):
    yield "complex", dict(BASE, dim=24, is_complex=True)
    if quick:
        return
    for length in (1, 33, 2049):
        yield f"complex length {length}", dict(BASE, dim=8, length=length, is_complex=True)
    for states in (1, 5, 64):
        yield f"complex states {states}", dict(BASE, dim=8, states=states, is_complex=True)
    yield "complex groups", dict(BASE, dim=24, groups=4, is_complex=True)
    yield "complex fixed B", dict(BASE, dim=24, variable_B=False, is_complex=True)
    yield "complex fixed C", dict(BASE, dim=24, variable_C=False, is_complex=True)
    # Not too long a memory: what a float32 rotation is off by adds up over it.
    yield "complex length 65536", dict(
        BASE, batch=1, dim=2, length=65536, states=4, is_complex=True, decay=20.0
    )
    yield "complex many channels", dict(BASE, dim=1536, length=70, is_complex=True)
    yield "complex padded", dict(BASE, dim=24, pad=5, is_complex=True)
    yield "complex turned", dict(BASE, dim=24, turned=True, groups=2, is_complex=True)
    yield "complex underflow", dict(BASE, dim=24, decay=50.0, is_complex=True)
    yield "complex states 256", dict(BASE, dim=8, length=140, states=256, is_complex=True)
    yield "complex nothing", dict(
        BASE, dim=24, is_complex=True, gate=False, skip=False, bias=False, softplus=False
    )


def run(module, name, options, dtype, seed):
    inputs = Inputs(dtype=DTYPES[dtype], seed=seed, **options)
    out, gated, last, gradients = reference(inputs)
    poison(64)
    results = inputs.forward(module)
    found = {"out": (results[0], out), "state": (results[1][:, :, -1, 1::2], last)}
    if inputs.z is not None:
        found["out_z"] = (results[2], gated)
    poison(64)
    back = inputs.backward(module, results[1], results[0], recompute=inputs.z is not None)
    order = ["u", "delta", "A", "B", "C", "D", "delta_bias", "z"]
    for key, value in zip(order, back):
        if key in gradients:
            found["d" + key] = (value, gradients[key])
    if inputs.z is not None:
        found["out_z again"] = (back[8], gated)
    limit = LIMITS[dtype]
    wrong = []
    worst = 0.0
    for key, (value, wanted) in found.items():
        value_error = error(value, wanted)
        worst = max(worst, value_error) if value_error == value_error else float("nan")
        # Sums of rounded products have a little more than one rounding.
        bound = limit * (1 if key in ("out", "out_z", "state") else 4)
        if not value_error <= bound:
            wrong.append(f"{key} {value_error:.2e}")
    return worst, wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("SKIP: no CUDA device")
        return 77
    module = load_ours(arguments.folder)
    start = time.time()
    count = failures = 0
    worst = {}
    chosen = list(cases(arguments.quick))
    chosen += list(complex_cases(arguments.quick))
    for seed, (name, options) in enumerate(chosen):
        if arguments.only not in name:
            continue
        for dtype in DTYPES:
            count += 1
            try:
                value, wrong = run(module, name, options, dtype, seed)
            except RuntimeError as reason:
                value, wrong = float("nan"), [str(reason)[:200]]
            worst[dtype] = max(worst.get(dtype, 0.0), value)
            if wrong:
                failures += 1
                print(f"error: {name} {dtype}: {', '.join(wrong)}", flush=True)
    if count == 0:
        print(f"error: no case has {arguments.only!r} in its name")
        return 1
    text = ", ".join(f"{key} {value:.1e}" for key, value in worst.items())
    print(f"{count} cases, {failures} wrong, {time.time() - start:.1f} s; worst errors: {text}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
