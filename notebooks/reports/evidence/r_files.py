"""Vectors, matrices and factors out of a file that R saved (``.rda``); nothing is evaluated."""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

OPENERS: dict[bytes, Callable] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
#: Codes of R's own format (R internals, section 1.8).
SYMBOL, PAIRS, TEXT, LOGICAL, WHOLE, REAL, TEXTS, LIST = 1, 2, 9, 10, 13, 14, 16, 19
NOTHING, REFERENCE = 254, 255
HAS_ATTRIBUTES, HAS_TAG = 0x200, 0x400


def read_rda(path: Path) -> dict[str, Any]:
    """Objects of a file by name, each ``{"values": array, and its attributes}``.

    Attributes are such as ``dim``, ``dimnames`` and ``levels``, objects themselves. R stores
    matrices column by column.

    Raises
    ------
    ValueError
        If the file is not of R, or holds more than vectors of numbers and texts.
    """
    with open(path, "rb") as file:
        opener = OPENERS.get(file.read(2), open)
    with opener(path, "rb") as file:
        content = file.read()
    if content[:7] not in (b"RDX2\nX\n", b"RDX3\nX\n"):
        raise ValueError(f"{path}: not a file that R saved in its binary form")
    reader = _Reader(path, content)
    reader.place = 7
    version, _, _ = (reader.whole() for _ in range(3))
    if version == 3:
        reader.take(reader.whole())  # the encoding
    return reader.item()


class _Reader:
    def __init__(self, path: Path, content: bytes):
        self.path = path
        self.content = content
        self.place = 0
        self.symbols: list[str] = []

    def take(self, n: int) -> bytes:
        found = self.content[self.place : self.place + n]
        if len(found) < n:
            raise ValueError(f"{self.path}: cut short")
        self.place += n
        return found

    def whole(self) -> int:
        return struct.unpack(">i", self.take(4))[0]

    def item(self) -> Any:
        flags = self.whole()
        kind = flags & 0xFF
        if kind == NOTHING:
            return None
        if kind == REFERENCE:
            return self.symbols[(flags >> 8 or self.whole()) - 1]
        if kind == SYMBOL:
            self.symbols.append(self.item())
            return self.symbols[-1]
        if kind == TEXT:
            length = self.whole()
            return None if length < 0 else self.take(length).decode("utf-8")
        if kind == PAIRS:
            return self.pairs(flags)
        found = {"values": self.vector(kind)}
        if flags & HAS_ATTRIBUTES:
            found |= self.item()
        return found

    def pairs(self, flags: int) -> dict[str, Any]:
        """Read named items, one after the other."""
        found = {}
        while flags & 0xFF == PAIRS:
            if flags & HAS_ATTRIBUTES:
                self.item()
            name = self.item() if flags & HAS_TAG else str(len(found))
            found[name] = self.item()
            flags = self.whole()
        return found

    def vector(self, kind: int) -> np.ndarray | list:
        types = {LOGICAL: ">i4", WHOLE: ">i4", REAL: ">f8"}
        if kind not in (*types, TEXTS, LIST):
            raise ValueError(
                f"{self.path}: an object of R's kind {kind}, expected numbers or texts"
            )
        length = self.whole()
        if kind in types:
            dtype = np.dtype(types[kind])
            return np.frombuffer(self.take(length * dtype.itemsize), dtype).astype(dtype.type)
        return [self.item() for _ in range(length)]
