"""Every mamba_ssm release against every causal-conv1d release: what works as published and what
works after the patch, forward and backward, on the CPU in double precision (pair.py).

  matrix.py DRIVER RULES SOURCES [--mamba VERSION ...] [--conv VERSION ...] [--json FILE]

SOURCES/mamba/<version>/mamba_ssm and SOURCES/conv/<version>/causal_conv1d are the released sources
(fetch_sources.py). Releases with the same files share one run; the counts are of releases.
"""
import argparse
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import torch

import pair

# First release of every contract, by the table of call contracts (read from the sources).
FIRST = [((1, 0), "A"), ((1, 1), "B"), ((1, 2), "C"), ((1, 4), "D"), ((1, 5), "E"), ((1, 5, 1), "F")]


def numbers(version):
    return [int(n) for n in re.findall(r"\d+", version)]


def contract_of(version):
    plain = numbers(version.split(".post")[0])
    return [letter for first, letter in FIRST if plain[:3] >= list(first)][-1]


def fingerprint(folder):
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        if path.name == "__init__.py":
            content = re.sub(rb"__version__ = .*", b"", content)
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + content)
    return digest.hexdigest()


# Broken in themselves: 2.0.0 imports a package `src`, 2.0.1 and 2.0.2 lack a file.
BROKEN = {"2.0.0", "2.0.1", "2.0.2"}


def run_patch(driver, rules, letter, mamba, conv, scratch, *facts):
    site = pathlib.Path(tempfile.mkdtemp(dir=scratch))
    shutil.copytree(mamba / "mamba_ssm", site / "mamba_ssm")
    shutil.copytree(conv / "causal_conv1d", site / "causal_conv1d")
    result = subprocess.run([driver, rules, letter, site, "torch=2.11", *facts], capture_output=True, text=True)
    states = [line.split(" ", 2) for line in result.stdout.splitlines()]
    if result.returncode != 0:
        raise SystemExit(f"patch driver: {result.stderr}")
    return site, states


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("rules")
    parser.add_argument("sources", type=pathlib.Path)
    parser.add_argument("--mamba", nargs="*")
    parser.add_argument("--conv", nargs="*")
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)

    def versions(kind, wanted):
        found = sorted((p.name for p in (options.sources / kind).iterdir()), key=numbers)
        return [v for v in found if not wanted or v in wanted]

    mambas, convs = versions("mamba", options.mamba), versions("conv", options.conv)
    if not mambas or not convs:
        raise SystemExit("no sources")
    cache = {}
    table = []
    with tempfile.TemporaryDirectory() as scratch:
        for mamba_version in mambas:
            mamba = options.sources / "mamba" / mamba_version
            for conv_version in convs:
                conv = options.sources / "conv" / conv_version
                letter = contract_of(conv_version)
                key = (fingerprint(mamba / "mamba_ssm"), fingerprint(conv / "causal_conv1d"), letter)
                if key not in cache:
                    before = pair.run(str(mamba), str(conv), letter)
                    site, states = run_patch(options.driver, options.rules, letter, mamba, conv,
                                             scratch)
                    after = pair.run(str(site), None, letter, ["groups"])
                    cache[key] = (before, after, states)
                    shutil.rmtree(site)
                table.append((mamba_version, conv_version, letter) + cache[key])

    report(table, mambas, convs)
    blocked = check_blockers(options, mambas, convs)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(table, indent=1))
    wrong = [row for row in table if row[4] and row[0] not in BROKEN]
    made_worse = [row for row in table if row[4] and not row[3]]
    sys.exit(1 if wrong or made_worse or blocked else 0)


def check_blockers(options, mambas, convs):
    """mamba_ssm's other blockers with the newest causal-conv1d: no Triton, transformers 5."""
    failures = 0
    conv_version = convs[-1]
    letter = contract_of(conv_version)
    conv = options.sources / "conv" / conv_version
    done = set()
    with tempfile.TemporaryDirectory() as scratch:
        for mamba_version in mambas:
            mamba = options.sources / "mamba" / mamba_version
            key = fingerprint(mamba / "mamba_ssm")
            if mamba_version in BROKEN or key in done:
                continue
            done.add(key)
            site, _ = run_patch(options.driver, options.rules, letter, mamba, conv, scratch,
                                "transformers=5.0.0")
            for blocker in ("no-triton", "removed-names"):
                before = pair.run(str(mamba), str(conv), letter, [blocker])
                after = pair.run(str(site), None, letter, [blocker])
                print(f"{mamba_version:>14} {blocker:14} before: {(before or 'right')[:70]}; "
                      f"after: {after or 'right'}")
                failures += 1 if after else 0
    return failures


def report(table, mambas, convs):
    print("rows: mamba_ssm, columns: causal-conv1d; + works as published, o works after the patch, "
          "x does not")
    for version in mambas:
        row = [r for r in table if r[0] == version]
        marks = "".join("x" if r[4] else ("o" if r[3] else "+") for r in row)
        print(f"{version:>14} {marks}")
    print("contracts      " + "".join(r[2] for r in table[:len(convs)]))
    published = sum(1 for r in table if not r[3])
    after = sum(1 for r in table if not r[4])
    print(f"{len(table)} pairs ({len(mambas)} x {len(convs)}): {published} work as published, "
          f"{after} after the patch")
    reasons = {}
    for row in table:
        if row[4]:
            reasons.setdefault(row[4], []).append(f"{row[0]} with {row[1]}")
    for reason, pairs in reasons.items():
        print(f"  {len(pairs)} fail after the patch: {reason} ({pairs[0]})")


if __name__ == "__main__":
    main()
