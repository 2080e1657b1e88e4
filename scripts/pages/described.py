"""For the reference: docstrings as a page shows them.

The package puts the settings of `prune` into its docstring at run time, which a page that only reads the code has to do
as well; and tries of a function at the end of a docstring (`>>> ...`) are a block of code.
"""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

SETTINGS = "compressvqa.pruning.settings"
CLASSES = ("WrittenSettings", "Settings")
TRIES = re.compile(r"(?:^|(?<=\n\n))(>>> .*?)(?=\n\n|\Z)", flags=re.DOTALL)


class Described(griffe.Extension):
    """Changes docstrings while they are read."""

    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader, **others: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        if isinstance(obj, griffe.Function) and any(str(one.value) == "described" for one in obj.decorators):
            lines = [f"    {name}: {told}." for name, told in _settings(loader).items()]
            text = re.sub(r"^ *\.\.\.$", lambda _: "\n".join(lines), text, flags=re.MULTILINE)
        obj.docstring.value = TRIES.sub(r"```pycon\n\1\n```", text)


def _settings(loader: griffe.GriffeLoader) -> dict[str, str]:
    """{name: description} of the fields that the classes declare, read without importing them."""
    _, package = loader.finder.find_spec(SETTINGS, try_relative_path=False)
    file = package.path.parent.joinpath(*SETTINGS.split(".")[1:]).with_suffix(".py")
    classes = [one for one in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(one, ast.ClassDef)]
    fields = [part for one in classes if one.name in CLASSES for part in one.body if isinstance(part, ast.AnnAssign)]
    return {ast.unparse(field.target): _description(field.value) for field in fields if _description(field.value)}


def _description(value: ast.expr | None) -> str:
    given = value.keywords if isinstance(value, ast.Call) else []
    return next((str(ast.literal_eval(one.value)) for one in given if one.arg == "description"), "")
