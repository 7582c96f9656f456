"""Values that nobody prints by mistake."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from typing import NoReturn


class Secret:
    """One field of a secret. It is printed, formatted and logged as its length; only `expose` gives it away.

    It is as safe as Python lets it be: the bytes cannot be wiped, and stay in memory until they are collected.
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = value

    def expose(self) -> str:
        """The value as text.

        Raises `ValueError` when it is not UTF-8; then there is `expose_bytes`.
        """
        try:
            return self.__value.decode()
        except UnicodeDecodeError:
            # The original error carries the bytes.
            raise ValueError("the field is not UTF-8: use expose_bytes()") from None

    def expose_bytes(self) -> bytes:
        """The value as it is."""
        return self.__value

    def matches(self, other: Secret | str | bytes) -> bool:
        """Whether both are the same, in a time that does not depend on where they differ."""
        if isinstance(other, Secret):
            other = other.__value
        return hmac.compare_digest(self.__value, other.encode() if isinstance(other, str) else other)

    def __len__(self) -> int:
        return len(self.__value)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"[redacted; {len(self.__value)} bytes]"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not pickled or copied: pass it on as it is, or expose it")


class Value(Mapping[str, Secret]):
    """The fields of a secret by their names. A secret that is one text has one field, `value`."""

    __slots__ = ("_fields", "content_type")

    content_type: str
    """The media type of the fields, such as `text/plain`; empty when the back end does not say."""

    def __init__(self, fields: Mapping[str, bytes], content_type: str = "") -> None:
        self._fields = {name: Secret(fields[name]) for name in sorted(fields)}
        self.content_type = content_type

    def __getitem__(self, name: str) -> Secret:
        try:
            return self._fields[name]
        except KeyError:
            raise KeyError(f"the secret has no field `{name}`: it has {', '.join(self._fields)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Value({self._fields!r})"
