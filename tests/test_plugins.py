"""A third-party package adds a model, a loss and a ratio rule: really installed, in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import command

pytestmark = pytest.mark.slow  # processes of their own

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "tiny-vqa"
version = "1.0"
[project.entry-points."compressvqa.plugins"]
tiny = "tiny_vqa"
"""

GOOD = '''\
"""A plugin: one model, one loss, one ratio rule."""
import torch
import compressvqa as cv


@cv.register_model("tiny-vqa", mode="FR")
class TinyVQA(torch.nn.Module):
    """Mean squared difference of learnt features."""

    def __init__(self, width=8):
        super().__init__()
        self.features = torch.nn.Conv2d(3, width, 3, padding=1)
        self.head = torch.nn.Conv2d(width, 1, 1)

    def forward(self, reference, distorted):
        error = self.features(reference.flatten(0, 1)) - self.features(distorted.flatten(0, 1))
        return -self.head(error.square()).mean((1, 2, 3)).reshape(len(reference), -1).mean(1)


@cv.register_loss("tiny-margin", on="score", zero_at_equality=True)
def tiny_margin(teacher, student):
    """Mean absolute difference of scores."""
    return (teacher.detach() - student).abs().mean()


@cv.register_ratio_rule("tiny-half")
def tiny_half(group, overall):
    """Keeps half of every group."""
    return 0.5
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip installed the package into."""
    source, target = (tmp_path_factory.mktemp("plugin") / name for name in ("source", "site"))
    source.mkdir()
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "tiny_vqa.py").write_text(GOOD)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True)
    return target


USE = """
import json, torch, compressvqa as cv
model = cv.create_model("tiny-vqa", width=10)
inputs = cv.example_inputs(model, size=32, frames=2)
ratios = cv.density_ratios(model, "tiny-half", inputs=inputs)
pruned = cv.prune(model, inputs, ratios=ratios)
from compressvqa.distillation import DistillationLoss
from compressvqa.registry import losses
value = losses["tiny-margin"].value(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2.0]))
cv.save(pruned.model, "saved")
loaded = cv.load("saved")
print(json.dumps({"models": cv.list_models("tiny*"), "loss": float(value), "width": pruned.model.features.out_channels,
                  "equal": bool(torch.equal(loaded(*inputs), pruned.model.eval()(*inputs)))}))
"""


def test_an_installed_package_adds_a_model_a_loss_and_a_ratio_rule(installed: Path, tmp_path: Path) -> None:
    settings = {**os.environ, "PYTHONPATH": str(installed)}
    line = [sys.executable, "-c", USE]
    done = subprocess.run(line, env=settings, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"models": ["tiny-vqa"], "loss": 0.5, "width": 5, "equal": True}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('mode="FR"', 'mode="full"'), "model 'tiny-vqa' must say mode="),
        (("def tiny_half(group, overall)", "def tiny_half(group)"), "ratio rule 'tiny-half' must take"),
        (('"tiny-vqa", mode', '"rankdvqa", mode'), "registered twice"),
        (("import torch", "import torch, no_such_package"), "package 'tiny-vqa' does not load: No module named"),
    ],
)
def test_a_broken_package_is_one_clear_line(
    installed: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    broken = tmp_path / "site"
    shutil.copytree(installed, broken, ignore=shutil.ignore_patterns("__pycache__"))
    (broken / "tiny_vqa.py").write_text(GOOD.replace(*change))
    done = command("models", cwd=broken)  # the folder of a process is on its path
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1
