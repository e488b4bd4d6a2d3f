"""Cases of the causal convolution and their float64 reference, made with torch operations.

A case is a dict; `base` differs from each other case in one thing. The reference is autograd over
a float64 sum of shifted products: it shares nothing with the kernels or with kernels/conv1d.
"""

import torch

BASE = dict(
    batch=2,
    dim=64,
    length=151,
    width=4,
    dtype=torch.bfloat16,
    weight_dtype=torch.float32,
    layout="rows",
    bias=True,
    silu=True,
    seq_idx=None,
    initial=False,
    final=False,
)

# One past a chunk, a tile of 128 and of 160 chunks, and a power of two, for 2- and 4-byte types.
LENGTHS = [1, 2, 3, 4, 7, 8, 9, 32, 33, 63, 64, 65, 127, 255, 257, 511, 513, 640, 1023, 1024, 1025]
LENGTHS += [1281, 2047, 2048, 2049, 4099]
LAYOUTS = ["rows", "channels", "rows_view", "channels_view", "rows_shifted", "rows_unlike"]
LAYOUTS += ["channels_odd", "strided"]


def case(**changes):
    return {**BASE, **changes}


def cases():
    result = []
    dtypes = [torch.float32, torch.float16, torch.bfloat16]
    for dtype in dtypes:
        for layout in LAYOUTS:
            result.append(case(dtype=dtype, layout=layout))
            result.append(case(dtype=dtype, layout=layout, initial=True, final=True))
            result.append(case(dtype=dtype, layout=layout, seq_idx="two"))
            for width in (2, 3):
                result.append(case(dtype=dtype, layout=layout, width=width))
        for length in LENGTHS:
            for layout in ("rows", "channels"):
                result.append(case(dtype=dtype, layout=layout, length=length))
        for weight_dtype in dtypes:
            result.append(case(dtype=dtype, weight_dtype=weight_dtype))
            result.append(case(dtype=dtype, weight_dtype=weight_dtype, layout="channels"))
        for length in (1, 2, 3):
            for width in (2, 3, 4):
                for layout in ("rows", "channels", "strided"):
                    result.append(
                        case(dtype=dtype, layout=layout, width=width, length=length, initial=True,
                             final=True)
                    )
    for layout in ("rows", "channels", "strided"):
        for width in (2, 3, 4):
            result.append(case(layout=layout, width=width, initial=True, final=True, length=1025))
            for seq_idx in ("two", "many", "padded"):
                result.append(case(layout=layout, width=width, seq_idx=seq_idx, length=300))
            result.append(case(layout=layout, width=width, seq_idx="two", initial=True, length=9))
        result.append(case(layout=layout, bias=False))
        result.append(case(layout=layout, silu=False))
        result.append(case(layout=layout, bias=False, silu=False, dtype=torch.float32))
        result.append(case(layout=layout, batch=1, dim=8, length=5000))
        result.append(case(layout=layout, batch=1, dim=1, length=70))
        result.append(case(layout=layout, batch=5, dim=24, length=196))
        result.append(case(layout=layout, batch=3, dim=4128, length=130))
        result.append(case(layout=layout, batch=70000, dim=8, length=4))
    return result


def name_of(c):
    parts = [f"{k}={str(v).replace('torch.', '')}" for k, v in c.items() if v != BASE[k]]
    return " ".join(parts) or "base"


def arrange(values, layout):
    """A tensor of the same values (batch, dim, length) in memory as `layout` says."""
    batch, dim, length = values.shape
    make = dict(device=values.device, dtype=values.dtype)
    if layout == "rows":
        view = torch.empty(batch, dim, length, **make)
    elif layout == "rows_view":
        view = torch.empty(batch, dim + 8, length, **make)[:, 8:]
    elif layout == "rows_shifted":
        view = torch.empty(batch, dim, length + 3, **make)[:, :, 2 : 2 + length]
    elif layout == "rows_unlike":
        view = torch.empty(batch * dim * length + 5, **make)[5:].view(batch, dim, length)
    elif layout == "channels":
        view = torch.empty(batch, length, dim, **make).transpose(1, 2)
    elif layout == "channels_view":
        view = torch.empty(batch, length, dim + 24, **make)[:, :, 16 : 16 + dim].transpose(1, 2)
    elif layout == "channels_odd":
        view = torch.empty(batch, length, dim + 3, **make)[:, :, 1 : 1 + dim].transpose(1, 2)
    else:
        view = torch.empty(batch, dim * 2, length * 3, **make)[:, ::2, ::3]
    view.copy_(values)
    return view


# The layout of tensors beside x: "rows_unlike" means that they start elsewhere than x does.
def partner(layout):
    return "rows" if layout == "rows_unlike" else layout


def sequences(kind, batch, length, device):
    position = torch.arange(length, device=device).expand(batch, length)
    if kind == "two":
        return (position >= length // 2).int().contiguous()
    if kind == "many":
        return torch.randint(0, 2, (batch, length), device=device).cumsum(1).int()
    index = (position // 37).int()
    return torch.where(position >= length - 20, -1, index).int().contiguous()


def make_inputs(c, device="cuda"):
    def draw(*shape, dtype=c["dtype"]):
        return torch.randn(*shape, device=device, dtype=torch.float32).to(dtype)

    batch, dim, length, width = c["batch"], c["dim"], c["length"], c["width"]
    other = partner(c["layout"])
    inputs = dict(
        x=arrange(draw(batch, dim, length), c["layout"]),
        dout=arrange(draw(batch, dim, length), other),
        weight=draw(dim, width, dtype=c["weight_dtype"]),
        bias=draw(dim, dtype=c["weight_dtype"]) if c["bias"] else None,
        seq_idx=None,
        initial=None,
        dfinal=None,
    )
    if c["seq_idx"]:
        inputs["seq_idx"] = sequences(c["seq_idx"], batch, length, device)
    if c["initial"]:
        inputs["initial"] = draw(batch, width - 1, dim).transpose(1, 2)
    if c["final"]:
        inputs["dfinal"] = draw(batch, width - 1, dim).transpose(1, 2)
    return inputs


def reference(c, inputs):
    """Outputs and gradients in float64; the inputs' values as the kernels see them."""
    leaf = {}
    for key in ("x", "weight", "bias", "initial"):
        value = inputs[key]
        leaf[key] = None if value is None else value.double().detach().requires_grad_()
    x, weight, width, length = leaf["x"], leaf["weight"], c["width"], c["length"]
    batch, dim = x.shape[:2]
    before = leaf["initial"]
    if before is None:
        before = torch.zeros(batch, dim, width - 1, device=x.device, dtype=torch.float64)
    extended = torch.cat([before, x], dim=2)
    index = inputs["seq_idx"]
    if index is not None:
        index_extended = torch.cat([index[:, :1].expand(batch, width - 1), index], dim=1)
    y = torch.zeros_like(x)
    for tap in range(width):
        product = weight[:, tap, None] * extended[:, :, tap : tap + length]
        if index is not None:
            product = product * (index_extended[:, tap : tap + length] == index)[:, None, :]
        y = y + product
    if leaf["bias"] is not None:
        y = y + leaf["bias"][:, None]
    out = torch.nn.functional.silu(y) if c["silu"] else y
    if index is not None:
        out = out * (index >= 0)[:, None, :]
    final = extended[:, :, length:]
    total = (out * inputs["dout"].double()).sum()
    if inputs["dfinal"] is not None:
        total = total + (final * inputs["dfinal"].double()).sum()
    total.backward()
    return dict(
        out=out.detach(),
        final=final.detach(),
        dx=x.grad,
        dweight=weight.grad,
        dbias=None if leaf["bias"] is None else leaf["bias"].grad,
        dinitial=None if leaf["initial"] is None else leaf["initial"].grad,
    )
