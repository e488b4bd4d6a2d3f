"""What the tests on environments of real installers share: wheels made from text, a made-up kernel
library, ssmend as a child process, and a picture of a tree that is compared as a whole.

The wheel is a mamba_ssm of a few lines: a source file that needs Triton, which is not there, and a
native module of another machine, which cannot load. Nothing is downloaded.
"""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
TAG = f"cpython-3{sys.version_info[1]}-{os.uname().machine}-linux-gnu"
MODULE = "selective_scan_cuda"
BROKEN = f"{MODULE}.{TAG}.so"
INTERFACE = "mamba_ssm/ops/selective_scan_interface.py"
SOURCE = f"""import {MODULE}
from mamba_ssm.ops.triton.layer_norm import RMSNorm
"""


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def run(argv, **options):
    options.setdefault("timeout", 300)
    return subprocess.run([str(part) for part in argv], capture_output=True, text=True,
                          errors="replace", check=False, stdin=subprocess.DEVNULL, **options)


def compile_module(path, name):
    path.parent.mkdir(parents=True, exist_ok=True)
    source = f"void *PyInit_{name}(void) {{ return 0; }}"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)],
                   input=source.encode(), check=True)


def other_machine(content):
    """The same ELF file with the other e_machine: 62 x86-64, 183 aarch64."""
    machine = struct.unpack_from("<H", content, 18)[0]
    return content[:18] + struct.pack("<H", 183 if machine == 62 else 62) + content[20:]


def make_wheel(folder, version, files):
    """A wheel (PEP 427) that every installer takes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mamba_ssm-{version}-py3-none-any.whl"
    info = f"mamba_ssm-{version}.dist-info"
    files = {**files, f"{info}/METADATA":
             f"Metadata-Version: 2.1\nName: mamba-ssm\nVersion: {version}\n".encode(),
             f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
                              b"Tag: py3-none-any\n"}
    rows = []
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            rows.append(f"{name},sha256={digest.decode()},{len(content)}\n")
            wheel.writestr(name, content)
        wheel.writestr(f"{info}/RECORD", "".join(rows) + f"{info}/RECORD,,\n")
    return path


def picture(directory, links=False):
    """{path: all that an undo gives back}: kind, mode, owner, time, attributes, content."""
    found = {}
    for folder, folders, files in os.walk(directory):
        for name in [".", *folders, *files] if folder == str(directory) else [*folders, *files]:
            path = os.path.normpath(os.path.join(folder, name))
            status = os.lstat(path)
            facts = [oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns]
            if links and stat.S_ISREG(status.st_mode):
                facts.append((status.st_ino, status.st_nlink))
            if stat.S_ISLNK(status.st_mode):
                facts.append(os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                facts.append(hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest())
            facts.append([(each, os.getxattr(path, each, follow_symlinks=False).hex())
                          for each in sorted(os.listxattr(path, follow_symlinks=False))])
            found[os.path.relpath(path, directory)] = facts
    return found


class Answer:
    def __init__(self, argv, done):
        self.argv, self.code, self.out, self.err = argv, done.returncode, done.stdout, done.stderr

    def __str__(self):
        return f"$ {' '.join(str(a) for a in self.argv)}\n[exit {self.code}]\n{self.out}\n{self.err}"


class EnvironmentCase(unittest.TestCase):
    longMessage = True
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="ssmend-environments-"))
        cls.shared.chmod(0o755)
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        machine = os.uname().machine
        data = cls.shared / "data"
        kernels = data / "kernels" / f"linux_{machine}"
        for name in (MODULE, "causal_conv1d_cuda"):
            compile_module(kernels / f"{name}.abi3.so", name)
        write(kernels / "ssm_kernels" / "note.txt", "the library")
        write(kernels / "manifest.json", json.dumps({
            "name": "ssm-kernels", "version": "0.1.0", "machine": machine,
            "glibc_min": "2.17", "python_min": "3.8", "components": [
                {"name": "library", "files": ["ssm_kernels/note.txt"],
                 "provides_module": "ssm_kernels"},
                {"name": "causal_conv1d_cuda", "files": ["causal_conv1d_cuda.abi3.so"],
                 "provides_module": "causal_conv1d_cuda"},
                {"name": MODULE, "files": [f"{MODULE}.abi3.so"], "provides_module": MODULE}]}))
        top = pathlib.Path(__file__).resolve().parent.parent
        for name in ("patches", "recipes"):
            os.symlink(top / name, data / name)
        native = other_machine((kernels / f"{MODULE}.abi3.so").read_bytes())
        cls.files = {BROKEN: native, "mamba_ssm/__init__.py": b"__version__ = '2.2.4'\n"
                                                             b"import mamba_ssm.ops."
                                                             b"selective_scan_interface\n",
                     "mamba_ssm/ops/__init__.py": b"", INTERFACE: SOURCE.encode(),
                     "mamba_ssm/ops/triton/__init__.py": b"",
                     "mamba_ssm/ops/triton/layer_norm.py": b"import triton\n\n\nclass RMSNorm:\n"
                                                           b"    pass\n"}
        cls.wheel = make_wheel(cls.shared / "wheels", "2.2.4", cls.files)
        cls.newer = make_wheel(cls.shared / "wheels", "2.2.5", {
            **cls.files, "mamba_ssm/__init__.py": b"__version__ = '2.2.5'\n"})
        # One pip for all environments: copies of it would be most of the test's time.
        done = run([sys.executable, "-m", "venv", cls.shared / "pip"])
        if done.returncode != 0:
            raise unittest.SkipTest(f"python -m venv (Debian: python3-venv): {done.stdout[-200:]}")

    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="work-", dir=self.shared))
        self.work.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)

    def venv(self, wheel=True):
        made = self.work / "venv"
        shutil.rmtree(made, ignore_errors=True)
        run([sys.executable, "-m", "venv", "--without-pip", made])
        if wheel:
            self.pip(made, "install", "--no-index", "--no-deps", self.wheel)
        return made

    def pip(self, venv, *arguments, expect=0):
        done = run([venv / "bin" / "python3", "-m", "pip", "--disable-pip-version-check",
                    *arguments], env={**os.environ, "PYTHONPATH": str(self.site(self.shared / "pip")),
                                      "PYTHONDONTWRITEBYTECODE": "1"})
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    @staticmethod
    def site(venv):
        return venv / "lib" / VERSION / "site-packages"

    def ssmend(self, *arguments, expect=None, prefix=(), variables=None, **options):
        argv = [*prefix, os.environ["SSMEND"], *arguments]
        environment = {**os.environ, "NO_COLOR": "1", "LC_ALL": "C.UTF-8",
                       "SSMEND_DATA": str(self.shared / "data"), **(variables or {})}
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "SOURCE_DATE_EPOCH"):
            environment.pop(name, None)
        answer = Answer(argv, run(argv, env=environment, **options))
        if expect is not None:
            self.assertEqual(answer.code, expect, str(answer))
        return answer

    def repair(self, venv, *arguments, expect=0, **options):
        return self.ssmend("repair", "--python", venv, "--yes", "--no-verify", *arguments,
                           expect=expect, **options)

    def undo(self, venv, expect=0, **options):
        return self.ssmend("undo", "--python", venv, "--yes", expect=expect, **options)

    def finder_says(self, venv, variables=None):
        """The file that the environment's own interpreter would import."""
        done = run([venv / "bin" / "python3", "-B", "-c", "import importlib.util as u; "
                    f"print(u.find_spec('{MODULE}').origin)"],
                   env={**os.environ, **(variables or {})})
        self.assertEqual(done.returncode, 0, done.stderr)
        return pathlib.Path(done.stdout.strip())

    def assert_same(self, found, expected, message=""):
        differing = {path: (expected.get(path), found.get(path))
                     for path in sorted(found.keys() | expected.keys())
                     if found.get(path) != expected.get(path)}
        self.assertEqual(differing, {}, message)
