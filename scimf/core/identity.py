"""What a result depends on: one hash for fits, scores, answers and records.

A result depends on three things: plain settings, arrays, and the code that makes it. Of the code,
exactly the definitions count that can be reached from the function that was called: its own names,
the names of what these reach, and so on. The following do not count, so that changing them makes
nothing due again:

- comments, docstrings and type annotations (but a class that annotates a field, or an argument of
  a function, is reached: its methods may be called);
- imports and the place of a module: a definition may move;
- the name of a definition: it may be renamed wherever it is used.

Methods of a class count if their name stands behind a dot in what was reached. Those of a class
with a base from elsewhere, such as ``nn.Module``, all count: its base may call them.

Two kinds of tables are reached key by key, so that a reader of one data set does not make the
results of all others due: a dictionary at the top of a module that :func:`by_name` marks, and a
TOML file that is named in the code it lies beside. An entry counts if its key stands as a text in
what was reached or in the settings. Where no key of any table is named, the tables count as a
whole; so does a file none of whose keys is named.

A module that defines ``CHANGES_NO_RESULT`` says that it decides no number: where files lie, and how
they are written.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from scimf.core.reached import Reached

CHANGES_NO_RESULT = True


def by_name(table: dict[str, Any]) -> dict[str, Any]:
    """Mark a table whose entries are looked up by name, never all together; returns it."""
    return table


def identity(*made_by: Any, settings: Any = None, arrays: Iterable[np.ndarray] = ()) -> str:
    """Hash everything that decides a result, to 24 hexadecimal digits.

    Parameters
    ----------
    made_by
        Functions and classes of the project whose code decides it; what they reach comes along.
    settings
        Plain values, dictionaries, sequences and dataclasses of these: the explicit fields count,
        never the ``repr`` of an object. A ``TypeError`` names what is no plain value.
    arrays
        The data.
    """
    written = json.dumps(settings, sort_keys=True, default=_plain)
    texts = Reached.texts_in(json.loads(written))
    roots = tuple((thing.__module__, thing.__qualname__.split(".")[0]) for thing in made_by)
    digest = hashlib.sha256()
    digest.update(_code_digest(roots, frozenset(texts)).encode())
    digest.update(written.encode())
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


@cache  # a small fit takes a second, following its code a tenth of one
def _code_digest(roots: tuple[tuple[str, str], ...], texts: frozenset[str]) -> str:
    reached = Reached()
    reached.add_texts(texts)
    for module, name in roots:
        if reached.add(module, name) is None:
            raise TypeError(f"identity: {module}.{name} is no definition of the project")
    return reached.digest()


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it does."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, range):
        return list(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"identity: {value!r} is a {type(value).__name__}, expected plain values")
