"""Environments as pip and people make them: what pip sees of a repair, a reinstall, checkouts,
links, locks, rights and killed runs."""

import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest

from repair_environment_case import (BROKEN, INTERFACE, MODULE, SOURCE, VERSION, EnvironmentCase,
                                     picture, run, write)

BACKEND = '''
import base64, hashlib, pathlib, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    here = pathlib.Path(__file__).resolve().parent
    name = "mamba_ssm-2.2.4-py3-none-any.whl"
    info = "mamba_ssm-2.2.4.dist-info/"
    files = {"mamba_ssm.pth": str(here) + "\\n",
             info + "METADATA": "Metadata-Version: 2.1\\nName: mamba-ssm\\nVersion: 2.2.4\\n",
             info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\n"
                             "Tag: py3-none-any\\n"}
    rows = ""
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
            rows += f"{path},sha256={digest.decode()},{len(text)}\\n"
            wheel.writestr(path, text)
        wheel.writestr(info + "RECORD", rows + info + "RECORD,,\\n")
    return name

build_wheel = build_editable
'''


class Environments(EnvironmentCase):
    def test_pip_sees_the_kernels_as_a_distribution_and_the_tree_comes_back(self):
        venv = self.venv()
        os.setxattr(self.site(venv) / INTERFACE, "user.note", b"kept")
        before = picture(venv)
        self.repair(venv)
        self.assertEqual(self.finder_says(venv), self.site(venv) / f"{MODULE}.abi3.so")
        self.assertFalse((self.site(venv) / BROKEN).exists())
        self.assertIn("ssm-kernels", self.pip(venv, "list"))
        self.assertIn("No broken requirements", self.pip(venv, "check"))
        shown = self.pip(venv, "show", "-f", "ssm-kernels")
        self.assertIn(f"{MODULE}.abi3.so", shown)
        self.assertIn("Installer: ssmend", self.pip(venv, "show", "-v", "ssm-kernels"))
        self.assertNotEqual((self.site(venv) / INTERFACE).read_text(), SOURCE)
        self.ssmend("status", "--python", venv, expect=0)
        self.assertIn("Nothing to repair", self.repair(venv).out)
        self.undo(venv)
        self.assert_same(picture(venv), before)

    def test_kernels_install_moves_aside_what_would_come_first_and_gives_it_back(self):
        venv = self.venv()
        before = picture(venv)
        self.ssmend("kernels", "install", "--yes", "--python", venv, expect=0)
        self.assertEqual(self.finder_says(venv), self.site(venv) / f"{MODULE}.abi3.so")
        self.assertFalse((self.site(venv) / BROKEN).exists())
        self.assertEqual((self.site(venv) / INTERFACE).read_text(), SOURCE)
        self.assertIn("ssm-kernels", self.pip(venv, "list"))
        # RECORD of both fits what is there: pip finds every file that it lists.
        for name in ("mamba_ssm", "ssm-kernels"):
            shown = self.pip(venv, "show", "-f", name).split("Files:")[1].split()
            self.assertNotIn(BROKEN, shown)
            for path in shown:
                self.assertTrue((self.site(venv) / path).exists() or path.endswith(".pyc"), path)
        again = self.ssmend("kernels", "install", "--yes", "--python", venv, expect=0)
        self.assertIn("All of it is installed already", again.out)
        self.undo(venv)
        self.assert_same(picture(venv), before)

    def test_a_kernel_module_without_its_package_is_told(self):
        venv = self.venv()
        self.ssmend("kernels", "install", "causal_conv1d_cuda", "--yes", "--python", venv, expect=0)
        found = json.loads(self.ssmend("inspect", "--json", "--python", venv).out)
        codes = {(finding["code"], finding["severity"], finding["subject"])
                 for finding in found["inspections"][0]["findings"]}
        self.assertIn(("kernels-alone", "note", "causal_conv1d_cuda"), codes)
        text = "note: causal_conv1d_cuda comes from ssm-kernels 0.1.0; causal_conv1d itself is not"
        self.assertIn(text, self.ssmend("status", "--python", venv, expect=0).out)
        write(self.site(venv) / "causal_conv1d" / "__init__.py", "")
        self.assertNotIn(text, self.ssmend("status", "--python", venv, expect=0).out)

    def test_a_recipe_orders_the_plan_names_surprises_and_chooses_the_checks(self):
        venv = self.venv()
        order = {}
        for recipe in ("jetpack-5", "jetpack-6", "ci-image"):
            report = json.loads(self.ssmend("repair", "--python", venv, "--recipe", recipe, "--json",
                                            "--dry-run", expect=0).out)["repairs"][0]
            order[recipe] = [action["kind"] for action in report["plan"]["actions"]]
            chosen = report["recipe"]
            expected = [each["code"] for each in chosen["expected"]]
            self.assertEqual((expected, chosen["not_usual"]), {
                "jetpack-5": (["python-module-missing", "wrong-machine"], []),
                "jetpack-6": (["wrong-machine"], ["python-module-missing"]),
                "ci-image": ([], ["wrong-machine", "python-module-missing"])}[recipe])
        self.assertEqual(order, {"jetpack-5": ["patch", "move aside", "install"],
                                 "jetpack-6": ["move aside", "install", "patch"],
                                 "ci-image": ["move aside", "install", "patch"]})
        for recipe, wanted in (("ci-image", {"imports"}), ("server", {
                "torch", "imports", "causal_conv1d", "selective_scan", "mamba", "mamba2"})):
            report = json.loads(self.ssmend("repair", "--python", venv, "--yes", "--json",
                                            "--recipe", recipe).out)["repairs"][0]
            checks = report["verification"]["checks"]
            self.assertEqual({check["component"] for check in checks}, wanted)
            self.assertTrue(all(check["state"] == "not-checked" for check in checks), checks)
            self.undo(venv)

    def test_pip_uninstalls_the_kernels_and_status_says_what_is_lost(self):
        venv = self.venv()
        self.pip(venv, "uninstall", "--yes", "ssm-kernels")  # not there yet: pip only warns
        self.repair(venv)
        self.pip(venv, "uninstall", "--yes", "ssm-kernels")
        self.assertEqual(list(self.site(venv).glob("ssm_kernels*")), [])
        status = self.ssmend("status", "--python", venv, expect=1)
        self.assertIn(f"lost: {MODULE}.abi3.so: gone", status.out)
        self.repair(venv)
        self.assertTrue((self.site(venv) / f"{MODULE}.abi3.so").exists())
        self.undo(venv)
        self.assertEqual(self.finder_says(venv), self.site(venv) / BROKEN)
        self.assertEqual((self.site(venv) / INTERFACE).read_text(), SOURCE)

    def test_a_package_that_pip_uninstalled_stays_away(self):
        venv = self.venv()
        self.repair(venv)
        self.pip(venv, "uninstall", "--yes", "mamba_ssm")
        self.assertIn("lost: ", self.ssmend("status", "--python", venv, expect=1).out)
        undone = self.undo(venv)
        self.assertIn(f"{BROKEN}: its package is gone since, not given back", undone.out)
        left = [path.name for path in self.site(venv).iterdir()
                if "mamba" in path.name or MODULE in path.name or "ssm" in path.name]
        self.assertEqual(left, [], str(undone))

    def test_a_reinstall_and_an_upgrade_lose_the_repair_and_status_says_so(self):
        for wheel, options in ((self.wheel, ["--force-reinstall"]), (self.newer, ["--upgrade"])):
            with self.subTest(wheel=wheel.name):
                venv = self.venv()
                self.repair(venv)
                self.pip(venv, "install", "--no-index", "--no-deps", *options, wheel)
                installed = picture(venv)
                status = self.ssmend("status", "--python", venv, expect=1)
                self.assertIn(f"lost: {INTERFACE}: changed since", status.out)
                self.assertIn(f"lost: {BROKEN}: is there again", status.out)
                self.assertEqual(self.finder_says(venv), self.site(venv) / BROKEN)
                self.repair(venv)
                self.assertEqual(self.finder_says(venv), self.site(venv) / f"{MODULE}.abi3.so")
                self.assertNotEqual((self.site(venv) / INTERFACE).read_text(), SOURCE)
                undone = self.undo(venv)
                # What the installer brought is what stays, and nothing of ssmend's.
                after = picture(venv)
                for path in (INTERFACE, BROKEN):
                    self.assertEqual(after[str((self.site(venv) / path).relative_to(venv))],
                                     installed[str((self.site(venv) / path).relative_to(venv))],
                                     str(undone))
                self.assertEqual([path for path in after if "ssm_kernels" in path
                                  or ".ssmend" in path or "abi3" in path], [], str(undone))
                self.ssmend("status", "--python", venv, expect=0)

    def test_an_editable_install_is_asked_for(self):
        venv = self.venv(wheel=False)
        checkout = self.work / "checkout"
        for name, content in self.files.items():
            write(checkout / name, content)
        write(checkout / "backend.py", BACKEND)
        write(checkout / "pyproject.toml", '[build-system]\nrequires = []\n'
              'build-backend = "backend"\nbackend-path = ["."]\n'
              '[project]\nname = "mamba-ssm"\nversion = "2.2.4"\n')
        self.pip(venv, "install", "--no-index", "--no-deps", "--no-build-isolation", "-e", checkout)
        before = picture(checkout)
        planned = self.ssmend("repair", "--python", venv, "--dry-run", expect=0)
        self.assertIn("asks:", planned.out)
        self.assertIn("is in the checkout that mamba-ssm is installed from (editable)",
                      " ".join(planned.out.split()))
        answer = self.repair(venv, expect=1)
        self.assertIn("--editable includes it", answer.out)
        self.assert_same(picture(checkout), before, str(answer))
        self.undo(venv)
        self.repair(venv, "--editable")
        self.assertNotEqual((checkout / INTERFACE).read_text(), SOURCE)
        self.undo(venv)
        self.assert_same(picture(checkout), before)

    def test_a_site_packages_that_is_a_link_is_the_environments_own(self):
        venv = self.venv()
        elsewhere = self.work / "elsewhere"
        os.rename(self.site(venv), elsewhere)
        os.symlink(elsewhere, self.site(venv))
        before = picture(self.work)
        self.repair(venv)
        self.assertEqual(self.finder_says(venv).resolve(), elsewhere / f"{MODULE}.abi3.so")
        self.assertTrue(self.site(venv).is_symlink())
        self.undo(venv)
        self.assert_same(picture(self.work), before)

    def test_a_second_ssmend_waits_for_nobody(self):
        venv = self.venv()
        before = picture(venv)
        held = os.open(venv, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        for command in (["repair", "--yes", "--no-verify"], ["undo", "--yes"],
                        ["kernels", "install", "--yes"]):
            answer = self.ssmend(*command, "--python", venv, expect=2)
            self.assertIn(f"another ssmend is working on {venv}: run this again when it has ended",
                          answer.err)
        os.close(held)
        self.assert_same(picture(venv), before)
        self.repair(venv)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root and setpriv")
    def test_without_the_right_to_write_nothing_changes(self):
        venv = self.venv()
        before = picture(venv)
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        copy = self.shared / "ssmend"  # the build folder may be closed to others
        if not copy.exists():
            shutil.copy2(os.environ["SSMEND"], copy)
        argv = [*other, copy, "repair", "--python", venv, "--yes", "--no-verify"]
        done = run(argv, env={"PATH": os.environ["PATH"], "SSMEND_DATA": str(self.shared / "data"),
                              "LC_ALL": "C.UTF-8"}, cwd="/")
        if "data" in done.stderr and "not there" in done.stderr:
            self.skipTest("the source tree is closed to other users")
        self.assertIn(done.returncode, (1, 2), done.stdout + done.stderr)
        self.assertIn("ermission denied", done.stdout + done.stderr)
        self.assert_same(picture(venv), before)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"), "needs root and unshare")
    def test_a_read_only_tree_is_said_and_left(self):
        venv = self.venv()
        before = picture(venv)
        script = ('mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 77; shift; '
                  'exec "$@"')
        answer = self.ssmend("repair", "--python", venv, "--yes", "--no-verify",
                             prefix=["unshare", "-m", "sh", "-c", script, "sh", venv])
        if answer.code == 77 or answer.err.startswith("unshare: "):
            self.skipTest(f"no mounts here: {answer.err.strip()}")
        self.assertIn(answer.code, (1, 2), str(answer))
        self.assertIn("ead-only file system", answer.out + answer.err)
        self.assert_same(picture(venv), before)

    def test_an_environment_whose_interpreter_is_gone_is_not_called_healthy(self):
        venv = self.venv()
        self.repair(venv)
        for name in ("python", "python3", VERSION):
            if (venv / "bin" / name).is_symlink():
                (venv / "bin" / name).unlink()
        os.symlink("/nowhere/python3", venv / "bin" / "python3")
        self.assertIn("interpreter-missing", self.ssmend("inspect", "--python", venv, expect=1).out)
        answer = self.repair(venv, expect=1)
        self.assertIn("error[interpreter-missing]: no interpreter in", answer.out)
        self.assertIn("-> /nowhere/python3, which does not exist", " ".join(answer.out.split()))
        self.assertIn("Nothing that ssmend can repair here", answer.out)

    def test_a_folder_of_packages_without_an_interpreter_is_not_called_healthy(self):
        bundle = self.work / "bundle"
        write(bundle / "mamba_ssm" / "__init__.py", "")
        before = picture(bundle)
        answer = self.ssmend("repair", "--site-packages", bundle, "--yes", "--no-verify", expect=1)
        self.assertIn("bundle: no interpreter beside it, so its native modules are not judged",
                      answer.out)
        self.assertIn("Nothing that ssmend can repair here", answer.out)
        self.assertNotIn("Nothing to repair", answer.out)
        self.assert_same(picture(bundle), before)

    @staticmethod
    def but_for_the_folder_itself(found):
        """A run killed before there was a journal cannot know the time of the folder it lies in."""
        return {path: facts for path, facts in found.items() if path != "."}

    def test_a_killed_run_is_given_back_by_the_next(self):
        venv = self.venv()
        before = self.but_for_the_folder_itself(picture(venv))
        generator = random.Random(int(os.environ.get("SSMEND_SEED", "1")))
        environment = {**os.environ, "SSMEND_DATA": str(self.shared / "data")}
        argv = [os.environ["SSMEND"], "repair", "--python", str(venv), "--yes", "--no-verify"]
        started = time.monotonic()
        run(argv, env=environment)
        whole = time.monotonic() - started
        self.undo(venv)
        killed = 0
        for _ in range(int(os.environ.get("SSMEND_KILLS", "8"))):
            child = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            time.sleep(whole * generator.uniform(0.2, 1.0))
            child.send_signal(signal.SIGKILL)
            killed += child.wait() == -signal.SIGKILL
            self.repair(venv)
            self.assertEqual(self.finder_says(venv), self.site(venv) / f"{MODULE}.abi3.so")
            self.undo(venv)
            self.assert_same(self.but_for_the_folder_itself(picture(venv)), before)
        self.assertGreater(killed, 0)


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    if shutil.which("cc") is None:
        print("SKIP: there is no cc")
        sys.exit(77)
    unittest.main()
