#!/usr/bin/env python3
"""Holds `ssmend resolve --root` against musl's own loader (`ld-musl-x86_64.so.1 --list`) in a root
that has no other: cases_musl.txt, one rule each. `--list` loads a library of another machine too (no
machine is asked for; its relocations then fail), so that is no case here. Exit 1 where there is a difference, 77 where a tool
for it is not installed (Debian, Ubuntu: musl).
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from run import read_cases  # noqa: E402
from tree import Toolchain, Tree  # noqa: E402

LOADER = "/lib/ld-musl-x86_64.so.1"


class MuslToolchain(Toolchain):
    """The loader is not asked to start anything, so the programs need neither libc nor an entry."""

    def __init__(self, work):
        super().__init__("x86_64", work)
        self.loader = LOADER
        self.libc = self.assemble("\t.text\n\t.globl _start\n_start:\tret\n")
        self.start = self.end = []


class MuslTree(Tree):
    def do_path_file(self, words):
        with open(os.path.join(self.system_root, "etc/ld-musl-x86_64.path"), "w") as file:
            file.write("\n".join(self.inside(word) for word in words) + "\n")


def ask_musl(root, tree):
    inside = "/" + os.path.relpath(tree.root, root)

    def enter():
        os.chroot(root)
        os.chdir(inside)

    done = subprocess.run([LOADER, "--list", inside + "/" + tree.program], env=tree.environment,
                          capture_output=True, text=True, check=False, preexec_fn=enter, timeout=60)
    text = done.stdout + done.stderr
    return {"loads": done.returncode == 0,
            "paths": [path for name, path in re.findall(r"^\t(\S+) => (\S+) \(", text, re.M)
                      if os.path.basename(path) != os.path.basename(LOADER)],
            "missing": set(re.findall(r"Error loading shared library ([^:]+): ", text)),
            "undefined": set(re.findall(r"Error relocating \S+: (\S+): symbol not found", text)),
            "text": text}


def ask_ssmend(ssmend, root, tree):
    inside = "/" + os.path.relpath(tree.root, root) + "/"
    command = [ssmend, "resolve", "--json", "--root", root, "--working-directory", inside]
    if "LD_LIBRARY_PATH" in tree.environment:
        command += ["--library-path", tree.environment["LD_LIBRARY_PATH"]]
    done = subprocess.run([*command, inside + tree.program], capture_output=True, text=True,
                          check=False, timeout=60)
    if done.returncode not in (0, 1):
        return {"loads": None, "paths": [], "missing": set(), "undefined": set(),
                "text": done.stderr}
    answer = json.loads(done.stdout)
    return {"loads": answer["loads"],
            "paths": [library["path"] for library in answer["libraries"][1:]
                      if os.path.basename(library["path"]) != os.path.basename(LOADER)],
            "missing": {missing["name"] for missing in answer["missing"]},
            "undefined": {undefined["symbol"] for undefined in answer["undefined"]},
            "text": answer["reason"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ssmend", required=True)
    parser.add_argument("--only")
    arguments = parser.parse_args()
    if os.uname().machine != "x86_64" or not os.path.exists(LOADER):
        print(f"SKIP: no {LOADER} (Debian, Ubuntu: musl)")
        return 77
    if os.geteuid() != 0 or not shutil.which("gcc"):
        print("SKIP: needs gcc, and root for a chroot")
        return 77
    wrong = loads = 0
    here = os.path.dirname(os.path.abspath(__file__))
    cases = [case for case in read_cases(os.path.join(here, "cases_musl.txt"))
             if arguments.only in (None, case[0])]
    with tempfile.TemporaryDirectory(prefix="ssmend-musl-") as work:
        root = os.path.join(os.path.realpath(work), "root")
        for folder in ("lib", "etc"):
            os.makedirs(os.path.join(root, folder))
        shutil.copy(os.path.realpath(LOADER), root + LOADER)
        toolchain = MuslToolchain(os.path.join(work, "objects"))
        for number, (name, text) in enumerate(cases):
            tree = MuslTree(toolchain, os.path.join(root, f"t{number}"), text, root)
            truth, answer = ask_musl(root, tree), ask_ssmend(arguments.ssmend, root, tree)
            loads += truth["loads"]
            for key in ("loads", "paths", "missing", "undefined"):
                if truth[key] != answer[key]:
                    wrong += 1
                    print(f"difference [{key}] {name}: musl {truth[key]}, ssmend {answer[key]}\n"
                          f"    musl: {truth['text'].strip()}\n    ssmend: {answer['text']}")
            if os.path.exists(root + "/etc/ld-musl-x86_64.path"):
                os.unlink(root + "/etc/ld-musl-x86_64.path")
    print(f"musl: {len(cases)} trees ({loads} load), {wrong} differences")
    return 1 if wrong or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
