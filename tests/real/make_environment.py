"""Real Python environments for the tests: one cached base, cheap copies of it.

The base is an ordinary virtual environment made by pip: torch with everything it depends on,
einops, transformers (below 5), and mamba_ssm and causal_conv1d from their source releases without
the CUDA build. The two native modules that such an install lacks are compiled here from the
stand-ins beside this file, against that torch, and entered in RECORD as the wheels would have it.
It is kept under $SSMEND_TEST_CACHE. A copy is a tree of hard links (as uv and conda make them), so
a test that changes a file must put a new file in its place, and a tool that writes in place is
caught by `base_is_unharmed`.

Standard library only. `Unavailable` is the reason for a SKIP: no network, no compiler.
"""

import base64
import concurrent.futures
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ["torch==2.11.0", "numpy", "einops", "transformers==4.57.*", "setuptools==80.*", "wheel",
            "ninja", "packaging"]
SOURCE_RELEASES = {  # name: (requirement, variable prefix of its setup script)
    "causal_conv1d": ("causal-conv1d==1.6.0", "CAUSAL_CONV1D"),
    "mamba_ssm": ("mamba-ssm==2.2.4", "MAMBA"),
}
STANDINS = {  # module: (source, the distribution whose wheel has it)
    "causal_conv1d_cuda": ("standin_causal_conv1d.cpp", "causal_conv1d"),
    "selective_scan_cuda": ("standin_selective_scan.cpp", "mamba_ssm"),
}


class Unavailable(Exception):
    """Something that this machine does not offer: the reason to skip."""


def run(argv, what, **options):
    done = subprocess.run([str(part) for part in argv], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise Unavailable(f"{what}: {' / '.join(lines[-3:])}")
    return done.stdout


def cache_directory():
    given = os.environ.get("SSMEND_TEST_CACHE")
    path = pathlib.Path(given) if given else pathlib.Path.cwd() / "test-cache"
    path.mkdir(parents=True, exist_ok=True)
    return path


def site_packages(environment):
    return next(pathlib.Path(environment, "lib").glob("python3.*")) / "site-packages"


def extension_suffix():
    return sysconfig.get_config_var("EXT_SUFFIX")


def compile_standins(site, into):
    """Starts every compiler at once; returns the files by module name."""
    if not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists():
        raise Unavailable(f"no Python.h for {sys.executable} (Debian: python3-dev)")
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if not compiler:
        raise Unavailable("no g++")
    jobs = {}
    for module, (source, _) in STANDINS.items():
        target = into / (module + extension_suffix())
        jobs[target] = subprocess.Popen(
            [compiler, "-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden",
             f"-I{site}/torch/include", f"-I{site}/torch/include/torch/csrc/api/include",
             f"-I{sysconfig.get_path('include')}", HERE / source, "-o", target,
             f"-L{site}/torch/lib", "-lc10", "-ltorch", "-ltorch_cpu", "-ltorch_python"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for target, job in jobs.items():
        output, _ = job.communicate()
        if job.returncode != 0:  # a defect of ours, not a reason to skip
            raise RuntimeError(f"{target.name} does not compile:\n{output}")


def enter_in_record(site, distribution, path):
    """Adds one file to a distribution's RECORD, as if its wheel had brought it."""
    record = next(site.glob(f"{distribution}-*.dist-info")) / "RECORD"
    digest = hashlib.sha256(path.read_bytes()).digest()
    text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    with open(record, "a", encoding="utf-8") as out:
        out.write(f"{path.name},sha256={text},{path.stat().st_size}\n")


def build_base(path):
    if sys.version_info < (3, 10):
        raise Unavailable(f"torch 2.11 needs Python 3.10, this is {sys.version.split()[0]}")
    shutil.rmtree(path, ignore_errors=True)
    run([sys.executable, "-m", "venv", path], "python -m venv (Debian: python3-venv)")
    python = path / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(pip + PACKAGES, "pip install torch")
    for requirement, prefix in SOURCE_RELEASES.values():
        variables = {f"{prefix}_FORCE_BUILD": "TRUE", f"{prefix}_SKIP_CUDA_BUILD": "TRUE",
                     "PATH": f"{path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        run(pip + ["--no-build-isolation", "--no-deps", requirement], f"pip install {requirement}",
            env={**os.environ, **variables})
    site = site_packages(path)
    compile_standins(site, site)
    for module, (_, distribution) in STANDINS.items():
        enter_in_record(site, distribution, site / (module + extension_suffix()))


def base_environment():
    """The cached base, made on the first call; several processes may ask at once."""
    digest = hashlib.sha256(json.dumps([PACKAGES, SOURCE_RELEASES, sys.version]).encode())
    for source, _ in STANDINS.values():
        digest.update((HERE / source).read_bytes())
    path = cache_directory() / f"base-{digest.hexdigest()[:12]}"
    done = path.with_suffix(".complete")
    with open(cache_directory() / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            build_base(path)
            done.write_text("")
    return path


def copy_environment(destination, base=None):
    """A working environment at `destination`, every file a hard link into the base.

    The destination must not exist; where it lies on another file system the files are copied.
    """
    def link(source, target, **_):
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError:
            shutil.copy2(source, target, follow_symlinks=False)
        return target

    base = pathlib.Path(base or base_environment())
    shutil.copytree(base, destination, symlinks=True, copy_function=link)
    return pathlib.Path(destination)


def replace_file(path, content):
    """Puts a new file in the place of `path`, so that its hard-linked twins keep theirs."""
    mode = path.stat().st_mode & 0o7777
    path.unlink()
    path.write_bytes(content)
    path.chmod(mode)


def snapshot(environment, content=True):
    """{relative path: what may not change}: of files kind, mode, mtime, size and sha256; of links
    their target; of directories the mode. Without `content` no hashes, in a tenth of the time."""
    root = pathlib.Path(environment)
    paths = [os.path.join(directory, name) for directory, names, files in os.walk(root)
             for name in names + files]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return {os.path.relpath(path, root): facts for path, facts in
                zip(paths, pool.map(lambda path: _facts(path, content), paths))}


def _facts(path, content):
    status = os.lstat(path)
    if os.path.islink(path):
        return (status.st_mode, os.readlink(path))
    if os.path.isdir(path):
        return (status.st_mode,)
    digest = hashlib.sha256()
    if not content:
        return (status.st_mode, status.st_mtime_ns, status.st_size)
    with open(path, "rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return (status.st_mode, status.st_mtime_ns, status.st_size, digest.hexdigest())


def main():
    try:
        base = base_environment()
        made = copy_environment(sys.argv[1], base) if len(sys.argv) > 1 else base
    except Unavailable as reason:
        print(f"SKIP: {reason}")
        return 77
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
