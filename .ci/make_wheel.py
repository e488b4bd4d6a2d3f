"""Packs an installed tree (bin/, share/) into a wheel: make_wheel.py TREE OUTPUT_FOLDER.

Wheel format: PEP 427; platform tags: PEP 600 (manylinux_X_Y) where the program needs nothing but
glibc, else plain linux_MACHINE, which installs on machines like the one that built it. No build
backend: the wheel holds no Python code, only a script entry and data.
"""
import base64
import hashlib
import pathlib
import re
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PORTABLE = re.compile(r"^(libc|libm|libpthread|libdl|librt|libgcc_s|libstdc\+\+)\.so\.[0-9]+$|^ld-linux.*")
MACHINES = {"Advanced Micro Devices X86-64": "x86_64", "AArch64": "aarch64"}


def platform_tag(program):
    text = subprocess.run(["readelf", "-hdVW", str(program)], check=True, capture_output=True,
                          text=True).stdout
    machine = MACHINES[re.search(r"Machine:\s+(.+)", text).group(1).strip()]
    needed = re.findall(r"\(NEEDED\).*\[(.+?)\]", text)
    versions = [tuple(int(part) for part in version.split("."))
                for version in re.findall(r"GLIBC_([0-9.]+)", text)]
    if any(not PORTABLE.match(name) or name.startswith("libstdc") for name in needed):
        return f"linux_{machine}"
    newest = max(versions + [(2, 31)])  # .ci/cross links for 2.31; nothing older was tried
    return f"manylinux_{newest[0]}_{newest[1]}_{machine}"


def record_line(name, content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


def main(tree, output):
    tree = pathlib.Path(tree)
    version = re.search(r"project\(ssmend VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
    tag = platform_tag(tree / "bin/ssmend")
    info = f"ssmend-{version}.dist-info"
    data = f"ssmend-{version}.data"
    files = {}
    for path in sorted(tree.rglob("*")):
        if path.is_dir():
            continue
        relative = path.relative_to(tree)
        place = "scripts" if relative.parts[0] == "bin" else "data"
        name = relative.relative_to("bin") if place == "scripts" else relative
        files[f"{data}/{place}/{name}"] = (path.read_bytes(), path.stat().st_mode & 0o777)
    readme = (ROOT / "README.md").read_text()
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: ssmend\nVersion: {version}\n"
        "Summary: mends Python environments whose Mamba / SSM extensions do not load or do not work\n"
        f"Requires-Python: >=3.8\nDescription-Content-Type: text/markdown\n\n{readme}".encode(), 0o644)
    files[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: ssmend\nRoot-Is-Purelib: false\nTag: py3-none-{tag}\n".encode(),
        0o644)
    record = "".join(record_line(name, content) for name, (content, _) in files.items())
    files[f"{info}/RECORD"] = ((record + f"{info}/RECORD,,\n").encode(), 0o644)

    folder = pathlib.Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"ssmend-{version}-py3-none-{tag}.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, (content, mode) in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, content)
    print(target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
