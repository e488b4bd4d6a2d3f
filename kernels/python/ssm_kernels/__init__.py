"""Causal conv1d and selective scan kernels without libtorch.

`causal_conv1d_fn` and `causal_conv1d_update` take the arguments of the causal-conv1d package
(1.2 and later) and need neither that package nor its binary; `selective_scan_fn` and
`mamba_inner_fn` take those of mamba_ssm. torch is imported with them, not
with this package, so that a tool may look at the package where there is no torch.
"""

__version__ = "0.1.0"
_MODULES = {
    "causal_conv1d_fn": "conv1d",
    "causal_conv1d_update": "conv1d",
    "mamba_inner_fn": "scan",
    "selective_scan_fn": "scan",
    "selective_state_update": "scan",
}
__all__ = sorted(_MODULES)


def __getattr__(name):
    if name in _MODULES:
        import importlib

        module = importlib.import_module("ssm_kernels." + _MODULES[name])
        return getattr(module, name)
    raise AttributeError(f"module 'ssm_kernels' has no attribute {name!r}")
