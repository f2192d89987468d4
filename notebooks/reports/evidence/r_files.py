"""Vectors, matrices, factors and objects of slots out of a file that R saved; nothing is evaluated.

``.rda`` holds objects by name, ``.RDS`` one object.
"""

import bz2
import gzip
import io
import lzma
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

OPENERS: dict[bytes, Callable] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
#: Codes of R's own format (R internals, section 1.8).
SYMBOL, PAIRS, TEXT, LOGICAL, WHOLE, REAL, TEXTS, LIST = 1, 2, 9, 10, 13, 14, 16, 19
OBJECT, COMPACT = 25, 238  #: with slots; a vector that is stored in another form
NOTHING, REFERENCE = 254, 255
HAS_ATTRIBUTES, HAS_TAG = 0x200, 0x400


def read_rda(path: Path) -> dict[str, Any]:
    """Objects of a file by name (``.RDS``: the only one), ``{"values": array, and attributes}``.

    Attributes are such as ``dim``, ``dimnames`` and ``levels``, objects themselves; of an object
    with slots there are only its slots. R stores matrices column by column.

    Raises
    ------
    ValueError
        If the file is not of R, or holds more than vectors of numbers and texts.
    """
    content = path.read_bytes()
    while opener := OPENERS.get(content[:2]):  # some are packed twice
        content = opener(io.BytesIO(content), "rb").read()
    content = content.removeprefix(b"RDX2\n").removeprefix(b"RDX3\n")
    if content[:2] != b"X\n":
        raise ValueError(f"{path}: not a file that R saved in its binary form")
    reader = _Reader(path, content)
    reader.place = 2
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

    def item(self, flags: int | None = None) -> Any:
        flags = self.whole() if flags is None else flags
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
        if kind == OBJECT:
            return self.item()
        if kind == COMPACT:
            return self.compact()
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
        if flags & 0xFF != NOTHING:
            found["rest"] = self.item(flags)
        return found

    def compact(self) -> dict[str, Any]:
        """Read texts that R stored as the numbers they show, or a vector with notes about it."""
        form, _, _ = self.item().values()
        state = self.item()
        attributes = self.item() or {}
        if form == "compact_intseq":
            length, first, step = state["values"].astype(int)
            return {"values": first + step * np.arange(length)} | attributes
        found = next(iter(state.values()))
        if form == "deferred_string":
            found = {"values": [str(value) for value in found["values"]]}
        return found | attributes

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
