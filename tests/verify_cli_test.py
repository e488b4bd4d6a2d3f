"""`ssmend verify` as a command, where there is no GPU: what it says, its exit codes, --component,
JUnit, and progress on a terminal. Usage: verify_cli_test.py SSMEND

The environment is a virtual one with a stand-in for torch that computes nothing.
"""

import ctypes
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

SSMEND = sys.argv[1]
TORCH = """
__version__ = "0"
class version: cuda = None
class _Flags: allow_tf32 = True
class backends:
    cudnn = _Flags()
    class cuda: matmul = _Flags()
class cuda:
    @staticmethod
    def is_available(): return False
def set_num_threads(count): pass
"""
DISTRIBUTED = "def is_available(): return False\n"


def run(*arguments, **options):
    return subprocess.run([SSMEND, "verify", *map(str, arguments)], capture_output=True, text=True,
                          check=False, timeout=60, **options)


def check(condition, what, done=None):
    if not condition:
        sys.exit(f"FAILED: {what}\n{done.stdout + done.stderr if done else ''}")


def make_environment(folder):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python3.*")) / "site-packages"
    (site / "torch" / "distributed").mkdir(parents=True)
    (site / "torch" / "__init__.py").write_text(TORCH)
    (site / "torch" / "distributed" / "__init__.py").write_text(DISTRIBUTED)


def native_without_gpu(library):
    done = run("--native", "--library", library)
    check(done.returncode == 0, "no GPU: exit 0 without --require-gpu", done)
    check("kernel library" in done.stdout and "not checked: libcuda.so.1" in done.stdout,
          "no GPU is said, with what was looked for", done)
    check("ok" not in done.stdout.split(), "no GPU is never ok", done)
    done = run("--native", "--library", library, "--require-gpu")
    check(done.returncode == 3, "no GPU: exit 3 with --require-gpu", done)
    check("no GPU was checked, and --require-gpu asks for one" in done.stderr, "and says why", done)
    done = run("--native", "--operation", "scan sideways")
    check(done.returncode == 2 and "scan fwd" in done.stderr, "an unknown operation", done)


def components(folder):
    done = run("--python", folder, "--component", "nonsense")
    check(done.returncode == 2 and "is none of torch, imports" in done.stderr,
          "an unknown component is told with the known ones", done)
    done = run("--python", folder, "--component", "torch", "--component", "mamba", "--json")
    check(done.returncode == 0, "exit", done)
    checks = {c["check"]: c for c in json.loads(done.stdout)["checks"]}
    check(set(checks) == {"import torch", "torch and the GPU", "torch.distributed", "mamba"},
          f"the two components alone: {sorted(checks)}", done)
    check(checks["mamba"]["reason"] == "mamba_ssm is not installed", "mamba's reason", done)
    gpu = checks["torch and the GPU"]
    check(gpu["state"] == "not-checked" and gpu["gpu_is_missing"]
          and gpu["reason"] == "torch was built without CUDA", "torch without CUDA", done)
    check("is_initialized" in checks["torch.distributed"]["compared"],
          "torch.distributed's missing names are told", done)
    done = run("--python", folder, "--component", "imports")
    check(done.returncode == 0 and "not checked: none is installed" in done.stdout,
          "an environment without any extension has none that fails", done)
    done = run("--python", folder, "--component", "torch", "--require-gpu")
    check(done.returncode == 3, "no GPU for torch: exit 3", done)
    for checkout in ("ss2d", "vmamba"):
        done = run("--python", folder, "--component", checkout)
        check(done.returncode == 0 and "not checked: no checkout given (--" in done.stdout,
              f"{checkout} without a checkout", done)


def junit(folder):
    done = run("--python", folder, "--component", "torch", "--junit")
    root = xml.etree.ElementTree.fromstring(done.stdout)
    suite, = root.findall("testsuite")
    check((suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("skipped"))
          == ("torch", "3", "0", "1"), "JUnit counts", done)
    check(len(suite.findall("testcase/skipped")) == 1, "JUnit skipped", done)


def progress(folder):
    ours, theirs = os.openpty()
    done = subprocess.run([SSMEND, "verify", "--python", str(folder), "--component", "torch"],
                          stdout=subprocess.PIPE, stderr=theirs, check=False, timeout=60,
                          env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:  # the other end is closed
        pass
    check(done.returncode == 0, "exit on a terminal")
    for step in (b"torch: starting", b"torch: import torch", b"torch: torch.distributed"):
        check(step in seen, f"progress says {step!r}: {seen!r}")
    check(seen.endswith(b"\x1b[K"), f"progress is wiped at the end: {seen!r}")
    check(b"\x1b" not in done.stdout, "no control characters in the results")


def main():
    try:
        ctypes.CDLL("libcuda.so.1")
        print("SKIP: this machine has a CUDA driver")
        return 77
    except OSError:
        pass
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "venv"
        make_environment(folder)
        # Any shared library: the driver is looked for first.
        library = pathlib.Path(scratch) / "libssm_kernels.so"
        subprocess.run(["cp", "-L", ctypes_path(), library], check=True)
        native_without_gpu(library)
        components(folder)
        junit(folder)
        progress(folder)
    print("ok")
    return 0


def ctypes_path():
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return next(line.split()[-1] for line in maps if "/libm.so" in line or "/libm-" in line)


if __name__ == "__main__":
    sys.exit(main())
