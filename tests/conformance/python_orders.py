#!/usr/bin/env python3
"""Extension modules imported by a real Python, in both orders, against `ssmend resolve --program`:
the flagship fault (a provider that only its own package's RUNPATH finds) and its neighbours."""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile

MODULE = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
%(declare)s
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "%(name)s", 0, -1, 0, 0, 0, 0, 0};
PyMODINIT_FUNC PyInit_%(name)s(void) { %(use)s return PyModule_Create(&definition); }
"""

# name -> (function it needs, libraries it is linked with, RUNPATH)
MODULES = {
    "torchlike": ("core_value", ["core"], "$ORIGIN/lib"),
    "extension": ("core_value", ["core"], None),
    "unlinked": ("core_value", [], None),
    "nosoname": ("bare_value", ["bare"], None),
    "barelike": ("bare_value", ["bare"], "$ORIGIN/lib"),
    "wrong": ("core_removed", ["core"], None),
    "plain": (None, [], None),
}


def compile_c(source, output, options):
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", output] + options,
                   input=source.encode(), check=True)


def build(folder, suffix):
    lib = os.path.join(folder, "lib")
    os.makedirs(lib)
    compile_c("int core_value(void) { return 7; }\n", os.path.join(lib, "libcore.so"),
              ["-Wl,-soname,libcore.so"])
    compile_c("int bare_value(void) { return 8; }\n", os.path.join(lib, "libbare.so"), [])
    include = "-I" + sysconfig.get_path("include")
    for name, (function, libraries, runpath) in MODULES.items():
        source = MODULE % {"name": name, "declare": "int %s(void);" % function if function else "",
                           "use": "if (%s() < 0) return NULL;" % function if function else ""}
        options = [include, "-L" + lib, "-Wl,--no-as-needed"] + ["-l" + one for one in libraries]
        if runpath:
            options.append("-Wl,--enable-new-dtags,-rpath," + runpath)
        compile_c(source, os.path.join(folder, name + suffix), options)


def really_imports(order, folder):
    """The verdict for the last of `order`; the earlier ones may fail, as in a user's session."""
    program = ("import sys\nsys.path.insert(0, %r)\n" % folder
               + "".join("try:\n  import %s\nexcept ImportError: pass\n" % n for n in order[:-1])
               + "import %s\n" % order[-1])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return done.returncode == 0, done.stderr.strip().splitlines()[-1:] or [""]


def ssmend_says(ssmend, order, folder, suffix):
    command = [ssmend, "resolve", "--json", "--program", sys.executable]
    for name in order[:-1]:
        command += ["--loaded", os.path.join(folder, name + suffix)]
    command.append(os.path.join(folder, order[-1] + suffix))
    done = subprocess.run(command, capture_output=True, text=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ssmend", required=True)
    arguments = parser.parse_args()
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if shutil.which("gcc") is None or not os.path.exists(header):
        print("SKIP: gcc or Python.h is not installed")
        return 77
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    folder = tempfile.mkdtemp(prefix="ssmend-orders-")
    wrong = loads = asked = 0
    try:
        build(folder, suffix)
        orders = [(name,) for name in MODULES] + list(itertools.permutations(MODULES, 2))
        orders.append(("extension", "torchlike", "extension"))  # failed, provider, tried again
        for order in orders:
            real, error = really_imports(order, folder)
            answer = ssmend_says(arguments.ssmend, order, folder, suffix)
            asked += 1
            loads += real
            same_words = real or answer["reason"].split(": ", 1)[-1] in error[0]
            if real != answer["loads"] or not same_words:
                wrong += 1
                print("difference: import %s: real %s (%s), ssmend %s (%s)" % (
                    ", ".join(order), real, error[0], answer["loads"], answer["reason"]))
        print("python %d.%d: %d import orders (%d load), %d differences" % (
            sys.version_info[0], sys.version_info[1], asked, loads, wrong))
        return 1 if wrong else 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
