"""Frozen dataclasses become command lines; a user's mistake becomes one line and exit code 2."""

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
    """An argument parser whose errors are one line, without the usage in front."""

    wanted: dict[str, str]  # what the type of each argument is called

    def format_help(self, *args: Any) -> str:
        return re.sub(r"<class\s+'Path'>", "Path", super().format_help(*args))

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        message = " ".join(message.split())
        wrong = re.match(r'Parser key "(\w+)":.*(?:Given|Got) value: (.*)$', message)
        if wrong and wrong[1] in self.wanted:
            name = wrong[1].replace("_", "-")
            message = f"--{name} takes {self.wanted[wrong[1]]}. Received: {wrong[2]}"
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def type_name(hint: Any) -> str:
    """What a type is called in a message: `int`, `a path`, `one of a, b`, `float or null`."""
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(hint)))}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(type_name(part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "a list such as [a, b]"
    names = {Path: "a path", int: "a whole number", float: "a number", str: "text"}
    return "null" if hint is type(None) else names.get(hint, getattr(hint, "__name__", str(hint)))


def build_parser(config: type[Any], prog: str) -> ArgumentParser:
    """Every field of the dataclass `config` is an argument: without a default a positional one,
    with one a flag; a tuple takes several values. `--config FILE` reads YAML, `--print_config`
    writes it. The docstring under a field is its help.
    """
    parser = _Parser(prog=prog, description=config.__doc__, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file with any of these settings")
    hints = typing.get_type_hints(config)
    parser.wanted = {name: type_name(hint) for name, hint in hints.items()}
    help_of = {
        parameter.arg_name: parameter.description
        for part in reversed(config.__mro__)  # a field is documented in the class that has it
        if dataclasses.is_dataclass(part)
        for parameter in docstring_parser.parse_from_object(part).params
    }
    # what several commands share stands last
    for field in sorted(dataclasses.fields(config), key=lambda field: bool(field.kw_only)):
        hint, text = hints[field.name], help_of.get(field.name)
        flag = f"--{field.name.replace('_', '-')}"
        if field.default is dataclasses.MISSING:
            if typing.get_origin(hint) is tuple:
                item = typing.get_args(hint)[0]
                parser.add_argument(field.name, type=item, nargs="+", help=text)
            else:
                parser.add_argument(field.name, type=hint, help=text)
        elif hint is bool:
            yes_no = ActionYesNo(yes_prefix="", no_prefix="no-")
            parser.add_argument(flag, action=yes_no, default=field.default, help=text)
        elif typing.get_origin(hint) is tuple:
            item = typing.get_args(hint)[0]
            parser.add_argument(flag, type=item, nargs="+", default=list(field.default), help=text)
        else:
            parser.add_argument(flag, type=hint, default=field.default, help=text)
    return parser


def parse(config: type[Config], prog: str, argv: list[str] | None = None) -> Config:
    """The dataclass `config` filled from `argv` (default: the process's own)."""
    values = vars(build_parser(config, prog).parse_args(argv))
    names = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    given = {name: values[name] for name in names}
    return config(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def given(config: type[Any], prog: str, argv: list[str] | None = None) -> set[str]:
    """The fields of `config` that `argv` (default: the process's own) or its files name."""
    return set(vars(build_parser(config, prog).parse_args(argv, defaults=False)))


def run(
    command: Callable[[Config], int | None],
    config: type[Config],
    prog: str,
    argv: list[str] | None = None,
) -> int:
    """Exit code of `command` called with the parsed `config`; 2 after a `UserError`, after what
    the system refused and after a file name that is not UTF-8, 130 after Ctrl-C, 143 after SIGTERM.
    """
    # a terminal may lack letters of class names
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return command(parse(config, prog, argv)) or 0
    except UserError as error:
        print(f"{prog}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough; what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell counts what SIGPIPE ends
    except OSError as error:
        print(f"{prog}: error: {explain_os_error(error)}", file=sys.stderr)
        return 2
    except UnicodeEncodeError as error:
        if not re.search("[\ud800-\udfff]", error.object[error.start : error.end]):
            raise
        around = error.object[max(0, error.start - 60) : error.end + 60]
        print(f"{prog}: error: a name that is not UTF-8: rename {around!r}", file=sys.stderr)
        return 2
    except Terminated:
        print(f"{prog}: terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
