"""Int8 after training: the order of scores stays on clips that nothing was calibrated on, or it is refused."""

import json
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import compressvqa as cv
from compressvqa.deploy.exporting.int8 import OpenVinoInt8
from compressvqa.errors import DataError, RuntimeRefusedError
from compressvqa.stages import QuantiseStage

pytest.importorskip("nncf")
pytest.importorskip("openvino")


class Features(nn.Module):
    """The negated mean square of differences of learnt features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU())

    def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
        left, right = (self.layers(clip.flatten(0, 1)) for clip in (reference, distorted))
        return -(left - right).square().mean((1, 2, 3)).unflatten(0, reference.shape[:2]).mean(1)


def clips(count: int, noise: float = 0.3) -> list[tuple[torch.Tensor, ...]]:
    dice = torch.Generator().manual_seed(0)
    found = []
    for number in range(count):
        reference = torch.rand(1, 2, 3, 32, 40, generator=dice)
        damage = noise * (number + 1) / count * torch.randn(reference.shape, generator=dice)
        found.append((reference, (reference + damage).clamp(0, 1)))
    return found


@pytest.fixture(autouse=True)
def _registered() -> None:
    cv.register_model("test-features", mode="FR", frames=2, smallest_side=32)(Features)


def test_what_can_not_be_rounded_is_one_line(tmp_path: Path) -> None:
    network = cv.create_model("test-features")
    with pytest.raises(DataError, match="8 clips don't say how int8 may round"):
        cv.export(network, tmp_path / "made", format="openvino", int8=clips(8), allow_random_weights=True)
    with pytest.raises(DataError, match="onnx is not written in int8"):
        cv.export(network, tmp_path / "made", int8=clips(32), allow_random_weights=True)
    with pytest.raises(DataError, match="the clips are 32x40, not 96"):
        cv.export(network, tmp_path / "made", format="openvino", size=96, int8=clips(32), allow_random_weights=True)


def _turned(form: OpenVinoInt8, real: Any, wanted: Any, found: Any) -> float:
    """The file's scores in another order."""
    return float(real(form, wanted, [*found[1:], found[0]]))


@pytest.mark.slow
def test_an_int8_file_keeps_the_order_and_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = cv.create_model("test-features")
    made = cv.export(network, tmp_path / "made", format="openvino", int8=clips(32), allow_random_weights=True)
    facts = json.loads((made.folder / "facts.json").read_text())
    assert made.error <= 0.005 and made.clips == 16
    assert facts["int8"]["layers"] == 2 and facts["int8"]["layers_in_float"] == []
    assert facts["int8"]["calibrated_on"] == facts["int8"]["judged_on"] == 16
    assert "2 layers are int8" in (made.folder / "README.md").read_text()
    # The order of scores that another network gives refuses the file; nothing is left.
    monkeypatch.setattr(OpenVinoInt8, "lost_by", partialmethod(_turned, OpenVinoInt8.lost_by))
    with pytest.raises(RuntimeRefusedError, match="in int8 the order of scores differs"):
        cv.export(network, tmp_path / "none", format="openvino", int8=clips(32), allow_random_weights=True)
    assert not (tmp_path / "none").exists()


def test_the_stage_has_settings_that_a_recipe_checks() -> None:
    assert QuantiseStage.Config(name="small").clips == 64
    with pytest.raises(ValueError, match="clips"):
        QuantiseStage.Config(name="small", clips=4)
