"""causal_conv1d_cuda on a GPU under a Python that has no torch: a small stand-in for torch holds the
tensors, so that every version of Python the module is for can launch its kernels.

    PYTHONPATH=FOLDER_OF_MODULES python3.X other_python_check.py
Exit status 77 without a GPU. Compared with plain Python arithmetic.
"""

import array
import ctypes
import math
import random
import sys
import types


class Cuda:
    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise OSError("%s: error %d" % (name, status))


class Tensor:
    """float32, contiguous, on the GPU; what the module asks a torch.Tensor for, and no more."""

    cuda = None
    is_cuda, device, layout = True, "cuda:0", "strided"

    def __init__(self, shape, values=None):
        self.shape, self.dtype = tuple(shape), "float32"
        self.count = 1
        for size in shape:
            self.count *= size
        self.address = ctypes.c_uint64()
        self.cuda.call("cuMemAlloc_v2", ctypes.byref(self.address), ctypes.c_size_t(4 * self.count))
        values = array.array("f", [math.nan] * self.count if values is None else values)
        self.cuda.call("cuMemcpyHtoD_v2", self.address, ctypes.c_void_p(values.buffer_info()[0]),
                       ctypes.c_size_t(4 * self.count))

    def values(self):
        found = array.array("f", [0.0] * self.count)
        self.cuda.call("cuCtxSynchronize")
        self.cuda.call("cuMemcpyDtoH_v2", ctypes.c_void_p(found.buffer_info()[0]), self.address,
                       ctypes.c_size_t(4 * self.count))
        return list(found)

    def data_ptr(self):
        return self.address.value

    def stride(self):
        strides, step = [], 1
        for size in reversed(self.shape):
            strides.append(step)
            step *= size
        return tuple(reversed(strides))

    def get_device(self):
        return 0

    def is_conj(self):
        return False


def stand_in():
    torch = types.ModuleType("torch")
    for name in ("float32", "float16", "bfloat16", "complex64", "int32", "uint8", "strided"):
        setattr(torch, name, sys.intern(name))
    torch.Tensor = Tensor
    torch.empty_like = lambda like: Tensor(like.shape)
    torch.empty = torch.zeros = None
    torch.are_deterministic_algorithms_enabled = lambda: False
    torch._C = types.SimpleNamespace(_cuda_getCurrentRawStream=lambda device: 0)
    parameter = types.ModuleType("torch.nn.parameter")
    parameter.Parameter = type("Parameter", (Tensor,), {})
    sys.modules.update({"torch": torch, "torch.nn": types.ModuleType("torch.nn"),
                        "torch.nn.parameter": parameter})


def reference(x, weight, bias, dout, rows, channels, length):
    out, dx = [], []
    dweight, dbias = [0.0] * (4 * channels), [0.0] * channels
    for row in range(rows):
        channel = row % channels
        taps = weight[4 * channel : 4 * channel + 4]
        before = [0.0] * 3 + x[row * length : (row + 1) * length]
        dy = []
        for t in range(length):
            y = bias[channel] + sum(taps[j] * before[t + j] for j in range(4))
            s = 1 / (1 + math.exp(-y))
            out.append(y * s)
            dy.append(dout[row * length + t] * s * (1 + y * (1 - s)))
            for j in range(4):
                dweight[4 * channel + j] += dy[t] * before[t + j]
            dbias[channel] += dy[t]
        for t in range(length):
            dx.append(sum(taps[3 - k] * dy[t + k] for k in range(4) if t + k < length))
    return out, dx, dweight, dbias


def main():
    try:
        Tensor.cuda = Cuda()
    except OSError as error:
        print("SKIP: %s" % error)
        return 77
    stand_in()
    import causal_conv1d_cuda as native

    random.seed(4)
    batch, channels, length = 2, 8, 643
    shape, rows = (batch, channels, length), batch * channels

    def draw(*sizes):
        count = 1
        for size in sizes:
            count *= size
        # Values that a float32 holds.
        values = list(array.array("f", [random.gauss(0, 1) for _ in range(count)]))
        return values, Tensor(sizes, values)

    (x, x_gpu), (dout, dout_gpu) = draw(*shape), draw(*shape)
    (weight, weight_gpu), (bias, bias_gpu) = draw(channels, 4), draw(channels)
    out, dx = Tensor(shape), Tensor(shape)
    dweight, dbias = Tensor((channels, 4), [0.0] * 4 * channels), Tensor((channels,), [0.0] * channels)
    native.causal_conv1d_fwd(x_gpu, weight_gpu, bias_gpu, None, None, out, None, True)
    native.causal_conv1d_bwd(x_gpu, weight_gpu, bias_gpu, dout_gpu, None, None, None, dx, dweight,
                             dbias, None, True)
    allocated = native.causal_conv1d_fwd(x_gpu, weight_gpu, bias_gpu, True)
    wanted = reference(x, weight, bias, dout, rows, channels, length)
    wrong = 0
    for name, found, expected, limit in (
        ("out", out, wanted[0], 2e-5), ("dx", dx, wanted[1], 2e-5),
        ("dweight", dweight, wanted[2], 1e-3), ("dbias", dbias, wanted[3], 1e-3),
        ("out, allocated", allocated, wanted[0], 2e-5),
    ):
        values = found.values()
        bad = [i for i, (a, b) in enumerate(zip(values, expected)) if not abs(a - b) <= limit]
        if bad or len(values) != len(expected):
            wrong += 1
            print("wrong: %s: %d of %d" % (name, len(bad), len(values)))
    try:
        native.causal_conv1d_fwd(x_gpu, bias_gpu, None, True)
        wrong += 1
    except RuntimeError as error:
        if "weight" not in str(error):
            wrong += 1
            print("wrong: %s" % error)
    print("Python %d.%d without torch: %d wrong" % (sys.version_info[0], sys.version_info[1], wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
