"""Causal conv1d and selective scan kernels without libtorch.

`causal_conv1d_fn` and `causal_conv1d_update` take the arguments of the causal-conv1d package
(1.2 and later) and need neither that package nor its binary. torch is imported with them, not
with this package, so that a tool may look at the package where there is no torch.
"""

__version__ = "0.1.0"
__all__ = ["causal_conv1d_fn", "causal_conv1d_update"]


def __getattr__(name):
    if name in __all__:
        from ssm_kernels import conv1d

        return getattr(conv1d, name)
    raise AttributeError(f"module 'ssm_kernels' has no attribute {name!r}")
