"""The cases of e2e_environment.sh: each in a virtual environment of its own over the machine's
torch, several at a time. Everything is printed as it happens, so that a run that is cut short has
told what it saw."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile

from e2e_case import (ABSENT_LIBRARY, BOTH, NO_PACKAGE, UPSTREAM, VISION, WRONG_MACHINE,
                      Case)

CASES = [  # (mamba_ssm, how causal_conv1d's extension is), those that tell most first
    ("2.2.4", BOTH), (VISION, "kernels installed alone"), ("2.2.4", NO_PACKAGE),
    ("2.3.2.post1", NO_PACKAGE), ("2.2.4", UPSTREAM), ("2.2.4", "missing"),
    ("2.3.2.post1", "missing"), ("1.2.0", "missing"), ("2.0.4", "missing"), ("2.2.2", "missing"),
    ("2.2.6.post3", "missing"), ("2.2.4", WRONG_MACHINE), ("2.2.4", ABSENT_LIBRARY),
]


def unpack_wheels(packed, to):
    """Wheel file name -> its unpacked folder; the environments get hard links to the files."""

    def unpack(wheel):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(to / wheel.stem)
        return wheel.name, to / wheel.stem

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return dict(pool.map(unpack, sorted((packed / "wheels").glob("*.whl"))))


def table(rows):
    for row in rows:
        print(f"\n{row['case']}  ({row['seconds']:.0f} s)")
        for kind, text in row.get("before", {}).items():
            print(f"  before   {kind}: {text[:200]}")
        if "findings" in row:
            print(f"  findings {', '.join(row['findings'])}")
        if "repair_s" in row:
            print(f"  repair   {row['repair_s']:.2f} s")
        if "verify_s" in row:
            print(f"  verify   {row['verify_s']:.1f} s: {row['ok']} ok, "
                  f"{row['not_checked']} not checked")
        for line in row.get("skipped", []):
            print(f"           {line}")
        if "failure" in row:
            print(f"  FAILED   {row['failure']}")
    worst = {}
    for row in rows:
        for check in row.get("checks", []):
            if check["limit"]:
                name = check["check"]
                worst[name] = max(worst.get(name, (0, 0)), (check["error"], check["limit"]))
    print("\nlargest error of each check over all cases")
    for name, (error, limit) in sorted(worst.items()):
        print(f"  {name:<52} {error:.1e} of {limit:.1e}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--packed", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=pathlib.Path, default=None)
    parser.add_argument("--seconds", type=float, default=550, help="what is not done then is told")
    parser.add_argument("--rows", type=pathlib.Path, help="the rows as JSON, as they come")
    parser.add_argument("--dry", action="store_true", help="no GPU: all but the computing")
    parser.add_argument("cases", nargs="*", help="substrings of case names")
    options = parser.parse_args()
    begin = time.monotonic()
    options.deadline = begin + options.seconds
    options.work = options.work or pathlib.Path(tempfile.mkdtemp(prefix="ssmend-e2e-"))
    with tarfile.open(options.packed) as packed:
        packed.extractall(options.work / "packed")
    options.packed = options.work / "packed"
    options.wheels = unpack_wheels(options.packed, options.work / "unpacked")
    print(f"unpacked in {time.monotonic() - begin:.1f} s", flush=True)
    has_upstream = (options.packed / "upstream" / "causal_conv1d_cuda.so").exists()
    needs_upstream = (UPSTREAM, WRONG_MACHINE, ABSENT_LIBRARY)
    has_scan = (options.packed / "upstream" / "selective_scan_cuda.so.xz").exists()
    cases = [Case(options, version, extension) for version, extension in CASES
             if (has_upstream or extension not in needs_upstream)
             and (has_scan and has_upstream or extension != BOTH)]
    if options.cases:
        cases = [case for case in cases if any(part in case.name for part in options.cases)]
    os.environ.setdefault("TRITON_CACHE_DIR", str(options.work / "triton"))
    rows = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(case.attempt) for case in cases]):
            rows.append(done.result())
            if options.rows:
                options.rows.write_text(json.dumps(rows, indent=1))
    table(rows)
    failed = sum("failure" in row for row in rows)
    print(f"\n{len(rows)} cases, {failed} failed, {time.monotonic() - begin:.0f} s")
    shutil.rmtree(options.work, ignore_errors=True)
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
