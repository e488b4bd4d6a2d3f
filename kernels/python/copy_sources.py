"""Copies the device sources for a rebuild on the target, which every platform's payload shares.

    python copy_sources.py KERNELS TARGET

TARGET is made anew; its units.txt is written last. Run by the build; standard library only.
"""

import os
import shutil
import sys

SUFFIXES = (".cu", ".cuh", "params.h")
LAST = "units.txt"


def main():
    kernels, target = sys.argv[1:]
    shutil.rmtree(target, ignore_errors=True)
    for root, _, names in os.walk(kernels):
        for name in names:
            if name.endswith(SUFFIXES):
                to = os.path.join(target, os.path.relpath(root, kernels))
                os.makedirs(to, exist_ok=True)
                shutil.copyfile(os.path.join(root, name), os.path.join(to, name))
    shutil.copyfile(os.path.join(kernels, LAST), os.path.join(target, LAST))


if __name__ == "__main__":
    main()
