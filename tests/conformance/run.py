#!/usr/bin/env python3
"""Holds `ssmend resolve` against the real ld.so: trees written down in cases.txt, one rule each, and
random ones from seeds. Prints the count of differences by class; exit 1 where there is any, 77 where
the tools for it are not installed."""

import argparse
import collections
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402
import oracle  # noqa: E402
import peers  # noqa: E402
import random_trees  # noqa: E402
from tree import NeedsRoot, Toolchain, Tree  # noqa: E402


def read_cases(path):
    cases, name, lines = [], None, []
    with open(path) as file:
        for line in file:
            if line.startswith("== "):
                if name:
                    cases.append((name, "".join(lines)))
                name, lines = line[3:].strip(), []
            else:
                lines.append(line)
    cases.append((name, "".join(lines)))
    return cases


class Count:
    def __init__(self, show):
        self.trees = 0
        self.loads = 0
        self.skipped = 0
        self.by_class = collections.Counter()
        self.peer_wrong = collections.Counter()
        self.peer_asked = collections.Counter()
        self.show = show

    def judge(self, name, tree, runner, arguments):
        truth = (oracle.ask_open if tree.opened else oracle.ask_start)(runner, tree)
        answer = compare.ask_ssmend(arguments.ssmend, runner, tree)
        self.trees += 1
        self.loads += truth.loads
        for kind, text in compare.differences(truth, answer, tree):
            self.by_class[kind] += 1
            if self.show > 0:
                self.show -= 1
                print("difference [%s] %s: %s" % (kind, name, text))
        if arguments.peers and not tree.opened and runner.root is None:
            for peer, verdict in peers.verdicts(tree).items():
                self.peer_asked[peer] += 1
                self.peer_wrong[peer] += verdict != truth.loads

    def print(self, title):
        classes = ", ".join("%s %d" % (kind, self.by_class[kind]) for kind in compare.CLASSES)
        skipped = ", %d need --root" % self.skipped if self.skipped else ""
        print("%s: %d trees (%d load%s), differences: %s" % (title, self.trees, self.loads, skipped,
                                                             classes))
        for peer in sorted(self.peer_asked):
            print("  %s: %d of %d verdicts wrong" % (peer, self.peer_wrong[peer],
                                                     self.peer_asked[peer]))


def run_trees(title, named_texts, toolchain, arguments, work, root=None, emulator=None):
    count = Count(arguments.show)
    runner = oracle.Runner(toolchain, root, emulator)
    for number, (name, text) in enumerate(named_texts):
        folder = os.path.join(root or work, "t%d" % number)
        try:
            tree = Tree(toolchain, folder, text, root)
        except NeedsRoot:
            count.skipped += 1
            continue
        count.judge(name, tree, runner, arguments)
        if root and os.path.exists(os.path.join(root, "etc/ld.so.cache")):
            os.unlink(os.path.join(root, "etc/ld.so.cache"))
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    count.print(title)
    return sum(count.by_class.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ssmend", required=True)
    parser.add_argument("--cases", default=os.path.join(os.path.dirname(__file__), "cases.txt"))
    parser.add_argument("--only", help="only the case of this name")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--aarch64", action="store_true", help="under qemu-aarch64 in a chroot")
    parser.add_argument("--root", action="store_true", help="in a chroot with its own ld.so.cache")
    parser.add_argument("--peers", action="store_true", help="count ldd, lddtree and libtree too")
    parser.add_argument("--show", type=int, default=20, help="differences to print")
    parser.add_argument("--keep", help="leave the trees in this folder")
    arguments = parser.parse_args()
    arguments.ssmend = os.path.abspath(arguments.ssmend)

    machine = "aarch64" if arguments.aarch64 else os.uname().machine
    prefix = "aarch64-linux-gnu-" if arguments.aarch64 else ""
    emulator = shutil.which("qemu-aarch64-static") if arguments.aarch64 else None
    for tool in (prefix + "gcc", prefix + "ld"):
        if shutil.which(tool) is None:
            print("SKIP: %s is not installed" % tool)
            return 77
    chroot = arguments.aarch64 or arguments.root
    if chroot and os.geteuid() != 0:
        print("SKIP: a chroot needs root")
        return 77
    if arguments.aarch64 and emulator is None:
        print("SKIP: qemu-aarch64-static is not installed")
        return 77

    work = arguments.keep or tempfile.mkdtemp(prefix="ssmend-conformance-")
    work = os.path.realpath(work)
    root = os.path.join(work, "root") if chroot else None
    try:
        toolchain = Toolchain(machine, os.path.join(work, "objects"))
        inside = oracle.make_root(toolchain, root, emulator) if chroot else None
        wrong = 0
        cases = [case for case in read_cases(arguments.cases) if arguments.only in (None, case[0])]
        wrong += run_trees("cases", cases, toolchain, arguments, work, root, inside)
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        if arguments.only is None:
            trees = (("seed %d" % seed, random_trees.text(seed)) for seed in seeds)
            wrong += run_trees("random", trees, toolchain, arguments, work, root, inside)
        return 1 if wrong else 0
    finally:
        if root:
            oracle.drop_root(root)
        if not arguments.keep:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
