"""What the scan's GPU scripts share: loading one build of a module by its path, random inputs, and
a reference in float64 whose gradients come from torch's own autograd."""

import importlib.machinery
import importlib.util
import os

import torch
import torch.nn.functional as F

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def load_module(path, name):
    loader = importlib.machinery.ExtensionFileLoader(name, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def load_ours(folder, name="selective_scan_cuda"):
    return load_module(os.path.join(folder, name + ".abi3.so"), name)


def poison(megabytes=512):
    """Fills what the allocator will hand out next with NaN."""
    blocks = [
        torch.full((size,), float("nan"), device="cuda")
        for size in (1 << 8, 1 << 12, 1 << 16, 1 << 18) * 8 + (megabytes << 18,)
    ]
    torch.cuda.synchronize()
    del blocks


class Inputs:
    """One random call. Rows are padded by `pad` elements, so that strides differ from the length;
    `turned` ones lie with the channel as the slowest dimension. `decay` scales A: 50 makes the
    decays underflow within a few steps."""

    def __init__(
        self,
        batch,
        dim,
        length,
        states,
        dtype,
        groups=1,
        pad=0,
        gate=True,
        skip=True,
        bias=True,
        softplus=True,
        variable_B=True,
        variable_C=True,
        is_complex=False,
        turned=False,
        decay=0.5,
        seed=0,
    ):
        generator = torch.Generator("cuda").manual_seed(seed)

        def randn(*sizes, dtype=torch.float32):
            return torch.randn(*sizes, generator=generator, device="cuda", dtype=dtype)

        def rows(values):
            if turned:
                values = values.transpose(0, 1).contiguous().transpose(0, 1)
            if not pad:
                return values.to(dtype)
            wide = torch.full((*values.shape[:-1], length + pad), float("nan"), device="cuda", dtype=dtype)
            wide[..., :length] = values.to(dtype)
            return wide[..., :length]

        def factor(variable):
            if variable:
                steps = length * (2 if is_complex else 1)
                if turned:
                    return randn(states, batch, groups, steps).to(dtype).movedim(0, 2)
                return randn(batch, groups, states, steps).to(dtype)
            return randn(dim, states, dtype=torch.complex64 if is_complex else torch.float32)

        self.softplus = softplus
        self.u = rows(randn(batch, dim, length))
        self.delta = rows(0.5 * torch.rand(batch, dim, length, generator=generator, device="cuda"))
        self.A = -decay * torch.rand(dim, states, generator=generator, device="cuda")
        if is_complex:
            self.A = torch.complex(self.A, randn(dim, states))
        self.B = factor(variable_B)
        self.C = factor(variable_C)
        self.D = randn(dim) if skip else None
        self.z = rows(randn(batch, dim, length)) if gate else None
        self.delta_bias = (
            0.5 * torch.rand(dim, generator=generator, device="cuda") if bias else None
        )
        self.dout = rows(randn(batch, dim, length))

    def tensors(self):
        return [self.u, self.delta, self.A, self.B, self.C, self.D, self.z, self.delta_bias]

    def forward(self, module):
        return module.fwd(*self.tensors(), self.softplus)

    def backward(self, module, x, out, dz=None, recompute=False):
        return module.bwd(
            *self.tensors(), self.dout, x, out, dz, self.softplus, recompute
        )


def _scan(a, b):
    """h_t = a_t h_{t-1} + b_t along dimension 2, in log2(length) steps."""
    distance = 1
    while distance < a.shape[2]:
        b = torch.cat([b[:, :, :distance], b[:, :, distance:] + a[:, :, distance:] * b[:, :, :-distance]], 2)
        a = torch.cat([a[:, :, :distance], a[:, :, distance:] * a[:, :, :-distance]], 2)
        distance *= 2
    return b


def reference(inputs, gradients=True):
    """(out, out_z, last state, gradients by name) in float64. Differentiated by autograd."""
    names = ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"]
    wide = {}
    for name, tensor in zip(names, inputs.tensors()):
        if tensor is None:
            wide[name] = None
            continue
        double = torch.complex128 if tensor.is_complex() else torch.float64
        wide[name] = tensor.detach().to(double).requires_grad_(gradients)
    u, delta, A, B, C, D, z, bias = (wide[name] for name in names)
    batch, dim, length = u.shape
    dt = delta if bias is None else delta + bias[:, None]
    if inputs.softplus:
        dt = F.softplus(dt, threshold=1e9)

    def spread(factor):  # (batch, dim, length, states)
        if factor.dim() == 2:
            return factor[None, :, None, :]
        if A.is_complex():
            factor = torch.view_as_complex(factor.reshape(*factor.shape[:3], length, 2))
        return factor.repeat_interleave(dim // factor.shape[1], 1).transpose(2, 3)

    a = torch.exp(dt[..., None] * A[None, :, None, :])
    h = _scan(a, (dt * u)[..., None] * spread(B))
    out = (h * spread(C)).sum(3)
    if out.is_complex():
        out = 2 * out.real
    if D is not None:
        out = out + D[:, None] * u
    gated = out if z is None else out * F.silu(z)
    found = {}
    if gradients:
        used = [name for name in names if wide[name] is not None]
        values = torch.autograd.grad(
            gated, [wide[name] for name in used], inputs.dout.double(), materialize_grads=True
        )
        found = dict(zip(used, values))
    return out.detach(), gated.detach(), h[:, :, -1].detach(), found


def error(found, wanted):
    """||found - wanted|| / ||wanted||; NaN where either has one."""
    found = found.to(wanted.dtype)
    scale = wanted.norm()
    return ((found - wanted).norm() / (scale if scale > 0 else 1)).item()
