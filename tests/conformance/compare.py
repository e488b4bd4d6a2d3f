"""`ssmend resolve` on a tree, and where it differs from the truth, by class."""

import json
import os
import subprocess

CLASSES = ("verdict", "reason", "paths", "tried", "undefined")


def ask_ssmend(ssmend, runner, tree):
    command = [ssmend, "resolve", "--json"]
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    prefix = "./"
    if runner.root is None:
        environment.update(tree.environment)
    else:
        command += ["--root", runner.root]
        prefix = "/" + os.path.relpath(tree.root, runner.root) + "/"
        if "LD_LIBRARY_PATH" in tree.environment:
            command += ["--library-path", tree.environment["LD_LIBRARY_PATH"]]
        command += ["--working-directory", prefix]
        prefix = "./"
    if tree.opened:
        command += ["--program", prefix + tree.program]
        for path, is_global in tree.opened[:-1]:
            command += ["--loaded", ("global:" if is_global else "") + path]
        command.append(tree.opened[-1][0])
    else:
        command.append(prefix + tree.program)
    run = subprocess.run(command, env=environment, cwd=tree.root, capture_output=True, text=True,
                         timeout=60)
    if run.returncode not in (0, 1):
        return {"loads": False, "reason": "ssmend: " + run.stderr.strip(), "libraries": [],
                "missing": [], "undefined": [], "versions": [], "crashed": True}
    return json.loads(run.stdout)


def tried_lists(answer):
    return [(missing["name"], [tried["path"] for tried in missing["tried"] if tried["asked"]])
            for missing in answer["missing"] if "/" not in missing["name"]]


def differences(truth, answer, tree):
    """[(class, text)]: empty where everything that the real loader told agrees."""
    found = []
    if answer.get("crashed"):
        return [("verdict", answer["reason"])]
    if truth.loads != answer["loads"]:
        return [("verdict", "real %s (%s), ssmend %s (%s)" % (truth.loads, truth.reason,
                                                              answer["loads"], answer["reason"]))]
    libraries = answer["libraries"][1:]
    if tree.opened and truth.paths is not None:
        # The root is in both; what was loaded before is in neither.
        mine = {library["path"] for library in answer["libraries"]
                if not library["rule"].startswith(("already", "the loader"))}
        if mine != truth.paths:
            found.append(("paths", "real %s, ssmend %s" % (sorted(truth.paths), sorted(mine))))
    elif truth.paths is not None:
        mine = [library["path"] for library in libraries]
        real = [path for _, path in truth.paths if path is not None]
        if mine != real:
            found.append(("paths", "real %s, ssmend %s" % (real, mine)))
        missing = [name for name, path in truth.paths if path is None]
        if [entry["name"] for entry in answer["missing"]] != missing:
            found.append(("paths", "real misses %s, ssmend %s" % (
                missing, [entry["name"] for entry in answer["missing"]])))
    if truth.tried is not None:
        program_fails = tree.opened and any("does not start" in text for text in answer["warnings"])
        for name, mine in [] if program_fails else tried_lists(answer):
            real = [paths for searched, paths in truth.tried if searched == name]
            if mine not in real:
                found.append(("tried", "%s: real %s, ssmend %s" % (name, real, mine)))
            if tree.opened:
                break  # a real dlopen stops at the first missing library
    if truth.undefined is not None and not answer["missing"]:
        mine = {(entry["symbol"], os.path.basename(entry["needed_by"]))
                for entry in answer["undefined"]}
        real = {(symbol, os.path.basename(path)) for symbol, path in truth.undefined}
        if mine != real:
            found.append(("undefined", "real %s, ssmend %s" % (sorted(real), sorted(mine))))
    if not truth.loads and not same_reason(truth.reason, answer):
        found.append(("reason", "real %r, ssmend %r" % (truth.reason, answer["reason"])))
    return found


def same_reason(real, answer):
    """The words agree; which of several undefined symbols comes first is not compared."""
    mine = answer["reason"]
    if "undefined symbol: " in real:
        symbol = real.split("undefined symbol: ", 1)[1].split(",")[0].split()[0]
        return any(entry["symbol"] == symbol for entry in answer["undefined"])
    if "version `" in real and "not found" in real:
        version = real.split("version `", 1)[1].split("'")[0]
        return any(entry["version"] == version for entry in answer["versions"])
    if "SIGBUS" in mine or "Assertion" in mine or "assertion" in mine:
        return True  # the process dies without a sentence of its own
    # The loader has few error texts of its own before libc is there.
    real = real.replace("Error 21", "Is a directory")
    return real == mine or real.endswith(mine) or mine.endswith(real.split(": ", 1)[-1])
