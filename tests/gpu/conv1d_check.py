"""Every operation of causal_conv1d_cuda against a float64 reference on the GPU.

Outputs are poisoned with NaN first; comparisons are `not (error <= limit)`, so a NaN fails. Prints
one line a failure and a summary; exit status 1 where anything failed.

usage: conv1d_check.py [--quick]    (the module is found on PYTHONPATH)
"""

import sys

import torch

import causal_conv1d_cuda as native
from conv1d_cases import case, cases, arrange, make_inputs, name_of, partner, reference

# Half a unit in the last place of the result, and the float32 sum before it.
ROUNDING = {torch.float32: 2e-6, torch.float16: 2.0**-11 + 2e-6, torch.bfloat16: 2.0**-8 + 2e-6}
failures = []
checks = 0


def compare(what, got, expected, relative, absolute):
    global checks
    checks += 1
    error = (got.double() - expected).abs()
    limit = relative * expected.abs() + absolute
    bad = ~(error <= limit)
    if bool(bad.any()):
        first = [int(i) for i in bad.nonzero()[0]]
        failures.append(
            f"{what}: {int(bad.sum())} of {bad.numel()} wrong, first at {first}: "
            f"{got[tuple(first)].item():.6g}, reference {expected[tuple(first)].item():.6g}"
        )


def poisoned_like(tensor, layout):
    return arrange(torch.full(tensor.shape, float("nan"), device=tensor.device, dtype=tensor.dtype),
                   layout)


def check_sums(what, got, expected, c):
    # float32 sums over batch x length, in any order; inputs of size 1.
    count = c["batch"] * c["length"]
    compare(what, got, expected, 1e-5, 4e-6 * count**0.5 * 4 + 1e-5)


def check_case(c, deterministic=False):
    inputs = make_inputs(c)
    expected = reference(c, inputs)
    label = name_of(c) + (" deterministic" if deterministic else "")
    x, weight, bias = inputs["x"], inputs["weight"], inputs["bias"]
    rounding = ROUNDING[c["dtype"]]
    out = poisoned_like(x, partner(c["layout"]))
    final = None
    if c["final"]:
        final = torch.full_like(inputs["dfinal"], float("nan"))
    native.causal_conv1d_fwd(
        x, weight, bias, inputs["seq_idx"], inputs["initial"], out, final, c["silu"]
    )
    compare(f"fwd [{label}]", out, expected["out"], rounding, 4e-6)
    if final is not None:
        compare(f"final states [{label}]", final, expected["final"], 0.0, 0.0)

    dx = poisoned_like(x, partner(c["layout"]))
    dweight = torch.zeros(weight.shape, device=x.device)
    dbias = None if bias is None else torch.zeros(bias.shape, device=x.device)
    dinitial = None
    if inputs["initial"] is not None:
        dinitial = torch.full_like(inputs["initial"], float("nan"))
    native.causal_conv1d_bwd(
        x, weight, bias, inputs["dout"], inputs["seq_idx"], inputs["initial"], inputs["dfinal"],
        dx, dweight, dbias, dinitial, c["silu"],
    )
    compare(f"dx [{label}]", dx, expected["dx"], rounding, 1e-5)
    check_sums(f"dweight [{label}]", dweight, expected["dweight"], c)
    if bias is not None:
        check_sums(f"dbias [{label}]", dbias, expected["dbias"], c)
    if dinitial is not None:
        compare(f"dinitial [{label}]", dinitial, expected["dinitial"], rounding, 1e-5)


def update_reference(x, state, weight, bias, silu, cache, indices):
    batch, _, length = x.shape
    width, states = weight.shape[1], state.shape[2]
    new_state = state.clone()
    out = torch.zeros(x.shape, device=x.device, dtype=torch.float64)
    for b in range(batch):
        row = b if indices is None else int(indices[b])
        if row < 0:
            continue
        start = states if cache is None else int(cache[b]) % states
        before = [(start - j) % states for j in range(width - 1, 0, -1)]
        history = torch.cat([state[row][:, before], x[b]], dim=1).double()
        y = sum(weight[:, j : j + 1].double() * history[:, j : j + length] for j in range(width))
        if bias is not None:
            y = y + bias.double()[:, None]
        out[b] = torch.nn.functional.silu(y) if silu else y
        if cache is None:
            new_state[row] = torch.cat([state[row], x[b]], dim=1)[:, -states:]
        else:
            for t in range(length):
                new_state[row][:, (start + t) % states] = x[b][:, t]
    return out, new_state


def check_update(dtype, width, states, length, channels_last, circular, gathered, silu=True):
    batch, dim = 4, 136
    def draw(*shape, to=dtype):
        return torch.randn(*shape, device="cuda").to(to)

    rows = 11 if gathered else batch
    x, state = draw(batch, dim, length), draw(rows, dim, states)
    if channels_last:
        x, state = arrange(x, "channels"), arrange(state, "channels")
    weight, bias = draw(dim, width, to=torch.float32), draw(dim, to=torch.float32)
    cache = torch.tensor([0, 5, 1000, states - 1], device="cuda", dtype=torch.int32)
    cache = cache if circular else None
    indices = None
    if gathered:
        indices = torch.tensor([7, -1, 0, 10], device="cuda", dtype=torch.int32)
    expected, expected_state = update_reference(x, state, weight, bias, silu, cache, indices)
    out = torch.full_like(x, float("nan"))
    native.causal_conv1d_update(x, state, weight, bias, out, silu, cache, indices)
    label = (f"update [{dtype} width={width} states={states} length={length} "
             f"channels_last={channels_last} circular={circular} gathered={gathered}]")
    compare(label, out, expected, ROUNDING[dtype], 4e-6)
    compare(label + " state", state, expected_state.double(), 0.0, 0.0)


def check_contracts():
    """Every argument list gives what the longest gives."""
    c = case(layout="channels", initial=True, final=True)
    i = make_inputs(c)
    x, w, b, dout = i["x"], i["weight"], i["bias"], i["dout"]
    expected = reference({**c, "initial": False, "final": False}, {**i, "initial": None, "dfinal": None})
    rounding = ROUNDING[c["dtype"]]
    for arguments in ([x, w, b, True], [x, w, b, None, True], [x, w, b, None, None, None, True]):
        out = native.causal_conv1d_fwd(*arguments)
        compare(f"fwd with {len(arguments)} arguments", out, expected["out"], rounding, 4e-6)
    for arguments in ([x, w, b, dout, "dx", True], [x, w, b, dout, None, "dx", True],
                      [x, w, b, dout, None, None, None, "dx", False, True]):
        for given in (True, False):
            dx = torch.full_like(x, float("nan")) if given else None
            results = native.causal_conv1d_bwd(*[dx if a == "dx" else a for a in arguments])
            label = f"bwd with {len(arguments)} arguments, dx {'given' if given else 'None'}"
            assert len(results) == (4 if len(arguments) == 10 else 3), label
            assert not given or results[0] is dx, label
            compare(label, results[0], expected["dx"], rounding, 1e-5)
            check_sums(label, results[1], expected["dweight"], c)
            check_sums(label, results[2], expected["dbias"], c)
    expected = reference(c, i)
    results = native.causal_conv1d_bwd(x, w.bfloat16(), None, dout, None, i["initial"], i["dfinal"],
                                       None, True, True)
    assert results[1].dtype == torch.bfloat16 and results[2] is None
    assert results[3].shape == i["initial"].shape
    state = torch.randn(2, 64, 4, device="cuda", dtype=torch.bfloat16)
    step = x[:, :, 0]
    expected, _ = update_reference(step[:, :, None], state, w, b, True, None, None)
    for arguments in ([], [None], [None, None]):
        out = native.causal_conv1d_update(step, state.clone(), w, b, True, *arguments)
        compare(f"update with {5 + len(arguments)} arguments", out, expected[:, :, 0], rounding, 4e-6)


def check_graph():
    """The first call of each operation in this process is captured; replays see new inputs."""
    c = case(layout="channels", dtype=torch.float16)
    i = make_inputs(c)
    out, dx = torch.full_like(i["x"], float("nan")), torch.full_like(i["x"], float("nan"))
    dweight, dbias = torch.zeros(64, 4, device="cuda"), torch.zeros(64, device="cuda")
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        native.causal_conv1d_fwd(i["x"], i["weight"], i["bias"], None, None, out, None, True)
        native.causal_conv1d_bwd(i["x"], i["weight"], i["bias"], i["dout"], None, None, None, dx,
                                 dweight, dbias, None, True)
    i["x"].copy_(torch.randn_like(i["x"]))
    graph.replay()
    torch.cuda.synchronize()
    expected = reference(c, i)
    compare("graph fwd", out, expected["out"], ROUNDING[torch.float16], 4e-6)
    compare("graph dx", dx, expected["dx"], ROUNDING[torch.float16], 1e-5)
    check_sums("graph dweight", dweight, expected["dweight"], c)


def check_errors():
    x, w = torch.randn(2, 64, 10, device="cuda"), torch.randn(64, 4, device="cuda")
    out = torch.empty_like(x)
    wanted = [
        ("weight: width is 5, expected 2 to 4", lambda: native.causal_conv1d_fwd(
            x, torch.randn(64, 5, device="cuda"), None, True)),
        ("weight: size(0) is 8, expected 64", lambda: native.causal_conv1d_fwd(x, w[:8], None, True)),
        ("weight: not on a CUDA device", lambda: native.causal_conv1d_fwd(x, w.cpu(), None, True)),
        ("out: dtype is float16, expected float32", lambda: native.causal_conv1d_fwd(
            x, w, None, None, None, out.half(), None, True)),
        ("x: dtype is another type, expected float32, float16 or bfloat16",
         lambda: native.causal_conv1d_fwd(x.double(), w, None, True)),
        ("3 arguments, expected 4, 5, 7 or 8", lambda: native.causal_conv1d_fwd(x, w, True)),
        ("silu_activation: None, expected True or False",
         lambda: native.causal_conv1d_fwd(x, w, None, None)),
    ]
    for text, call in wanted:
        try:
            call()
            failures.append(f"no error, expected: {text}")
        except (RuntimeError, TypeError) as error:
            if text not in str(error):
                failures.append(f"error {error!r}, expected: {text}")


def check_large():
    """More than 2^31 elements: the first and the last channels are compared, whole."""
    batch, dim, length = 2, 4096, 300007
    c = case(batch=batch, dim=8, length=length, bias=False)
    for layout in ("rows", "channels"):
        size = (batch, dim, length) if layout == "rows" else (batch, length, dim)
        x, dout, out, dx = (torch.empty(size, device="cuda", dtype=torch.bfloat16) for _ in range(4))
        if layout == "channels":
            x, dout, out, dx = (tensor.transpose(1, 2) for tensor in (x, dout, out, dx))
        x.normal_()
        dout.normal_()
        out.fill_(float("nan"))
        dx.fill_(float("nan"))
        weight = torch.randn(dim, 4, device="cuda")
        dweight = torch.zeros_like(weight)
        native.causal_conv1d_fwd(x, weight, None, None, None, out, None, True)
        native.causal_conv1d_bwd(x, weight, None, dout, None, None, None, dx, dweight, None, None, True)
        for part in (slice(0, 8), slice(dim - 8, dim)):
            inputs = dict(x=x[:, part].contiguous(), dout=dout[:, part].contiguous(),
                          weight=weight[part], bias=None, seq_idx=None, initial=None, dfinal=None)
            expected = reference(c, inputs)
            label = f"beyond 2^31 elements, {layout}, channels from {part.start}"
            rounding = ROUNDING[torch.bfloat16]
            compare(f"fwd {label}", out[:, part], expected["out"], rounding, 4e-6)
            compare(f"dx {label}", dx[:, part], expected["dx"], rounding, 1e-5)
            check_sums(f"dweight {label}", dweight[part], expected["dweight"], c)
        del x, dout, out, dx, inputs, expected
        torch.cuda.empty_cache()


def sanitize():
    """A small run of every kernel for compute-sanitizer."""
    for layout in ("rows", "channels", "strided", "rows_shifted", "channels_odd"):
        for dtype in (torch.float32, torch.bfloat16):
            check_case(case(layout=layout, dtype=dtype, dim=24, length=1283))
            check_case(case(layout=layout, dtype=dtype, dim=24, length=77, initial=True, final=True))
            check_case(case(layout=layout, dtype=dtype, dim=24, length=77, width=3, seq_idx="two"))
    torch.use_deterministic_algorithms(True, warn_only=True)
    check_case(case(dim=24, length=77))
    check_case(case(dim=24, length=77, layout="channels"))
    for flags in range(8):
        check_update(torch.float16, 4, 5, 2, bool(flags & 1), bool(flags & 2), bool(flags & 4))
    return report()


def report():
    torch.cuda.synchronize()
    for line in failures[:40]:
        print("wrong:", line)
    print(f"conv1d: {checks} comparisons, {len(failures)} wrong, on {torch.cuda.get_device_name()}")
    return 1 if failures else 0


def main():
    quick = "--quick" in sys.argv
    torch.manual_seed(20)
    if "--sanitize" in sys.argv:
        return sanitize()
    check_graph()
    everything = cases()
    for c in everything[:: 7 if quick else 1]:
        check_case(c)
    torch.use_deterministic_algorithms(True, warn_only=True)
    for c in everything[:: 29 if quick else 9]:
        check_case(c, deterministic=True)
    torch.use_deterministic_algorithms(False)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for width, states, length in ((4, 3, 1), (4, 4, 1), (2, 1, 1), (3, 9, 1), (4, 6, 5), (4, 3, 7)):
            for flags in range(8):
                check_update(dtype, width, states, length, bool(flags & 1), bool(flags & 2),
                             bool(flags & 4))
    check_contracts()
    check_errors()
    if not quick:
        check_large()
    return report()


if __name__ == "__main__":
    sys.exit(main())
