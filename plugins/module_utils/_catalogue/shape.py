# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a document by a declared shape: one table for checks, defaults and the docs.

A :class:`Shape` lists the keys of a mapping with reader, meaning and default.
From that one table come the values, the unknown and missing keys, and the
tables of docs/catalogue.md.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.homelab.backup.plugins.module_utils._catalogue.problems import (
    InvalidError,
    Problems,
    nearest,
    one_of,
)
from ansible_collections.homelab.backup.plugins.module_utils._catalogue.secrecy import shown


class Mark(enum.Enum):
    """Values that no document can hold."""

    BAD = "unreadable; a problem was noted"
    REQUIRED = "the key has no default"


Reader = Callable[[object, str, Problems], Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping.

    Attributes:
        name: as it stands in the document.
        read: reads its value; returns :attr:`Mark.BAD` after noting a problem.
        meaning: for the docs, and for the error when it is missing.
        default: the value when the key is absent or empty.
        default_text: the default in the docs' words, where it depends on other keys.
    """

    name: str
    read: Reader
    meaning: str
    default: Any = Mark.REQUIRED
    default_text: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """A mapping with known keys.

    Attributes:
        title: what it describes, for the docs.
        build: called with one argument for each key (and ``name`` for the
            entries of :func:`map_of`); may raise :class:`InvalidError`.
        keys: in the order of the docs.
        named: True when ``build`` takes ``name``.
    """

    title: str
    build: Callable[..., Any]
    keys: tuple[Key, ...]
    named: bool = field(default=False)

    def __call__(self, value: object, path: str, problems: Problems) -> Any:
        """Read ``value`` without a name."""
        return self.read(value, path, problems, "")

    def read(self, value: object, path: str, problems: Problems, name: str) -> Any:
        """What ``build`` makes of ``value``, or :attr:`Mark.BAD`."""
        if not isinstance(value, Mapping):
            problems.add(
                path,
                f"{shown(value)} is {kind_of(value)}, not a mapping",
                f"write its keys: {', '.join(key.name for key in self.keys)}",
            )
            return Mark.BAD
        before = len(problems)
        arguments = self.values(value, path, problems)
        if len(problems) > before or Mark.BAD in arguments.values():
            return Mark.BAD
        if self.named:
            arguments["name"] = name
        try:
            return self.build(**arguments)
        except InvalidError as exc:
            problems.add(path, exc.found, exc.remedy)
            return Mark.BAD

    def values(self, value: Mapping[Any, object], path: str, problems: Problems) -> dict[str, Any]:
        """The value of each key, :attr:`Mark.BAD` for those that have none that can be read."""
        self._unknown(value, path, problems)
        return {key.name: self._value(key, value, path, problems) for key in self.keys}

    def _unknown(self, value: Mapping[object, object], path: str, problems: Problems) -> None:
        names = [key.name for key in self.keys]
        for given in value:
            if given not in names:
                absent = [name for name in names if name not in value]
                meant = nearest(str(given), absent) or nearest(str(given), names)
                remedy = f"did you mean {meant!r}?" if meant else one_of(names)
                problems.add(join(path, str(given)), "unknown key", remedy)

    def _value(self, key: Key, value: Mapping[Any, object], path: str, problems: Problems) -> Any:
        given = value.get(key.name)
        if given is not None:
            return key.read(given, join(path, key.name), problems)
        if key.default is Mark.REQUIRED:
            empty = "is empty" if key.name in value else "is missing"
            problems.add(join(path, key.name), empty, f"give it: {key.meaning}")
            return Mark.BAD
        return key.default


def join(path: str, key: str) -> str:
    """The path of ``key`` below ``path``."""
    return f"{path}.{key}" if path else key


def kind_of(value: object) -> str:
    """The type of ``value`` in the words of YAML."""
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a mapping"
        case None:
            return "empty"
        case dummy:
            return f"a {type(dummy).__name__}"


def scalar(convert: Callable[[object], Any]) -> Reader:
    """A reader of one value; ``convert`` raises :class:`InvalidError`."""

    def read(value: object, path: str, problems: Problems) -> Any:
        try:
            return convert(value)
        except InvalidError as exc:
            problems.add(path, exc.found, exc.remedy)
            return Mark.BAD

    return read


def list_of(read_item: Reader, *, at_least: int = 0, distinct: bool = True) -> Reader:
    """A reader of a list, as a tuple; equal items are refused unless ``distinct`` is False."""

    def read(value: object, path: str, problems: Problems) -> Any:
        if not isinstance(value, (list, tuple)):
            problems.add(
                path,
                f"{shown(value)} is {kind_of(value)}, not a list",
                "write '- ' before each item",
            )
            return Mark.BAD
        items: list[Any] = []
        for index, item in enumerate(value):
            where = f"{path}[{index}]"
            read_value = read_item(item, where, problems)
            if distinct and read_value is not Mark.BAD and read_value in items:
                problems.add(where, f"{shown(item)} stands in the list twice", "remove one")
            items.append(read_value)
        if len(items) < at_least:
            problems.add(path, "the list is empty", f"name at least {at_least}")
        return Mark.BAD if Mark.BAD in items or len(items) < at_least else tuple(items)

    return read


def map_of(
    convert_name: Callable[[object], str], shape: Shape | Reader, *, at_least: int = 0
) -> Reader:
    """A reader of entries by name; entries that can't be read are left out of the result."""

    def read(value: object, path: str, problems: Problems) -> Any:
        if not isinstance(value, Mapping):
            problems.add(
                path,
                f"{shown(value)} is {kind_of(value)}, not a mapping",
                "write one entry for each, 'name:' with its keys below",
            )
            return {}
        if len(value) < at_least:
            problems.add(path, "it has no entry", f"name at least {at_least}")
        entries: dict[str, Any] = {}
        for given, inner in value.items():
            where = join(path, str(given))
            try:
                name = convert_name(given)
            except InvalidError as exc:
                problems.add(where, exc.found, exc.remedy)
                continue
            body = {} if inner is None and isinstance(shape, Shape) else inner
            if isinstance(shape, Shape):
                entry = shape.read(body, where, problems, name)
            else:
                entry = shape(body, where, problems)
            if entry is not Mark.BAD:
                entries[name] = entry
        return entries

    return read
