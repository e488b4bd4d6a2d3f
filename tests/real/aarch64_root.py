"""A root file system with an aarch64 Python and an aarch64 torch, to be run in QEMU: JetPack's kind
of machine without one. Debian's own arm64 packages, the registry's aarch64 wheels, mamba_ssm and
causal_conv1d from the base of make_environment.py (they are pure Python), and the two native
modules that they lack, cross-compiled against that torch. Nothing of it runs while it is made.

`python aarch64_root.py` makes it under $SSMEND_TEST_CACHE (600 MB) and prints where it is.
"""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import zipfile

import make_environment
from make_environment import HERE, STANDINS, Unavailable, run

PYTHON = "usr/bin/python3.11"
SITE = "usr/local/lib/python3.11/dist-packages"
SUFFIX = ".cpython-311-aarch64-linux-gnu.so"
DEBIAN = """libc6 libstdc++6 libgcc-s1 gcc-12-base python3.11-minimal libpython3.11-minimal
    libpython3.11-stdlib python3.11 libpython3.11-dev zlib1g libexpat1 libssl3 libffi8 libbz2-1.0
    liblzma5 libsqlite3-0 libuuid1 libncursesw6 libtinfo6 libreadline8 libcrypt1 libgomp1""".split()
# torch's own wheel names CUDA wheels that this machine type has no need of, so no dependencies.
ALONE = ["torch==2.5.1", "sympy==1.13.1", "mpmath", "networkx", "jinja2", "markupsafe", "einops"]
WHOLE = ["numpy==1.26.4", "packaging", "transformers==4.57.*"]
PLATFORMS = ["manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64"]


def fetch_packages(folder):
    """Debian's packages for arm64, with apt's lists kept apart from the system's."""
    if shutil.which("apt-get") is None:
        raise Unavailable("no apt-get")
    for name in ("state/lists/partial", "cache/archives/partial", "packages"):
        (folder / name).mkdir(parents=True)
    (folder / "state/status").touch()
    apt = ["apt-get", "-qq", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures::=arm64",
           "-o", f"Dir::State={folder}/state", "-o", f"Dir::State::status={folder}/state/status",
           "-o", f"Dir::Cache={folder}/cache", "-o", "APT::Sandbox::User=root"]
    run([*apt, "update"], "apt-get update for arm64")
    run([*apt, "download", *DEBIAN], "apt-get download for arm64 (Debian 12)",
        cwd=folder / "packages")
    return sorted((folder / "packages").glob("*.deb"))


def fetch_wheels(folder):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet",
           "--dest", folder, "--only-binary=:all:", "--python-version", "3.11",
           "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none"]
    pip += [part for platform in PLATFORMS for part in ("--platform", platform)]
    run([*pip, "--no-deps", *ALONE], "pip download torch for aarch64")
    run([*pip, *WHOLE], "pip download transformers for aarch64")
    return sorted(folder.glob("*.whl"))


def cross_compile(root):
    compiler = shutil.which("aarch64-linux-gnu-g++")
    if not compiler:
        raise Unavailable("no aarch64-linux-gnu-g++ (Debian: g++-aarch64-linux-gnu)")
    site = root / SITE
    jobs = {}
    for module, (source, _) in STANDINS.items():
        # torch's libraries name others of their own that lie where only they look.
        jobs[module] = subprocess.Popen(
            [compiler, "-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-D_GLIBCXX_USE_CXX11_ABI=0",
             f"-DTORCH_EXTENSION_NAME={module}", f"-I{site}/torch/include",
             f"-I{site}/torch/include/torch/csrc/api/include", f"-I{root}/usr/include/python3.11",
             f"-I{root}/usr/include/aarch64-linux-gnu/python3.11", f"-I{root}/usr/include",
             HERE / source, "-o", site / (module + SUFFIX), f"-L{site}/torch/lib", "-lc10",
             "-ltorch", "-ltorch_cpu", "-ltorch_python", "-Wl,--unresolved-symbols=ignore-all"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for module, job in jobs.items():
        output, _ = job.communicate()
        if job.returncode != 0:
            raise RuntimeError(f"{module} does not compile:\n{output}")


def build_root(root, base):
    shutil.rmtree(root, ignore_errors=True)
    work = root.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    for name in ("wheels", "apt"):
        (work / name).mkdir(parents=True)
    for package in fetch_packages(work / "apt"):
        run(["dpkg", "-x", package, root], f"dpkg -x {package.name}")
    site = root / SITE
    site.mkdir(parents=True)
    for wheel in fetch_wheels(work / "wheels"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    source = make_environment.site_packages(base)
    native = tuple(STANDINS)
    for pattern in ("mamba_ssm*", "causal_conv1d*"):
        for path in source.glob(pattern):
            if path.name.startswith(native):
                continue  # this machine's
            if path.is_dir():
                shutil.copytree(path, site / path.name,
                                ignore=shutil.ignore_patterns("__pycache__"))
    cross_compile(root)
    for name in ("proc", "dev", "tmp", "opt"):
        (root / name).mkdir(exist_ok=True)
    shutil.rmtree(work)


def aarch64_root():
    """The cached root, made on the first call."""
    base = make_environment.base_environment()
    digest = hashlib.sha256(json.dumps([DEBIAN, ALONE, WHOLE, base.name]).encode())
    digest.update(pathlib.Path(__file__).read_bytes())
    path = make_environment.cache_directory() / f"aarch64-{digest.hexdigest()[:12]}"
    done = path.with_suffix(".complete")
    if not done.exists():
        build_root(path, base)
        done.write_text("")
    return path


if __name__ == "__main__":
    try:
        print(aarch64_root())
    except Unavailable as reason:
        print(f"SKIP: {reason}")
        sys.exit(77)
