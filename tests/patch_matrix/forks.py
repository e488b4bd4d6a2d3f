"""Patched checkouts of forks, counted with Python's own parser: forks.py DRIVER-OF-PATHS ROOT...

Every ROOT is copied, patched for contract F with `ssmend patch --contract F --yes`, and judged:
calls of causal_conv1d_cuda found by `ast` before and left after, refusals with their reasons, files
that changed though they hold no call, whether the result compiles, and whether a second run leaves
every byte."""
import ast
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

MODULE, FUNCTIONS = "causal_conv1d_cuda", ("causal_conv1d_fwd", "causal_conv1d_bwd")
HELPERS = ("causal_conv1d_fwd_function", "causal_conv1d_bwd_function")


def calls(text):
    """(line, function, number of arguments) of every direct call outside the helpers."""
    found = []

    def visit(node):
        if isinstance(node, ast.FunctionDef) and node.name in HELPERS:
            return
        if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name) and node.func.value.id == MODULE
                and node.func.attr.startswith(FUNCTIONS)):
            found.append((node.lineno, node.func.attr, len(node.args)))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(text))
    return found


def python_files(root):
    for path in sorted(root.rglob("*.py")):
        if path.is_file():
            yield path


def read_calls(root):
    table = {}
    for path in python_files(root):
        content = path.read_bytes()
        if MODULE.encode() not in content or "causal_conv1d_interface" in path.name:
            continue
        try:
            found = calls(content)
        except (SyntaxError, ValueError):
            continue
        if found:
            table[str(path.relative_to(root))] = found
    return table


def hashes(root):
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in python_files(root)}


def patch(ssmend, root):
    done = subprocess.run([ssmend, "patch", root, "--contract", "F", "--yes", "--json"],
                          capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    files = json.loads(done.stdout)["results"][0]["files"]
    return {f["relative"]: f for f in files}


def judge(ssmend, root, problems):
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch) / "copy"
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".git"))
        before, old = read_calls(copy), hashes(copy)
        states = patch(ssmend, copy)
        after, new = read_calls(copy), hashes(copy)
        changed = [name for name in old if old[name] != new[name]]
        for name in changed:
            if states.get(name, {}).get("state") != "applied":
                problems.append(f"{root.name}/{name}: changed without a word")
            try:
                compile((copy / name).read_bytes(), name, "exec")
            except (SyntaxError, ValueError) as error:
                problems.append(f"{root.name}/{name}: {error}")
        patch(ssmend, copy)
        if hashes(copy) != new:
            problems.append(f"{root.name}: a second run changes something")
        total = sum(len(found) for found in before.values())
        left = {name: found for name, found in after.items() if found}
        for name in left:
            if states.get(name, {}).get("state") not in ("refused", "partly-applied-by-hand"):
                problems.append(f"{root.name}/{name}: {len(left[name])} calls left and not refused")
        kept = sum(len(found) for found in left.values())
        print(f"{root.name}: {total} calls in {len(before)} files, {total - kept} rewritten, "
              f"{kept} left, {len(changed)} files changed")
        for name, found in left.items():
            print(f"    {states[name]['state']} {name} ({len(found)} calls): "
                  f"{states[name]['reason']}")
        return total, total - kept


def main():
    problems = []
    sums = [judge(sys.argv[1], pathlib.Path(root), problems) for root in sys.argv[2:]]
    print(f"{sum(a for a, _ in sums)} calls, {sum(b for _, b in sums)} rewritten, "
          f"{len(problems)} problems")
    for problem in problems:
        print("  " + problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
