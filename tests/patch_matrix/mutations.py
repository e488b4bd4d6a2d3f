"""Mutated rules: every change of an argument's place, of dx or of the activation must be noticed by
the numbers, or the engine must refuse the rule. A mutation that passes is a hole in the test."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch

import pair

# (what, file, old text, new text, mamba_ssm, causal-conv1d, contract)
MUTATIONS = [
    ("x and w change places in the canonical forward", "conv1d-calls.json",
     "$FWD($x, $w, $b, $seq, $init, $fin, $act))", "$FWD($w, $x, $b, $seq, $init, $fin, $act))",
     "2.2.4", "none", "F"),
    ("the activation is dropped", "conv1d-calls.json",
     "$FN($x, $w, $b, activation=$ACT)", "$FN($x, $w, $b)", "2.2.4", "1.6.0", "F"),
    ("the activation stands in the place of seq_idx", "conv1d-calls.json",
     "activation=$ACT", "seq_idx=$ACT", "2.2.4", "1.6.0", "F"),
    ("seq_idx is dropped forward", "conv1d-calls.json", "seq_idx=$seq, activation=$ACT",
     "activation=$ACT", "2.2.4", "1.6.0", "F"),
    ("dx is dropped, fwd7 to F", "conv1d-calls.json",
     "$BWD($x, $w, $b, $dout, $seq, $init, $dfin, $dx, $ret, $act)",
     "$BWD($x, $w, $b, $dout, $seq, $init, $dfin, None, $ret, $act)", "2.2.4", "1.6.0", "F"),
    ("seq_idx is dropped backward", "conv1d-calls.json",
     "$BWD($x, $w, $b, $dout, $seq, $init, $dfin, $dx, $ret, $act)",
     "$BWD($x, $w, $b, $dout, None, $init, $dfin, $dx, $ret, $act)", "2.2.4", "1.6.0", "F"),
    ("x and dout change places", "conv1d-calls.json",
     "$BWD($x, $w, $b, $dout, $seq, $init, $dfin, $dx, $ret, $act)",
     "$BWD($dout, $w, $b, $x, $seq, $init, $dfin, $dx, $ret, $act)", "2.2.4", "1.6.0", "F"),
    ("dx is dropped, bwd6", "conv1d-calls.json",
     "$BWD($x, $w, $b, $dout, None, None, None, $dx, False, $act)[:3]",
     "$BWD($x, $w, $b, $dout, None, None, None, None, False, $act)[:3]", "1.0.1", "1.6.0", "F"),
    ("dx is dropped, bwd7", "conv1d-calls.json",
     "$BWD($x, $w, $b, $dout, $seq, None, None, $dx, False, $act)[:3]",
     "$BWD($x, $w, $b, $dout, $seq, None, None, None, False, $act)[:3]", "1.1.4", "1.3.0.post1", "C"),
    ("the gradients keep their fourth value", "conv1d-calls.json", "$act)[:3]", "$act)", "1.1.4",
     "1.3.0.post1", "C"),
    ("helper of F: out and the final states change places", "contracts.json",
     "initial_states, out, final_states_out", "initial_states, final_states_out, out", "2.2.4",
     "none", "F"),
    ("helper of F: dweight is never given back", "contracts.json",
     "return dx, dweight.type_as(weight), dbias, dinitial_states",
     "return dx, torch.zeros_like(weight), dbias, dinitial_states", "2.2.4", "none", "F"),
    ("helper of F: a fresh dx instead of the caller's", "contracts.json",
     "dx = torch.empty_like(x) if dx is None else dx", "dx = torch.empty_like(x)", "2.2.4", "none",
     "F"),
    ("helper of A: dx is dropped", "contracts.json", "x, weight, bias, dout, dx, silu_activation)",
     "x, weight, bias, dout, None, silu_activation)", "2.2.4", "1.0.2", "A"),
    ("helper of B: seq_idx is dropped", "contracts.json",
     "x, weight, bias, dout, seq_idx, dx, silu_activation)",
     "x, weight, bias, dout, None, dx, silu_activation)", "2.2.4", "1.1.3.post1", "B"),
    ("helper of C: dx and the gradient of the states change places", "contracts.json",
     "initial_states, dfinal_states, dx,\",", "initial_states, dx, dfinal_states,\",",
     "2.3.2.post1", "1.3.0.post1", "C"),
    ("positional activations stay", "conv1d-keywords.json", "\"$FN($x, $w, $b, activation=$act)\"",
     "\"$FN($x, $w, $b, $act)\"", "1.1.4", "1.6.0", "F"),
    ("the guard of cpp_functions loses its functions", "cpp-functions.json",
     "\"{HELPERS}\"", "\"pass\"", "2.3.2.post1", "1.3.0.post1", "C"),
    ("group_size is not passed on", "grouped-norm-gradients.json",
     "group_size=dim // ctx.ngroups", "group_size=dim", "2.2.2", "1.6.0", "F"),
]


def patched_site(driver, rules, sources, mutation, scratch):
    what, _, _, _, mamba, conv, letter = mutation
    site = pathlib.Path(tempfile.mkdtemp(dir=scratch))
    shutil.copytree(sources / "mamba" / mamba / "mamba_ssm", site / "mamba_ssm")
    if conv != "none":
        shutil.copytree(sources / "conv" / conv / "causal_conv1d", site / "causal_conv1d")
    done = subprocess.run([driver, rules, letter, site], capture_output=True, text=True)
    return site, done


def verdict(driver, rules, sources, mutation, scratch):
    """"" where the numbers are right, else what noticed."""
    site, done = patched_site(driver, rules, sources, mutation, scratch)
    if done.returncode != 0:
        return "rules not loaded: " + done.stderr.strip()
    failed = [line for line in done.stdout.splitlines() if line.startswith(("failed", "refused"))]
    if failed:
        return failed[0]
    options = ["groups"] + (["no-package"] if mutation[5] == "none" else [])
    return pair.run(str(site), None, mutation[6], options)


def main():
    driver, rules, sources = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    torch.set_num_threads(1)
    survivors = []
    with tempfile.TemporaryDirectory() as scratch:
        right_as_it_is = {}
        for mutation in MUTATIONS:
            what, name, old, new, *versions = mutation
            where = tuple(versions)
            if where not in right_as_it_is:
                right_as_it_is[where] = verdict(driver, rules, sources, mutation, scratch)
                if right_as_it_is[where]:
                    raise SystemExit(f"unmutated rules, {where}: {right_as_it_is[where]}")
            mutated = pathlib.Path(tempfile.mkdtemp(dir=scratch)) / "patches"
            shutil.copytree(rules, mutated)
            path = mutated / "mamba_ssm" / name
            text = path.read_text()
            old, new = (json.dumps(t)[1:-1] if not t.startswith('"') and '",' not in t else t
                        for t in (old, new))
            if old not in text:
                raise SystemExit(f"{what}: {name} has no {old}")
            path.write_text(text.replace(old, new))
            noticed = verdict(driver, mutated, sources, mutation, scratch)
            print(f"{'noticed ' if noticed else 'SURVIVED'}  {what}: {noticed[:90]}")
            if not noticed:
                survivors.append(what)
    print(f"{len(MUTATIONS)} mutations, {len(survivors)} not noticed")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
