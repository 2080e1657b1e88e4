"""Errors of the library in the words of the command line: `--ratio 0.5`, where Python says ``ratios=0.5``."""

from __future__ import annotations

import re
from typing import Any

from compressvqa.errors import CompressVQAError

# What a command calls otherwise than the library. The rest has the same name: target_macs is --target-macs.
_RENAMED = {
    "prune": {"ratios": "--ratio", "remove": "--depth", "protect": "--protect"},
    "score": {"model": "--model", "raw": "--width, --height", "pools": "--pool", "skip_reference": "--skip-ref",
              "skip_distorted": "--skip-dist"},
    "evaluate": {"titles": "--title"},
}  # fmt: skip
# Sayings that have no form of their own: what is said, and what a command says instead.
_SAYINGS = [
    (re.compile(r"""weights=["']pretrained["']"""), "NAME=pretrained"),
    (re.compile(r"""weights=(PATH|FILE)"""), "NAME=FILE"),
    (re.compile(r"""ratios='zeros'"""), "--zeros"),
    (re.compile(r"""list_models\(\) has all names and metrics"""), "`compressvqa models` and `compressvqa metrics`"),
    (re.compile(r"""list_models\(\) has all names"""), "`compressvqa models`"),
    (re.compile(r"""list_models\(['"](.*?)['"]\)"""), r'compressvqa models "\1"'),
    (
        re.compile(r"""give its width, height, pixel format and bit depth"""),
        "--width --height, and --pixel-format --bitdepth where they are not 420 and 8",
    ),
    (re.compile(r""", or allow_random_weights=True \(--allow-random-weights\)"""), ", or --allow-random-weights"),
    (re.compile(r"""; after L1 sparsity, density_ratios\(\.\.\.\)"""), "; after L1 sparsity, a recipe's `prune` stage"),
    (re.compile(r"""(?:an example that reaches it, |give )?inputs=\.\.\."""), "--inputs 1x3x224x224"),
]


def in_words_of(context: Any, error: CompressVQAError) -> CompressVQAError:
    """The same error as the running command would say it.

    Args:
        context: of the command, None where there is none: the error is returned as it is.
        error: what the library raised.
    """
    if context is None:
        return error
    names = _options(context)
    where = error.where
    if where is not None:
        where = names.get(where, where)
    made = CompressVQAError(_said(error.what, names), where=where)
    made.hint = None if error.hint is None else _said(error.hint, names)
    return made


def _options(context: Any) -> dict[str, str]:
    """{name of a setting in Python: option} of a command."""
    found = {}
    for parameter in context.command.params:
        long = [text for text in parameter.opts if text.startswith("--")]
        if long:
            found[parameter.name] = long[0]
            found[long[0].removeprefix("--").replace("-", "_")] = long[0]
    return found | _RENAMED.get(context.command.name or "", {})


def _said(text: str, names: dict[str, str]) -> str:
    for saying, instead in _SAYINGS:
        text = saying.sub(instead, text)

    def assigned(found: re.Match[str]) -> str:
        option = names.get(found["name"])
        if option is None:
            return found[0]
        value = found["value"].strip("'\"")
        if value in ("True", "..."):
            return option
        if listed := re.fullmatch(r"\[(['\"])(.*)\1\]", found["value"]):
            value = listed[2]
        return f"{option} {value}"

    def bare(found: re.Match[str]) -> str:
        return names.get(found[0], found[0])

    text = re.sub(r"(?<![\w.\-])(?P<name>[a-z]\w*)=(?P<value>'[^']*'|\"[^\"]*\"|\[[^\]]*\]|[^\s,;)]+)", assigned, text)
    text = re.sub(r"(?<![\w.\-/])[a-z]+(?:_[a-z]+)+\b(?![=./])", bare, text)
    # A setting of one word is meant where it begins the sentence: "scope must be local or global".
    return re.sub(r"^[a-z]+(?= (must be|is|are)\b)", bare, text)
