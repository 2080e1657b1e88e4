import re
from pathlib import Path

from compressvqa.registry import losses

PAGE = Path(__file__).parents[2] / "docs" / "distillation.md"


def test_the_page_names_every_built_in_loss():
    table = PAGE.read_text(encoding="utf-8").split("## The losses")[1].split("## Features")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)}
    assert named == {name for name in losses if losses[name].home.startswith("compressvqa.")}
