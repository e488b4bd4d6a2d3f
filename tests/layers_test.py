"""Includes go downward only, and every third-party header has one owner (a layer of tool/)."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ORDER = ["base", "elf", "environment", "loader", "diagnose", "patch", "repair", "verify", "report",
         "cli"]
# Same height: neither may include the other.
RANK = {"base": 0, "elf": 1, "environment": 1, "loader": 2, "diagnose": 3, "patch": 4, "repair": 5,
        "verify": 6, "report": 7, "cli": 8}
OWNERS = {"gelf.h": "elf", "libelf.h": "elf", "llvm/": "elf", "clang-c/": "elf",
          "tree_sitter/": "patch", "CLI/": "cli", "archive.h": "environment"}
# environment/ reads the identity (class, machine) of an interpreter through elf/.
ALLOWED = {("environment", "elf")}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)
MAX_LINES = 400


def main() -> int:
    problems = []
    checked = 0
    for path in sorted((ROOT / "tool").rglob("*.[ch]*")):
        if path.suffix not in (".h", ".cc"):
            continue
        checked += 1
        layer = path.relative_to(ROOT / "tool").parts[0]
        for name in INCLUDE.findall(path.read_text()):
            other = name.split("/")[0]
            if other in RANK and "/" in name and other != layer:
                downward = RANK[other] < RANK[layer] or (layer, other) in ALLOWED
                if not downward:
                    problems.append(f"{path.relative_to(ROOT)}: {layer} includes {name}")
            for prefix, owner in OWNERS.items():
                if name.startswith(prefix) and layer != owner:
                    problems.append(f"{path.relative_to(ROOT)}: {name} belongs to {owner}")
    for pattern in ("tool", "kernels", "tests", "recipes"):
        for path in sorted((ROOT / pattern).rglob("*")):
            if path.suffix in (".h", ".cc", ".cu", ".cuh", ".c", ".py", ".cpp"):
                lines = path.read_text().count("\n")
                if lines > MAX_LINES:
                    problems.append(f"{path.relative_to(ROOT)}: {lines} lines, at most {MAX_LINES}")
    for problem in problems:
        print(problem)
    print(f"{checked} files of tool/ checked, {len(problems)} problems")
    return 1 if problems or checked == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
