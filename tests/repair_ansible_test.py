"""The Ansible module on three hosts at once: broken, already repaired, and beyond repair.

The hosts are local connections with an environment each. The kernel library is a made-up one, built
here from a few lines of C, so that the test needs neither a GPU nor an NVRTC.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from repair_environment_case import compile_module, other_machine, write

HERE = pathlib.Path(__file__).resolve().parent
RECIPES = HERE.parent / "recipes" / "ansible"
SKIP = 77
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ssmend:
        python: "{{ environment_folder }}"
        executable: "{{ executable }}"
        verify: false
        state: "{{ wanted | default('repaired') }}"
      register: outcome
      ignore_errors: true
    - copy:
        content: "{{ outcome | to_json }}"
        dest: "{{ result_file }}"
      check_mode: false
      diff: false
"""


class AnsibleTest(unittest.TestCase):
    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="ssmend-ansible-"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        machine = os.uname().machine
        kernels = self.work / "data" / "kernels" / f"linux_{machine}"
        compile_module(kernels / "selective_scan_cuda.abi3.so", "selective_scan_cuda")
        write(kernels / "ssm_kernels" / "note.txt", "the library")
        write(kernels / "manifest.json", json.dumps({
            "name": "ssm-kernels", "version": "0.1.0", "machine": machine,
            "glibc_min": "2.17", "python_min": "3.8", "components": [
                {"name": "library", "files": ["ssm_kernels/note.txt"],
                 "provides_module": "ssm_kernels"},
                {"name": "selective_scan_cuda", "files": ["selective_scan_cuda.abi3.so"],
                 "provides_module": "selective_scan_cuda"}]}))
        self.module = kernels / "selective_scan_cuda.abi3.so"
        self.hosts = {}
        for name in ("broken", "repaired", "hopeless"):
            self.hosts[name] = self.make_environment(name)
        # The made-up kernel library has no such module.
        os.rename(self.modules(self.hosts["hopeless"])[0],
                  str(self.modules(self.hosts["hopeless"])[0]).replace("selective_scan_cuda",
                                                                       "causal_conv1d_cuda"))
        first = self.play("repaired")["repaired"]
        self.assertTrue(first["changed"], first)

    def make_environment(self, name):
        venv = self.work / name
        python = os.path.realpath(sys.executable)
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        write(venv / "pyvenv.cfg", f"home = {os.path.dirname(python)}\n")
        (venv / "bin").mkdir()
        os.symlink(python, venv / "bin" / "python3")
        site = venv / "lib" / version / "site-packages"
        tag = f"cpython-3{sys.version_info[1]}-{os.uname().machine}-linux-gnu"
        write(site / f"selective_scan_cuda.{tag}.so", other_machine(self.module.read_bytes()))
        write(site / "mamba_ssm" / "__init__.py", "__version__ = '2.2.4'\n")
        return venv

    def modules(self, venv):
        return sorted(venv.glob("lib/*/site-packages/*.so"))

    def play(self, limit, *arguments):
        inventory = self.work / "inventory.ini"
        inventory.write_text("".join(
            f"{name} ansible_connection=local ansible_python_interpreter={sys.executable} "
            f"environment_folder={path} executable={os.environ['SSMEND']} "
            f"result_file={self.work}/{name}.json\n"
            for name, path in self.hosts.items()))
        playbook = self.work / "play.yml"
        playbook.write_text(PLAYBOOK)
        environment = {**os.environ, "ANSIBLE_LIBRARY": str(RECIPES / "library"),
                       "ANSIBLE_LOCALHOST_WARNING": "False", "ANSIBLE_HOME": str(self.work / "home"),
                       "SSMEND_DATA": str(self.work / "data"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["ansible-playbook", "-i", str(inventory), str(playbook), "--limit", limit, *arguments],
            capture_output=True, text=True, check=False, timeout=300, env=environment)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        results = {}
        for name in self.hosts:
            path = self.work / f"{name}.json"
            if path.exists():
                results[name] = json.loads(path.read_text())
                path.unlink()
        return results

    def test_three_hosts(self):
        before = self.modules(self.hosts["broken"])[0].read_bytes()
        checked = self.play("all", "--check", "--diff")
        self.assertTrue(checked["broken"]["changed"], checked["broken"])
        self.assertIn("selective_scan_cuda", checked["broken"]["diff"]["prepared"])
        self.assertEqual(self.modules(self.hosts["broken"])[0].read_bytes(), before)

        done = self.play("all")
        self.assertTrue(done["broken"]["changed"], done["broken"])
        self.assertFalse(done["broken"].get("failed", False), done["broken"])
        self.assertFalse(done["repaired"]["changed"], done["repaired"])
        self.assertFalse(done["repaired"].get("failed", False), done["repaired"])
        self.assertTrue(done["hopeless"]["failed"])
        self.assertIn("causal_conv1d_cuda", done["hopeless"]["msg"])
        self.assertEqual([path.name for path in self.modules(self.hosts["broken"])],
                         ["selective_scan_cuda.abi3.so"])

        undone = self.play("broken", "-e", "wanted=undone")
        self.assertTrue(undone["broken"]["changed"])
        self.assertEqual(self.modules(self.hosts["broken"])[0].read_bytes(), before)
        again = self.play("broken", "-e", "wanted=undone")
        self.assertFalse(again["broken"]["changed"])


if __name__ == "__main__":
    if shutil.which("ansible-playbook") is None:
        print("SKIP: there is no ansible-playbook (pip install ansible-core)")
        sys.exit(SKIP)
    unittest.main()
