"""The built kernel library, read from outside: what it needs, the images in it, its refusals.

usage: kernel_library_test.py BUILD_FOLDER SSM_COMPILE      exit status 77: nothing was built
"""

import base64
import csv
import ctypes
import glob
import hashlib
import io
import json
import os
import platform
import re
import struct
import subprocess
import sys
import unittest
import zipfile

from kernel_library_image import Image

BUILD, SSM_COMPILE = sys.argv[1], sys.argv[2]
PAYLOAD = os.path.join(BUILD, "share/ssmend/kernels")
TREES = sorted(glob.glob(os.path.join(PAYLOAD, "linux_*")))
HOST = os.path.join(PAYLOAD, "linux_" + platform.machine())
OLDEST_GLIBC = (2, 27)
LIMIT_BYTES = 12 << 20
NEEDED = {"libc.so.6", "libdl.so.2", "libm.so.6"}


def open_library():
    library = ctypes.CDLL(os.path.join(HOST, "ssm_kernels/libssm_kernels.so"))
    library.ssm_last_error.restype = ctypes.c_char_p
    return library


def images(library):
    result = []
    for index in range(library.ssm_image_count()):
        image = Image()
        assert library.ssm_image_info(index, ctypes.byref(image)) == 0
        result.append((image, ctypes.string_at(image.data, image.size_bytes)))
    return result


def binaries():
    for tree in TREES:
        yield from sorted(glob.glob(tree + "/*.so") + glob.glob(tree + "/ssm_kernels/*.so"))


class KernelLibrary(unittest.TestCase):
    def test_needs_only_libc_and_its_parts(self):
        for path in binaries():
            text = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True).stdout
            needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", text))
            self.assertLessEqual(needed, NEEDED, path)
            self.assertIn("libdl.so.2", needed, path)
            self.assertNotIn("RUNPATH", text, path)

    def test_no_symbol_is_newer_than_glibc_2_27(self):
        for path in binaries():
            text = subprocess.run(["readelf", "-VW", path], capture_output=True, text=True).stdout
            versions = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([0-9.]+)", text)}
            self.assertTrue(versions, path)
            self.assertLessEqual(max(versions), OLDEST_GLIBC, path)

    def test_is_small(self):
        for tree in TREES:
            path = os.path.join(tree, "ssm_kernels/libssm_kernels.so")
            self.assertLess(os.path.getsize(path), LIMIT_BYTES, path)

    def test_every_image_is_what_its_record_says(self):
        for image, data in images(open_library()):
            label = f"{image.unit.decode()} {image.sm}"
            if image.kind == 1:
                version = re.search(rb"\.version (\d+)\.(\d+)", data)
                self.assertEqual(int(version[1]) * 10 + int(version[2]), image.ptx_isa, label)
                self.assertIn(f".target sm_{image.sm}".encode(), data, label)
                self.assertEqual(data[-1], 0, label)
                continue
            self.assertEqual(data[:4], b"\x7fELF", label)
            os_abi, abi_version = data[7], data[8]
            flags = struct.unpack_from("<I", data, 48)[0]
            self.assertEqual(struct.unpack_from("<H", data, 18)[0], 190, label)  # EM_CUDA
            if image.compiler < 13000:
                self.assertEqual((os_abi, abi_version), (0x33, 7), label)
                self.assertEqual(flags & 0xFF, image.sm, label)
            else:
                self.assertEqual((os_abi, abi_version), (0x41, 8), label)
                self.assertEqual(flags >> 8 & 0xFF, image.sm, label)

    def test_every_unit_has_every_architecture(self):
        by_unit = {}
        for image, _ in images(open_library()):
            by_unit.setdefault(image.unit, set()).add((image.kind, image.sm))
        self.assertEqual(len({frozenset(found) for found in by_unit.values()}), 1, by_unit)

    def test_old_architectures_are_compiled_by_the_old_compiler(self):
        for image, _ in images(open_library()):
            if image.sm <= 90:
                self.assertLess(image.compiler, 12000, f"{image.unit} {image.sm}")

    def test_a_call_without_a_gpu_says_so(self):
        library = open_library()
        count = ctypes.c_int32(-1)
        status = library.ssm_device_count(ctypes.byref(count))
        if status == 0:
            self.skipTest("this machine has a GPU")
        self.assertEqual(status, 2)  # SSM_NO_DRIVER
        self.assertRegex(library.ssm_last_error().decode(), "libcuda.so.1|cuInit|no GPU")

    def test_choice_needs_no_gpu(self):
        library, index = open_library(), ctypes.c_int32()
        reason = ctypes.create_string_buffer(512)
        status = library.ssm_choose_image(b"conv1d_forward", 87, 12060, ctypes.byref(index), reason, 512)
        if status != 0:
            self.skipTest("built without sm_87: " + reason.value.decode())
        self.assertTrue(reason.value.startswith(b"sm_87 image, made for this GPU"), reason.value)

    def test_manifest_names_the_files(self):
        for tree in TREES:
            with open(os.path.join(tree, "manifest.json"), encoding="utf-8") as file:
                manifest = json.load(file)
            for component in manifest["components"]:
                for name in component["files"]:
                    self.assertTrue(os.path.isfile(os.path.join(tree, name)), name)
            self.assertEqual("linux_" + manifest["machine"], os.path.basename(tree))

    def test_wheel_record_is_right(self):
        wheels = glob.glob(os.path.join(BUILD, "wheels/*.whl"))
        self.assertTrue(wheels)
        for path in wheels:
            with zipfile.ZipFile(path) as wheel:
                record = [n for n in wheel.namelist() if n.endswith("/RECORD")][0]
                rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
                self.assertEqual({row[0] for row in rows}, set(wheel.namelist()))
                for name, digest, size in rows:
                    if name == record:
                        continue
                    content = wheel.read(name)
                    hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
                    self.assertEqual(digest, "sha256=" + hashed.rstrip(b"=").decode(), name)
                    self.assertEqual(int(size), len(content), name)

    def test_modules_are_imported_by_every_python(self):
        pythons = glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python")) + [sys.executable]
        modules = [os.path.basename(p)[: -len(".abi3.so")] for p in glob.glob(HOST + "/*.abi3.so")]
        self.assertTrue(modules)
        code = "import sys\n" + "\n".join(f"import {m}; print({m}.__file__)" for m in modules)
        for python in pythons:
            done = subprocess.run([python, "-c", code], capture_output=True, text=True,
                                  env={**os.environ, "PYTHONPATH": HOST})
            self.assertEqual(done.returncode, 0, python + done.stderr)
            self.assertEqual(done.stdout.count(HOST), len(modules), python)

    def test_compile_program_names_what_is_wrong(self):
        def run(*arguments):
            done = subprocess.run([SSM_COMPILE, *arguments], capture_output=True, text=True)
            return done.returncode, done.stderr

        status, words = run("--nvrtc", "/nonexistent/libnvrtc.so", "--version")
        self.assertEqual(status, 1)
        self.assertIn("/nonexistent/libnvrtc.so: cannot open shared object file", words)
        self.assertEqual(run()[0], 2)


if __name__ == "__main__":
    if not os.path.isfile(os.path.join(HOST, "ssm_kernels/libssm_kernels.so")):
        print(f"SKIP: no kernel library in {HOST}")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
