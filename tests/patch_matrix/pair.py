"""One pair of a mamba_ssm and a causal-conv1d source tree, in a process of its own: does it import,
and are the outputs and every gradient right, forward and backward?"""
import importlib
import os
import sys
import traceback
import warnings

import torch
import torch._inductor.utils  # asks for Triton when it is first loaded: before the stand-in is there

import reference
import standins

# dweight and dbias pass through float32 in causal-conv1d 1.5.1 and later.
TIGHT, FLOAT32 = 1e-10, 1e-6


class Wrong(Exception):
    pass


def compare(name, found, wanted, limit):
    if found is None:
        raise Wrong(f"{name} is missing")
    if found.shape != wanted.shape:
        raise Wrong(f"{name} has shape {tuple(found.shape)}, expected {tuple(wanted.shape)}")
    error = (found.double() - wanted.double()).norm() / wanted.double().norm().clamp_min(1e-30)
    if not error <= limit:
        raise Wrong(f"{name} is off by {error:.1e}")


def leaves(seed, **shapes):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
            for name, shape in shapes.items()}


def compare_all(inputs, function, formula, seed, with_gradients):
    out = function(**inputs)
    wanted = formula(**inputs)
    compare("output", out, wanted, TIGHT)
    if not with_gradients:
        return
    generator = torch.Generator().manual_seed(seed)
    dout = torch.randn(wanted.shape, generator=generator, dtype=torch.float64)
    names = list(inputs)
    found = torch.autograd.grad(out, [inputs[n] for n in names], dout, allow_unused=True)
    right = torch.autograd.grad(wanted, [inputs[n] for n in names], dout)
    for name, a, b in zip(names, found, right):
        compare("d" + name, a, b, FLOAT32 if name.startswith("conv_") else TIGHT)


def check_mamba(interface, conv_bias):
    batch, dim, states, rank, length, width = 2, 6, 4, 3, 11, 4
    inputs = leaves(1, xz=(batch, 2 * dim, length), conv_weight=(dim, 1, width), conv_bias=(dim,),
                    x_proj=(rank + 2 * states, dim), delta_proj=(dim, rank), out_proj=(5, dim),
                    A=(dim, states), D=(dim,), delta_bias=(dim,))
    inputs["A"] = (-inputs["A"].detach().abs() - 0.1).requires_grad_()
    if not conv_bias:
        del inputs["conv_bias"]

    def function(xz, conv_weight, x_proj, delta_proj, out_proj, A, D, delta_bias, conv_bias=None):
        return interface.mamba_inner_fn(xz, conv_weight, conv_bias, x_proj, delta_proj, out_proj,
                                        None, A, None, None, D, delta_bias=delta_bias,
                                        delta_softplus=True)

    def formula(xz, conv_weight, x_proj, delta_proj, out_proj, A, D, delta_bias, conv_bias=None):
        return reference.mamba_inner(xz, conv_weight, conv_bias, x_proj, delta_proj, out_proj, A,
                                     D, delta_bias)

    compare_all(inputs, function, formula, 2, True)
    if sys.modules.get("causal_conv1d", 0) is None:
        return
    with torch.no_grad():  # the file's own reference goes through causal_conv1d_fn
        ref = interface.mamba_inner_ref(
            inputs["xz"], inputs["conv_weight"], inputs.get("conv_bias"), inputs["x_proj"],
            inputs["delta_proj"], inputs["out_proj"], None, inputs["A"], None, None, inputs["D"],
            inputs["delta_bias"])
        compare("mamba_inner_ref", ref, formula(**inputs), TIGHT)


def check_chunk_scan(combined):
    """mamba_chunk_scan_combined alone: the number of gradients its backward gives back."""
    inputs = leaves(5, x=(2, 6, 2, 4), dt=(2, 6, 2), A=(2,), B=(2, 6, 1, 4), C=(2, 6, 1, 4))
    inputs["A"] = (-inputs["A"].detach().abs() - 0.1).requires_grad_()

    def function(x, dt, A, B, C):
        return combined.mamba_chunk_scan_combined(x, dt, A, B, C, chunk_size=4, dt_softplus=True)

    def formula(x, dt, A, B, C):
        return reference.ssd(x, dt, A, B, C, None, None, None, None, (0.0, float("inf")))[1]

    compare_all(inputs, function, formula, 6, True)


def check_mamba2(combined, seq_idx, activation, norm, projection, groups=1):
    batch, heads, head_dim, states, length, width = 2, 2, 4, 4, 9, 4
    dim = heads * head_dim
    channels = dim + 2 * groups * states
    shapes = dict(zxbcdt=(batch, length, 2 * dim + 2 * groups * states + heads),
                  conv_weight=(channels, width), conv_bias=(channels,), dt_bias=(heads,),
                  A=(heads,), D=(heads,))
    if norm:
        shapes["norm_weight"] = (dim,)
    if projection:
        shapes["out_proj"] = (5, dim)
    inputs = leaves(3, **shapes)
    inputs["A"] = (-inputs["A"].detach().abs() - 0.1).requires_grad_()
    ids = torch.tensor([[0] * 4 + [1] * 5, [0] * 6 + [1] * 3], dtype=torch.int32)
    ids = ids if seq_idx else None

    def function(zxbcdt, conv_weight, conv_bias, dt_bias, A, D, norm_weight=None, out_proj=None):
        return combined.mamba_split_conv1d_scan_combined(
            zxbcdt, conv_weight, conv_bias, dt_bias, A, D, chunk_size=4, seq_idx=ids,
            activation=activation, rmsnorm_weight=norm_weight, rmsnorm_eps=1e-5,
            outproj_weight=out_proj, headdim=head_dim, ngroups=groups, norm_before_gate=False)

    def formula(zxbcdt, conv_weight, conv_bias, dt_bias, A, D, norm_weight=None, out_proj=None):
        return reference.mamba2_combined(zxbcdt, conv_weight, conv_bias, dt_bias, A, D, heads,
                                         head_dim, groups, ids, activation, norm_weight, 1e-5,
                                         out_proj)

    compare_all(inputs, function, formula, 4, True)


def check(mamba_root, conv_root, letter, options):
    warnings.simplefilter("ignore")
    if "no-package" in options:  # a binary alone, as a drop-in module leaves it
        sys.modules["causal_conv1d"] = None
    standins.install(letter, with_triton="no-triton" not in options,
                     removed_names="removed-names" in options, with_conv="no-conv" not in options)
    sys.path[:0] = [mamba_root] + ([conv_root] if conv_root else [])
    importlib.import_module("mamba_ssm")
    interface = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    check_mamba(interface, True)
    check_mamba(interface, False)
    if not os.path.exists(f"{mamba_root}/mamba_ssm/ops/triton/ssd_combined.py"):
        return
    if "no-triton" in options:
        must_name_triton()
        return
    combined = importlib.import_module("mamba_ssm.ops.triton.ssd_combined")
    reference.replace_triton_functions(combined)
    knows_sequences = letter != "A"
    check_mamba2(combined, False, "silu", False, True)
    check_mamba2(combined, knows_sequences, "silu", True, True)
    check_mamba2(combined, knows_sequences, None, False, False)
    if "groups" in options:
        check_mamba2(combined, False, "silu", True, True, groups=2)
        check_chunk_scan(combined)
    if not knows_sequences:
        must_refuse(lambda: check_mamba2(combined, True, "silu", False, True))


def must_name_triton():
    modules = importlib.import_module("mamba_ssm.modules.mamba2")
    try:
        modules.mamba_split_conv1d_scan_combined(1, 2, 3)
    except ImportError as problem:
        if "Triton" in str(problem):
            return
        raise Wrong(f"the error does not name Triton: {problem}")
    raise Wrong("what needs Triton ran without it")


def must_refuse(call):
    try:
        call()
    except NotImplementedError:
        return
    except Wrong as problem:
        raise Wrong(f"sequences that the binary does not know gave wrong numbers: {problem}")
    raise Wrong("sequences that the binary does not know were accepted")


def run(mamba_root, conv_root, letter, options=()):
    """"" where all is right, else one line; in a forked process, for the module table is global."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        text = ""
        try:
            check(mamba_root, conv_root, letter, options)
        except BaseException as problem:  # every failure of the pair is a result
            if os.environ.get("MATRIX_TRACE"):
                traceback.print_exc()
            text = f"{type(problem).__name__}: {problem}".splitlines()[0]
        os.write(write_end, text.encode()[:4000])
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    return text


if __name__ == "__main__":
    torch.set_num_threads(1)
    result = run(*sys.argv[1:4], options=sys.argv[4:])
    print(result or "right")
    sys.exit(1 if result else 0)
