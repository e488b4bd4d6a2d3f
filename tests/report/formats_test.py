"""Every report format against its schema or parser: formats_test.py REPORT_WRITE.

REPORT_WRITE is the program that writes the reports of the hand-made inspections into a folder.
"""
import html.parser
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ["jetson", "healthy", "hostile", "two", "large", "none"]

try:
    import jsonschema
except ImportError:
    print("SKIP: the Python package jsonschema is not installed")
    sys.exit(77)


def schema(path):
    content = json.loads((ROOT / path).read_text())
    jsonschema.Draft7Validator.check_schema(content)
    return jsonschema.Draft7Validator(content)


class TagBalance(html.parser.HTMLParser):
    """Counts elements and notes those that are closed in the wrong order."""

    VOID = {"meta", "link", "br", "rect", "path"}

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.wrong, self.ids, self.links = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href"):
                self.links.append(value)
            if name.startswith("on"):
                self.wrong.append(f"{tag} {name}")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


class Formats(unittest.TestCase):
    writer = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        subprocess.run([cls.writer, cls.folder.name], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def text(self, name):
        return (pathlib.Path(self.folder.name) / name).read_text(encoding="utf-8")

    def check(self, validator, name):
        errors = [f"{name}: {list(error.path)}: {error.message}"
                  for error in validator.iter_errors(json.loads(self.text(name)))]
        self.assertEqual(errors[:5], [])

    def test_json_follows_its_schema(self):
        for sample in SAMPLES:
            self.check(schema("tool/report/schemas/inspection.schema.json"), sample + ".json")

    def test_comparison_follows_its_schema(self):
        for sample in SAMPLES:
            self.check(schema("tool/report/schemas/comparison.schema.json"), sample + ".comparison")

    def test_schema_refuses_a_wrong_report(self):
        report = json.loads(self.text("jetson.json"))
        del report["inspections"][0]["findings"][0]["fingerprint"]
        validator = schema("tool/report/schemas/inspection.schema.json")
        self.assertFalse(validator.is_valid(report))

    def test_sarif_follows_the_standard(self):
        for sample in SAMPLES:
            self.check(schema("tests/report/sarif_2.1.0.schema.json"), sample + ".sarif")

    def test_sarif_references_are_right(self):
        for sample in SAMPLES:
            run = json.loads(self.text(sample + ".sarif"))["runs"][0]
            rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
            prints = [result["partialFingerprints"]["ssmendFinding/v1"]
                      for result in run["results"]]
            self.assertEqual(len(rules), len(set(rules)))
            self.assertEqual(len(prints), len(set(prints)))
            for result in run["results"]:
                self.assertEqual(rules[result["ruleIndex"]], result["ruleId"])
                for location in result["locations"]:
                    place = location.get("physicalLocation", {}).get("artifactLocation", {})
                    if "uriBaseId" in place:
                        self.assertIn(place["uriBaseId"], run["originalUriBaseIds"])
                        self.assertFalse(place["uri"].startswith("/"))

    def test_sarif_locations_are_relative_to_the_repository(self):
        run = json.loads(self.text("jetson.sarif"))["runs"][0]
        places = [location["physicalLocation"]["artifactLocation"]
                  for result in run["results"] for location in result["locations"]
                  if "physicalLocation" in location]
        self.assertEqual(places[0], {"uri": "ops/selective_scan_interface.py",
                                     "uriBaseId": "%SRCROOT%"})
        self.assertEqual(places[1]["uri"], "causal_conv1d_cuda.cpython-310-aarch64-linux-gnu.so")
        self.assertEqual(places[1]["uriBaseId"], "SITE_PACKAGES")

    def test_junit_is_xml_and_counts_itself(self):
        for sample in SAMPLES:
            root = xml.etree.ElementTree.fromstring(self.text(sample + ".xml"))
            cases = root.findall("testsuite/testcase")
            failed = [case for case in cases if case.find("failure") is not None]
            self.assertEqual(int(root.get("tests")), len(cases))
            self.assertEqual(int(root.get("failures")), len(failed))
        root = xml.etree.ElementTree.fromstring(self.text("jetson.xml"))
        spoken = {case.get("name") for case in root.iter("testcase") if len(case)}
        self.assertEqual(spoken, {"call-contract", "missing-library", "module-missing",
                                  "load-order"})
        self.assertGreater(len(root.findall("testsuite/testcase")), 20)  # the others pass
        self.assertEqual(root.get("failures"), "2")

    def test_github_has_one_line_a_finding(self):
        for sample in SAMPLES:
            report = json.loads(self.text(sample + ".json"))
            findings = sum(len(inspection["findings"]) for inspection in report["inspections"])
            lines = self.text(sample + ".github").splitlines()
            self.assertEqual(len(lines), findings)
            for line in lines:
                self.assertRegex(line, r"^::(error|warning|notice) [a-zA-Z]+=[^:]*::")

    def test_html_is_well_formed_and_stands_alone(self):
        for sample in SAMPLES:
            page = self.text(sample + ".html")
            tags = TagBalance()
            tags.feed(page)
            self.assertEqual(tags.wrong, [], sample)
            self.assertEqual(tags.open, [], sample)
            self.assertNotIn("script", tags.seen)
            self.assertNotIn("img", tags.seen)
            self.assertEqual(len(tags.ids), len(set(tags.ids)))
            for link in tags.links:
                self.assertRegex(link, r"^(https://|data:,$)")
            self.assertNotRegex(page, r"url\(|@import")

    def test_markdown_lets_nothing_out_of_its_fences(self):
        outside, fence = [], None
        for line in self.text("hostile.md").splitlines():
            opened = re.match(r"^(`{3,})(text)?$", line)
            if fence is None and opened:
                fence = opened.group(1)
            elif fence is not None and line == fence:
                fence = None
            elif fence is None:
                outside.append(line)
        self.assertIsNone(fence)
        self.assertNotRegex("\n".join(outside), r"(?<!\\)<|(?<!\\)@|(?<!\\)\]\(")


if __name__ == "__main__":
    Formats.writer = sys.argv.pop(1)
    unittest.main()
