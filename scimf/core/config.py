"""What all settings have in common: plain values that are written, read again and checked."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of frozen settings; a subclass adds fields and refuses bad ones in ``__post_init__``."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and records; tuples become lists."""
        values = asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`; a ``ValueError`` names keys that are no settings."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"{cls.__name__}: unknown settings {sorted(unknown)}")
        return cls(**values)

    def require_one_of(self, name: str, allowed: Collection[str]) -> None:
        """Refuse a setting that is none of the allowed values; names both."""
        value = getattr(self, name)
        if value not in allowed:
            where = f"{type(self).__name__}.{name}"
            raise ValueError(f"{where}: expected one of {tuple(allowed)}, got {value!r}")

    def require_positive(self, *names: str) -> None:
        """Refuse settings that are not above zero."""
        for name in names:
            value = getattr(self, name)
            if not value > 0:
                where = f"{type(self).__name__}.{name}"
                raise ValueError(f"{where}: expected a positive number, got {value!r}")
