"""One environment, one fault at a time: what Python says, and that ssmend names the cause."""

import unittest
import zipfile

import make_environment
from environment_case import LIBC10_TEXT, EnvironmentCase
from make_environment import Unavailable, cache_directory, extension_suffix, site_packages

CODES = {"missing-library", "load-order", "wrong-machine", "python-abi", "module-missing",
         "undefined-symbol", "truncated-file"}


class FindingsTest(EnvironmentCase):
    def setUp(self):
        self.venv = self.environment()
        self.site = site_packages(self.venv)
        self.module = self.site / f"causal_conv1d_cuda{extension_suffix()}"

    def loader_codes(self, answer, subject="causal_conv1d_cuda"):
        return self.about(answer, subject) & CODES

    def test_libc10_removed_is_a_missing_library_with_every_path_tried(self):
        (self.site / "torch" / "lib" / "libc10.so").unlink()
        self.assertEqual(self.probe(self.venv, "import")["error"], f"ImportError: {LIBC10_TEXT}")
        seen = self.inspect(self.venv, expect=1)
        codes = self.loader_codes(seen)
        self.assertIn("missing-library", codes, str(seen))
        self.assertNotIn("load-order", codes, "it is in no torch library any more")
        finding = self.the_finding(seen, "missing-library", "causal_conv1d_cuda")
        evidence = "\n".join(f"{e['label']}: {e['text']}" for e in finding["evidence"])
        self.assertIn("libc10.so", finding["title"] + evidence)
        for step in ("LD_LIBRARY_PATH", "RUNPATH", "ld.so.cache", "/usr/lib"):
            self.assertIn(step, evidence)

    def test_wrong_machine_is_read_from_the_file(self):
        content = bytearray(self.module.read_bytes())
        content[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
        make_environment.replace_file(self.module, bytes(content))
        text = self.probe(self.venv, "import-torch")["error"]
        self.assertIn("cannot open shared object file", text)  # CPython says no more than this
        codes = self.loader_codes(self.inspect(self.venv, expect=1))
        self.assertEqual(codes, {"wrong-machine"})

    def test_wrong_suffix_is_another_pythons_abi(self):
        self.module.rename(self.site / "causal_conv1d_cuda.cpython-38-x86_64-linux-gnu.so")
        self.assertEqual(self.probe(self.venv, "import-torch")["error"],
                         "ModuleNotFoundError: No module named 'causal_conv1d_cuda'")
        codes = self.loader_codes(self.inspect(self.venv, expect=1))
        self.assertIn("python-abi", codes)
        self.assertNotIn("wrong-machine", codes)

    def test_absent_module_is_named_missing(self):
        self.module.unlink()
        self.assertEqual(self.probe(self.venv, "import-torch")["error"],
                         "ModuleNotFoundError: No module named 'causal_conv1d_cuda'")
        codes = self.loader_codes(self.inspect(self.venv, expect=1))
        self.assertIn("module-missing", codes)
        self.assertFalse(codes & {"python-abi", "wrong-machine", "missing-library"})

    def test_truncated_module_is_a_finding(self):
        content = self.module.read_bytes()
        for length in (0, 10, 64, len(content) // 2, len(content) - 4096):
            with self.subTest(bytes=length):
                make_environment.replace_file(self.module, content[:length])
                seen = self.inspect(self.venv, expect=1)
                self.assertIn("truncated-file", self.loader_codes(seen), str(seen))

    def test_torchvision_of_another_torch_release(self):
        self.install_wheel("torchvision", "0.21.0")  # made for torch 2.6
        probe = make_environment.run(
            [self.venv / "bin" / "python", "-c", "try:\n    import torchvision\n"
             "except RuntimeError as error:\n    print(error)\nimport ctypes, torch\n"
             f"try:\n    ctypes.CDLL({str(self.site / 'torchvision' / '_C.so')!r}, mode=1)\n"
             "except OSError as error:\n    print(error)"], "asking Python for torchvision")
        said, loader = probe.strip().splitlines()[-2:]
        self.assertEqual(said, "operator torchvision::nms does not exist")
        self.assertIn("libcudart.so.12: cannot open", loader)  # the first of the causes
        seen = self.inspect(self.venv, expect=1)
        found = [f for f in seen.findings() if f["subject"] == "torchvision._C"]
        errors = {f["code"] for f in found if f["severity"] == "error"}
        self.assertEqual(errors, {"cuda-runtime-missing", "torch-mismatch"})
        titles = "\n".join(f["title"] for f in found)
        self.assertIn("libcudart.so.12 of CUDA 12", titles)
        self.assertIn("built with the other C++ ABI", titles)
        self.assertIn("built against another release than torch 2.11.0", titles)

    def install_wheel(self, name, version):
        kept = cache_directory() / "wheels"
        if not list(kept.glob(f"{name}-{version}-*.whl")):
            try:
                make_environment.run(
                    [self.base / "bin" / "python", "-m", "pip", "--disable-pip-version-check",
                     "download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", kept,
                     f"{name}=={version}"], f"pip download of {name}")
            except Unavailable as reason:
                self.skipTest(str(reason))
        found = list(kept.glob(f"{name}-{version}-*.whl"))
        if not found:
            self.skipTest(f"no wheel of {name} {version} for this Python")
        with zipfile.ZipFile(found[0]) as wheel:
            wheel.extractall(self.site)

    def test_healthy_control_has_none_of_these(self):
        seen = self.inspect(self.venv)
        for module in ("causal_conv1d_cuda", "selective_scan_cuda"):
            self.assertLessEqual(self.loader_codes(seen, module), {"load-order"})
        errors = [f for f in seen.findings() if f["severity"] == "error"]
        self.assertEqual({f["code"] for f in errors}, {"call-contract"},
                         "torch, transformers and the rest are healthy")


class ForeignRootTest(EnvironmentCase):
    """A real aarch64 torch under a root directory, looked at from here."""

    def wheel(self):
        kept = cache_directory() / "aarch64"
        found = list(kept.glob("torch-2.5.1-*aarch64.whl"))
        if not found:
            make_environment.run(
                [self.base / "bin" / "python", "-m", "pip", "--disable-pip-version-check",
                 "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version",
                 "3.10", "--implementation", "cp", "--platform", "manylinux2014_aarch64",
                 "--platform", "manylinux_2_28_aarch64", "-d", kept, "torch==2.5.1"],
                "pip download of the aarch64 torch")
            found = list(kept.glob("torch-2.5.1-*aarch64.whl"))
        return found[0]

    def test_aarch64_torch_under_a_root(self):
        root = self.work_directory() / "root"
        site = root / "opt" / "venv" / "lib" / "python3.10" / "site-packages"
        site.mkdir(parents=True)
        try:
            with zipfile.ZipFile(self.wheel()) as wheel:
                wheel.extractall(site)
        except Unavailable as reason:
            self.skipTest(str(reason))
        for library in ("libc10.so", "libtorch_cpu.so", "libtorch_python.so"):
            self.assertTrue((site / "torch" / "lib" / library).is_file())
        arguments = ("inspect", "--root", root, "--site-packages",
                     "/opt/venv/lib/python3.10/site-packages", "--json")
        seen = self.ssmend(*arguments)
        self.assertNotIn("wrong-machine", {f["code"] for f in seen.findings()}, str(seen))
        inspection = seen.json()["inspections"][0]
        self.assertGreater(inspection["elf_files_checked"], 5)
        self.assertIn("torch", {d["name"] for d in inspection["distributions"]})
        for finding in seen.findings():  # a root directory is a world of its own
            self.assertNotIn(str(root), str(finding))

        # causal_conv1d's guessed wheel: this machine's code under an aarch64 name.
        native = site_packages(self.base) / f"causal_conv1d_cuda{extension_suffix()}"
        (site / "causal_conv1d_cuda.cpython-310-aarch64-linux-gnu.so").write_bytes(
            native.read_bytes())
        seen = self.ssmend(*arguments, expect=1)
        self.assertIn("wrong-machine", self.about(seen, "causal_conv1d_cuda"), str(seen))
        self.assertNotIn("wrong-machine", self.about(seen, "libtorch"), str(seen))


if __name__ == "__main__":
    unittest.main()
