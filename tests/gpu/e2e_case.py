"""One case of e2e_environment.py: an environment made, found broken, repaired, checked, undone."""

import json
import lzma
import os
import pathlib
import subprocess
import sys
import sysconfig
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "real"))
from make_environment import snapshot  # noqa: E402

# What a user runs; one JSON line a module: the last line of its traceback, "" where it works.
USE = """
import json, sys, traceback
def last_line():
    return traceback.format_exception_only(*sys.exc_info()[:2])[-1].strip().splitlines()[0]
kinds = sys.argv[1:]
try:
    import torch
    try:
        import triton
        tune = triton.autotune  # the smallest variant of each kernel: speed is not the question
        def size(config):
            product = max(config.num_stages, 1)
            for value in config.kwargs.values():
                product *= value if isinstance(value, int) and value > 0 else 1
            return product
        triton.autotune = lambda configs, *a, **k: tune([min(configs, key=size)], *a, **k)
    except ImportError:
        pass
    from mamba_ssm import Mamba
    if "Mamba2" in kinds:
        from mamba_ssm.modules.mamba2 import Mamba2
except Exception:
    for kind in kinds:
        print(json.dumps({kind: last_line()}))
    sys.exit()
for kind in kinds:
    try:
        torch.manual_seed(0)
        # Eight heads: causal_conv1d's own build wants rows a multiple of 8 elements apart.
        layer = Mamba(d_model=64) if kind == "Mamba" else Mamba2(d_model=64, headdim=16)
        layer = layer.cuda()
        layer(torch.randn(2, 33, 64, device="cuda")).sum().backward()
        torch.cuda.synchronize()
        print(json.dumps({kind: ""}))
    except Exception:
        print(json.dumps({kind: last_line()}))
"""
# Mamba-YOLO's and VMamba's blocks, used as their detectors use them.
USE_VISION = """
import json, os, sys, traceback
sys.path.append(sys.argv[1])
answers = os.fdopen(os.dup(1), "w")  # the check scripts turn the other one to standard error
import torch, ss2d, vmamba
def attempt(name, make):
    try:
        make()
        torch.cuda.synchronize()
        text = ""
    except Exception:
        text = traceback.format_exception_only(*sys.exc_info()[:2])[-1].strip()
    print(json.dumps({name: text}), file=answers, flush=True)
def yolo():
    block = ss2d.load(sys.argv[2]).VSSBlock(in_channels=16, hidden_dim=16).cuda()
    block(torch.randn(2, 16, 9, 7, device="cuda")).sum().backward()
def vision_mamba():
    module = vmamba.load(sys.argv[3])
    block = module.VSSBlock(hidden_dim=16, norm_layer=module.LayerNorm2d, channel_first=True,
                            forward_type="v03_noz").cuda()
    block(torch.randn(2, 16, 9, 7, device="cuda")).sum().backward()
attempt("Mamba-YOLO", yolo)
attempt("VMamba", vision_mamba)
"""
WRONG_MACHINE, ABSENT_LIBRARY, UPSTREAM = "wrong machine", "absent library", "upstream build"
BOTH = "and scan upstream builds"  # nothing missing: the call contract alone is broken
NO_PACKAGE = "missing and its package too"  # a fresh environment: mamba_ssm and torch alone
VISION = "vision"


class Failure(Exception):
    pass


class Stopped(Exception):
    """The suite's time is over."""


class Case:
    """`options`: packed, work, wheels (unpacked, by file name), dry, deadline (monotonic)."""

    children = set()
    lock = threading.Lock()

    def __init__(self, options, version, extension):
        self.options, self.version, self.extension = options, version, extension
        self.name = (f"Mamba-YOLO and VMamba, {extension}" if version == VISION
                     else f"mamba_ssm {version}, extension {extension}")
        self.ssmend = options.packed / "ssmend" / "bin" / "ssmend"
        self.checks = options.packed / "ssmend" / "share" / "ssmend" / "recipes" / "checks"
        self.venv = options.work / self.name.replace(" ", "-").replace(",", "") / "venv"
        self.python = self.venv / "bin" / "python"
        self.begin = time.monotonic()
        self.row = {"case": self.name}
        self.now = "waiting"

    def say(self, text):
        with self.lock:
            print(f"[{time.monotonic() - self.begin:6.1f} s] {self.name}: {text}", flush=True)

    def step(self, name):
        self.now = name

    def child(self, argv, limit=400):
        """Runs a process within the suite's time; returns (exit code, stdout, stderr)."""
        left = self.options.deadline - time.monotonic()
        if left <= 0:
            raise Stopped()
        with subprocess.Popen([str(part) for part in argv], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:
            with self.lock:
                self.children.add(process)
            try:
                out, err = process.communicate(timeout=min(limit, left))
            except subprocess.TimeoutExpired as late:
                process.kill()
                out, err = process.communicate()
                if left < limit:
                    raise Stopped() from late
                raise Failure(f"{argv[0]}: no end within {limit} s\n{out[-1500:]}{err[-1500:]}") \
                    from late
            finally:
                with self.lock:
                    self.children.discard(process)
        return process.returncode, out, err

    # --- the environment ---
    def make(self):
        self.step("making the environment")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.venv], check=True)
        self.site = next(self.venv.glob("lib/python3.*")) / "site-packages"
        for name, folder in self.options.wheels.items():
            if name.startswith("mamba_ssm-") and (
                    self.version == VISION or not name.startswith(f"mamba_ssm-{self.version}-")):
                continue
            if name.startswith("causal_conv1d-") and (
                    self.version == VISION or self.extension == NO_PACKAGE):
                continue
            # As uv installs: hard links to one copy, so that a write in place would show.
            subprocess.run(["cp", "-rl", f"{folder}/.", self.site], check=True)
        torch = subprocess.run([sys.executable, "-c", "import torch; print(torch.__path__[0])"],
                               capture_output=True, text=True, check=True).stdout.strip()
        (self.site / "machine.pth").write_text(os.path.dirname(torch) + "\n")
        if self.version != VISION:
            self.place_extension()

    def place_extension(self):
        target = self.site / f"causal_conv1d_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
        if self.extension in ("missing", NO_PACKAGE):
            return
        content = (self.options.packed / "upstream" / "causal_conv1d_cuda.so").read_bytes()
        if self.extension == WRONG_MACHINE:
            content = content[:18] + (183).to_bytes(2, "little") + content[20:]  # EM_AARCH64
        if self.extension == ABSENT_LIBRARY:
            content = content.replace(b"\0libcudart.so.13\0", b"\0libcudart.so.99\0")
        target.write_bytes(content)
        if self.extension == BOTH:
            scan = self.options.packed / "upstream" / "selective_scan_cuda.so.xz"
            target.with_name(target.name.replace("causal_conv1d", "selective_scan")).write_bytes(
                lzma.decompress(scan.read_bytes()))

    # --- steps ---
    def use(self, title):
        """What a user sees, by module; "" where it works."""
        self.step(title)
        packed = self.options.packed
        if self.version == VISION:
            argv = [self.python, "-B", "-c", USE_VISION, self.checks, packed / "yolo",
                    packed / "vmamba"]
        else:
            argv = [self.python, "-B", "-c", USE, "Mamba"]
            argv += [] if self.version.startswith("1.") else ["Mamba2"]
        code, out, err = self.child(argv)
        texts = {}
        for line in out.splitlines():
            if line.startswith("{"):
                texts.update(json.loads(line))
        if not texts or code != 0:
            raise Failure(f"{title}: exit {code}\n{err[-2000:]}")
        for kind, text in texts.items():
            self.say(f"{title}: {kind}: {text[:300] or 'works'}")
        return texts

    def run(self, *arguments, expect):
        self.step(f"ssmend {arguments[0]}")
        code, out, err = self.child([self.ssmend, *arguments], 500)
        if code != expect:
            raise Failure(f"ssmend {arguments[0]}: exit {code}, expected {expect}\n"
                          f"{out[-6000:]}{err[-1500:]}")
        return out

    def verify(self):
        components = ["ss2d", "vmamba"] if self.version == VISION else [
            "torch", "imports", "causal_conv1d", "selective_scan", "mamba", "mamba2"]
        arguments = ["verify", "--python", self.venv, "--json", "--require-gpu"]
        for component in components:
            arguments += ["--component", component]
        for checkout in ("yolo", "vmamba"):
            arguments += [f"--{checkout}", self.options.packed / checkout]
        begin = time.monotonic()
        checks = json.loads(self.run(*arguments, expect=0))
        self.row["verify_s"] = time.monotonic() - begin
        self.row["ok"], self.row["not_checked"] = checks["ok"], checks["not_checked"]
        self.row["skipped"] = [f"{c['check']}: {c['reason']}" for c in checks["checks"]
                               if c["state"] == "not-checked"]
        self.row["checks"] = [
            {key: c[key] for key in ("check", "compared", "error", "limit", "seconds")}
            for c in checks["checks"] if c["state"] == "ok"]
        self.say(f"verify: {checks['ok']} ok, {checks['not_checked']} not checked, "
                 f"{self.row['verify_s']:.1f} s")

    def repair(self):
        begin = time.monotonic()
        if self.version == VISION:
            self.run("kernels", "install", "--python", self.venv, "--yes", expect=0)
        else:
            seen = json.loads(self.run("inspect", "--python", self.venv, "--json", expect=1))
            self.row["findings"] = sorted({f["code"] for f in seen["inspections"][0]["findings"]
                                           if f["severity"] == "error"})
            begin = time.monotonic()
            self.run("repair", "--python", self.venv, "--yes", "--no-verify", expect=0)
        self.row["repair_s"] = time.monotonic() - begin
        self.say(f"repaired in {self.row['repair_s']:.2f} s "
                 f"({', '.join(self.row.get('findings', []))})")

    def go(self):
        """Fills the row; an exception is its failure."""
        self.make()
        self.row["before"] = before = self.use("before")
        # VMamba falls back to a loop in Python without native modules: slow, not broken.
        if not all(text for kind, text in before.items() if kind != "VMamba"):
            raise Failure(f"it is not broken to begin with: {before}")
        files = snapshot(self.venv)
        self.repair()
        if not self.options.dry:
            after = self.use("after the repair")
            if any(after.values()):
                raise Failure(f"after the repair: {after}")
            self.verify()
        self.run("undo", "--python", self.venv, "--yes", expect=0)
        restored = snapshot(self.venv)
        if restored != files:
            changed = [path for path in files.keys() | restored.keys()
                       if files.get(path) != restored.get(path)]
            raise Failure(f"undo left {len(changed)} paths changed: {sorted(changed)[:5]}")
        again = self.use("after undo")
        if again != before:
            raise Failure(f"after undo another text: {again}, before: {before}")

    def attempt(self):
        """One broken case must not hide the others."""
        self.begin = time.monotonic()
        try:
            self.go()
            self.say("OK")
        except Stopped:
            self.row["failure"] = f"the suite's time was over during: {self.now}"
            self.say(f"NOT FINISHED, during: {self.now}")
        except Exception as error:
            self.row["failure"] = f"{type(error).__name__}: {error}"
            self.say(f"FAILED during: {self.now}: {self.row['failure']}")
        self.row["seconds"] = time.monotonic() - self.begin
        return self.row
