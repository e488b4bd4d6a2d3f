"""Completes one platform's payload folder: manifest.json and an ordinary wheel of the same files. Run
by the build; standard library only.

The wheel is tagged py3-none-manylinux_2_27_<machine>: the modules are abi3 for every Python from
3.8 on, and the library needs nothing of Python (PEP 425, PEP 600, binary distribution format).
"""

import argparse
import base64
import hashlib
import json
import os
import struct
import zipfile

GLIBC_MIN = "2.27"
PYTHON_MIN = "3.8"
HEADER_BYTES = 128  # of a pack record: kernels/core/pack.h


def files_under(folder):
    found = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        found += [os.path.relpath(os.path.join(root, name), folder) for name in sorted(names)]
    return found


def components(tree):
    package = ["ssm_kernels/" + name for name in files_under(os.path.join(tree, "ssm_kernels"))]
    result = [{"name": "library", "files": package, "provides_module": "ssm_kernels"}]
    for name in sorted(os.listdir(tree)):
        if name.endswith(".abi3.so"):
            module = name[: -len(".abi3.so")]
            result.append({"name": module, "files": [name], "provides_module": module})
    return result


def images(packs):
    result = []
    for name in sorted(os.listdir(packs)):
        if not name.endswith(".pack"):
            continue
        with open(os.path.join(packs, name), "rb") as file:
            data = file.read()
        offset = 0
        while offset + HEADER_BYTES <= len(data):
            unit = data[offset + 8 : offset + 48].split(b"\0")[0].decode()
            kind, sm, compiler, _, _, _, stored = struct.unpack_from("<IIIIQQQ", data, offset + 48)
            result.append(
                {
                    "unit": unit,
                    "sm": sm,
                    "kind": "ptx" if kind == 1 else "cubin",
                    "compiler": f"{compiler // 1000}.{compiler % 1000 // 10}",
                }
            )
            offset += HEADER_BYTES + (stored + 15) // 16 * 16
    return result


def record_line(path, content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"


def write_wheel(tree, wheels, version, machine):
    tag = f"py3-none-manylinux_2_27_{machine}"
    info = f"ssm_kernels-{version}.dist-info"
    contents = {}
    for component in components(tree):
        for name in component["files"]:
            with open(os.path.join(tree, name), "rb") as file:
                contents[name] = file.read()
    contents[f"{info}/METADATA"] = (
        "Metadata-Version: 2.1\nName: ssm-kernels\n"
        f"Version: {version}\nRequires-Python: >={PYTHON_MIN}\n"
        "Summary: Causal conv1d and selective scan kernels without libtorch\n"
    ).encode()
    contents[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: ssmend\nRoot-Is-Purelib: false\n" f"Tag: {tag}\n"
    ).encode()
    record = "".join(record_line(name, content) for name, content in contents.items())
    contents[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    os.makedirs(wheels, exist_ok=True)
    path = os.path.join(wheels, f"ssm_kernels-{version}-{tag}.whl")
    with zipfile.ZipFile(path + ".tmp", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    os.replace(path + ".tmp", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("tree", "version", "machine", "packs", "wheels"):
        parser.add_argument("--" + name, required=True)
    options = parser.parse_args()
    write_wheel(options.tree, options.wheels, options.version, options.machine)
    manifest = {
        "name": "ssm-kernels",
        "version": options.version,
        "machine": options.machine,
        "glibc_min": GLIBC_MIN,
        "python_min": PYTHON_MIN,
        "components": components(options.tree),
        "images": images(options.packs),
    }
    path = os.path.join(options.tree, "manifest.json")
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.write("\n")
    os.replace(path + ".tmp", path)


if __name__ == "__main__":
    main()
