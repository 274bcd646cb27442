"""Small files that unpack to very large ones."""

import gzip
import struct
import zlib
from functools import cache

MIB = 1 << 20


@cache
def _zero_block() -> bytes:
    """A mebibyte of zeros as raw deflate data that may be repeated."""
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)


def deflated(start: bytes, num_mib: int) -> bytes:
    """Raw deflate data of `start` and then that many mebibytes of zeros."""
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH) + _zero_block() * num_mib + b"\x03\x00"


def gzip_bomb(start: bytes, num_mib: int) -> bytes:
    """One gzip member of `start` and zeros; its checksum is wrong, which shows only at the end."""
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated(start, num_mib) + struct.pack("<II", 0, 0)


@cache
def _zero_member() -> bytes:
    return gzip.compress(bytes(16 * MIB), 9, mtime=0)


def honest_gzip_bomb(start: bytes, num_mib: int) -> bytes:
    """Several gzip members with true checksums: `start`, then zeros."""
    return gzipped(start) + _zero_member() * (num_mib // 16)


def zlib_bomb(start: bytes, num_mib: int) -> bytes:
    """The same for zlib data."""
    return b"\x78\xda" + deflated(start, num_mib) + b"\0\0\0\0"


def gzipped(data: bytes) -> bytes:
    """Gzip data that depend on nothing but `data`."""
    return gzip.compress(data, 6, mtime=0)
