"""What the real loader does with a tree: the truth that `ssmend resolve` is held against."""

import os
import re
import shutil
import subprocess

TIMEOUT_SECONDS = 60


class Runner:
    """Runs programs of a tree: directly, or inside a root of its own (chroot), with qemu there."""

    def __init__(self, toolchain, root=None, emulator=None):
        self.toolchain = toolchain
        self.root = root  # None: the running system
        self.emulator = emulator  # path inside the root

    def run(self, tree, arguments, variables):
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        environment.update(tree.environment)
        environment.update(variables)
        argv = list(arguments)
        options = {"env": environment, "cwd": tree.root, "capture_output": True, "text": True,
                   "timeout": TIMEOUT_SECONDS, "errors": "replace"}
        if self.root is None:
            return subprocess.run(argv, **options)
        inside = "/" + os.path.relpath(tree.root, self.root)
        if self.emulator:
            argv = [self.emulator] + argv

        def enter():
            os.chroot(self.root)
            os.chdir(inside)

        del options["cwd"]
        return subprocess.run(argv, preexec_fn=enter, **options)


def make_root(toolchain, root, emulator=None):
    """A root file system with a loader, libc and /proc; the emulator's static binary if given."""
    loader = os.path.join(root, toolchain.loader.lstrip("/"))
    libraries = os.path.join(root, "lib", toolchain.machine + "-linux-gnu")
    for folder in (os.path.dirname(loader), libraries, os.path.join(root, "etc"),
                   os.path.join(root, "proc"), os.path.join(root, "tmp")):
        os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.realpath(toolchain.interpreter_file), loader)
    shutil.copy(toolchain.libc, os.path.join(libraries, "libc.so.6"))
    if emulator:
        shutil.copy(emulator, os.path.join(root, "emulator"))
        return "/emulator"
    subprocess.run(["mount", "--bind", "/proc", os.path.join(root, "proc")], check=True)
    return None


def drop_root(root):
    subprocess.run(["umount", "-l", os.path.join(root, "proc")], capture_output=True)
    shutil.rmtree(root, ignore_errors=True)


class Truth:
    loads = False
    reason = ""
    paths = None       # start: [(name, path or None)] in load order; open: set of new paths
    tried = None       # {name: [list of paths, one list a search]}
    undefined = None   # {(symbol, path)}


LINE = re.compile(r"^\s*\d+:\t?(.*)$")


def parse_debug(text):
    """LD_DEBUG=libs: every search with the files that were tried."""
    searches = []
    for raw in text.splitlines():
        line = LINE.match(raw)
        if not line:
            continue
        found = re.match(r"find library=(\S*) \[\d+\]; searching", line.group(1).strip())
        if found:
            searches.append((found.group(1), []))
            continue
        trying = re.match(r"\s*trying file=(.*)$", line.group(1))
        if trying and searches:
            searches[-1][1].append(trying.group(1))
    return searches


def parse_trace(text):
    rows = []
    for line in text.splitlines():
        match = re.match(r"^\t(\S+) => (not found|\S+)( \(0x[0-9a-f]+\))?$", line)
        if match:
            rows.append((match.group(1), None if match.group(2) == "not found" else match.group(2)))
            continue
        match = re.match(r"^\t(\S+) \(0x[0-9a-f]+\)$", line)
        if match and "vdso" not in match.group(1):
            rows.append((match.group(1), match.group(1)))
    return rows


def error_text(stderr):
    for line in stderr.splitlines():
        for mark in ("error while loading shared libraries: ", "symbol lookup error: "):
            if mark in line:
                return line.split(mark, 1)[1].strip()
    return stderr.strip().splitlines()[-1] if stderr.strip() else ""


def ask_start(runner, tree):
    truth = Truth()
    program = "./" + tree.program
    real = runner.run(tree, [program], {"LD_BIND_NOW": "1"})
    truth.loads = real.returncode == 0
    truth.reason = "" if truth.loads else error_text(real.stderr + "\n" + real.stdout)
    # One run gives the map, the searches and the undefined symbols (what `ldd -r` does).
    trace = runner.run(tree, [program], {"LD_TRACE_LOADED_OBJECTS": "1", "LD_DEBUG": "libs",
                                         "LD_WARN": "yes", "LD_BIND_NOW": "yes"})
    truth.paths = parse_trace(trace.stdout)
    if trace.returncode == 0:
        truth.tried = parse_debug(trace.stderr)
        found = re.findall(r"undefined symbol: (\S+?),?[ \t][^(]*\((\S+?)\)",
                           trace.stdout + trace.stderr)
        # LD_DEBUG adds a line of its own with "(continued)" in the library's place.
        truth.undefined = {(symbol, path) for symbol, path in found if path != "continued"}
    else:
        truth.paths = None
    return truth


def ask_open(runner, tree):
    truth = Truth()
    arguments = [("g:" if is_global else "") + path for path, is_global in tree.opened]
    real = runner.run(tree, ["./" + tree.program] + arguments, {"LD_DEBUG": "libs"})
    truth.loads = real.returncode == 0
    errors = [line[4:] for line in real.stdout.splitlines() if line.startswith("ERR ")]
    truth.reason = "" if truth.loads else (errors[-1] if errors else error_text(real.stderr))
    if truth.loads:
        truth.paths = {line[4:] for line in real.stdout.splitlines() if line.startswith("MAP ")}
    truth.tried = parse_debug(real.stderr)
    return truth
