"""The command line: every command with its arguments and options, as the parser itself knows them."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.pages.reference.markdown import code, table, written

HEAD = """# Command line

`compressvqa COMMAND --help` says the same. `--plugin FILE.py` stands before the command. A mistake of yours is one line
on standard error and exit code 2.

"""
KINDS = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def page() -> str:
    """Commands in the order in which `--help` lists them."""
    from typer.main import get_command

    from compressvqa.cli import app

    root = get_command(app)
    parts = [HEAD, _options("Before the command", root)]
    parts += [_command(path, command) for path, command in _commands(root, "compressvqa")]
    return "\n".join(parts)


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        here = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from _commands(command, here)
        else:
            yield here, command


def _command(path: str, command: Any) -> str:
    arguments = " ".join(_argument(one) for one in command.params if one.param_type_name == "argument")
    # Lines that the terminal shows as they are (after \b) are commands to try.
    text = re.sub(r"\x08\n((?:.+(?:\n|$))+)", r"```sh\n\1```\n", inspect.cleandoc(command.help or "") + "\n").rstrip()
    usage = " ".join(part for part in (path, arguments, "[OPTIONS]") if part)
    return f"## `{path}`\n\n```text\n{usage}\n```\n\n{text}\n\n{_options(None, command)}"


def _argument(one: Any) -> str:
    name = one.metavar or one.name.upper()
    name = name if one.required or name.startswith("[") else f"[{name}]"
    return f"{name}..." if one.nargs == -1 else name


def _options(title: str | None, command: Any) -> str:
    rows = []
    for one in command.params:
        if one.name == "help" or getattr(one, "hidden", False):
            continue
        if one.param_type_name == "argument":
            if text := getattr(one, "help", None):
                rows.append([code(one.metavar or one.name.upper()), text, ""])
            continue
        names = ", ".join(code(name) for name in [*one.opts, *one.secondary_opts])
        rows.append([names + _takes(one), one.help or "", _default(one)])
    return (f"## {title}\n\n" if title else "") + table(["argument or option", "", "default"], rows)


def _takes(one: Any) -> str:
    """What an option takes: its name for it, its choices, or the kind of value."""
    if one.is_flag:
        return ""
    kind = one.type_descriptor.annotation
    if typing.get_origin(kind) is list:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is typing.Literal:
        return f" {code('|'.join(map(str, typing.get_args(kind))))}"
    return f" {code(one.metavar or KINDS.get(kind, kind.__name__.upper()))}"


def _default(one: Any) -> str:
    default = one.show_default if isinstance(one.show_default, str) else one.default
    return "" if default is None or default is False or default == () or callable(default) else code(written(default))
