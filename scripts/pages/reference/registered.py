"""Everything that a recipe, a command or a program names: models, losses, sparsifiers, importances, runtimes, ..."""

from __future__ import annotations

import inspect
from typing import Any

from scripts.pages.reference.markdown import code, prose, table, written

HEAD = """# What has a name

What is registered with this version. A package of yours adds its own, and then recipes, commands and Python know it by
its name as they know these: [a plugin of each kind](../../CONTRIBUTING.md#a-plugin-of-each-kind).

"""


def page() -> str:
    """A section a kind."""
    return "\n".join([HEAD, _models(), _losses(), _sparsifiers(), _importances(), _rules(), _runtimes(), _metrics()])


def _ours(registry: Any) -> dict[str, Any]:
    """Entries of the package itself, in the order of their names; installed plugins are left out."""
    return {name: registry[name] for name in registry if registry[name].home.startswith("compressvqa.")}


def _settings(value: Any, skip: int = 2) -> str:
    """Names and defaults of the settings by keyword."""
    parameters = list(inspect.signature(value).parameters.values())[skip:]
    return ", ".join(
        code(one.name if one.default is one.empty else f"{one.name}={written(one.default)}") for one in parameters
    )


def _models() -> str:
    from compressvqa import registry
    from compressvqa.models.shipped import shipped

    rows = [
        [code(name), one.facts["mode"], one.summary, _settings(one.value, skip=0)]
        for name, one in _ours(registry.models).items()
    ]
    trained = [[f"[`{name}`](../networks/{name}.md)", one.mode, one.summary] for name, one in shipped().items()]
    return "\n".join(
        [
            "## Models\n\nFR: called `model(reference, distorted)`; NR: `model(distorted)`. Settings are those of "
            '`cv.create_model(name, ...)` and of `model.options` in a recipe. Any network of timm (`"timm/..."`), '
            'torchvision (`"torchvision/..."`) and pyiqa (`"pyiqa/..."`) has a name too.\n',
            table(["name", "mode", "what it is", "settings"], rows),
            "Trained weights ship for:\n",
            table(["name", "mode", "what it is"], trained),
        ]
    )


def _losses() -> str:
    from compressvqa import registry

    rows = [
        [code(name), one.facts["on"], one.summary, _settings(one.value)] for name, one in _ours(registry.losses).items()
    ]
    text = "What a `distil` stage adds up ([what each teaches](../distillation.md#the-losses)).\n"
    return f"## Losses\n\n{text}\n" + table(["name", "compares", "what it is", "settings"], rows)


def _sparsifiers() -> str:
    from compressvqa import registry

    rows = [
        [code(name), one.summary, one.facts["base"].__name__ if "base" in one.facts else ""]
        for name, one in _ours(registry.sparsifiers).items()
    ]
    return "## Sparsifiers\n\n" + table(["name", "what it is", "without sparsity it is"], rows)


def _importances() -> str:
    from compressvqa import registry

    def needs(facts: dict[str, Any]) -> str:
        told = {"gradients": "gradients", "activations": "data", "comparable": "comparable between groups"}
        return ", ".join(word for key, word in told.items() if facts.get(key))

    rows = [[code(name), one.summary, needs(one.facts)] for name, one in _ours(registry.importances).items()]
    return "## Importances\n\nWhich channels go first.\n\n" + table(["name", "what it is", "needs, is"], rows)


def _rules() -> str:
    from compressvqa import registry

    rows = [[code(name), prose(one.value)] for name, one in _ours(registry.ratio_rules).items()]
    return "## Ratio rules\n\nHow much a layer loses, from its density.\n\n" + table(["name", "what it is"], rows)


def _runtimes() -> str:
    from compressvqa import registry

    rows = [
        [
            code(name),
            one.summary,
            f"{one.facts['tolerance']:g}",
            code(f"compressvqa[{one.facts['extra']}]") if "extra" in one.facts else "",
        ]
        for name, one in _ours(registry.runtimes).items()
    ]
    text = "What runs a network; [how each is checked](../runtimes.md).\n"
    return f"## Runtimes\n\n{text}\n" + table(["name", "what it is", "tolerance", "extra"], rows)


def _metrics() -> str:
    from compressvqa.scoring.find import listed

    rows = [
        [code(one["name"]), one["mode"], one["summary"].rstrip("."), one["meaning"]]
        for one in listed("*")
        if "/" not in one["name"]
    ]
    text = "What `score --metric` and `evaluate` know beside networks; [how each is read](../scoring.md).\n"
    return f"## Metrics\n\n{text}\n" + table(["name", "mode", "what it is", "how it reads"], rows)
