"""Do the packages and their native modules import: `torch-first` or `extension-first`.

An extension that needs libc10.so from torch/lib cannot load before torch has; that is the file's
nature and no defect, so it is told apart from an import that fails after torch as well.
"""

import importlib
import importlib.util
import time

import check

NATIVE = ("causal_conv1d_cuda", "selective_scan_cuda", "selective_scan_cuda_core",
          "selective_scan_cuda_oflex")
PACKAGES = ("causal_conv1d", "mamba_ssm")


def present(name):
    return importlib.util.find_spec(name) is not None


def run(order):
    label = "after torch" if order == "torch-first" else "before torch"
    if order == "torch-first":
        with check.step("import torch"):
            import torch  # noqa: F401
    if order != "torch-first" and not any(present(name) for name in NATIVE):
        check.not_checked(f"native modules {label}", "none is installed")
    for name in NATIVE + (PACKAGES if order == "torch-first" else ()):
        title = f"import {name} {label}"
        with check.step(title):
            if not present(name):
                if name in NATIVE:
                    continue  # inspect says which are needed and missing
                check.not_checked(title, f"{name} is not installed")
                continue
            begin = time.perf_counter()
            try:
                importlib.import_module(name)
            except ImportError as error:
                if order == "torch-first" or "cannot open shared object file" not in str(error):
                    raise
                import torch  # noqa: F401

                importlib.import_module(name)
                check.ok(title, f"needs torch first ({str(error).split(':')[0]}), then imports",
                         time.perf_counter() - begin)
            else:
                check.ok(title, "imports", time.perf_counter() - begin)


if __name__ == "__main__":
    check.main(run)
