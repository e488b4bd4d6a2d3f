"""The same rewriting by other tools: peers.py DRIVER RULES SOURCES AST_GREP [FORK ...].

GNU patch gets the difference that the rules make in mamba_ssm 2.2.4; ast-grep the same calls as
patterns. A tree is complete where Python's parser finds no direct call left outside the helpers."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

import forks

CALLS = [("causal_conv1d_fwd", 4, "$A, $B, $C, None, None, None, $D"),
         ("causal_conv1d_fwd", 5, "$A, $B, $C, $D, None, None, $E"),
         ("causal_conv1d_fwd", 7, "$A, $B, $C, $D, $E, $F, $G"),
         ("causal_conv1d_bwd", 6, "$A, $B, $C, $D, None, None, None, $E, False, $F"),
         ("causal_conv1d_bwd", 7, "$A, $B, $C, $D, $E, None, None, $F, False, $G"),
         ("causal_conv1d_bwd", 10, "$A, $B, $C, $D, $E, $F, $G, $H, $I, $J")]
FILES = ("ops/selective_scan_interface.py", "ops/triton/ssd_combined.py")


def run_ast_grep(tool, root):
    for name, count, template in CALLS:
        letters = ", ".join("$" + chr(65 + i) for i in range(count))
        subprocess.run([tool, "run", "--lang", "python", "-U",
                        "-p", f"causal_conv1d_cuda.{name}({letters})",
                        "-r", f"{name}_function({template})", root],
                       capture_output=True, check=False)
    return 0


def run_patch(difference, root):
    return subprocess.run(["patch", "-p1", "--forward", "--batch", "-d", root, "-i", difference],
                          capture_output=True, check=False).returncode


def run_rules(driver, rules, root):
    site = root.parent if root.name == "mamba_ssm" else root
    done = subprocess.run([driver, rules, "F", site], capture_output=True, text=True, check=False)
    return 1 if any(line.startswith(("refused", "failed", "partly")) for line in
                    done.stdout.splitlines()) else 0


def comments(root):
    total = 0
    for path in forks.python_files(root):
        if "selective_scan_interface" in path.name or "ssd_combined" in path.name:
            total += path.read_bytes().count(b"#")
    return total


def measure(name, trees, action):
    complete, silent, lost, calls, rewritten = 0, 0, 0, 0, 0
    for tree in trees:
        with tempfile.TemporaryDirectory() as scratch:
            copy = pathlib.Path(scratch) / "site" / tree.name
            shutil.copytree(tree, copy, ignore=shutil.ignore_patterns(".git"))
            before = sum(len(f) for f in forks.read_calls(copy).values())
            old = comments(copy)
            status = action(copy)
            left = sum(len(f) for f in forks.read_calls(copy).values())
            calls, rewritten = calls + before, rewritten + before - left
            complete += left == 0
            silent += left > 0 and status == 0
            lost += max(0, old - comments(copy))
    print(f"{name:10} {rewritten} of {calls} calls, complete {complete} of {len(trees)} trees, "
          f"{silent} incomplete without a word, {lost} comments lost")


def commented_call(action):
    """A comment inside a call, the case that loses text."""
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch) / "site" / "mamba_ssm"
        (root / "ops").mkdir(parents=True)
        path = root / "ops" / "selective_scan_interface.py"
        path.write_text("import causal_conv1d_cuda\ny = causal_conv1d_cuda.causal_conv1d_fwd(\n"
                        "    x,  # input\n    w, b,\n    None, None, None,  # no states\n    True)\n")
        action(root)
        return path.read_text().count("#")


def main():
    driver, rules, sources, ast_grep = sys.argv[1:5]
    sources = pathlib.Path(sources)
    trees = [p / "mamba_ssm" for p in sorted((sources / "mamba").iterdir())]
    trees = [t for t in trees if forks.read_calls(t)]
    with tempfile.TemporaryDirectory() as scratch:
        base, done = pathlib.Path(scratch) / "a", pathlib.Path(scratch) / "b"
        shutil.copytree(sources / "mamba" / "2.2.4" / "mamba_ssm", base / "mamba_ssm")
        shutil.copytree(base / "mamba_ssm", done / "mamba_ssm")
        run_rules(driver, rules, done / "mamba_ssm")
        text = subprocess.run(["diff", "-ru", "a/mamba_ssm", "b/mamba_ssm"], cwd=scratch,
                              capture_output=True, text=True, check=False).stdout
        difference = pathlib.Path(scratch) / "mend.diff"
        difference.write_text(text.replace("a/mamba_ssm/", "a/").replace("b/mamba_ssm/", "b/"))
        actions = [("ssmend", lambda root: run_rules(driver, rules, root)),
                   ("ast-grep", lambda root: run_ast_grep(ast_grep, root)),
                   ("GNU patch", lambda root: run_patch(difference, root))]
        fork_trees = [p for root in sys.argv[5:] for p in pathlib.Path(root).rglob("mamba_ssm")
                      if p.is_dir() and forks.read_calls(p)]
        for what, group in (("releases", trees), ("forks", fork_trees)):
            print(f"{what}: {len(group)} trees")
            for name, action in actions:
                if group:
                    measure(name, group, action)
        for name, action in actions[:2]:
            print(f"{name}: {commented_call(action)} of 2 comments inside a call kept")


if __name__ == "__main__":
    main()
