"""The whole way on one environment as users report it: mamba_ssm 2.2.4 beside causal_conv1d 1.6.0,
whose binary has the newer call contract. Broken before, right numbers after, every byte back."""

import unittest

import make_environment
from environment_case import LIBC10_TEXT, EnvironmentCase


class RepairTest(EnvironmentCase):
    def test_from_broken_to_right_numbers_and_back(self):
        venv = self.environment()
        before = make_environment.snapshot(venv)

        with self.subTest("the user's texts"):
            self.assertEqual(self.probe(venv, "import")["error"], f"ImportError: {LIBC10_TEXT}")
            self.assertIsNone(self.probe(venv, "import-torch")["error"])
            for path in ("mamba", "mamba2"):
                self.assertIn("TypeError: causal_conv1d_fwd(): incompatible function arguments",
                              self.probe(venv, path)["error"])

        with self.subTest("inspect"):
            seen = self.inspect(venv, expect=1)
            self.assertIn("load-order", self.about(seen, "causal_conv1d_cuda"))
            self.assertNotIn("missing-library", {f["code"] for f in seen.findings()}, str(seen))
            self.assertIn("call-contract", self.about(seen, "mamba_ssm"))
            finding = self.the_finding(seen, "load-order", "causal_conv1d_cuda")
            self.assertIn("found only in torch/lib", finding["title"])
            self.assertTrue(any(LIBC10_TEXT in e["text"] for e in finding["evidence"]), finding)
            sites = [site for inspection in seen.json()["inspections"]
                     for site in inspection["call_sites"] if site["module"] == "causal_conv1d_cuda"
                     and site["path"].startswith("mamba_ssm/")]
            self.assertEqual(sorted((s["function"], s["arguments"]) for s in sites),
                             [("causal_conv1d_bwd", 10)] * 2 + [("causal_conv1d_fwd", 7)] * 4)

        with self.subTest("a dry run changes nothing"):
            dry = self.ssmend("repair", "--python", venv, "--dry-run", expect=0)
            self.assertIn("selective_scan_interface.py", dry.out)
            self.assertIn("Nothing was changed", dry.out)
        refused = self.ssmend("repair", "--python", venv)
        self.assertEqual(refused.code, 2, f"no terminal and no --yes\n{refused}")
        self.assert_same_tree(make_environment.snapshot(venv), before, "nothing was asked for")

        self.ssmend("repair", "--python", venv, "--yes", "--no-verify", expect=0)
        repaired = make_environment.snapshot(venv)
        self.assertNotEqual(repaired, before)
        for path in ("mamba", "mamba2"):
            with self.subTest(f"numbers of {path} after the repair"):
                self.assert_numbers(self.probe(venv, path))
        with self.subTest("inspect after the repair"):
            self.assertNotIn("call-contract",
                             {f["code"] for f in self.inspect(venv, expect=0).findings()})
        with self.subTest("status"):
            self.assertIn("selective_scan_interface.py",
                          self.ssmend("status", "--python", venv, expect=0).out)
        with self.subTest("a second repair finds nothing to do"):
            self.ssmend("repair", "--python", venv, "--yes", "--no-verify", expect=0)
            self.assert_same_tree(make_environment.snapshot(venv), repaired, "second repair")
        with self.subTest("pip still finds its files"):
            self.assert_record_fits(venv, "mamba_ssm")

        self.ssmend("undo", "--python", venv, "--yes", expect=0)
        self.assert_same_tree(make_environment.snapshot(venv), before, "after undo")
        with self.subTest("broken again with the same text"):
            self.assertIn("TypeError: causal_conv1d_fwd(): incompatible function arguments",
                          self.probe(venv, "mamba")["error"])
        with self.subTest("the hard-linked twin kept its bytes"):
            site = make_environment.site_packages
            twin = make_environment.snapshot(site(self.base) / "mamba_ssm")
            relative = str(site(venv).relative_to(venv) / "mamba_ssm")
            self.assertEqual(twin, {path[len(relative) + 1:]: facts for path, facts in
                                    before.items() if path.startswith(relative + "/")})

    def assert_record_fits(self, venv, distribution):
        """RECORD's hashes are those of the files, bytecode aside."""
        import base64
        import csv
        import hashlib

        site = make_environment.site_packages(venv)
        record = next(site.glob(f"{distribution}-*.dist-info")) / "RECORD"
        rows = list(csv.reader(record.read_text().splitlines()))
        self.assertGreater(len(rows), 20)
        for name, digest, size in rows:
            if not digest:
                continue
            content = (site / name).read_bytes()
            wanted = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            self.assertEqual((digest, size), (f"sha256={wanted.decode()}", str(len(content))), name)


if __name__ == "__main__":
    unittest.main()
