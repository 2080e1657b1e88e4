"""What holds for every command: --debug, --quiet, --verbose, Ctrl-C, and results alone on standard output."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from compressvqa.cli.output import results_alone
from compressvqa.errors import Terminated

GOES_ON = "the same command goes on from here"


@dataclass
class General:
    """What the options of every command ask for, and which command runs.

    Args:
        debug: show where an error came from.
        quiet: show results, warnings and errors only.
        verbose: show everything that is logged.
        context: of the command that runs, None before one was found.
    """

    debug: bool = False
    quiet: bool = False
    verbose: bool = False
    context: Any = field(default=None, repr=False)


general = General()
_F = TypeVar("_F", bound=Callable[..., Any])


def begin() -> None:
    """Forgets what an earlier command of this process asked for."""
    general.__dict__.update(General().__dict__)
    _say_as_asked()


def _say_as_asked() -> None:
    """Brings the log and the progress to what was asked for."""
    from compressvqa import progress

    level = logging.WARNING if general.quiet else logging.DEBUG if general.verbose else logging.INFO
    logging.getLogger("compressvqa").setLevel(level)
    progress.say_nothing(general.quiet)


def _asks_for(name: str) -> Callable[[bool], None]:
    def asked(value: bool) -> None:
        if not value:
            return
        setattr(general, name, True)
        if general.quiet and general.verbose:
            raise typer.BadParameter("can't be given together", param_hint="--quiet and --verbose")
        _say_as_asked()

    return asked


def _options() -> list[Any]:
    """The options themselves, which typer makes out of a function's parameters."""
    bare = typer.Typer(add_completion=False)

    @bare.command()
    def options(
        debug: Annotated[
            bool,
            typer.Option(
                "--debug",
                callback=_asks_for("debug"),
                expose_value=False,
                help="Show where an error came from, also in code of your own.",
            ),
        ] = False,
        quiet: Annotated[
            bool,
            typer.Option(
                "--quiet",
                "-q",
                callback=_asks_for("quiet"),
                expose_value=False,
                help="Show the result, warnings and errors: no progress, no notes.",
            ),
        ] = False,
        verbose: Annotated[
            bool,
            typer.Option(
                "--verbose", callback=_asks_for("verbose"), expose_value=False, help="Show everything that is logged."
            ),
        ] = False,
    ) -> None: ...

    return list(typer.main.get_command(bare).params)


class Command(TyperCommand):
    """A command that knows the options of every command.

    Results that are made for programs have standard output for themselves, and Ctrl-C is a line.
    """

    stopped = "stopped"

    def __init__(self, *arguments: Any, params: list[Any] | None = None, **settings: Any) -> None:
        super().__init__(*arguments, params=[*(params or []), *_options()], **settings)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        general.context = ctx
        try:
            if not _for_programs(ctx.params):
                return super().invoke(ctx)
            with results_alone():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            print(self.stopped, file=sys.stderr)
            raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None


class Resumable(Command):
    """A command that goes on where it was stopped."""

    stopped = f"stopped; {GOES_ON}"

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; SIGTERM, as clusters send it, stops it like Ctrl-C."""
        from compressvqa.running.surroundings import terminated_as_interrupted

        with terminated_as_interrupted():
            return super().invoke(ctx)


class Group(TyperGroup):
    """A group of commands that takes their common options too, before the command."""

    def __init__(self, *, params: list[Any] | None = None, **settings: Any) -> None:
        super().__init__(params=[*(params or []), *_options()], **settings)


class Application(typer.Typer):
    """An application of such commands. Help is plain text, which stays whole in narrow terminals."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, no_args_is_help=True, rich_markup_mode=None, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[_F], _F]:
        """Registers a command."""
        return super().command(name, **{"cls": Command, **settings})


def _for_programs(asked: dict[str, Any]) -> bool:
    """Whether a command prints for programs: JSON, CSV, XML and their kin."""
    forms = ("as_json", "as_csv", "as_xml", "summary")
    return any(asked.get(name) for name in forms) or asked.get("form", "text") != "text"
