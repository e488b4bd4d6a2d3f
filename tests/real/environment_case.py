"""What the tests on real environments share: a place to work, ssmend as a child process, Python of
the environment as a child process, and comparisons."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import make_environment
from make_environment import site_packages

HERE = pathlib.Path(__file__).resolve().parent
CHECKS = HERE.parent.parent / "recipes" / "checks"
LIBC10_TEXT = "libc10.so: cannot open shared object file: No such file or directory"


class Answer:
    """How one run of ssmend ended."""

    def __init__(self, argv, done):
        self.argv, self.code, self.out, self.err = argv, done.returncode, done.stdout, done.stderr

    def __str__(self):
        command = " ".join(str(part) for part in self.argv)
        return f"$ {command}\n[exit {self.code}]\n{self.out[-6000:]}\n{self.err[-3000:]}"

    def json(self):
        return json.loads(self.out)

    def findings(self):
        return [finding for inspection in self.json()["inspections"]
                for finding in inspection["findings"]]


class EnvironmentCase(unittest.TestCase):
    maxDiff = None
    longMessage = True

    @classmethod
    def setUpClass(cls):
        cls.ssmend_path = os.environ["SSMEND"]
        try:
            cls.base = make_environment.base_environment()
        except make_environment.Unavailable as reason:
            raise unittest.SkipTest(str(reason)) from None

    def work_directory(self):
        """On the cache's file system, so that copies can be hard links; other users may enter."""
        path = tempfile.mkdtemp(prefix="work-", dir=make_environment.cache_directory())
        os.chmod(path, 0o755)
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return pathlib.Path(path)

    def environment(self):
        return make_environment.copy_environment(self.work_directory() / "venv", self.base)

    def small_environment(self, where=None):
        """mamba_ssm and causal_conv1d without torch, 2 MB: for what needs no Python to run."""
        venv = (where or self.work_directory()) / "venv"
        (venv / "bin").mkdir(parents=True)
        shutil.copy2(self.base / "pyvenv.cfg", venv)
        for name in ("python", "python3"):
            os.symlink(os.readlink(self.base / "bin" / name), venv / "bin" / name)
        source = site_packages(self.base)
        site = venv / "lib" / source.parent.name / "site-packages"
        site.mkdir(parents=True)
        for pattern in ("mamba_ssm*", "causal_conv1d*", "selective_scan_cuda*"):
            for path in source.glob(pattern):
                if path.is_dir():
                    shutil.copytree(path, site / path.name)
                else:
                    shutil.copy2(path, site)
        return venv

    def ssmend(self, *arguments, expect=None, prefix=(), **options):
        argv = [*prefix, self.ssmend_path, *arguments]
        environment = {**os.environ, "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH"):
            environment.pop(name, None)
        environment.update(options.pop("variables", {}))
        done = subprocess.run([str(part) for part in argv], capture_output=True, text=True,
                              errors="replace", check=False, timeout=300, env=environment,
                              stdin=subprocess.DEVNULL, **options)
        answer = Answer(argv, done)
        self.assertIn(done.returncode, (0, 1, 2, 3), f"not an exit code of ssmend\n{answer}")
        if expect is not None:
            self.assertEqual(done.returncode, expect, str(answer))
        return answer

    def inspect(self, environment, *arguments, expect=None):
        return self.ssmend("inspect", "--python", environment, "--json", *arguments, expect=expect)

    def about(self, answer, subject):
        """The codes of the findings about one module or file, by substring of either."""
        return {finding["code"] for finding in answer.findings()
                if subject in finding["subject"] or subject in finding["subject_path"]
                or any(subject in detail["value"] for detail in finding["details"])}

    def the_finding(self, answer, code, subject=""):
        found = [finding for finding in answer.findings() if finding["code"] == code
                 and subject in finding["subject"] + finding["subject_path"]]
        self.assertEqual(len(found), 1, f"{code} about {subject!r}\n{answer}")
        return found[0]

    def probe(self, environment, path):
        """Runs mamba_probe.py with the environment's own interpreter; writes no bytecode."""
        done = subprocess.run(
            [environment / "bin" / "python", "-B", HERE / "mamba_probe.py", CHECKS, path],
            capture_output=True, text=True, check=False, timeout=600,
            env={**os.environ, "OMP_NUM_THREADS": "1"})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def assert_numbers(self, answer):
        """Outputs and gradients within 1e-10; what causal_conv1d gives in float32 within 1e-6.

        The Mamba module itself keeps A and D in float32, so its own row is 1e-6 throughout.
        """
        self.assertIsNone(answer["error"], answer.get("trace"))
        self.assertGreater(len(answer["checks"]), 5)
        for name, error in answer["checks"].items():
            in_single = "d_conv" in name or name.startswith("Mamba/")
            self.assertLessEqual(error, 1e-6 if in_single else 1e-10, name)

    def assert_same_tree(self, found, expected, message):
        """Shows the paths that differ, and nothing of the thirty thousand that do not."""
        differing = {path: (expected.get(path), found.get(path))
                     for path in sorted(found.keys() | expected.keys())
                     if found.get(path) != expected.get(path)}
        self.assertEqual(differing, {}, message)
