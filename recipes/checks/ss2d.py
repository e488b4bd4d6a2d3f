"""SS2D and VSSBlock of a Mamba-YOLO checkout (`ss2d.py DIR`) in float32, forward and backward, and
what its LayerNorm does to half weights.

The checkout's two module files are loaded without the package around them, which wants OpenCV. The
reference of SS2D is ours from end to end; VSSBlock is its own plain torch layers in float64 around
that reference.
"""

import importlib
import os
import sys
import time
import types

import check


def load(checkout):
    """The checkout's mamba_yolo module."""
    folder = os.path.join(checkout, "ultralytics", "nn", "modules")
    if not os.path.isfile(os.path.join(folder, "mamba_yolo.py")):
        raise FileNotFoundError(f"{folder} has no mamba_yolo.py")
    if importlib.util.find_spec("timm") is None:
        stand_in_for_timm()
    package = types.ModuleType("ssmend_checkout")
    package.__path__ = [folder]
    sys.modules["ssmend_checkout"] = package
    return importlib.import_module("ssmend_checkout.mamba_yolo")


def stand_in_for_timm():
    """DropPath is all that is taken from timm, and it does nothing at the rate 0 used here."""
    import torch

    layers = types.ModuleType("timm.models.layers")
    layers.DropPath = type("DropPath", (torch.nn.Identity,), {"drop_prob": 0.0})
    sys.modules.update({"timm": types.ModuleType("timm"),
                        "timm.models": types.ModuleType("timm.models"),
                        "timm.models.layers": layers})


def ss2d_reference(weights, image, rank, states):
    """SS2D by its named parameters; image (batch, channels, height, width)."""
    import reference
    import torch
    import torch.nn.functional as F

    x, z = F.conv2d(image, weights["in_proj.weight"]).chunk(2, dim=1)
    x = F.conv2d(x, weights["conv2d.weight"], weights["conv2d.bias"],
                 padding=weights["conv2d.weight"].shape[-1] // 2, groups=x.shape[1])
    x = F.gelu(x)
    batch, dim, height, width = x.shape
    by_row, by_column = x.flatten(2), x.transpose(2, 3).flatten(2)
    total = 0
    for way, line in enumerate((by_row, by_column, by_row.flip(-1), by_column.flip(-1))):
        part = slice(way * dim, (way + 1) * dim)
        projected = torch.einsum("bdl,cd->bcl", line, weights["x_proj_weight"][way])
        step, B, C = projected.split([rank, states, states], dim=1)
        y, _ = reference.selective_scan(
            line, torch.einsum("brl,dr->bdl", step, weights["dt_projs_weight"][way]),
            -torch.exp(weights["A_logs"][part]), B, C, weights["Ds"][part], None,
            weights["dt_projs_bias"][way], True)
        y = y.flip(-1) if way >= 2 else y
        total = total + (y if way % 2 == 0 else
                         y.unflatten(-1, (width, height)).transpose(2, 3).flatten(2))
    total = F.layer_norm(total.transpose(1, 2), (dim,), weights["out_norm.weight"],
                         weights["out_norm.bias"])
    total = total.transpose(1, 2).unflatten(-1, (height, width)) * F.gelu(z)
    return F.conv2d(total, weights["out_proj.weight"])


def case(name, module, image, expected):
    import torch

    names = [key for key, _ in module.named_parameters()]
    inputs = {key: tensor.detach().double().cpu() for key, tensor in module.named_parameters()}
    inputs["image"] = image
    check.run_case(
        name, f"float32, {'x'.join(str(part) for part in image.shape)}", inputs,
        lambda t: torch.func.functional_call(module, {key: t[key] for key in names},
                                             (t["image"],)),
        expected, (2e-5, 2e-4), torch.float32)


def run(checkout):
    import copy
    import torch

    yolo = load(checkout)
    reason = check.gpu_missing()
    if reason:
        check.not_checked("SS2D", reason, gpu_is_missing=True)
        return
    torch.manual_seed(0)
    image = torch.randn(2, 16, 9, 7, dtype=torch.float64)
    module = yolo.SS2D(d_model=16, d_state=16).to(check.DEVICE)
    with check.step("SS2D float32"):
        case("SS2D float32", module, image,
             lambda t: ss2d_reference(t, t["image"], module.dt_rank, module.d_state))

    block = yolo.VSSBlock(in_channels=16, hidden_dim=16).to(check.DEVICE).eval()
    with check.step("VSSBlock float32"):
        plain = copy.deepcopy(block).double().cpu()
        (ss2d_name, ss2d), = [(key, part) for key, part in plain.named_modules()
                              if type(part).__name__ == "SS2D"]

        def expected(t):
            weights = {key[len(ss2d_name) + 1:]: value for key, value in t.items()
                       if key.startswith(ss2d_name + ".")}
            ss2d.forward = lambda x: ss2d_reference(weights, x, ss2d.dt_rank, ss2d.d_state)
            given = {key: value for key, value in t.items() if key != "image"}
            return torch.func.functional_call(plain, given, (t["image"],))

        case("VSSBlock float32", block, image, expected)
    with check.step("SS2D half weights"):
        half_rule(yolo, image)


def half_rule(yolo, image):
    """Half weights fail by design of these modules; say the rule, and that autocast is the way."""
    import torch

    begin = time.perf_counter()
    module = yolo.SS2D(d_model=16, d_state=16).half().to(check.DEVICE)
    try:
        module(image.half().to(check.DEVICE))
    except RuntimeError as error:
        check.ok("SS2D half weights",
                 f"refused as it is made ({str(error).splitlines()[0]}): feed float32, or run "
                 "under autocast", time.perf_counter() - begin)
        return
    check.ok("SS2D half weights", "accepted", time.perf_counter() - begin)


if __name__ == "__main__":
    check.main(run)
