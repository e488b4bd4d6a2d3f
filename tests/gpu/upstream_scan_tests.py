"""Upstream's own scan tests on these modules, with every dtype and option switched on that their
authors left commented out.

    upstream_scan_tests.py FILE SITE UPSTREAM [--mode NAME] [--package] [--native FILE.so]
                           [--original] [--published] [--wide] [--set NAME=VALUE] [--only TEST]
                           [--measure FILE] [--shard I/N] [--limit N] [--seconds S]

FILE: mamba's tests/ops/test_selective_scan.py or tests/ops/triton/test_selective_state_update.py, or
    VMamba's kernels/selective_scan/test_selective_scan.py; SITE: the payload's folder
UPSTREAM: a folder with the Python packages mamba_ssm, causal_conv1d, einops and, where Python has none, pytest
--mode: VMamba's MODE (sscore, ssoflex, mamba_ssm_ssoflex, ...)
--package: this package's functions in place of mamba_ssm's. The decode step has no other way.
--native: upstream's own binary, --original: upstream's own decode step, to see which cases fail
    with those: the references compute in the tested type, and upstream left such cases out
--published: only the options that upstream runs
--wide: the references in float64 and in log2(length) passes (scan_wide.py) in place of upstream's
    loop over the steps in Python, so that all cases can be run
--set: a constant of VMamba's file: NROWS=[1]; --only: one test function of the file
--measure: comparisons do not end a case: the error of each, as a share of what upstream allows, is
    written to FILE by case. A case with a share above 1 counts as failed, as it would without
--shard, --limit, --seconds: the cases in an order that is shuffled (always alike), every Nth from
    the Ith, the first of them, until so many seconds have passed; what was not reached is counted

A commented-out parametrisation of the same name as the one after it, with more values, takes its
place: that is how upstream writes "all of them".
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
import types

PARAMETRIZE = re.compile(r"(# ?)?@pytest\.mark\.parametrize\((['\"])(\w+)\2, \[(.*)\]\)")


def all_options(text):
    """The text with the largest list of values of each run of parametrisations of one name."""
    lines = text.split("\n")
    result = []
    k = 0
    while k < len(lines):
        match = PARAMETRIZE.match(lines[k])
        if not match:
            result.append(lines[k])
            k += 1
            continue
        name, best = match.group(3), None
        while k < len(lines):
            match = PARAMETRIZE.match(lines[k])
            if not match or match.group(3) != name:
                break
            if best is None or match.group(4).count(",") > best.group(4).count(","):
                best = match
            k += 1
        result.append(best.group(0)[len(best.group(1) or "") :])
    return "\n".join(result)


class Sample:
    """Takes a share of the cases, and stops in time."""

    def __init__(self, shard, seconds, limit, gate, only):
        self.limit = limit
        self.gate = gate
        self.only = only
        self.index, self.count = (int(part) for part in shard.split("/"))
        self.end = time.monotonic() + seconds
        self.chosen = self.collected = self.run = 0
        self.outcomes = {}

    def pytest_collection_modifyitems(self, items):
        if not self.gate:  # VMamba's modules take no z, and its test then compares with one that does
            items[:] = [item for item in items if not item.callspec.params.get("has_z")]
        if self.only:
            items[:] = [item for item in items if item.originalname == self.only]
        self.collected = len(items)
        random.Random(1).shuffle(items)
        items[:] = items[self.index :: self.count][: self.limit]
        self.chosen = len(items)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            self.outcomes[report.outcome] = self.outcomes.get(report.outcome, 0) + 1
            if report.outcome == "failed":
                print("failed:", report.nodeid.split("::")[-1], flush=True)

    def pytest_runtest_protocol(self, item):
        if time.monotonic() > self.end:
            item.session.shouldstop = "time"


class Measure:
    """Replaces torch.allclose by its error as a share of its limit; ends a case that has one above 1
    only when all comparisons were made."""

    def __init__(self):
        self.cases = {}

    def pytest_runtest_call(self, item):
        import torch

        shares = self.cases.setdefault(item.name, [])
        allclose = torch.allclose

        def measured(found, wanted, rtol=1e-5, atol=1e-8):
            allclose(found, wanted, rtol=rtol, atol=atol)  # refuses what it refuses
            share = (found - wanted).abs() / (atol + rtol * wanted.abs())
            shares.append(share.nan_to_num(nan=float("inf")).max().item())
            return True

        def run():
            torch.allclose = measured
            try:
                original()
            finally:
                torch.allclose = allclose
            assert max(shares, default=0.0) <= 1.0

        original, item.runtest = item.runtest, run


def prepare(arguments):
    if arguments.native:
        from scan_common import load_module

        name = os.path.basename(arguments.native).partition(".")[0]
        sys.modules[name] = load_module(arguments.native, name)
    # mamba_ssm itself, its imports of models and of transformers aside.
    package = types.ModuleType("mamba_ssm")
    package.__path__ = [os.path.join(arguments.upstream, "mamba_ssm")]
    sys.modules["mamba_ssm"] = package
    if arguments.wide and not arguments.mode:
        # mamba_inner_ref keeps its own scan: its random weights give step sizes of hundreds, and the
        # test asks that both round alike.
        import mamba_ssm.ops.selective_scan_interface as original
        from scan_wide import selective_scan_wide

        original.selective_scan_ref = selective_scan_wide
    if "state_update" in arguments.file and not arguments.original:
        import mamba_ssm.ops.triton.selective_state_update as original
        import ssm_kernels

        original.selective_state_update = ssm_kernels.selective_state_update
    elif arguments.package:
        import mamba_ssm.ops.selective_scan_interface as original
        import ssm_kernels

        original.selective_scan_fn = ssm_kernels.selective_scan_fn
        original.mamba_inner_fn = ssm_kernels.mamba_inner_fn


def main():
    parser = argparse.ArgumentParser()
    for name in ("file", "site", "upstream"):
        parser.add_argument(name)
    parser.add_argument("--mode")
    parser.add_argument("--package", action="store_true")
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--original", action="store_true")
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--native")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--only")
    parser.add_argument("--measure")
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seconds", type=float, default=1e9)
    arguments = parser.parse_args()
    sys.path[:0] = [arguments.site, arguments.upstream]
    import pytest

    with open(arguments.file, encoding="utf-8") as file:
        text = file.read()
    if not arguments.published:
        text = all_options(text)
    if arguments.mode:
        text, count = re.subn(r"(?m)^MODE = .*$", f'MODE = "{arguments.mode}"', text)
        assert count == 1, "one MODE"
        if arguments.wide and not arguments.mode.startswith("mamba_ssm"):
            text += "\nfrom scan_wide import selective_scan_wide as selective_scan_ref\n"
    for setting in arguments.set:
        name = setting.partition("=")[0]
        text, count = re.subn(rf"(?m)^{name} = .*$", setting.replace("=", " = ", 1), text)
        assert count, f"{name} is set somewhere"
    prepare(arguments)
    gate = arguments.mode in (None, "mamba_ssm")
    sample = Sample(arguments.shard, arguments.seconds, arguments.limit, gate, arguments.only)
    measure = Measure()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "test_all_options.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        code = pytest.main(
            ["-q", "--tb=no", "-p", "no:cacheprovider", "--no-header", "-rN", "--color=no", path],
            plugins=[sample, measure] if arguments.measure else [sample],
        )
    if arguments.measure:
        with open(arguments.measure, "w", encoding="utf-8") as file:
            json.dump(measure.cases, file)
    ran = sum(sample.outcomes.values())
    text = ", ".join(f"{count} {name}" for name, count in sorted(sample.outcomes.items()))
    print(f"{os.path.basename(arguments.file)} {arguments.mode or ''} {arguments.shard}: {text};"
          f" {sample.chosen - ran} of this share not reached, {sample.collected} in all", flush=True)
    bad = sample.outcomes.get("failed", 0) or not sample.outcomes.get("passed", 0)
    return 1 if bad or code not in (0, 2) else 0


if __name__ == "__main__":
    sys.exit(main())
