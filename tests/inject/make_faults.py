"""Real wrong kernels for `ssmend verify --inject`: each fault of faults.json is an edit of the
kernels' own source, compiled as its unit is and entered with the right unit's source hash, so that
the library takes it from local_images.pack in place of its own image.

    make_faults.py --check KERNELS    every edit still finds its place, every unit has a fault
    make_faults.py KERNELS --compiler SSM_COMPILE --nvrtc FILE --arch NAME --images FOLDER
                   --to FOLDER                            (--images: the library's own packs)

Writes FOLDER/<fault>.pack and FOLDER/faults.json. Standard library only.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HASH_OFFSET, HASH_BYTES = 72, 8  # of source_hash in a pack's header (kernels/core/pack.h)


def edited(text, edit, where):
    """The text with one edit; `count` 0: every place, at least one."""
    found, wanted = text.count(edit["find"]), edit.get("count", 1)
    if found == 0 or (wanted and found != wanted):
        raise SystemExit(f"{where}: {found} places with {edit['find']!r}, expected "
                         f"{wanted or 'at least one'}")
    return text.replace(edit["find"], edit["replace"])


def apply(fault, kernels, into):
    """Edits copies under `into` (None: only checks)."""
    for edit in fault["edits"]:
        source = (kernels if into is None else into) / edit["file"]
        text = edited(source.read_text(encoding="utf-8"), edit, f"{fault['name']}: {edit['file']}")
        if into is not None:
            source.write_text(text, encoding="utf-8")


def compile_unit(options, kernels, fault, pack):
    subprocess.run([options.compiler, "--nvrtc", options.nvrtc, "--kernels", kernels, "--arch",
                    options.arch, "--output", pack, fault["unit"]], check=True)
    return bytearray(pack.read_bytes())


def make(options, fault):
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch) / "kernels"
        shutil.copytree(options.kernels, copy)
        apply(fault, options.kernels, copy)
        wrong = compile_unit(options, copy, fault, pathlib.Path(scratch) / "wrong.pack")
    right = next(options.images.glob(f"{pathlib.Path(fault['unit']).stem}.*.pack")).read_bytes()
    place = slice(HASH_OFFSET, HASH_OFFSET + HASH_BYTES)
    if wrong[place] == right[place]:
        raise SystemExit(f"{fault['name']}: the edit is not in what {fault['unit']} is made of")
    wrong[place] = right[place]
    (options.to / f"{fault['name']}.pack").write_bytes(wrong)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kernels", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--compiler")
    parser.add_argument("--nvrtc")
    parser.add_argument("--arch")
    parser.add_argument("--images", type=pathlib.Path)
    parser.add_argument("--to", type=pathlib.Path)
    options = parser.parse_args()
    table = pathlib.Path(__file__).with_name("faults.json")
    faults = json.loads(table.read_text(encoding="utf-8"))["faults"]
    if options.check:
        lost = 0
        for fault in faults:
            try:
                apply(fault, options.kernels, None)
            except SystemExit as reason:
                print(reason)
                lost += 1
        print(f"{len(faults) - lost} of {len(faults)} faults find their places")
        lines = (options.kernels / "units.txt").read_text(encoding="utf-8").splitlines()
        units = {line for line in lines if line and not line.startswith("#")}
        bare = sorted(units - {fault["unit"] for fault in faults})
        print(f"units without a fault: {', '.join(bare) or 'none'}")
        return 1 if lost or bare else 0
    options.to.mkdir(parents=True, exist_ok=True)
    for old in options.to.glob("*.pack"):
        old.unlink()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda fault: make(options, fault), faults))
    shutil.copy(table, options.to / "faults.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
