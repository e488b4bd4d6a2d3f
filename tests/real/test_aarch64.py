"""The user's case on its own machine type: an aarch64 system in QEMU, with ssmend built for aarch64
run inside it, and the same repair made from this machine with --root.

A long run (minutes, 600 MB of downloads): only with SSMEND_TEST_AARCH64=1. It changes root to the
other system, so it needs to be run as root, and Debian's package qemu-user-static. SSMEND_AARCH64
names the program that .ci/cross made (default: build-aarch64 in the source tree); the repaired
environment has no GPU, so the modules compute on the CPU (standin_*.cpp).

What QEMU's user mode cannot do here: a program inside cannot start another one, so the repair's own
verification is left out and the numbers are asked for from outside.
"""

import json
import os
import pathlib
import shutil
import stat
import subprocess
import unittest

import aarch64_root
import make_environment
from environment_case import CHECKS, HERE, LIBC10_TEXT, Answer, EnvironmentCase

QEMU = "/usr/bin/qemu-aarch64-static"
SITE = aarch64_root.SITE


def default_program():
    return HERE.parents[1] / "build-aarch64/bin/ssmend"


class Aarch64(EnvironmentCase):
    @classmethod
    def setUpClass(cls):
        if os.environ.get("SSMEND_TEST_AARCH64") != "1":
            raise unittest.SkipTest("a long run, only with SSMEND_TEST_AARCH64=1")
        cls.program = pathlib.Path(os.environ.get("SSMEND_AARCH64", default_program()))
        for there, reason in (
                (os.geteuid() == 0, "changing root needs root"),
                (os.path.exists(QEMU), f"no {QEMU} (Debian: qemu-user-static)"),
                (cls.program.exists(), f"no {cls.program} (bash .ci/cross aarch64)")):
            if not there:
                raise unittest.SkipTest(reason)
        super().setUpClass()
        try:
            cls.made = aarch64_root.aarch64_root()
        except make_environment.Unavailable as reason:
            raise unittest.SkipTest(str(reason)) from None

    def new_root(self):
        """A copy with hard links, with ssmend, QEMU and the probe in it."""
        root = make_environment.copy_environment(self.work_directory() / "root", self.made)
        shutil.copy2(QEMU, root / "usr/bin")
        build = self.program.parent.parent
        shutil.copytree(build / "bin", root / "opt/ssmend/bin")
        shutil.copytree(build / "share", root / "opt/ssmend/share")
        shutil.copytree(CHECKS, root / "opt/checks")
        shutil.copy2(HERE / "mamba_probe.py", root / "opt")
        for name, minor in (("null", 3), ("urandom", 9)):
            os.mknod(root / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        return root

    def inside(self, root, *argv, expect=None):
        done = subprocess.run(
            ["chroot", root, QEMU, *argv], capture_output=True, text=True, check=False,
            timeout=900, stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "OMP_NUM_THREADS": "1",
                 "HOME": "/tmp"})
        answer = Answer(argv, done)
        if expect is not None:
            self.assertEqual(done.returncode, expect, str(answer))
        return answer

    def inside_ssmend(self, root, command, *arguments, expect=None):
        return self.inside(root, "/opt/ssmend/bin/ssmend", command, "--python",
                           "/" + aarch64_root.PYTHON, *arguments, expect=expect)

    def inside_probe(self, root, path):
        answer = self.inside(root, "/" + aarch64_root.PYTHON, "-B", "/opt/mamba_probe.py",
                             "/opt/checks", path, expect=0)
        return json.loads(answer.out.splitlines()[-1])

    def content(self, root):
        """{path: mode and hash} of the packages: what two repairs must agree in, times apart.
        The journal says when and from where, so it is left out."""
        return {path: (facts[0], facts[-1])
                for path, facts in make_environment.snapshot(root / SITE).items()
                if not path.startswith(".ssmend")}

    def test_repaired_on_its_own_machine_type_and_from_another(self):
        here, elsewhere = self.new_root(), self.new_root()
        before = make_environment.snapshot(here / "usr")

        # The text that people report.
        answer = self.inside(here, "/" + aarch64_root.PYTHON, "-B", "-c",
                             "import causal_conv1d_cuda", expect=1)
        self.assertIn(LIBC10_TEXT, answer.err)
        inspected = self.inside_ssmend(here, "inspect", "--json", expect=1)
        host = inspected.json()["inspections"][0]["host"]
        self.assertEqual(host["machine"]["value"], "aarch64")
        self.the_finding(inspected, "load-order", "causal_conv1d_cuda")
        self.the_finding(inspected, "call-contract", "mamba_ssm")
        self.assertIsNotNone(self.inside_probe(here, "mamba")["error"])

        repaired = self.inside_ssmend(here, "repair", "--yes", "--no-verify", expect=0)
        self.assertIn("Changed ", repaired.out)
        self.assert_numbers(self.inside_probe(here, "mamba"))
        again = self.inside_ssmend(here, "repair", "--yes", "--no-verify", expect=0)
        self.assertNotIn("Changed ", again.out)

        # The same from this machine, nothing of that system being run.
        self.ssmend("repair", "--root", elsewhere, "--python", "/" + aarch64_root.PYTHON, "--yes",
                    "--no-verify", expect=0)
        self.assert_same_tree(self.content(elsewhere), self.content(here), "the two repairs")

        # Each gives back what was there; the second one the repair of the other machine.
        for root in (here, elsewhere):
            self.inside_ssmend(root, "undo", "--yes", expect=0)
            after = make_environment.snapshot(root / "usr")
            self.assert_same_tree(after, before, f"after undo in {root}")


if __name__ == "__main__":
    unittest.main()
