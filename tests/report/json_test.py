"""Every JSON that the program prints follows its published schema: json_test.py SSMEND.

The environment is made here from text: a package whose native module is not there and whose calls
do not fit, so that findings, plans and patches are not empty.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

try:
    import jsonschema
except ImportError:
    print("SKIP: the Python package jsonschema is not installed")
    sys.exit(77)

SOURCE = """\
import selective_scan_cuda
from causal_conv1d import causal_conv1d_fn
import causal_conv1d_cuda


def forward(x, w, b):
    return causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, None, True)
"""


class Json(unittest.TestCase):
    program = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        site = cls.folder / "venv/lib/python3.11/site-packages"
        (site / "mamba_ssm/ops").mkdir(parents=True)
        info = site / "mamba_ssm-1.1.1.dist-info"
        info.mkdir()
        (cls.folder / "venv/pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.2\n")
        (site / "mamba_ssm/__init__.py").write_text("from mamba_ssm.ops import interface\n")
        (site / "mamba_ssm/ops/__init__.py").write_text("")
        (site / "mamba_ssm/ops/interface.py").write_text(SOURCE)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mamba_ssm\nVersion: 1.1.1\n")
        (info / "RECORD").write_text("mamba_ssm/ops/interface.py,,\n")
        cls.site = str(site)
        cls.schemas = {}
        for path in sorted((ROOT / "tool/report/schemas").glob("*.json")):
            content = json.loads(path.read_text())
            validator = jsonschema.validators.validator_for(content)
            validator.check_schema(content)
            # A schema of one object or a list of them has the object among its definitions.
            shape = content.get("properties") or content["definitions"]["module"]["properties"]
            cls.schemas[shape["schema"]["const"]] = validator(content)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def check(self, *arguments, text=""):
        run = subprocess.run([self.program, *arguments], input=text, capture_output=True, text=True,
                             cwd=self.folder)
        self.assertIn(run.returncode, (0, 1), run.stderr)
        content = json.loads(run.stdout)
        self.assertIn(content["schema"], self.schemas)
        problems = [f"{list(error.path)}: {error.message}"
                    for error in self.schemas[content["schema"]].iter_errors(content)]
        self.assertEqual(problems[:5], [], arguments)
        return content

    def test_inspect_and_report(self):
        content = self.check("inspect", "--json", "--site-packages", self.site)
        self.assertGreater(len(content["inspections"][0]["findings"]), 0)
        self.assertEqual(self.check("report", "--json", "-", "--site-packages",
                                    self.site)["errors"], content["errors"])

    def test_compare(self):
        subprocess.run([self.program, "report", "--json", str(self.folder / "old.json"),
                        "--site-packages", self.site])
        content = self.check("report", "--compare", "old.json", "--compare-json", "-",
                             "--site-packages", self.site)
        self.assertEqual((content["appeared"], content["gone"]), ([], []))

    def test_explain(self):
        self.check("explain", "--json", "call-contract")
        self.assertGreater(len(self.check("explain", "--json", "--all")["codes"]), 20)
        text = "ImportError: libc10.so: cannot open shared object file: No such file\n"
        self.assertEqual(len(self.check("explain", "--json", text=text)["texts"]), 1)

    def test_resolve(self):
        self.check("resolve", "--json", shutil.which("true"))

    def test_repair_patch_and_status_without_a_change(self):
        place = ["--json", "--site-packages", self.site]
        self.check("repair", "--dry-run", *place)
        self.check("status", *place)
        content = self.check("patch", "--check", "--json", "--contract", "F",
                             str(self.folder / "venv/lib/python3.11/site-packages/mamba_ssm"))
        self.assertGreater(len(content["results"][0]["files"]), 0)

    def test_repair_status_and_undo(self):
        copy = self.folder / "copy"
        shutil.copytree(self.site, copy)
        source = copy / "mamba_ssm/ops/interface.py"
        source.write_text(SOURCE.replace("None, True)", "None, None, None, True)"))
        before = source.read_bytes()
        place = ["--json", "--site-packages", str(copy)]
        self.check("repair", "--yes", "--no-verify", *place)
        self.check("status", *place)
        self.check("undo", "--dry-run", *place)
        self.check("undo", "--yes", *place)
        self.assertEqual(source.read_bytes(), before)

    def test_a_schema_can_refuse(self):
        content = self.check("explain", "--json", "--all")
        content["codes"][0]["severity"] = "fatal"
        self.assertFalse(self.schemas[content["schema"]].is_valid(content))


if __name__ == "__main__":
    Json.program = sys.argv.pop(1)
    unittest.main()
