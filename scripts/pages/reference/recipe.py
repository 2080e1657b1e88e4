"""The keys of a recipe, out of the JSON Schema that `compressvqa recipes schema` prints."""

from __future__ import annotations

from typing import Any

from scripts.pages.reference.markdown import code, table, written

HEAD = """# Recipe

Every key of a recipe file, out of the JSON Schema that `compressvqa recipes schema` prints; an editor that is given
the schema completes keys as you type. `compressvqa recipes show NAME --full` prints a recipe with every default filled
in, and `--set stages.NAME.KEY=VALUE` changes one setting of a run. Keys that are not here are refused, with their line.

"""
KINDS = {"objective": "Objective", "data": "Data", "stages": "Stage"}
TITLES = {**KINDS, "unlabelled": "Data"}  # {key: how the headings of what it takes begin}
LONG = 60  # a default of more letters is read under the key's own heading


def page() -> str:
    """The recipe's own keys, then each kind of objective, data and stage, then the parts that they hold."""
    from compressvqa.running.recipe import schema

    whole = schema().model_json_schema()
    shared = whole["$defs"]
    lines, told = [HEAD, "## The file\n", _keys(whole)], set()
    for key, title in KINDS.items():
        for name, where in _members(whole["properties"][key]).items():
            told.add(where)
            lines.append(_section(f"{title}: {name}", shared[where]))
    lines += [_section(name, one) for name, one in sorted(shared.items()) if name not in told and "properties" in one]
    return "\n".join(lines)


def _members(part: dict[str, Any]) -> dict[str, str]:
    """{kind: name of its definition} of a key that takes several kinds of things."""
    part = part.get("items", part)
    return {kind: _last(where) for kind, where in part["discriminator"]["mapping"].items()}


def _last(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]


def _section(title: str, one: dict[str, Any]) -> str:
    kind = one["properties"].get("kind", {})
    text = kind["description"].split(": ", 1)[-1] if "const" in kind else one.get("description", "")
    return f"## {title}\n\n{text.strip()}\n\n{_keys(one)}"


def _keys(one: dict[str, Any]) -> str:
    needed = set(one.get("required", []))
    rows = []
    for name, part in one["properties"].items():
        if name == "kind" and "const" in part:
            continue
        default = code(written(part["default"])) if "default" in part else ""
        default = "needed" if name in needed else default if len(default) <= LONG else "see there"
        rows.append([code(name), _takes(part, TITLES.get(name, "")), part.get("description", ""), default])
    return table(["key", "takes", "meaning", "default"], rows)


def _takes(part: dict[str, Any], title: str = "") -> str:
    """What a key takes, in words: "number > 0", "text or null", "list of whole numbers"."""
    if "discriminator" in part:
        return " or ".join(_link(f"{title}: {kind}", kind) for kind in _members(part))
    if "$ref" in part:
        return _link(_last(part["$ref"]), _last(part["$ref"]))
    for key in ("anyOf", "oneOf"):
        if key in part:
            return " or ".join(dict.fromkeys(_takes(one, title) for one in part[key]))
    inner = part.get("items", {})
    if part.get("type") == "object":
        inner = part.get("additionalProperties") or next(iter(part.get("patternProperties", {}).values()), None)
    words = {"array": "list of", "object": "mapping to" if isinstance(inner, dict) else "mapping"}
    word = words.get(part.get("type", ""))
    return " ".join([word, *([_takes(inner, title)] if isinstance(inner, dict) else [])]) if word else _plain(part)


def _plain(part: dict[str, Any]) -> str:
    if "enum" in part or "const" in part:
        return ", ".join(code(written(value)) for value in part.get("enum", [part.get("const")]))
    words = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
        "null": "null",
    }
    bounds = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    limits = ", ".join(f"{sign} {part[bound]:g}" for bound, sign in bounds.items() if bound in part)
    return " ".join(word for word in (words.get(part.get("type", ""), "anything"), limits) if word)


def _link(title: str, shown: str) -> str:
    """To a heading of the page, as Python-Markdown makes its anchor."""
    return f"[{shown}](#{title.lower().replace(': ', '-').replace(' ', '-')})"
