"""The settings file: read it with what the environment overrides, show it, start a new one."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from adapter.certs import write_private
from adapter.errors import Fault, Misconfigured
from adapter.settings.model import Settings

PREFIX = "KOORD_"
FILE_NAME = "koord.toml"
OWN_NAMES = frozenset({"KOORD_CONFIG", "KOORD_DEBUG"})
"""Environment names that are not settings: which file to read, and whether an internal error shows where it arose."""


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """
    The settings in a file, with what the environment overrides.

    Raises:
        Misconfigured: the file cannot be read, is not TOML, or something in it is wrong; all faults of one kind together.
    """
    values = _read(path)
    faults = list(_override(values, environ))
    try:
        settings = Settings.model_validate(values, context={"folder": path.parent})
    except ValidationError as error:
        faults += _faults(error)
    except Misconfigured as error:
        faults += error.faults
    if faults:
        raise Misconfigured(faults)
    return settings


def show(settings: Settings) -> dict[str, Any]:
    """The settings in force as plain JSON values. Files are named, and what is in them is not shown."""
    return settings.model_dump(mode="json", exclude_none=True)


def init(folder: Path, *, secrets: Mapping[str, bytes]) -> Path:
    """
    Write a commented ``koord.toml`` to start from, and the ``secrets`` (name → content, mode 0600) beside it.

    Nothing that exists is replaced; nothing is written if one of them exists.

    Raises:
        Misconfigured: ``config.exists`` for each file that is in the way; ``config.cannot-write``.
    """
    path = folder / FILE_NAME
    content = {FILE_NAME: files("adapter.settings").joinpath(FILE_NAME).read_bytes(), **secrets}
    in_the_way = [Fault("config.exists", str(folder / name)) for name in content if (folder / name).exists()]
    if in_the_way:
        raise Misconfigured(in_the_way)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in content.items():
            write_private(folder / name, text)
    except OSError as error:
        raise Misconfigured(Fault("config.cannot-write", str(folder), type(error).__name__)) from error
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise Misconfigured(Fault("config.unreadable", str(path), type(error).__name__)) from error
    except UnicodeDecodeError as error:
        raise Misconfigured(Fault("config.not-toml", str(path), "UTF-8")) from error
    except tomllib.TOMLDecodeError as error:
        # the error's text quotes the file; only the place may be told, at its end: "(at line 3, column 7)"
        numbers = [int(word) for word in str(error).replace(")", " ").replace(",", " ").split() if word.isdecimal()][
            -2:
        ]
        line, column = numbers if len(numbers) == 2 else (None, None)
        raise Misconfigured(Fault("config.not-toml", str(path), "TOML 1.0", line=line, column=column)) from None


def _override(values: dict[str, Any], environ: Mapping[str, str]) -> Iterator[Fault]:
    known = {PREFIX + "__".join(path).upper(): path for path in _single_values(Settings)}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in OWN_NAMES:
            continue
        if name not in known:
            yield Fault("config.unknown-environment", name)
            continue
        *parents, last = known[name]
        place = values
        for parent in parents:
            below = place.setdefault(parent, {})
            place = below if isinstance(below, dict) else {}
        place[last] = environ[name]


def _single_values(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of the settings that are one value: what an environment variable can hold."""
    for name, field in model.model_fields.items():
        path = (*above, name)
        if get_origin(field.annotation) is tuple:
            continue
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        part = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if part is None:
            yield path
        else:
            yield from _single_values(part, path)


_CODES = {"extra_forbidden": "config.unknown", "missing": "config.missing"}


def _faults(error: ValidationError) -> list[Fault]:
    """Path and rule of each finding. Pydantic's sentences can quote the value, so they stay inside."""
    return [
        Fault(_CODES.get(found["type"], "config.bad-value"), _place(found["loc"]), found["type"])
        for found in error.errors(include_input=False, include_url=False, include_context=False)
    ]


def _place(location: tuple[str | int, ...]) -> str:
    place = ""
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part.isidentifier() and not part[0].isupper():
            place += f".{part}" if place else part
    return place
