"""What earlier repairs leave behind, on real packages: start-up hooks, a stub package in front of a
native module, files changed by hand in part. Undone where the original is at hand, else named."""

import shutil
import subprocess
import unittest

import make_environment
from environment_case import EnvironmentCase
from make_environment import replace_file, site_packages

INTERFACE = "mamba_ssm/ops/selective_scan_interface.py"
COMBINED = "mamba_ssm/ops/triton/ssd_combined.py"
# As such tools write them: the hook loads at start, and its function ends up calling itself.
SITECUSTOMIZE = "import sys\ntry:\n    import fix_causal_conv1d\nexcept ImportError:\n    pass\n"
HOOK = """import builtins
import sys
_import = builtins.__import__


def hooked(name, *args, **kwargs):
    module = _import(name, *args, **kwargs)
    if name.startswith("causal_conv1d_cuda"):
        native = sys.modules["causal_conv1d_cuda"]
        native.causal_conv1d_fwd = lambda *a: native.causal_conv1d_fwd(*a)
    return module


builtins.__import__ = hooked
"""
STUB = "def fwd(*args):\n    return [args[0], args[0]]\n"


def by_hand(text):
    """The forward calls changed, with the activation where it is dropped; the backward left."""
    changed = text.replace("causal_conv1d_cuda.causal_conv1d_fwd(", "causal_conv1d_fn(")
    assert changed != text
    return changed


class EarlierRepairTest(EnvironmentCase):
    def state_of(self, answer, relative):
        return next(file for result in answer.json()["results"] for file in result["files"]
                    if file["relative"] == relative)

    def start(self, venv, code):
        done = subprocess.run([venv / "bin" / "python", "-B", "-c", code], capture_output=True,
                              text=True, check=False, timeout=120)
        return (done.stdout + done.stderr).strip()

    def test_hooks_a_stub_and_a_half_changed_file_are_undone(self):
        venv = self.environment()
        site = site_packages(venv)
        original = (site / INTERFACE).read_bytes()
        (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
        (site / "fix_causal_conv1d.py").write_text(HOOK)
        (site / "zz_fix.pth").write_text("import fix_causal_conv1d\n")
        (site / "mine.pth").write_text("import sys; sys.mine = 1\n")
        (site / "selective_scan_cuda").mkdir()
        (site / "selective_scan_cuda" / "__init__.py").write_text(STUB)
        (site / (INTERFACE + ".bak")).write_bytes(original)
        replace_file(site / INTERFACE, by_hand(original.decode()).encode())
        before = make_environment.snapshot(venv, content=False)
        half = (site / INTERFACE).read_bytes()
        where = "import sys; print(sys.mine, 'fix_causal_conv1d' in sys.modules)"
        scan = "import torch, selective_scan_cuda as s; print(s.__file__.rsplit('/', 1)[1])"
        self.assertEqual(self.start(venv, where), "1 True")
        self.assertEqual(self.start(venv, scan), "__init__.py")
        self.assertIsNotNone(self.probe(venv, "mamba")["error"])

        seen = self.inspect(venv, expect=1)
        told = {finding["subject_path"][len(str(site)) + 1:] for finding in seen.findings()
                if finding["code"] == "earlier-repair"}
        self.assertEqual(told, {"sitecustomize.py", "fix_causal_conv1d.py", "zz_fix.pth",
                                "selective_scan_cuda/__init__.py", INTERFACE, INTERFACE + ".bak"})

        repaired = self.ssmend("repair", "--python", venv, "--yes", "--no-verify", expect=0)
        self.assertEqual(self.start(venv, where), "1 False", str(repaired))
        self.assertTrue(self.start(venv, scan).endswith(".so"), str(repaired))
        for path in ("mamba", "mamba2"):
            self.assert_numbers(self.probe(venv, path))
        after = make_environment.snapshot(venv, content=False)
        self.ssmend("repair", "--python", venv, "--yes", "--no-verify", expect=0)
        self.assert_same_tree(make_environment.snapshot(venv, content=False), after, "second run")
        self.ssmend("undo", "--python", venv, "--yes", expect=0)
        self.assert_same_tree(make_environment.snapshot(venv, content=False), before, "after undo")
        self.assertEqual((site / INTERFACE).read_bytes(), half)

    def patched(self, change):
        """What `ssmend patch` does to a small environment that `change` has been at."""
        venv = self.small_environment()
        site = site_packages(venv)
        change(site)
        before = (site / INTERFACE).read_bytes()
        answer = self.ssmend("patch", "--python", venv, "--yes", "--json")
        return site, before, self.state_of(answer, INTERFACE), answer

    def test_originals_of_every_kind_give_the_same_bytes(self):
        clean, _, state, _ = self.patched(lambda site: None)
        self.assertEqual(state["state"], "applied")
        wanted = (clean / INTERFACE).read_bytes()

        def half(site):
            path = site / INTERFACE
            path.write_bytes(by_hand(path.read_text()).encode())

        def beside(name):
            def change(site):
                shutil.copy(site / INTERFACE, (site / INTERFACE).with_name(name))
                half(site)
            return change

        def copy_of_package(site):
            shutil.copytree(site / "mamba_ssm", site / "mamba_ssm.orig")
            half(site)

        def cut_short(site):
            beside("selective_scan_interface.py.orig")(site)
            path = site / INTERFACE
            path.write_bytes(path.read_bytes()[:9000] + b"\n    broken = (\n")

        def record_without_hashes(site):
            beside("selective_scan_interface.py~")(site)
            record = next(site.glob("mamba_ssm-*.dist-info")) / "RECORD"
            rows = [row.split(",")[0] + ",," for row in record.read_text().splitlines()]
            record.write_text("\n".join(rows) + "\n")

        for change in (beside("selective_scan_interface.py.bak"),
                       beside("selective_scan_interface_backup.py"), copy_of_package, cut_short,
                       record_without_hashes):
            site, _, state, answer = self.patched(change)
            self.assertEqual(state["state"], "applied", str(answer))
            self.assertIn("from its original", state["reason"])
            self.assertEqual((site / INTERFACE).read_bytes(), wanted)

    def test_without_the_original_it_says_what_to_reinstall(self):
        def half(site):
            path = site / INTERFACE
            path.write_bytes(by_hand(path.read_text()).encode())

        def half_with_a_copy_of_another_file(site):
            half(site)
            shutil.copy(site / COMBINED, (site / INTERFACE).with_suffix(".py.bak"))

        for change in (half, half_with_a_copy_of_another_file):
            site, before, state, answer = self.patched(change)
            self.assertEqual(answer.code, 1, str(answer))
            self.assertEqual(state["state"], "partly-applied-by-hand")
            self.assertIn("somebody has changed it by hand", state["reason"])
            self.assertEqual((site / INTERFACE).read_bytes(), before)
            text = self.ssmend("patch", "--python", site.parents[2], "--check", expect=1).out
            self.assertIn("reinstall mamba-ssm 2.2.4 (`pip install --force-reinstall --no-deps "
                          "mamba-ssm==2.2.4`", " ".join(text.split()).replace("mamba_ssm", "mamba-ssm"))


if __name__ == "__main__":
    unittest.main()
