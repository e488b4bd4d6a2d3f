"""mamba_ssm's selective_scan_ref, argument for argument, computed in float64 and in log2(length)
passes in place of one a step: thousands of upstream's test cases take minutes with it, and what it
differs from is an error of the kernel alone."""

import torch
import torch.nn.functional as F

from scan_common import _scan


class Recurrence(torch.autograd.Function):
    """h_t = a_t h_{t-1} + b_t along dimension 2; keeps a and h alone for its gradients."""

    @staticmethod
    def forward(ctx, a, b):
        h = _scan(a, b)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx, grad):
        a, h = ctx.saved_tensors
        later = torch.cat([a[:, :, 1:], torch.zeros_like(a[:, :, :1])], 2).conj()
        adjoint = _scan(later.flip(2), grad.flip(2)).flip(2)
        before = torch.cat([torch.zeros_like(h[:, :, :1]), h[:, :, :-1]], 2)
        return adjoint * before.conj(), adjoint


def selective_scan_wide(
    u,
    delta,
    A,
    B,
    C,
    D=None,
    z=None,
    delta_bias=None,
    delta_softplus=False,
    return_last_state=False,
):
    dtype, state_dtype = u.dtype, A.dtype
    dim, length = u.shape[1:]
    is_complex = A.is_complex()
    u, dt = u.double(), delta.double()
    A = A.to(torch.complex128 if is_complex else torch.float64)
    if delta_bias is not None:
        dt = dt + delta_bias.double()[:, None]
    if delta_softplus:
        dt = F.softplus(dt, threshold=40)  # beyond it exp(-dt) is below float64's last bit

    def spread(factor):  # (batch, dim, length, states)
        if factor.dim() == 2:
            return factor.to(A.dtype)[None, :, None, :]
        factor = factor.double()
        factor = factor[:, None] if factor.dim() == 3 else factor
        if is_complex:
            factor = torch.view_as_complex(factor.reshape(*factor.shape[:3], length, 2))
        return factor.repeat_interleave(dim // factor.shape[1], 1).transpose(2, 3)

    h = Recurrence.apply(
        torch.exp(dt[..., None] * A[None, :, None, :]), (dt * u)[..., None] * spread(B)
    )
    out = (h * spread(C)).sum(3)
    if is_complex:
        out = 2 * out.real
    if D is not None:
        out = out + D.double()[:, None] * u
    if z is not None:
        out = out * F.silu(z.double())
    out = out.to(dtype)
    return (out, h[:, :, -1].to(state_dtype)) if return_last_state else out
