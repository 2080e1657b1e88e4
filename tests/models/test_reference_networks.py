"""The networks that ship: within their budgets, and in the order that anybody sees."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import compressvqa as cv

pytest.importorskip("skimage", reason="photographs of the extra [demo]")
_SHIPPED = cv.list_models(pretrained=True)
NAMES = [name for name in ("rankdvqa", "rankdvqa-mini", "rankdvqa-nano", "rankdvqa-pico") if name in _SHIPPED]


def _photograph() -> torch.Tensor:
    from skimage import data

    return torch.from_numpy(data.astronaut()[40:232, 120:312]).permute(2, 0, 1)[None, None].float() / 255


def _blurred(clip: torch.Tensor, side: int) -> torch.Tensor:
    return functional.avg_pool2d(clip[0], side, 1, padding=side // 2, count_include_pad=False)[None]


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_a_picture_gets_worse_by_blur_and_by_noise(name: str) -> None:
    model = cv.create_model(name, weights="pretrained")
    reference = _photograph().expand(1, 12, 3, -1, -1).contiguous()
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    for ladder in (
        [_blurred(reference, side) for side in (1, 3, 5, 9)],
        [(reference + amount * noise).clamp(0, 1) for amount in (0, 0.02, 0.06, 0.15)],
    ):
        scores = [float(model(reference, distorted)) for distorted in ladder]
        assert scores == sorted(scores, reverse=True), scores
        assert scores[0] - scores[-1] > 2  # logits: about 15 points of the scale


@pytest.mark.parametrize(("name", "params", "macs"), [("rankdvqa-mini", 0.0987, 0.1357), ("rankdvqa-nano", 0.05, 0.06)])
def test_budgets_of_the_paper_and_half_of_them(name: str, params: float, macs: float) -> None:
    if name not in NAMES:
        pytest.skip("does not ship yet")
    whole = cv.profile(cv.create_model("rankdvqa"), cv.example_inputs("rankdvqa"))
    small = cv.profile(cv.create_model(name), cv.example_inputs("rankdvqa"))
    assert small.params <= params * whole.params
    assert small.macs <= macs * whole.macs and small.macs_conv_linear <= macs * whole.macs_conv_linear


@pytest.mark.skipif("rankdvqa-pico" not in NAMES, reason="does not ship yet")
def test_pico_takes_at_most_a_billion_and_a_half_for_a_pair_of_1080p() -> None:
    side = 256
    clip = cv.profile(cv.create_model("rankdvqa-pico"), cv.example_inputs("rankdvqa", size=side))
    assert clip.macs / 12 * (1920 * 1080) / side**2 <= 1.5e9
