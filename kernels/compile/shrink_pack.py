"""Compresses the images of a pack in place with LZMA: half the size of the LZ4 blocks that compile.cc
makes itself, which a program on the target can do without liblzma.

    python shrink_pack.py FILE.pack

The pack's format is core/pack.h's, that of a compressed image core/lzma.h's.
"""

import lzma
import os
import struct
import sys

HEADER_BYTES = 128
MAGIC = b"SSMIMG1\n"
SIZES = struct.Struct("<QQQI")  # size_bytes, source_hash, stored_bytes, method
SIZES_AT = 64
LZMA = 1
FILTERS = [
    {
        "id": lzma.FILTER_LZMA1,
        "preset": 9 | lzma.PRESET_EXTREME,
        "dict_size": 1 << 20,
        "lc": 0,
        "lp": 4,
        "pb": 4,
    }
]


def shrunk(pack):
    """The pack with every image that is stored as it is compressed instead."""
    result = bytearray()
    at = 0
    while at < len(pack):
        header = bytearray(pack[at : at + HEADER_BYTES])
        if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
            raise ValueError(f"no image record at byte {at}")
        size, source, stored, method = SIZES.unpack_from(header, SIZES_AT)
        image = pack[at + HEADER_BYTES : at + HEADER_BYTES + stored]
        if len(image) != stored:
            raise ValueError(f"the record at byte {at} is cut short")
        at += HEADER_BYTES + (stored + 15) // 16 * 16
        if stored == size:
            smaller = lzma.compress(image, format=lzma.FORMAT_RAW, filters=FILTERS)
            if len(smaller) < size:
                image = smaller
                SIZES.pack_into(header, SIZES_AT, size, source, len(image), LZMA)
        result += header + image + bytes(-len(image) % 16)
    return bytes(result)


def main():
    path = sys.argv[1]
    with open(path, "rb") as file:
        pack = file.read()
    try:
        pack = shrunk(pack)
    except ValueError as error:
        sys.exit(f"error: {path}: {error}")
    with open(path + ".part", "wb") as file:
        file.write(pack)
    os.replace(path + ".part", path)


if __name__ == "__main__":
    main()
