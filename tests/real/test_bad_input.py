"""Bad input gets one clear sentence and exit 2, or a finding; never a crash, nothing lost."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import make_environment
from environment_case import EnvironmentCase
from make_environment import site_packages

NOBODY = 65534


class BadInputTest(EnvironmentCase):
    def assert_one_sentence(self, answer, *words):
        self.assertEqual(answer.code, 2, str(answer))
        lines = answer.err.splitlines()
        self.assertTrue(lines and lines[0].startswith("error: "), str(answer))
        self.assertLessEqual(len(lines), 8, str(answer))
        for word in words:
            self.assertIn(word, answer.err)

    def environment_for_patching(self, where=None):
        """The small environment with the base's torch on its import path."""
        venv = self.small_environment(where)
        (site_packages(venv) / "base.pth").write_text(f"{site_packages(self.base)}\n")
        return venv

    def test_no_environment(self):
        for argument in ("/nonexistent/venv", self.work_directory()):
            for command in (("inspect",), ("repair", "--yes"), ("undo", "--yes"), ("status",)):
                with self.subTest(command=command, argument=argument):
                    self.assert_one_sentence(
                        self.ssmend(*command, "--python", argument), str(argument))

    def test_site_packages_that_is_a_file(self):
        path = self.work_directory() / "file"
        path.write_text("")
        self.assert_one_sentence(self.ssmend("inspect", "--site-packages", path), str(path))

    def test_bad_usage(self):
        for arguments in ((), ("mend",), ("inspect", "--pyhton", "x"), ("explain", "no-such-code")):
            with self.subTest(arguments=arguments):
                answer = self.ssmend(*arguments)
                self.assertEqual(answer.code, 2, str(answer))
                self.assertTrue(answer.err.strip(), str(answer))

    def test_a_record_that_climbs_out_is_reported_and_not_followed(self):
        work = self.work_directory()
        venv = self.environment_for_patching(work)
        victim = work / "victim.py"
        victim.write_text("import causal_conv1d_cuda\n")
        record = next(site_packages(venv).glob("mamba_ssm-*.dist-info")) / "RECORD"
        with open(record, "a", encoding="utf-8") as out:
            out.write("../../../../victim.py,,\n/etc/hostname,,\n")
        seen = self.inspect(venv)
        self.assertIn("victim.py", seen.out, "the line is named")
        self.ssmend("repair", "--python", venv, "--yes", "--no-verify")
        self.assertEqual(victim.read_text(), "import causal_conv1d_cuda\n")
        self.ssmend("undo", "--python", venv, "--yes")
        self.assertEqual(victim.read_text(), "import causal_conv1d_cuda\n")

    def test_a_python_file_that_does_not_parse_is_left_alone(self):
        venv = self.environment_for_patching()
        path = site_packages(venv) / "mamba_ssm" / "ops" / "selective_scan_interface.py"
        path.write_bytes(path.read_bytes() + b"def (:\n")
        content = path.read_bytes()
        answer = self.ssmend("repair", "--python", venv, "--yes", "--no-verify", expect=1)
        self.assertEqual(path.read_bytes(), content)
        self.assertRegex(answer.out + answer.err, r"selective_scan_interface\.py: failed: line 418 is not understood as Python")

    def test_a_python_file_of_other_bytes(self):
        venv = self.environment_for_patching()
        path = site_packages(venv) / "mamba_ssm" / "ops" / "selective_scan_interface.py"
        for content in (b"", b"\0" * 4096, bytes(range(256)) * 40, b"(" * 200_000):
            with self.subTest(start=content[:4]):
                path.write_bytes(content)
                self.inspect(venv)
                self.ssmend("repair", "--python", venv, "--yes", "--no-verify")
                self.assertEqual(path.read_bytes(), content)
                self.ssmend("undo", "--python", venv, "--yes")

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to become another user")
    def test_no_permission(self):
        place = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        place.chmod(0o755)
        installed = pathlib.Path(self.ssmend_path).parent.parent
        (place / "bin").mkdir()
        shutil.copy2(self.ssmend_path, place / "bin" / "ssmend")
        shutil.copytree(installed / "share" / "ssmend", place / "share" / "ssmend")
        self.ssmend_path = place / "bin" / "ssmend"
        venv = self.small_environment(place)
        as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}

        with self.subTest("repair of somebody else's environment"):
            (site_packages(venv) / "base.pth").write_text(f"{site_packages(self.base)}\n")
            before = make_environment.snapshot(venv)
            # May read everything, wherever the interpreter and the cache lie, and write nothing.
            reader = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                      "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
            answer = self.ssmend("repair", "--python", venv, "--yes", "--no-verify",
                                 prefix=reader, cwd="/")
            self.assertIn(answer.code, (1, 2), str(answer))
            self.assertRegex(answer.out + answer.err, r"(?i)permission denied|not writable")
            self.assert_same_tree(make_environment.snapshot(venv), before, "nothing was written")
        site = site_packages(venv)
        module = next(site.glob("causal_conv1d_cuda*.so"))
        module.chmod(0)
        with self.subTest("an unreadable module is one finding"):
            seen = self.ssmend("inspect", "--python", venv, "--json", **as_nobody)
            self.assertEqual(seen.code, 1, str(seen))
            self.assertRegex(seen.out, r"(?i)permission denied")
        site.chmod(0)
        with self.subTest("an unreadable environment is one sentence"):
            self.assert_one_sentence(
                self.ssmend("inspect", "--python", venv, **as_nobody), "ermission denied")

    def test_full_disk_loses_nothing(self):
        with self.small_disk() as disk:
            outcomes = {}
            for free_kib in (0, 4, 12, 24, 48, 80, 128, 200, 300, 400, 600, 1200):
                venv = self.environment_for_patching(disk)
                before = make_environment.snapshot(venv)
                self.leave_free(disk, free_kib)
                answer = self.ssmend("repair", "--python", venv, "--yes", "--no-verify")
                after = make_environment.snapshot(venv)
                if answer.code == 0:
                    self.assertNotEqual(after, before)
                else:
                    self.assert_one_sentence(answer, "No space left on device")
                    self.assert_same_tree(after, before, f"{free_kib} KiB free\n{answer}")
                undone = self.ssmend("undo", "--python", venv, "--yes")
                self.assert_same_tree(make_environment.snapshot(venv), before,
                                      f"{free_kib} KiB free, after undo\n{undone}")
                outcomes[free_kib] = answer.code
                shutil.rmtree(venv)
                (disk / "ballast").unlink()
            self.assertEqual(outcomes[0], 2, outcomes)
            self.assertEqual(outcomes[1200], 0, outcomes)
            print(f"full disk: exit codes by KiB left: {outcomes}")

    @contextlib.contextmanager
    def small_disk(self):
        place = self.work_directory() / "disk"
        place.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", place],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"no small file system: {mounted.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", place], check=False)

    def leave_free(self, disk, kib):
        status = os.statvfs(disk)
        ballast = status.f_bavail * status.f_frsize - kib * 1024
        with open(disk / "ballast", "wb") as out:
            os.posix_fallocate(out.fileno(), 0, ballast)


if __name__ == "__main__":
    unittest.main()
