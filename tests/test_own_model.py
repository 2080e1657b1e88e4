"""The page "Bring your own model" tells the truth: each network goes through its recipe, as a user would run it."""

import ast
import json
import re
from pathlib import Path

import pytest
from running import command, script

from compressvqa.opinions import write_manifest
from compressvqa.running.recipe import Recipe
from tests.data.scored import write_scored

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "own_model.md").read_text(encoding="utf-8")
NEED_CODE, NEED_NONE = ("my_cnniqa", "my_net", "my_fr_net"), ("my_image", "my_video")


def files() -> dict[str, str]:
    """What the page tells to write into files: {name: text}, a block under the name that was said last before it."""
    found: dict[str, str] = {}
    parts = PAGE.split("```")  # prose and blocks, in turn
    said = ""
    for prose, block in zip(parts[::2], parts[1::2], strict=False):
        said = (re.findall(r"`(my_\w+)\.(?:py|yaml)`", prose) or [said])[-1]
        opening, text = block.split("\n", 1)
        if opening == "yaml" or "@cv.register_model" in text:
            name = f"{said}.{'yaml' if opening == 'yaml' else 'py'}"
            found[name] = found.get(name, "") + text
    return found


FILES = files()

TINY = [
    *("data.validation=split", "data.frames=8", "data.crop=48", "clip.size=48", "clip.frames=8"),
    *(f"stages.{stage}.{setting}=2" for stage in ("teacher", "distilled") for setting in ("steps", "batch")),
]
SMALLER = {
    "my_image": ["model.options.frames=2"],
    "my_video": ["model.options.frames=4", "model.options.size=32"],
    "my_net": ["model.options.width=8"],
}
# In a process of its own, which knows the run folder and the plugin, and nothing else.
LOOK = """
import importlib, json, sys
import torch
import compressvqa as cv
for module in sys.argv[2:]:
    importlib.import_module(module)
found = []
for place in ("stages/01-teacher/model", "stages/02-pruned/model", "model"):
    network = cv.load(f"{sys.argv[1]}/{place}").eval()
    inputs = cv.example_inputs(network, size=48, frames=8, batch=3)
    with torch.no_grad():
        together, alone = network(*inputs), torch.cat([network(*(x[i : i + 1] for x in inputs)) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)
    found.append((sum(p.numel() for p in network.parameters()), cv.profile(network, inputs).macs, list(together.shape)))
print(json.dumps(found))
"""


def test_every_example_is_there_and_short() -> None:
    assert set(FILES) == {f"{name}.yaml" for name in NEED_CODE + NEED_NONE} | {f"{name}.py" for name in NEED_CODE}
    assert "torchvision" in PAGE and "timm" in PAGE and "pyiqa" in PAGE
    for name, text in FILES.items():
        if name.endswith(".yaml"):
            assert len(text.splitlines()) <= 30, name
        else:
            body = [part for part in ast.parse(text).body if not isinstance(part, (ast.Import, ast.ImportFrom))]
            assert all(ast.unparse(part.decorator_list[0]).startswith("cv.register_model(") for part in body), name


@pytest.mark.parametrize("name", NEED_CODE + NEED_NONE)
def test_its_recipe_is_one(name: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(FILES[f"{name}.yaml"])
    assert [stage.name for stage in Recipe.load(file).stages] == ["teacher", "pruned", "distilled"]
    assert f"run {name}.yaml" in PAGE


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    write_manifest(write_scored(folder, frames=8, size="96x80"), folder / "manifest.csv")
    return folder / "manifest.csv"


@pytest.mark.slow
@pytest.mark.parametrize("name", NEED_CODE + NEED_NONE)
def test_its_network_is_compressed_and_comes_back(name: str, manifest: Path, tmp_path: Path) -> None:
    if name == "my_cnniqa":
        pytest.importorskip("pyiqa")
    for kind in ("py", "yaml"):
        if text := FILES.get(f"{name}.{kind}"):
            (tmp_path / f"{name}.{kind}").write_text(text)
    plugin = ["--plugin", f"{name}.py"] if name in NEED_CODE else []
    settings = [f"--set={setting}" for setting in [f"data.source={manifest}", *TINY, *SMALLER.get(name, [])]]
    done = command(*plugin, "run", f"{name}.yaml", "--out", "run", "--data-folder", "data", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    stages = sorted((tmp_path / "run" / "stages").glob("*/stage.json"))
    assert [file.parent.name for file in stages] == ["01-teacher", "02-pruned", "03-distilled"]
    pruning = json.loads(stages[1].read_text())["figures"]
    assert pruning["max_error"] < 1e-5 and pruning["removed"]
    seen = script(LOOK, "run", *([name] if name in NEED_CODE else []), cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    teacher, pruned, last = json.loads(seen.stdout)
    assert pruned[0] == last[0] < teacher[0]
    assert pruned[1] == last[1] <= 0.5 * teacher[1]
    assert last[2] == [3]


@pytest.mark.slow
def test_without_the_plugin_the_network_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "my_net.yaml").write_text(FILES["my_net.yaml"])
    done = command("run", "my_net.yaml", cwd=tmp_path)
    assert done.returncode == 2 and "unknown model 'my-net'" in done.stderr
    assert "unknown model 'my-net'" in PAGE
