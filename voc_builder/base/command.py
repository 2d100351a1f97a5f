"""Turn frozen dataclasses into command lines, and errors into one line and an exit code."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import docstring_parser
from jsonargparse import ActionYesNo, ArgumentParser

from voc_builder.base.errors import Terminated, UserError, explain_os_error

Config = TypeVar("Config")


class _Parser(ArgumentParser):
    """An argument parser whose errors are one line, without the usage."""

    type_names: dict[str, str]  # by argument
    old_names: dict[str, str]  # the present name by the old one

    def format_help(self, *args: Any) -> str:
        return re.sub(r"<class\s+'Path'>", "Path", super().format_help(*args))

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        message = " ".join(message.split())
        wrong = re.match(r'Parser key "(\w+)":.*(?:Given|Got) value: (.*)$', message)
        if wrong and wrong[1] in self.type_names:
            message = f"--{flag(wrong[1])} takes {self.type_names[wrong[1]]}. Received: {wrong[2]}"
        for old, name in self.old_names.items():
            if re.search(rf"arguments:.* --{flag(old)}\b|Option '{old}' is", message):
                message = f"--{flag(old)} is called --{flag(name)} now"
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def flag(name: str) -> str:
    """A field's name as it stands on the command line, without the hyphens in front."""
    return name.replace("_", "-")


def type_name(hint: Any) -> str:
    """The name of a type in a message: `a whole number`, `one of a, b`, `a path or null`."""
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(hint)))}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(type_name(part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "a list such as [a, b]"
    names = {Path: "a path", int: "a whole number", float: "a number", str: "text"}
    return "null" if hint is type(None) else names.get(hint, getattr(hint, "__name__", str(hint)))


def build_parser(config: type[Any], prog: str) -> ArgumentParser:
    """A parser with an argument for every field of the dataclass `config`: positional if the field
    has no default, else a flag. A tuple takes several values. The docstring under a field is its
    help. `--config FILE` reads YAML, `--print_config` writes it. An old name, the key `old_name` of
    a field's metadata, is refused with the present one.
    """
    parser = _Parser(prog=prog, description=config.__doc__, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file with any of these settings")
    hints = typing.get_type_hints(config)
    parser.type_names = {name: type_name(hint) for name, hint in hints.items()}
    parser.old_names = old_names(config)
    help_of = {
        parameter.arg_name: parameter.description
        for part in reversed(config.__mro__)  # a field is documented in the class that adds it
        if dataclasses.is_dataclass(part)
        for parameter in docstring_parser.parse_from_object(part).params
    }
    # settings that several commands share come last
    for field in sorted(dataclasses.fields(config), key=lambda field: bool(field.kw_only)):
        hint = hints[field.name]
        options: dict[str, Any] = {"type": hint, "help": help_of.get(field.name)}
        if typing.get_origin(hint) is tuple:
            options.update(type=typing.get_args(hint)[0], nargs="+")
        if field.default is dataclasses.MISSING:
            parser.add_argument(field.name, **options)
            continue
        options["default"] = list(field.default) if "nargs" in options else field.default
        if hint is bool:
            del options["type"]
            options["action"] = ActionYesNo(yes_prefix="", no_prefix="no-")
        parser.add_argument(f"--{flag(field.name)}", **options)
    return parser


def old_names(config: type[Any]) -> dict[str, str]:
    """The present name of every field of a dataclass that had another one, by the old one."""
    fields = dataclasses.fields(config)
    return {f.metadata["old_name"]: f.name for f in fields if "old_name" in f.metadata}


def parse(config: type[Config], prog: str, argv: list[str] | None = None) -> Config:
    """The dataclass `config` filled from `argv` (default: the arguments of the process)."""
    values = vars(build_parser(config, prog).parse_args(argv))
    names = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    given = {name: values[name] for name in names}
    return config(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def given(config: type[Any], prog: str, argv: list[str] | None = None) -> set[str]:
    """The fields of `config` that `argv` (default: that of the process) or its YAML files set."""
    return set(vars(build_parser(config, prog).parse_args(argv, defaults=False)))


def run(
    command: Callable[[Config], int | None],
    config: type[Config],
    prog: str,
    argv: list[str] | None = None,
) -> int:
    """Exit code of `command`, which is called with the parsed `config`. Code 2 with one line on
    stderr: a `UserError`, an `OSError`, a file name that is not UTF-8. Codes 130: Ctrl-C, 141: the
    reader of the output has gone, 143: SIGTERM.
    """
    # a terminal may lack letters of class names
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return command(parse(config, prog, argv)) or 0
    except UserError as error:
        message = str(error)
    except BrokenPipeError:  # as with `| head`; the rest of the buffer is discarded
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell reports SIGPIPE
    except OSError as error:
        message = explain_os_error(error)
    except UnicodeEncodeError as error:
        if not re.search("[\ud800-\udfff]", error.object[error.start : error.end]):
            raise
        around = error.object[max(0, error.start - 60) : error.end + 60]
        message = f"a name that is not UTF-8: rename {around!r}"
    except Terminated:
        print(f"{prog}: terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
    print(f"{prog}: error: {message}", file=sys.stderr)
    return 2
