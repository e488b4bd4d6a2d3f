"""The cases of e2e_environment.sh: each in a virtual environment of its own over the machine's
torch, several at a time."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
import time
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "real"))
from make_environment import snapshot  # noqa: E402

USE = """
import torch, sys
from mamba_ssm import Mamba
torch.manual_seed(0)
kind = Mamba
if sys.argv[1] == "Mamba2":
    from mamba_ssm.modules.mamba2 import Mamba2
    # Eight heads: causal_conv1d's own build wants rows that are a multiple of 8 elements apart.
    kind = lambda d_model: Mamba2(d_model=d_model, headdim=16)
layer = kind(d_model=64).cuda()
layer(torch.randn(2, 33, 64, device="cuda")).sum().backward()
"""
CONV = """
import sys
sys.path.append(sys.argv[1])
import torch, reference
import causal_conv1d_cuda
torch.manual_seed(0)
worst = 0.0
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    for silu in (False, True):
        for length in (1, 7, 2048, 2049):
            x = torch.randn(2, 64, length).to(dtype)
            w, b = torch.randn(64, 4).to(dtype), torch.randn(64).to(dtype)
            out = torch.full_like(x.cuda(), float("nan"))
            answer = causal_conv1d_cuda.causal_conv1d_fwd(
                x.cuda(), w.cuda(), b.cuda(), None, None, out, None, silu)
            assert answer is None, answer
            want = reference.causal_conv1d(x.double(), w.double(), b.double(),
                                           "silu" if silu else None)
            error = reference.worst(out, want)[0]
            limit = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
            assert error <= limit, (dtype, silu, length, error)
            worst = max(worst, error / limit)
print(f"24 cases, worst {worst:.2f} of its limit")
"""
WRONG_MACHINE, ABSENT_LIBRARY, UPSTREAM = "wrong machine", "absent library", "upstream build"
CASES = [  # (mamba_ssm, how the extension is)
    ("2.2.4", "missing"), ("2.2.4", WRONG_MACHINE), ("2.2.4", ABSENT_LIBRARY), ("2.2.4", UPSTREAM),
    ("1.2.0", "missing"), ("2.0.4", "missing"), ("2.2.2", "missing"), ("2.2.6.post3", "missing"),
    ("2.3.2.post1", "missing"),
]


class Failure(Exception):
    pass


class Case:
    def __init__(self, options, version, extension):
        self.options, self.version, self.extension = options, version, extension
        self.name = f"mamba_ssm {version}, extension {extension}"
        self.ssmend = options.packed / "ssmend" / "bin" / "ssmend"
        self.venv = options.work / f"{version}-{extension.replace(' ', '-')}" / "venv"
        self.python = self.venv / "bin" / "python"

    # --- the environment ---
    def make(self):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.venv], check=True)
        self.site = next(self.venv.glob("lib/python3.*")) / "site-packages"
        wheels = [path for path in self.options.packed.glob("wheels/*.whl")
                  if not path.name.startswith("mamba_ssm-")]
        wheels += self.options.packed.glob(f"wheels/mamba_ssm-{self.version}-*.whl")
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(self.site)
        torch = subprocess.run([sys.executable, "-c", "import torch; print(torch.__path__[0])"],
                               capture_output=True, text=True, check=True).stdout.strip()
        (self.site / "machine.pth").write_text(os.path.dirname(torch) + "\n")
        self.place_extension()

    def place_extension(self):
        target = self.site / f"causal_conv1d_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
        given = self.options.packed / "upstream" / "causal_conv1d_cuda.so"
        if self.extension == "missing":
            return
        content = bytearray(given.read_bytes())
        if self.extension == WRONG_MACHINE:
            content[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
        if self.extension == ABSENT_LIBRARY:
            content = content.replace(b"\0libcudart.so.13\0", b"\0libcudart.so.99\0")
        target.write_bytes(content)

    # --- steps ---
    def use(self, kind):
        """The last line that a user sees; empty where it works."""
        done = subprocess.run([self.python, "-B", "-c", USE, kind], capture_output=True, text=True,
                              check=False, timeout=400)
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith(" ")]
        return "" if done.returncode == 0 else (lines or ["died without a word"])[-1]

    def run(self, *arguments, expect):
        done = subprocess.run([self.ssmend, *map(str, arguments)], capture_output=True, text=True,
                              check=False, timeout=500)
        if done.returncode != expect:
            raise Failure(f"ssmend {' '.join(map(str, arguments[:1]))}: exit {done.returncode}, "
                          f"expected {expect}\n{done.stdout[-3000:]}{done.stderr[-1500:]}")
        return done.stdout

    def go(self):
        """One row of the table."""
        row = {"case": self.name}
        self.make()
        row["before"] = self.use("Mamba")
        if not row["before"]:
            raise Failure("it is not broken to begin with")
        before = snapshot(self.venv)
        seen = json.loads(self.run("inspect", "--python", self.venv, "--json", expect=1))
        row["findings"] = sorted({f["code"] for f in seen["inspections"][0]["findings"]
                                  if f["severity"] == "error"})
        begin = time.perf_counter()
        self.run("repair", "--python", self.venv, "--yes", "--no-verify", expect=0)
        row["repair_s"] = time.perf_counter() - begin
        for kind in ("Mamba",) if self.version.startswith("1.") else ("Mamba", "Mamba2"):
            if text := self.use(kind):
                raise Failure(f"{kind} after the repair: {text}")
        arguments = ["verify", "--python", self.venv, "--json", "--require-gpu"]
        for component in ("torch", "imports", "causal_conv1d", "selective_scan", "mamba", "mamba2"):
            arguments += ["--component", component]
        yolo = self.options.packed / "yolo"
        if yolo.is_dir():
            arguments += ["--component", "ss2d", "--yolo", yolo]
        begin = time.perf_counter()
        checks = json.loads(self.run(*arguments, expect=0))
        row["verify_s"] = time.perf_counter() - begin
        row["ok"], row["not_checked"] = checks["ok"], checks["not_checked"]
        row["skipped"] = [f"{c['check']}: {c['reason']}" for c in checks["checks"]
                          if c["state"] == "not-checked"]
        row["checks"] = [c for c in checks["checks"] if c["error"] is not None]
        self.run("undo", "--python", self.venv, "--yes", expect=0)
        after = snapshot(self.venv)
        if after != before:
            changed = [path for path in before.keys() | after.keys()
                       if before.get(path) != after.get(path)]
            raise Failure(f"undo left {len(changed)} paths changed: {sorted(changed)[:5]}")
        again = self.use("Mamba")
        if again != row["before"]:
            raise Failure(f"after undo another text: {again}")
        return row

    def install_only(self):
        """`ssmend kernels install`, and the module called with torch tensors."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.venv], check=True)
        self.site = next(self.venv.glob("lib/python3.*")) / "site-packages"
        torch = subprocess.run([sys.executable, "-c", "import torch; print(torch.__path__[0])"],
                               capture_output=True, text=True, check=True).stdout.strip()
        (self.site / "machine.pth").write_text(os.path.dirname(torch) + "\n")
        begin = time.perf_counter()
        self.run("kernels", "install", "--python", self.venv, "--yes", expect=0)
        seconds = time.perf_counter() - begin
        checks = self.ssmend.parent.parent / "share" / "ssmend" / "recipes" / "checks"
        done = subprocess.run([self.python, "-B", "-c", CONV, checks], capture_output=True,
                              text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise Failure(done.stderr[-2000:])
        return {"case": self.name, "before": "", "findings": [], "repair_s": seconds,
                "verify_s": 0.0, "ok": 1, "not_checked": 0, "skipped": [], "checks": [],
                "note": done.stdout.strip()}


def attempt(case, log_lock):
    begin = time.perf_counter()
    try:
        row = case.install_only() if case.version == "kernels" else case.go()
    except Exception as error:  # one broken case must not hide the others
        row = {"case": case.name, "failure": f"{type(error).__name__}: {error}"}
    row["seconds"] = time.perf_counter() - begin
    with log_lock:
        print(f"[{row['seconds']:6.1f} s] {case.name}: "
              f"{'FAILED' if 'failure' in row else 'ok'}", flush=True)
    return row


def table(rows):
    for row in rows:
        print(f"\n{row['case']}  ({row['seconds']:.0f} s)")
        if "failure" in row:
            print(f"  FAILED  {row['failure']}")
            continue
        print(f"  before   {row['before'][:150]}")
        print(f"  findings {', '.join(row['findings'])}")
        print(f"  repair   {row['repair_s']:.2f} s    verify {row['verify_s']:.1f} s: "
              f"{row['ok']} ok, {row['not_checked']} not checked")
        for line in row["skipped"] + ([row["note"]] if "note" in row else []):
            print(f"           {line}")
    worst = {}
    for row in rows:
        for check in row.get("checks", []):
            if check["limit"]:
                name = check["check"]
                worst[name] = max(worst.get(name, (0, 0)), (check["error"], check["limit"]))
    print("\nlargest error of each check over all cases")
    for name, (error, limit) in sorted(worst.items()):
        print(f"  {name:<52} {error:.1e} of {limit:.1e}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--packed", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=5)
    parser.add_argument("--work", type=pathlib.Path, default=None)
    parser.add_argument("cases", nargs="*", help="substrings of case names")
    options = parser.parse_args()
    options.work = options.work or pathlib.Path(tempfile.mkdtemp(prefix="ssmend-e2e-"))
    with tarfile.open(options.packed) as packed:
        packed.extractall(options.work / "packed")
    options.packed = options.work / "packed"
    has_upstream = (options.packed / "upstream" / "causal_conv1d_cuda.so").exists()
    cases = [Case(options, "kernels", "installed alone")] + [
        Case(options, version, extension) for version, extension in CASES
        if extension == "missing" or has_upstream]
    if options.cases:
        cases = [case for case in cases if any(part in case.name for part in options.cases)]
    os.environ.setdefault("TRITON_CACHE_DIR", str(options.work / "triton"))
    log_lock = threading.Lock()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(lambda case: attempt(case, log_lock), cases))
    table(rows)
    failed = sum("failure" in row for row in rows)
    print(f"\n{len(rows)} cases, {failed} failed")
    shutil.rmtree(options.work, ignore_errors=True)
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
