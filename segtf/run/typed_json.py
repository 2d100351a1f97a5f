"""Frozen dataclasses to JSON values and back, checked by their type hints."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, Union, cast

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Key:
    """The key of a field in JSON, where it is not the field's name: `Annotated[int, Key("x")]`."""

    name: str


def to_json(value: Any) -> Any:
    """JSON values of a dataclass, a mapping, a tuple or a plain value.

    The keys of a dataclass stand in the order of its fields. A field that is None by default is
    left out where it is None.
    """
    if dataclasses.is_dataclass(value):
        kind: Any = type(value)
        return {
            key: to_json(content)
            for field, key, _ in _fields(kind)
            if (content := getattr(value, field.name)) is not None or field.default is not None
        }
    if isinstance(value, Mapping):
        return {key: to_json(content) for key, content in value.items()}
    if isinstance(value, tuple):
        return [to_json(content) for content in value]
    return value


def from_json(kind: type[T], values: Any) -> T:
    """A dataclass of the type `kind` from JSON values; keys that it does not know are skipped.

    A key that is missing is the field's default, or None where the field may be None. Raises
    ValueError naming the key of a value that is missing or of another type.
    """
    return cast(T, _read(kind, values, ""))


def _read(kind: Any, values: Any, at: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, values, at)
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, _typed(dict, values, at), at)
    if origin is tuple:
        return tuple(_read(arguments[0], each, at) for each in _typed(list, values, at))
    if origin is Mapping:
        items = _typed(dict, values, at).items()
        return {key: _read(arguments[1], each, f"{at}.{key}") for key, each in items}
    if kind is float and type(values) is int:
        return values
    return _typed(kind, values, at)


def _read_union(kinds: tuple[Any, ...], values: Any, at: str) -> Any:
    if values is None and types.NoneType in kinds:
        return None
    *others, last = (kind for kind in kinds if kind is not types.NoneType)
    for kind in others:
        try:
            return _read(kind, values, at)
        except ValueError:
            continue
    return _read(last, values, at)


def _read_fields(kind: Any, values: dict[str, Any], at: str) -> Any:
    found = {}
    for field, key, hint in _fields(kind):
        if key in values:
            found[field.name] = _read(hint, values[key], f"{at}.{key}")
        elif field.default is dataclasses.MISSING:
            if types.NoneType not in typing.get_args(hint):
                raise ValueError(f"no {f'{at}.{key}'.lstrip('.')}")
            found[field.name] = None
    return kind(**found)


def _typed(kind: type[Any], value: Any, at: str) -> Any:
    if type(value) is not kind:
        where = f"{at.lstrip('.')}: " if at else ""
        raise ValueError(f"{where}not a {kind.__name__}. Received: {value!r:.60}")
    return value


@cache
def _fields(kind: Any) -> tuple[tuple[dataclasses.Field[Any], str, Any], ...]:
    """The fields of a dataclass, with the key and the type of each."""
    found = []
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, key = hints[field.name], field.name
        if typing.get_origin(hint) is Annotated:
            hint, named = typing.get_args(hint)
            key = named.name
        found.append((field, key, hint))
    return tuple(found)
