"""The wheel that carries the program: wheel_test.py SSMEND.

Made from the program and its data, read back against its own RECORD, installed by pip into a fresh
environment, run there from another folder, and removed without a trace.
"""
import base64
import csv
import hashlib
import io
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Wheel(unittest.TestCase):
    program = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        tree = cls.folder / "tree"
        (tree / "bin").mkdir(parents=True)
        shutil.copy2(cls.program, tree / "bin/ssmend")
        for name in ("patches", "recipes"):
            shutil.copytree(ROOT / name, tree / "share/ssmend" / name,
                            ignore=shutil.ignore_patterns("__pycache__"))
        out = subprocess.run([sys.executable, str(ROOT / ".ci/make_wheel.py"), str(tree),
                              str(cls.folder / "dist")], check=True, capture_output=True, text=True)
        cls.wheel = pathlib.Path(out.stdout.strip())

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def test_record_has_every_file_with_its_hash(self):
        with zipfile.ZipFile(self.wheel) as wheel:
            names = wheel.namelist()
            record = next(name for name in names if name.endswith(".dist-info/RECORD"))
            rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
            self.assertEqual(sorted(row[0] for row in rows), sorted(names))
            for name, digest, size in rows:
                if name == record:
                    continue
                content = wheel.read(name)
                expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
                self.assertEqual(digest, "sha256=" + expected.decode())
                self.assertEqual(int(size), len(content))

    def test_the_tag_is_in_name_and_metadata(self):
        with zipfile.ZipFile(self.wheel) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".dist-info/WHEEL"))
            text = wheel.read(name).decode()
        tag = "-".join(self.wheel.stem.split("-")[2:])
        self.assertIn(f"Tag: {tag}\n", text)
        self.assertRegex(tag, r"^py3-none-(linux|manylinux_2_\d+)_(x86_64|aarch64)$")

    def test_pip_installs_runs_and_removes_it(self):
        environment = self.folder / "environment"
        made = subprocess.run([sys.executable, "-m", "venv", str(environment)], capture_output=True)
        if made.returncode != 0:
            self.skipTest("this Python makes no environments: " + made.stderr.decode()[-200:])
        pip = [str(environment / "bin/python"), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", "--no-index", str(self.wheel)], check=True)
        text = subprocess.run([str(environment / "bin/ssmend"), "--version"], check=True, cwd="/",
                              capture_output=True, text=True).stdout
        self.assertRegex(text, r"\nrules: .*causal-conv1d-calls [0-9]+")
        subprocess.run([*pip, "uninstall", "-q", "-y", "ssmend"], check=True)
        left = [path for path in environment.rglob("*ssmend*") if path.is_file()]
        self.assertEqual(left, [])


if __name__ == "__main__":
    Wheel.program = sys.argv.pop(1)
    unittest.main()
