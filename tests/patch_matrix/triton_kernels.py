"""mamba_ssm's Triton kernels under the installed Triton, on a machine without a GPU: every launch is
compiled for sm_90 as far as a cubin instead, before and after the patch; and the backward pass of
the chunk sums is computed by Triton's interpreter and compared with autograd.

  triton_kernels.py DRIVER RULES SOURCES [--whole] [VERSION ...]"""
import contextlib
import importlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types
import warnings

import torch
import torch.nn.functional as F

import standins

# The small run: one launch of each kernel that the rules are about, and the numbers of one release;
# both are wrong as published. The whole run takes layers, back and forth.
SMALL = {"2.0.4": ["few"], "2.2.4": ["numbers"]}


def stand_in_for_gpu(compiled, failed):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime.autotuner import Autotuner
    from triton.runtime.jit import JITFunction

    class Driver:
        def get_current_target(self):
            return GPUTarget("cuda", 90, 32)

        def get_current_device(self):
            return 0

        def get_current_stream(self, device=0):
            return 0

    if not os.environ.get("TRITON_INTERPRET"):
        triton.runtime.driver.set_active(Driver())
        run = JITFunction.run

        def compile_only(self, *args, grid=None, warmup=False, **kwargs):
            name = self.fn.__qualname__
            try:
                run(self, *args, grid=(1,), warmup=True, **kwargs)
                compiled.add(name)
            except Exception as problem:  # what does not compile is the result
                failed[name] = f"{type(problem).__name__}: {problem}".strip().splitlines()[-1]

        JITFunction.run = compile_only

    def first_configuration(self, *args, **kwargs):
        self.nargs = dict(zip(self.arg_names, args))
        self.best_config = self.prune_configs(kwargs)[0]
        if self.best_config.pre_hook:
            self.best_config.pre_hook({**self.nargs, **kwargs, **self.best_config.all_kwargs()})
        return self.fn.run(*args, **kwargs, **self.best_config.all_kwargs())

    Autotuner.run = first_configuration
    torch.cuda.device = lambda *args: contextlib.nullcontext()
    torch.cuda.current_device = lambda: 0
    torch.cuda.get_device_properties = lambda *args: types.SimpleNamespace(multi_processor_count=132)


def sums(module):
    return importlib.import_module("mamba_ssm.ops.triton." + module)


def launch_few(version):
    state = sums("selective_state_update")
    shapes = ((2, 8, 4), (2, 8), (2, 8), (8, 4), (2, 4), (2, 4), (8,), (2, 8), (8,))
    state.selective_state_update(*(torch.randn(s) for s in shapes), dt_softplus=True)
    if version.startswith("2"):
        chunk = sums("ssd_chunk_state")
        dt, bias = torch.randn(1, 64, 4), torch.randn(4)
        chunk._chunk_cumsum_fwd(dt, -torch.rand(4), 32, dt_bias=bias, dt_softplus=True)
        chunk._chunk_cumsum_bwd(torch.randn(1, 4, 2, 32), torch.randn(1, 4, 2, 32), dt,
                                -torch.rand(4), dt_bias=bias, dt_softplus=True)


def train(layer, width):
    x = torch.randn(2, 256, width, requires_grad=True)
    layer(x).sum().backward()


def launch_all(version):
    from mamba_ssm import Mamba
    layers = [Mamba(d_model=16)]
    train(layers[0], 16)
    if version.startswith("2"):
        from mamba_ssm.modules.mamba2 import Mamba2
        for options in ({}, {"use_mem_eff_path": False}, {"ngroups": 2}):
            layers.append(Mamba2(d_model=64, headdim=16, **options))
            train(layers[-1], 64)
    for layer in layers[:2]:
        layer.step(torch.randn(2, 1, layer.d_model), *layer.allocate_inference_cache(2, 16))
    norm = sums("layer_norm" if version.startswith("2") else "layernorm")
    norm.rms_norm_fn(torch.randn(4, 32, requires_grad=True), torch.ones(32, requires_grad=True),
                     None, residual=torch.randn(4, 32)).sum().backward()


def chunk_sums_backward():
    """dt above 20 before its softplus too; "" or what is wrong."""
    torch.manual_seed(0)
    dt = torch.randn(1, 32, 4)
    dt[0, ::5] = 25.0
    A, bias = -torch.rand(4) - 0.1, torch.randn(4)
    ddA, ddt_out = torch.randn(1, 4, 2, 16), torch.randn(1, 4, 2, 16)
    found = sums("ssd_chunk_state")._chunk_cumsum_bwd(ddA, ddt_out, dt, A, dt_bias=bias,
                                                      dt_softplus=True)
    inputs = [t.double().requires_grad_() for t in (dt, A, bias)]
    soft = F.softplus(inputs[0] + inputs[2], threshold=40)
    per_chunk = soft.unflatten(1, (2, 16)).permute(0, 3, 1, 2)
    value = (per_chunk * inputs[1][:, None, None] * ddA).sum() + (per_chunk * ddt_out).sum()
    for name, one, wanted in zip(("dt", "A", "dt_bias"), found,
                                 torch.autograd.grad(value, inputs)):
        error = ((one.double() - wanted).norm() / wanted.norm()).item()
        if not error < 1e-5:
            return f"the gradient of {name} is off by {error:.1e}"
    return ""


def child(root, what, version):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    compiled, failed = set(), {}
    stand_in_for_gpu(compiled, failed)
    conv = standins.make_conv_module("F")
    conv.causal_conv1d_update = lambda x, *args: x.clone()
    sys.modules.update({"causal_conv1d_cuda": conv,
                        "selective_scan_cuda": standins.make_scan_module()})
    sys.modules.update({**standins.make_transformers(False), **sys.modules})
    sys.path.insert(0, root)
    if what == "numbers":
        print(chunk_sums_backward() or "right")
        return
    (launch_few if what == "few" else launch_all)(version)
    print("; ".join(f"{name}: {why}" for name, why in sorted(failed.items()))
          or f"{len(compiled)} kernels compile")


def look(root, what, version, scratch):
    environment = {**os.environ, "TRITON_CACHE_DIR": scratch}
    if what == "numbers":
        environment["TRITON_INTERPRET"] = "1"
    done = subprocess.run([sys.executable, "-W", "ignore", "-B", __file__, "child", root, what, version],
                          env=environment, capture_output=True, text=True, check=False)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return lines[-1] if lines else "died without a word"


def is_good(answer):
    return answer == "right" or answer.endswith("kernels compile")


def main():
    driver, rules, sources, *rest = sys.argv[1:]
    whole = "--whole" in rest
    conv = pathlib.Path(sources, "conv", "1.6.0", "causal_conv1d")
    site = pathlib.Path(importlib.util.find_spec("triton").origin).parent.parent
    versions = [v for v in rest if v != "--whole"] or list(SMALL)
    failures = 0
    for version in versions:
        questions = SMALL[version] if version in SMALL and not whole else ["all"]
        # The interpreter has no libdevice: numbers where softplus is written without it.
        if whole and version.startswith(("2.1", "2.2", "2.3")):
            questions.append("numbers")
        with tempfile.TemporaryDirectory() as scratch:
            trees = [pathlib.Path(scratch, name) for name in ("before", "after")]
            for tree in trees:
                shutil.copytree(pathlib.Path(sources, "mamba", version, "mamba_ssm"), tree / "mamba_ssm")
                shutil.copytree(conv, tree / "causal_conv1d")
            subprocess.run([driver, rules, "F", trees[1], f"also={site}"], check=True,
                           stdout=subprocess.DEVNULL)
            for what in questions:
                before, after = (look(str(tree), what, version, scratch) for tree in trees)
                print(f"{version:>12} {what:8} before: {before[:150]}; after: {after}")
                failures += not is_good(after)
                failures += not whole and is_good(before)  # then this test shows nothing
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child(*sys.argv[2:])
    else:
        main()
