"""A page for each network that ships: its card, without the header that model hubs read."""

from __future__ import annotations

import re

HEAD = """# Networks that ship

Trained weights inside the package; nothing is fetched. The figures and limits of each are on its page, which is its
model card. MACs are of convolutions and linear layers, 12 frames of 256x256. How scores are read:
[From 0 to 100](../weights.md).

"""


def pages() -> dict[str, str]:
    """{name: page}; "index" lists them."""
    from compressvqa.models.shipped import WEIGHTS_FOLDER, shipped
    from scripts.pages.reference.markdown import table

    found = {}
    for name in shipped():
        card = (WEIGHTS_FOLDER / name / "README.md").read_text(encoding="utf-8")
        found[name] = re.sub(r"\A---\n.*?\n---\n+", "", card, flags=re.DOTALL)
    rows = [
        [
            f"[`{name}`]({name}.md)",
            f"{one.params / 1e6:.3f} M",
            f"{one.macs_conv_linear / 1e9:.3f} G",
            one.label or "",
            one.licence,
        ]
        for name, one in shipped().items()
    ]
    return {"index": HEAD + table(["name", "parameters", "MACs", "learnt from", "licence"], rows), **found}
