"""Released sources of mamba_ssm and causal-conv1d by the ordinary registry client, unpacked as
DIRECTORY/{mamba,conv}/<version>/<package>; what is there already is kept."""
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

KINDS = {"mamba": ("mamba-ssm", "mamba_ssm", "MAMBA"),
         "conv": ("causal-conv1d", "causal_conv1d", "CAUSAL_CONV1D")}


def released_versions(python, project):
    done = subprocess.run([python, "-m", "pip", "index", "versions", project], text=True,
                          capture_output=True, check=False)
    found = re.search(r"Available versions: (.*)", done.stdout)
    return found.group(1).split(", ") if found else []


def fetch(python, directory, kind, version):
    """"" or why the release could not be had."""
    project, package, variable = KINDS[kind]
    target = pathlib.Path(directory, kind, version)
    if (target / package).is_dir():
        return ""
    # Without these the setup script looks for a prebuilt binary elsewhere, or for nvcc.
    environment = {**os.environ, f"{variable}_FORCE_BUILD": "TRUE",
                   f"{variable}_SKIP_CUDA_BUILD": "TRUE",
                   "PATH": f"{pathlib.Path(python).parent}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation",
             "--no-binary", ":all:", "--dest", scratch, f"{project}=={version}"],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            check=False)
        archives = list(pathlib.Path(scratch).glob("*.tar.gz"))
        if not archives:
            return f"{project} {version}: {(done.stdout.splitlines() or ['no archive'])[-1]}"
        with tarfile.open(archives[0]) as archive:
            for member in archive.getmembers():
                parts = pathlib.PurePosixPath(member.name).parts
                inside = len(parts) > 2 and parts[1] == package and ".." not in parts
                if not inside or not member.isfile() or not member.name.endswith(".py"):
                    continue
                path = target.joinpath(*parts[1:])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())
    return ""


if __name__ == "__main__":
    python, directory, kind, *versions = sys.argv[1:]
    for version in versions or released_versions(python, KINDS[kind][0]):
        print(version, fetch(python, directory, kind, version) or "there")
