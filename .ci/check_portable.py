"""Refuses programs and libraries that ask for more than a glibc of one version: VERSION FILE...

Reads what `readelf` (or llvm-readelf) prints: the names of needed libraries and version needs.
"""
import re
import subprocess
import sys

# What every glibc system has.
ALLOWED = re.compile(r"^(libc|libm|libpthread|libdl|librt|libgcc_s)\.so\.[0-9]+$|^ld-linux.*")


def number(version):
    return tuple(int(part) for part in version.split("."))


def check(path, limit):
    text = subprocess.run(["readelf", "-dVW", path], check=True, capture_output=True,
                          text=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.+?)\]", text)
    versions = sorted(set(re.findall(r"GLIBC_([0-9.]+)", text)), key=number)
    problems = [f"{path}: needs {name}" for name in needed if not ALLOWED.match(name)]
    problems += [f"{path}: needs GLIBC_{version}, at most {limit}" for version in versions
                 if number(version) > number(limit)]
    for problem in problems:
        print(problem)
    print(f"{path}: needs {', '.join(needed)}; newest symbol version GLIBC_"
          f"{versions[-1] if versions else 'none'}")
    return 1 if problems or not needed else 0


if __name__ == "__main__":
    sys.exit(max([check(path, sys.argv[1]) for path in sys.argv[2:]], default=2))
