"""How a check script talks to `ssmend verify`: one JSON object a line on standard output.

{"step": "..."}                      what is about to run; names the place where a crash happened
{"check": ..., "state": "ok" | "wrong" | "failed" | "not-checked", ...}    one result

Whatever the packages print goes to standard error instead. A NaN or an infinity is an infinite
error, and an error that is no number never passes.
"""

import contextlib
import json
import math
import os
import sys
import time
import traceback

_lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

DEVICE = os.environ.get("SSMEND_CHECK_DEVICE", "cuda")


def _say(**fields):
    _lines.write(json.dumps(fields) + "\n")
    _lines.flush()


def ok(name, compared, seconds, error=None, limit=None):
    _say(check=name, state="ok", compared=compared, seconds=seconds, error=error, limit=limit)


def failed(name, reason, seconds=0.0):
    _say(check=name, state="failed", reason=reason, seconds=seconds)


def not_checked(name, reason, gpu_is_missing=False):
    _say(check=name, state="not-checked", reason=reason, gpu_is_missing=gpu_is_missing)


@contextlib.contextmanager
def step(name):
    """Runs one check; an exception in it is its result and the next one still runs."""
    _say(step=name)
    begin = time.perf_counter()
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        place = traceback.extract_tb(error.__traceback__)[-1]
        failed(name, f"{text} ({place.filename}:{place.lineno})", time.perf_counter() - begin)


def gpu_missing():
    """Why nothing can be computed where asked; None where it can."""
    import torch

    torch.set_num_threads(1)  # the references are many tiny steps; more threads only wait
    torch.backends.cudnn.allow_tf32 = False  # its convolutions would be off by 1e-3
    torch.backends.cuda.matmul.allow_tf32 = False
    if DEVICE != "cuda" or torch.cuda.is_available():
        return None
    return "torch was built without CUDA" if torch.version.cuda is None else "torch sees no GPU"


class Comparison:
    """Outputs and gradients of one case, compared with the reference one by one; `report` says
    the worst of them relative to its limit, and where its first bad element is."""

    def __init__(self, name):
        self.name, self.begin, self.parts = name, time.perf_counter(), []

    def add(self, part, found, expected, limit):
        self.parts.append((part, found, expected, limit))

    def report(self, case):
        import reference

        measured = []
        for part, found, expected, limit in self.parts:
            error, _ = reference.worst(found, expected)
            measured.append((error / limit, error, limit, part, found, expected))
        seconds = time.perf_counter() - self.begin
        if not measured:
            failed(self.name, "nothing was compared", seconds)
            return
        measured.sort(key=lambda row: -row[0] if row[0] == row[0] else -math.inf)
        ratio, error, limit, part, found, expected = measured[0]
        compared = f"{case}: " + ", ".join(row[0] for row in self.parts)
        if ratio <= 1.0:  # false for a NaN
            ok(self.name, compared, seconds, error, limit)
            return
        index, got, want, bad = first_bad(found, expected, limit)
        _say(check=self.name, state="wrong", compared=compared, seconds=seconds,
             error=None if not math.isfinite(error) else error, limit=limit, case=case, part=part,
             index=index, found=got, expected=want, bad=bad, of=expected.numel(),
             wrong_parts=[row[3] for row in measured if not row[0] <= 1.0])


def first_bad(found, expected, limit):
    """(index, found, expected, how many) of what is further off than limit * the largest value."""
    import torch

    if found.shape != expected.shape:
        return None, f"shape {tuple(found.shape)}", f"shape {tuple(expected.shape)}", None
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    allowed = limit * (float(expected.abs().max()) or 1.0)
    bad = ~((found - expected).abs() <= allowed)
    where = torch.nonzero(bad)
    if len(where) == 0:
        return None, None, None, 0
    index = tuple(int(part) for part in where[0])
    return list(index), repr(float(found[index])), repr(float(expected[index])), len(where)


def run_case(name, case, inputs, function, reference_function, limits, dtype, parts=None):
    """Forward and backward of one function beside its reference, in `dtype` on the device.

    `inputs`: name -> float64 tensor. They are rounded to `dtype` first (names in `parts` keep the
    dtype given there), and the reference gets the rounded values. `limits`: (output, gradients).
    """
    import torch

    comparison = Comparison(name)
    rounded = {key: tensor.to((parts or {}).get(key, dtype)) for key, tensor in inputs.items()}
    here = {key: tensor.to(DEVICE).requires_grad_() for key, tensor in rounded.items()}
    there = {key: tensor.double().requires_grad_() for key, tensor in rounded.items()}
    found, expected = function(here), reference_function(there)
    upstream = torch.randn(expected.shape, dtype=torch.float64,
                           generator=torch.Generator().manual_seed(7)).to(found.dtype)
    comparison.add("output", found, expected, limits[0])
    grads = torch.autograd.grad((found * upstream.to(DEVICE)).sum(), list(here.values()))
    wanted = torch.autograd.grad((expected * upstream.double()).sum(), list(there.values()))
    for key, got, want in zip(here, grads, wanted):
        comparison.add(f"d {key}", got, want, limits[1])
    comparison.report(case)


def main(function):
    """Runs a script's checks; an import that fails is a result, not a traceback."""
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    with step("start"):
        function(*sys.argv[1:])
