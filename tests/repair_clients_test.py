"""Environments made by uv and by a conda client (rattler, which pixi is made of): both hard-link
files of packages from a cache, which a repair must never change, nor any other environment.

With SSMEND_TEST_CLIENTS set the clients are installed from the registry; without it this says SKIP.
Packages come from a folder: the wheel, and a conda channel made here from the same files and the
interpreter that runs this test.
"""

import hashlib
import io
import json
import os
import pathlib
import shutil
import sys
import tarfile
import unittest

from repair_environment_case import (BROKEN, INTERFACE, MODULE, SOURCE, VERSION, EnvironmentCase,
                                     picture, run)

CONDA = """
import asyncio, pathlib, sys
from rattler import Channel, Platform, install, solve

async def main(channel, prefix, cache, *specs):
    platform = Platform.current()
    records = await solve(sources=[Channel(channel)], specs=list(specs),
                          platforms=[platform, Platform("noarch")])
    await install(records, target_prefix=prefix, cache_dir=cache, show_progress=False)

asyncio.run(main(*sys.argv[1:]))
"""


class Clients(EnvironmentCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        given = os.environ.get("SSMEND_TEST_CLIENTS", "")
        cls.clients = pathlib.Path(given) if os.path.isdir(given) else cls.shared / "clients"
        if not (cls.clients / "bin" / "uv").exists():
            run([sys.executable, "-m", "venv", cls.clients])
            done = run([cls.clients / "bin" / "python3", "-m", "pip", "install", "--quiet", "uv",
                        "py-rattler"])
            if done.returncode != 0:
                raise unittest.SkipTest(f"pip install uv py-rattler: {done.stderr[-300:]}")

    def client(self, *argv, **variables):
        done = run(argv, env={**os.environ, **variables})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def check_twins(self, mended, twin, cache):
        """Two environments share inodes with a cache; one is mended and given back."""
        source = mended / "lib" / VERSION / "site-packages" / INTERFACE
        self.assertGreaterEqual(source.stat().st_nlink, 3, "the client made no hard links")
        before = {"mended": picture(mended, links=True), "twin": picture(twin, links=True),
                  "cache": picture(cache, links=True)}
        plain = {name: self.without_links(found) for name, found in before.items()}
        self.repair(mended)
        self.assertEqual(self.finder_says(mended), self.site(mended) / f"{MODULE}.abi3.so")
        self.assertNotEqual(source.read_text(), SOURCE)
        self.assertEqual(self.finder_says(twin), self.site(twin) / BROKEN)
        self.assert_same(self.without_links(picture(twin, links=True)), plain["twin"])
        self.assert_same(self.without_links(picture(cache, links=True)), plain["cache"])
        self.undo(mended)
        # The very inodes: the files are shared with the cache again.
        self.assert_same(picture(mended, links=True), before["mended"])
        self.assert_same(picture(twin, links=True), before["twin"])
        self.assert_same(picture(cache, links=True), before["cache"])

    @staticmethod
    def without_links(found):
        return {path: [fact for fact in facts if not isinstance(fact, tuple)]
                for path, facts in found.items()}

    def test_uv(self):
        uv = self.clients / "bin" / "uv"
        cache = self.work / "cache"
        variables = {"UV_CACHE_DIR": str(cache), "UV_LINK_MODE": "hardlink", "UV_OFFLINE": "1",
                     "UV_PYTHON_DOWNLOADS": "never"}
        made = []
        for name in ("one", "two"):
            venv = self.work / name
            self.client(uv, "venv", "--python", sys.executable, venv, **variables)
            self.client(uv, "pip", "install", "--python", venv / "bin" / "python", "--no-index",
                        self.wheel, **variables)
            made.append(venv)
        self.check_twins(*made, cache)
        # uv's own view of it.
        self.repair(made[0])
        python = made[0] / "bin" / "python"
        self.assertIn("ssm-kernels", self.client(uv, "pip", "list", "--python", python, **variables))
        self.client(uv, "pip", "check", "--python", python, **variables)
        self.client(uv, "pip", "install", "--python", python, "--no-index", "--reinstall",
                    self.wheel, **variables)
        status = self.ssmend("status", "--python", made[0], expect=1)
        self.assertIn(f"lost: {INTERFACE}: changed since", status.out)
        self.repair(made[0])
        self.client(uv, "pip", "uninstall", "--python", python, "ssm-kernels", **variables)
        self.assertEqual(list(self.site(made[0]).glob("ssm_kernels*")), [])
        self.undo(made[0])
        self.assertEqual((self.site(made[0]) / INTERFACE).read_text(), SOURCE)

    def conda_package(self, channel, name, version, files, depends=()):
        """A .tar.bz2 package with info/index.json and info/paths.json (paths_version 1)."""
        subdir = "linux-64" if os.uname().machine == "x86_64" else "linux-aarch64"
        index = {"name": name, "version": version, "build": "0", "build_number": 0,
                 "depends": list(depends), "subdir": subdir}
        paths = []
        archive = channel / subdir / f"{name}-{version}-0.tar.bz2"
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:bz2", compresslevel=1) as package:
            def add(path, content, mode=0o644):
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(content), mode
                package.addfile(member, io.BytesIO(content))
            for path, content in files.items():
                if isinstance(content, str):  # a link
                    member = tarfile.TarInfo(path)
                    member.type, member.linkname = tarfile.SYMTYPE, content
                    package.addfile(member)
                    target = files[os.path.normpath(os.path.join(os.path.dirname(path), content))]
                    paths.append({"_path": path, "path_type": "softlink",
                                  "sha256": hashlib.sha256(target).hexdigest(),
                                  "size_in_bytes": len(target)})
                    continue
                add(path, content, 0o755 if path.startswith("bin/") else 0o644)
                paths.append({"_path": path, "path_type": "hardlink",
                              "sha256": hashlib.sha256(content).hexdigest(),
                              "size_in_bytes": len(content)})
            add("info/index.json", json.dumps(index).encode())
            add("info/paths.json", json.dumps({"paths": paths, "paths_version": 1}).encode())
            add("info/files", "".join(f"{path}\n" for path in files).encode())
        content = archive.read_bytes()
        return archive.name, {**index, "md5": hashlib.md5(content).hexdigest(),
                              "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}

    def test_conda(self):
        channel = self.work / "channel"
        site = f"lib/{VERSION}/site-packages"
        version = ".".join(str(part) for part in sys.version_info[:3])
        python = {f"bin/{VERSION}": pathlib.Path(os.path.realpath(sys.executable)).read_bytes(),
                  "bin/python3": VERSION, "bin/python": VERSION}
        library = pathlib.Path(os.__file__).parent
        for path in sorted(library.rglob("*")):
            inside = path.relative_to(library)
            if not path.is_file() or path.suffix == ".pyc" or inside.parts[0] in (
                    "test", "site-packages", "dist-packages", "idlelib", "ensurepip", "tkinter"):
                continue
            if not inside.parts[0].startswith("config-"):
                python[f"lib/{VERSION}/{inside}"] = path.read_bytes()
        info = f"{site}/mamba_ssm-2.2.4.dist-info"
        record = "".join(f"{name},,\n" for name in self.files)
        mamba = {f"{site}/{name}": content for name, content in self.files.items()}
        mamba |= {f"{info}/METADATA": b"Metadata-Version: 2.1\nName: mamba-ssm\nVersion: 2.2.4\n",
                  f"{info}/INSTALLER": b"conda", f"{info}/RECORD": record.encode()}
        packages = dict([self.conda_package(channel, "python", version, python),
                         self.conda_package(channel, "mamba-ssm", "2.2.4", mamba, ["python"])])
        subdir = next(path.name for path in channel.iterdir())
        for name in (subdir, "noarch"):
            (channel / name).mkdir(exist_ok=True)
            (channel / name / "repodata.json").write_text(json.dumps(
                {"info": {"subdir": name}, "packages": packages if name == subdir else {},
                 "packages.conda": {}, "repodata_version": 1}))
        script = self.work / "conda.py"
        script.write_text(CONDA)
        made = []
        for name in ("one", "two"):
            prefix = self.work / name
            self.client(self.clients / "bin" / "python3", script, channel.as_uri(), prefix,
                        self.work / "pkgs", "mamba-ssm", XDG_CACHE_HOME=str(self.work / "home"))
            self.assertTrue(list((prefix / "conda-meta").glob("mamba-ssm-2.2.4-0.json")))
            made.append(prefix)
        self.check_twins(*made, self.work / "pkgs")
        # Named by CONDA_PREFIX, as an activated environment is.
        answer = self.ssmend("repair", "--yes", "--no-verify", "--dry-run", expect=0,
                             variables={}, prefix=["env", f"CONDA_PREFIX={made[0]}"])
        self.assertIn(f"Plan for {made[0]}", answer.out)


if __name__ == "__main__":
    if not os.environ.get("SSMEND_TEST_CLIENTS"):
        print("SKIP: SSMEND_TEST_CLIENTS is not set (installs uv and py-rattler; or their folder)")
        sys.exit(77)
    if shutil.which("cc") is None:
        print("SKIP: there is no cc")
        sys.exit(77)
    unittest.main()
