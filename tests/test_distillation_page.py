"""The page on distillation names every registered loss, what it compares and its settings."""

import inspect
import re
from pathlib import Path

from compressvqa.registry import losses, stages

PAGE = (Path(__file__).parent.parent / "docs" / "distillation.md").read_text(encoding="utf-8")


def test_the_table_is_the_registry() -> None:
    section = PAGE.split("## The losses")[1].split("## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| `")]
    told = {name.strip("`"): (on, re.findall(r"`(\w+)`", settings)) for name, on, _, settings, _ in rows}
    ours = [name for name in losses if losses[name].home.startswith("compressvqa.")]
    taken = {name: list(inspect.signature(losses[name].value).parameters)[2:] for name in ours}
    assert len(rows) == len(told) == int(re.search(r"There are (\d+)\.", section)[1])
    assert told == {name: (losses[name].facts["on"], taken[name]) for name in ours}
    for name, _, learnt, _, _ in rows:
        facts = losses[name.strip("`")].facts
        assert ("any shape" in learnt) == bool(facts.get("any_shape"))
        assert ("any width" in learnt) == bool(facts.get("any_width"))


def test_settings_that_are_named_are_settings_of_the_stage() -> None:
    settings = set(stages["distil"].value.Config.model_fields) | {"kind"}
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL):
        inside = re.findall(r"^(?:- |  )(\w+):", block, flags=re.MULTILINE)
        # A block may show the recipe's own networks beside the stage.
        assert inside and set(inside) <= settings | {"lite"}
    for setting in re.findall(r"`(\w+): ", PAGE):
        assert setting in settings | {"objective", "steps", "standardise", "network", "data", "start", "loss_options"}
