"""Options that can't apply are refused: what was typed and would be passed over is a misunderstanding."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from compressvqa.errors import CompressVQAError


def given(context: typer.Context) -> set[str]:
    """Names of the parameters that were typed, or set by an environment variable."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name in TYPED}


TYPED = ("COMMANDLINE", "ENVIRONMENT")


def refuse(context: typer.Context, names: Iterable[str], why: str, *, hint: str | None = None) -> None:
    """Refuses parameters that were typed.

    Args:
        context: of the command.
        names: parameters that can't apply here.
        why: the reason, in a clause.
        hint: what to do; by default to leave them out.

    Raises:
        CompressVQAError: one of them was typed.
    """
    typed = given(context)
    found = [parameter for parameter in context.command.params if parameter.name in typed & set(names)]
    if found:
        options = [next((text for text in one.opts if text.startswith("--")), one.name) for one in found]
        raise CompressVQAError(f"can't apply: {why}", where=", ".join(map(str, options)),
                               hint=hint or f"leave {'it' if len(found) == 1 else 'them'} out")  # fmt: skip
