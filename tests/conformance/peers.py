"""Verdicts of other tools on the same trees, where they are installed: ldd -r (the loader itself,
without running the program), lddtree (pax-utils) and libtree."""

import shutil
import subprocess


def run(command, tree):
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "LC_ALL": "C"}
    environment.update(tree.environment)
    try:
        done = subprocess.run(command, cwd=tree.root, env=environment, capture_output=True,
                              text=True, timeout=20, errors="replace")
    except subprocess.TimeoutExpired:
        return None
    return done


def verdicts(tree):
    program = "./" + tree.program
    found = {}
    ldd = run(["ldd", "-r", program], tree)
    if ldd is not None:
        text = ldd.stdout + ldd.stderr
        found["ldd -r"] = ldd.returncode == 0 and not any(
            mark in text for mark in ("not found", "undefined symbol", "symbol lookup", "error"))
    if shutil.which("lddtree"):
        lddtree = run(["lddtree", program], tree)
        found["lddtree"] = (lddtree is not None and lddtree.returncode == 0
                            and "not found" not in lddtree.stdout + lddtree.stderr
                            and "None" not in lddtree.stdout)
    if shutil.which("libtree"):
        libtree = run(["libtree", program], tree)
        found["libtree"] = libtree is not None and libtree.returncode == 0
    return found
