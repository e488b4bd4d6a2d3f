"""Direct calls that no mamba_ssm release has and forks may: causal_conv1d_update in its four forms,
and the newest forward and backward, patched for every contract and computed with.

  direct_calls.py DRIVER RULES"""
import pathlib
import subprocess
import sys
import tempfile
import types

import torch
import torch.nn.functional as F

import standins

UPDATE = {"update5": "x, state, w, b, act", "update6": "x, state, w, b, act, {lens}",
          "update7": "x, state, w, b, act, {lens}, {at}",
          "update8": "x, state, w, b, out, act, {lens}, {at}"}
# What a contract knows: cache_seqlens from D, conv_state_indices from E.
KNOWS = {"A": set(), "B": set(), "C": set(), "D": {"lens"}, "E": {"lens", "at"},
         "F": {"lens", "at"}}


def update_formula(x, state, weight, bias, silu, at):
    """One step of x (batch, dim); `state` (entries, dim, width) is shifted in place."""
    rows = torch.arange(len(x)) if at is None else at.long()
    state[rows] = torch.cat([state[rows][..., 1:], x[..., None]], dim=-1)
    out = (state[rows] * weight).sum(-1) + bias
    return F.silu(out) if silu else out


def patch(driver, rules, letter, text):
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch, "mamba_ssm", "ops", "x.py")
        path.parent.mkdir(parents=True)
        path.write_text(text)
        said = []
        for _ in range(2):  # the second run must change nothing
            done = subprocess.run([driver, rules, letter, scratch], capture_output=True, text=True,
                                  check=True)
            said.append(done.stdout.strip())
            first = path.read_text() if len(said) == 1 else first
        if path.read_text() != first:
            raise SystemExit(f"a second run changes the file:\n{path.read_text()}")
        return said[0], first


def load(letter, text):
    sys.modules["causal_conv1d"] = None  # the binary alone: the native call itself is looked at
    sys.modules["causal_conv1d_cuda"] = standins.make_conv_module(letter)
    module = types.ModuleType("x")
    exec(compile(text, "x.py", "exec"), module.__dict__)
    return module


def same(*pairs):
    return all(torch.allclose(a.double(), b.double(), rtol=0, atol=1e-6) for a, b in pairs)


def check_update(driver, rules, letter, form, lens, at):
    arguments = UPDATE[form].format(lens="lens" if lens else "None", at="at" if at else "None")
    call = f"causal_conv1d_cuda.causal_conv1d_update({arguments})"
    names = "x, state, w, b, out, act, lens, at"
    said, text = patch(driver, rules, letter,
                       f"import causal_conv1d_cuda\n\n\ndef run({names}):\n    return {call}\n")
    unknown = {name for name, used in (("lens", lens), ("at", at)) if used} - KNOWS[letter]
    if unknown:
        return "" if said.startswith("refused") and "does not know" in said else f"not refused: {said}"
    torch.manual_seed(0)
    x, state, w, b = (torch.randn(*s, dtype=torch.float64) for s in ((2, 3), (5, 3, 4), (3, 4), (3,)))
    for silu in (True, False):
        found_state, wanted_state = state.clone(), state.clone()
        rows = torch.tensor([3, 1], dtype=torch.int32) if at else None
        if not at:
            found_state, wanted_state = found_state[:2].clone(), wanted_state[:2].clone()
        out = torch.full_like(x, float("nan"))
        given = load(letter, text).run(x, found_state, w, b, out, silu,
                                       torch.zeros(2, dtype=torch.int32), rows)
        wanted = update_formula(x, wanted_state, w, b, silu, rows)
        found = out if form == "update8" else given
        if found is None or not same((found, wanted), (found_state, wanted_state)):
            return f"wrong numbers, {said}:\n{text}"
    return ""


def check_newest(driver, rules, letter):
    """The forward with 8 and the backward with 12 arguments, which fill what they are given."""
    text = ("import causal_conv1d_cuda\n\n\n"
            "def run(x, w, b, dout, out, dx, dw, db):\n"
            "    causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, None, None, out, None, True)\n"
            "    causal_conv1d_cuda.causal_conv1d_bwd(\n"
            "        x, w, b, dout,  # what comes back\n"
            "        None, None, None, dx, dw, db, None, True)\n")
    said, patched = patch(driver, rules, letter, text)
    if "# what comes back" not in patched:
        return f"lost a comment:\n{patched}"
    torch.manual_seed(0)
    inputs = [torch.randn(*s, dtype=torch.float64).requires_grad_()
              for s in ((2, 3, 9), (3, 4), (3,))]
    dout = torch.randn(2, 3, 9, dtype=torch.float64)
    filled = [torch.zeros_like(t) for t in (dout, *inputs)]
    with torch.no_grad():
        load(letter, patched).run(*(t.detach() for t in inputs), dout, *filled)
    wanted = standins.conv_formula(*inputs, None, None, True)
    right = [wanted.detach(), *torch.autograd.grad(wanted, inputs, dout)]
    return "" if same(*zip(filled, right)) else f"wrong numbers, {said}:\n{patched}"


def main():
    driver, rules = sys.argv[1:]
    torch.set_num_threads(1)
    problems, done = [], 0
    for letter in "ABCDEF":
        for form in UPDATE:
            for lens, at in ((0, 0), (1, 0), (1, 1)):
                if (lens and form == "update5") or (at and form == "update6"):
                    continue
                done += 1
                if problem := check_update(driver, rules, letter, form, lens, at):
                    problems.append(f"{letter}, {form}, {'lens' * lens} {'at' * at}: {problem}")
        done += 1
        if problem := check_newest(driver, rules, letter):
            problems.append(f"{letter}, fwd8 and bwd12: {problem}")
    print(f"direct calls: {done} forms and contracts, {len(problems)} wrong")
    for problem in problems:
        print("  " + problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
