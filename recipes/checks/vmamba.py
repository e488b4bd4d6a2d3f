"""VSSBlock of a VMamba checkout (`vmamba.py DIR`) in float32 and under autocast, forward and
backward, through each native module that its forward types ask for.

The checkout's model file is loaded without the packages that only its training scripts need. The
reference is the block's own plain torch layers in float64 around our scan, and around our own
rearrangement of the image into four lines and back.
"""

import contextlib
import importlib
import importlib.util
import os
import sys
import types

import check

# forward_type: the native module behind it (None: the first that imports, as VMamba chooses)
TYPES = {"v05_noz": None, "v03_noz": "selective_scan_cuda_oflex", "v02_noz": "selective_scan_cuda"}


def load(checkout):
    """The checkout's models/vmamba.py as a module."""
    folder = os.path.join(checkout, "classification", "models")
    if not os.path.isfile(os.path.join(folder, "vmamba.py")):
        raise FileNotFoundError(f"{folder} has no vmamba.py")
    for name, contents in {
            "timm.models.layers": {"DropPath": drop_path(), "trunc_normal_": None},
            "fvcore.nn": dict.fromkeys(("FlopCountAnalysis", "flop_count_str", "flop_count",
                                        "parameter_count")),
            "ssmend_vmamba.mamba2.ssd_minimal": {"selective_scan_chunk_fn": None}}.items():
        stand_in(name, contents)
    package = types.ModuleType("ssmend_vmamba")
    package.__path__ = [folder]
    sys.modules["ssmend_vmamba"] = package
    return importlib.import_module("ssmend_vmamba.vmamba")


def stand_in(name, contents):
    """A module of these names where the real package is not installed."""
    top = name.split(".")[0]
    if top not in sys.modules and top != "ssmend_vmamba":
        with contextlib.suppress(ImportError, ValueError):
            if importlib.util.find_spec(name) is not None:
                return
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        module = sys.modules.setdefault(".".join(parts[:count]),
                                        types.ModuleType(".".join(parts[:count])))
        module.__path__ = []
    vars(sys.modules[name]).update(contents)


def drop_path():
    """timm's DropPath does nothing at the rate 0 used here."""
    import torch

    class DropPath(torch.nn.Identity):
        drop_prob = 0.0

        def __init__(self, *_):
            super().__init__()

    return DropPath


def four_lines(image, **_):
    """(batch, c, h, w) -> (batch, 4, c, h w): by rows, by columns, and both backwards."""
    import torch

    by_row, by_column = image.flatten(2), image.transpose(2, 3).flatten(2)
    return torch.stack([by_row, by_column, by_row.flip(-1), by_column.flip(-1)], dim=1)


def one_image(lines, **_):
    """The sum of the four (batch, 4, c, h, w) back in their places, as (batch, c, h w)."""
    height, width = lines.shape[-2:]
    flat = lines.flatten(3)
    rows, columns = flat[:, 0] + flat[:, 2].flip(-1), flat[:, 1] + flat[:, 3].flip(-1)
    return rows + columns.unflatten(-1, (width, height)).transpose(2, 3).flatten(2)


def scan(u, delta, A, B, C, D=None, delta_bias=None, delta_softplus=True, *_, **__):
    import reference

    wide = [tensor.double() for tensor in (u, delta, A, B, C, D)]
    return reference.selective_scan(*wide, None, delta_bias.double(), delta_softplus)[0]


def expected(vmamba, plain, tensors):
    """The float64 copy of a block, with our scan and rearrangements in the module's place."""
    import torch

    ours = {"selective_scan_fn": scan, "cross_scan_fn": four_lines, "cross_merge_fn": one_image}
    theirs = {name: getattr(vmamba, name) for name in ours}
    vars(vmamba).update(ours)
    try:
        given = {key: value for key, value in tensors.items() if key != "image"}
        return torch.func.functional_call(plain, given, (tensors["image"],))
    finally:
        vars(vmamba).update(theirs)


def block_case(vmamba, name, forward_type, dtype, limits):
    import torch

    torch.manual_seed(0)
    make = lambda: vmamba.VSSBlock(hidden_dim=16, norm_layer=vmamba.LayerNorm2d, ssm_d_state=1,
                                   ssm_ratio=2.0, ssm_conv_bias=False, channel_first=True,
                                   forward_type=forward_type)
    block, plain = make().to(check.DEVICE), make().double()
    image = torch.randn(2, 16, 9, 7, dtype=torch.float64)
    names = [key for key, _ in block.named_parameters()]
    inputs = {key: tensor.detach().double().cpu() for key, tensor in block.named_parameters()}
    inputs["image"] = image

    def found(t):
        with torch.autocast(check.DEVICE, dtype, enabled=dtype != torch.float32):
            return torch.func.functional_call(block, {key: t[key] for key in names},
                                              (t["image"],))

    check.run_case(name, f"{forward_type}, {'x'.join(str(part) for part in image.shape)}", inputs,
                   found, lambda t: expected(vmamba, plain, t), limits, torch.float32)


def run(checkout):
    import torch

    reason = check.gpu_missing()
    if reason:
        check.not_checked("VMamba VSSBlock", reason, gpu_is_missing=True)
        return
    vmamba = load(checkout)
    for forward_type, module in TYPES.items():
        name = f"VMamba VSSBlock {forward_type} float32"
        with check.step(name):
            if module is not None and importlib.util.find_spec(module) is None:
                check.not_checked(name, f"{module} is not installed")
                continue
            block_case(vmamba, name, forward_type, torch.float32, (2e-5, 2e-4))
    if check.DEVICE == "cuda":
        with check.step("VMamba VSSBlock v05_noz autocast float16"):
            block_case(vmamba, "VMamba VSSBlock v05_noz autocast float16", "v05_noz",
                       torch.float16, (5e-3, 4e-2))


if __name__ == "__main__":
    check.main(run)
