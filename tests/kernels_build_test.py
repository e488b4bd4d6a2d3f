"""`ssmend kernels build`: images compiled on the target are the build machine's, take the place of the
embedded ones, and go again with undo.

usage: kernels_build_test.py SSMEND SSM_COMPILE KERNELS_FOLDER PAYLOAD NVRTC
exit status 77: there is no kernel library or no NVRTC
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SSMEND, SSM_COMPILE, KERNELS, PAYLOAD, NVRTC = sys.argv[1:6]
UNIT = "conv1d/conv1d_update.cu"  # the smallest
LIST_LOCAL = """
import ctypes, sys
sys.path.insert(0, sys.argv[2])
from kernel_library_image import Image
library = ctypes.CDLL(sys.argv[1])
for index in range(library.ssm_image_count()):
    image = Image()
    assert library.ssm_image_info(index, ctypes.byref(image)) == 0
    if image.local:
        print(image.unit.decode(), image.sm, image.compiler)
"""


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


class KernelsBuild(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.source = os.path.join(self.folder, "source")
        shutil.copytree(KERNELS, self.source)
        with open(os.path.join(self.source, "units.txt"), "w") as units:
            units.write("# one of them\n" + UNIT + "\n")

    def build(self, *more):
        return run(SSMEND, "kernels", "build", "--gpu", "sm_87", "--nvrtc", NVRTC,
                   "--source", self.source, *more)

    def test_it_is_the_build_machines_code(self):
        here, there = (os.path.join(self.folder, name) for name in ("here.pack", "there.pack"))
        status, out, words = self.build("--output", here)
        self.assertEqual(status, 0, words)
        self.assertIn("1 image for sm_87", out)
        status, _, words = run(SSM_COMPILE, "--nvrtc", NVRTC, "--kernels", KERNELS,
                               "--arch", "sm_87", "--output", there, UNIT)
        self.assertEqual(status, 0, words)
        with open(here, "rb") as first, open(there, "rb") as second:
            self.assertEqual(first.read(), second.read())

    def test_it_lies_beside_the_library_until_undo(self):
        venv = os.path.join(self.folder, "venv")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        status, _, words = self.build("--python", venv, "--yes")
        self.assertEqual(status, 2)
        self.assertIn("the kernel library is not installed", words)
        status, out, words = run(SSMEND, "kernels", "install", "--payload", PAYLOAD, "--python",
                                 venv, "--yes")
        self.assertEqual(status, 0, out + words)
        status, out, words = self.build("--python", venv, "--yes")
        self.assertEqual(status, 0, out + words)
        self.assertIn("Changed 1 file", out)
        found = [os.path.join(path, name) for path, _, names in os.walk(venv) for name in names]
        packs = [path for path in found if path.endswith("ssm_kernels/local_images.pack")]
        self.assertEqual(len(packs), 1)
        library = os.path.join(os.path.dirname(packs[0]), "libssm_kernels.so")
        status, out, words = run(sys.executable, "-c", LIST_LOCAL, library,
                                 os.path.dirname(os.path.abspath(__file__)))
        self.assertEqual(status, 0, words)
        self.assertEqual(out.split()[:2], ["conv1d_update", "87"])
        status, out, words = run(SSMEND, "undo", "--python", venv, "--yes")
        self.assertEqual(status, 0, out + words)
        self.assertFalse(os.path.exists(os.path.dirname(packs[0])))

    def test_what_is_wrong_is_named(self):
        out = os.path.join(self.folder, "x.pack")
        with open(os.path.join(self.source, UNIT), "a") as source:
            source.write("this is no code\n")
        status, _, words = self.build("--output", out)
        self.assertEqual(status, 2)
        self.assertIn(UNIT + " for sm_87: nvrtcCompileProgram", words)
        self.assertFalse(os.path.exists(out))
        status, _, words = run(SSMEND, "kernels", "build", "--gpu", "sm_87", "--nvrtc",
                               "/nonexistent/libnvrtc.so", "--output", out)
        self.assertEqual(status, 2)
        self.assertIn("/nonexistent/libnvrtc.so", words)
        status, _, words = run(SSMEND, "kernels", "build", "--gpu", "Orin", "--output", out)
        self.assertEqual(status, 2)
        self.assertIn("--gpu Orin: expected sm_NN", words)


if __name__ == "__main__":
    library = os.path.join(PAYLOAD, "linux_" + os.uname().machine, "ssm_kernels/libssm_kernels.so")
    if not os.path.isfile(library) or not os.path.isfile(NVRTC):
        print(f"SKIP: no kernel library in {PAYLOAD} or no NVRTC at {NVRTC}")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
