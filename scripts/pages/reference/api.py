"""The Python API: every public name, whose signature and docstring mkdocstrings reads when the site is built."""

from __future__ import annotations

import importlib
from typing import Any

HEAD = """# Python

`import compressvqa as cv`. Clips are float tensors (batch, frames, 3, height, width), RGB in [0, 1]; a full-reference
network is called `model(reference, distorted)`, a no-reference one `model(distorted)`; scores are (batch,), higher is
better. A mistake of the caller raises a kind of `CompressVQAError` that says what, where and what to do.

"""
# Names of `compressvqa` by subject; a public name that stands in none of them comes last, under "More".
SUBJECTS = {
    "Networks": ["create_model", "list_models", "example_inputs", "save", "load", "PerFrame", "WholeClip"],
    "Pruning": ["prune", "prune_depth", "verify", "Verification", "density", "density_ratios"],
    "Cost": ["profile"],
    "Scoring and judging": ["score", "Score", "evaluate", "Evaluation"],
    "Export": ["export", "Exported"],
    "Recipes and runs": ["Recipe", "run", "RunResult"],
}
PACKAGES = {
    "metrics": "Statistics",
    "sparsity": "Sparsity",
    "losses": "Losses",
    "pruning": "More of pruning",
    "cost": "More of cost",
}


def page() -> str:
    """A heading a subject and a directive a name."""
    import compressvqa as cv

    errors = importlib.import_module("compressvqa.errors")
    kinds = [name for name, one in vars(errors).items() if isinstance(one, type) and one.__module__ == errors.__name__]
    told = {name for names in SUBJECTS.values() for name in names} | set(PACKAGES) | set(kinds)
    left = [name for name in cv.__all__ if name not in told and not name.startswith("register_")]
    lines, shown = [HEAD], set()
    for subject, names in [*SUBJECTS.items(), *([("More", left)] if left else [])]:
        lines.append(f"## {subject}\n")
        for name in names:
            home = _home(getattr(cv, name))
            shown.add(home)
            lines.append(_entry(f"cv.{name}", home))
    for package, subject in PACKAGES.items():
        module = getattr(cv, package)
        members = {name: _home(getattr(module, name)) for name in sorted(_public(module))}
        lines.append(f"## {subject}\n")
        lines += [_entry(f"cv.{package}.{name}", home) for name, home in members.items() if home not in shown]
    lines.append(_registering(cv))
    lines.append("## Errors\n")
    lines += [_entry(f"compressvqa.errors.{name}", f"compressvqa.errors.{name}") for name in kinds]
    return "\n".join(lines)


def _public(module: Any) -> list[str]:
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return [
        name
        for name in names
        if callable(getattr(module, name)) and getattr(module, name).__module__.startswith("compressvqa.")
    ]


def _home(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _entry(shown: str, home: str) -> str:
    return f"::: {home}\n    options:\n      heading: {shown}\n      toc_label: {shown}\n"


def _registering(cv: Any) -> str:
    from compressvqa import registry

    rows = "\n".join(
        f"- `cv.{name}(NAME, ...)`: a {getattr(registry, registry_name).kind}"
        for name, registry_name in sorted(cv._REGISTRIES.items())
    )
    return (
        "## Registering your own\n\nDecorators; the promise of each kind is tested when a thing registers. "
        f"[A plugin of each kind](../../CONTRIBUTING.md#a-plugin-of-each-kind) has the smallest of each.\n\n{rows}\n"
    )
