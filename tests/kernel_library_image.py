"""struct ssm_image of kernels/ssm_kernels.h for ctypes, shared by the tests of the library."""

import ctypes


class Image(ctypes.Structure):
    _fields_ = [
        ("unit", ctypes.c_char_p),
        ("kind", ctypes.c_int32),
        ("sm", ctypes.c_int32),
        ("compiler", ctypes.c_int32),
        ("ptx_isa", ctypes.c_int32),
        ("local", ctypes.c_int32),
        ("unused", ctypes.c_int32),
        ("data", ctypes.c_void_p),
        ("size_bytes", ctypes.c_uint64),
    ]
