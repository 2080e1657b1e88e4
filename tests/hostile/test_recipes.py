"""Recipes of strangers: what would take time and memory without end is one line, with file and line."""

import itertools

import pytest

from compressvqa.errors import RecipeError
from compressvqa.running.recipe import Recipe
from compressvqa.untrusted import parse_yaml
from hostile.subjects import RECIPE

LETTERS = "abcdefghi"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{here}: &{here} [{', '.join([f'*{before}'] * 10)}]\n" for before, here in itertools.pairwise(LETTERS)
)

TEXTS = {
    "an alias bomb": (BOMB, ":4: more than 10000 keys and values"),
    "many aliases": ("a: &a 1\nb: [" + ", ".join(["*a"] * 300) + "]", ":2: more than 200 aliases"),
    "a cycle in a list": ("a: &a [*a]", ":1: .*inside its own anchor"),
    "a cycle in a mapping": ("x: 1\na: &a {b: [{c: *a}]}", ":2: .*inside its own anchor"),
    "a merge of itself": ("a: &a\n  <<: *a\n", ":2: .*inside its own anchor"),
    "5,000 nested lists": ("a: " + "[" * 5000 + "]" * 5000, ":1: nested more than 24 levels"),
    "nested mappings": ("".join(f"{' ' * n}a:\n" for n in range(300)), ":25: nested more than 24 levels"),
    "a seed of 26 digits": (RECIPE.replace("seed: 7", "seed: " + "1234567890" * 3), ":4: .*30 digits"),
    "a seed of 6,000 digits": (RECIPE.replace("seed: 7", "seed: " + "1" * 6000), ":4: .*6000 digits"),
    "a hexadecimal one": (RECIPE.replace("seed: 7", "seed: 0x" + "f" * 40), ":4: .*digits"),
    "a large one": (RECIPE.replace("seed: 7", "seed: 4294967296"), ":4: seed: 4294967296 is larger"),
    "infinitely many steps": (RECIPE.replace("steps: 3", "steps: .inf"), ":14: stages.*inf is no finite number"),
    "NaN": (RECIPE.replace("steps: 3", "steps: .nan"), ":14: .*NaN"),
    "a stage name of 400 letters": (RECIPE.replace("name: teacher", "name: " + "x" * 400), ":14: .*at most 100"),
    "a name of 400 letters": (RECIPE.replace("name: small", "name: " + "x" * 400), ":2: .*at most 100"),
    "a key twice": ("a: 1\nb: 2\na: 3\n", ":3: the key 'a' stands twice"),
    "a key twice below an alias": ("a: &a {b: 1, b: 2}\nc: *a\n", ":1: the key 'b' stands twice"),
    "a list for a key": ("? [1, 2]\n: 3\n", ":1: a key must be a text"),
    "code": ("a: 1\nb: !!python/object/apply:os.system [ls]\n", ":2: .*the tag !!python/object/apply:os.system"),
    "a tag of their own": ("%TAG ! tag:yaml.org,2002:\n---\na: !python/name:os.system x", ":3: .*the tag"),
    "a false date": (RECIPE.replace("seed: 7", "seed: 2026-99-99"), ":4: seed"),
    "a false number": ("a: !!int x", ":1: .*not what it is marked as"),
    "binary": ('a: !!binary "@@@"', ":1: .*the tag !!binary"),
    "an escape beyond Unicode": ('a: "\\U99999999"', "not valid YAML"),
    "half a character": ('a: "\\ud800"', ":1: .*surrogate"),
    "a long text": ("name: " + "x" * 40_000, ":1: a text of 40000 characters"),
    "many keys": ("".join(f"k{n}: 1\n" for n in range(20_000)), "more than 10000 keys"),
    "unknown keys": ("".join(f"key{n}: 1\n" for n in range(3000)), "and 29[89]\\d more"),
    "a megabyte": ("# " + "x" * 1_000_000, "larger than 256 KiB"),
    "two documents": ("a: 1\n---\nb: 2\n", ":2: .*document"),
    "control codes": ("a: \x1b[2J\n", "special characters"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_it_is_refused_with_its_line(case, tmp_path):
    text, words = TEXTS[case]
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=words) as caught:
        Recipe.load(tmp_path / "recipe.yaml")
    assert len(str(caught.value)) < 5000
    assert all(ord(sign) >= 32 or sign == "\n" for sign in str(caught.value))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("seed=&a [*a]", "--set seed.*inside its own anchor"),
        ("seed=" + "9" * 30, "30 digits"),
        (".".join("a" * 100) + "=1", "100 levels"),
        ("stages.²=1", "nothing is named '²'"),
        ("stages.99999999999999999999999.name=x", "nothing is named"),
        ("seed=!!python/name:os.system x", "the tag"),
        ("x\n\x1b[31m=1", r"x\\n\\x1b\[31m: unknown key"),
    ],
)
def test_settings_of_the_command_are_held_to_the_same(item, words, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(RecipeError, match=words):
        Recipe.load(tmp_path / "recipe.yaml", [item])


def test_aliases_are_copies_and_a_setting_of_one_is_of_one(tmp_path):
    lines, data = parse_yaml("a: &a {x: {y: 1}}\nb: *a\nc:\n  <<: *a\n  z: 2\n", "file")
    assert data == {"a": {"x": {"y": 1}}, "b": {"x": {"y": 1}}, "c": {"x": {"y": 1}, "z": 2}}
    assert data["a"]["x"] is not data["b"]["x"]
    assert lines["c", "z"] == 5
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert Recipe.load(tmp_path / "recipe.yaml").seed == 7
