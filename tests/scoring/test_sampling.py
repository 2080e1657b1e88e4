"""Samples of a file: spread over space and time, the same for a seed, near to the whole, and said with the score."""

from pathlib import Path

import clips
import numpy as np
import pytest
import torch
from torch import nn

import compressvqa as cv
from compressvqa.errors import DataError
from compressvqa.scoring.sampling import Sampling
from compressvqa.video.clip import Pairing


class Error(nn.Module):
    """The negated mean absolute difference: the score of a patch is plain."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []
        self.factor = nn.Parameter(torch.tensor(-100.0))

    def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(distorted.shape))
        return self.factor * (reference - distorted).abs().mean(dim=(1, 2, 3, 4))


@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 7, 20, None])
def test_of_each_run_of_blocks_one_is_drawn(blocks: int | None) -> None:
    for seed in range(30):
        one = Sampling(seed, every=3)
        taken = [number for number in range(blocks or 20) if one.takes(number, blocks)]
        runs = [number // 3 for number in taken]
        assert runs[0] == 0 and len(set(runs)) == len(runs)
        assert len(runs) == (-(-blocks // 3) if blocks else len(runs))
    drawn = {tuple(n for n in range(12) if Sampling(seed, every=3).takes(n, 12)) for seed in range(30)}
    assert len(drawn) > 10  # not the same ones whatever the seed


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (361, 641), (2160, 3840), (200, 3000)])
def test_patches_lie_inside_on_chroma_samples_and_everywhere(height: int, width: int) -> None:
    seen = np.zeros((height, width), int)
    for seed in range(40):
        one = Sampling(seed)
        places = one.patches(seed % 3, height, width)
        assert places == Sampling(seed).patches(seed % 3, height, width)
        assert places != one.patches(seed % 3 + 1, height, width)
        assert len({(h, w) for _, _, h, w in places}) == 1 and len(places) >= 2
        for top, left, high, wide in places:
            assert top % 2 == left % 2 == 0 and top >= 0 and left >= 0 and top + high <= height and left + wide <= width
            seen[top : top + high, left : left + wide] += 1
        # One a stripe of the picture's height; the even row that it begins on may lie in the stripe above.
        stripes = [top * len(places) / (height - places[0][2] + 1) for top, *_ in places]
        gaps = [abs(stripe - number - 0.5) for number, stripe in enumerate(sorted(stripes))]
        assert max(gaps) <= 0.5 + 2 * len(places) / (height - places[0][2] + 1)
    assert (seen[100:-100:20, 100:-100:20] > 0).mean() > 0.97 if height > 200 else seen.max() > 0
    share = one.to_dict(height, width)["share_of_pixels"]
    assert share <= 0.5


def test_small_pictures_are_seen_whole() -> None:
    assert Sampling(0).patches(5, 200, 300) == [(0, 0, 200, 300)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("clips")
    plain = ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "0")
    reference = clips.make(folder / "reference.mp4", *plain, size="400x240", frames=50)
    clips.ffmpeg("-i", str(reference), "-vf", "noise=c0s=30:c0f=t:all_seed=1", *plain, str(folder / "distorted.mp4"))
    return reference, folder / "distorted.mp4"


def test_a_sample_is_near_to_the_whole_and_the_same_again(files: tuple[Path, Path]) -> None:
    cv.register_model("test-error", mode="FR", frames=12)(Error)
    network = cv.create_model("test-error")
    settings = {"model": network, "allow_random_weights": True, "runtime": "eager"}
    whole = cv.score(*files, **settings)
    network.seen.clear()
    first = cv.score(*files, **settings, sampled=3)
    shapes = list(network.seen)
    again, other = (cv.score(*files, **settings, sampled=seed) for seed in (3, 4))
    assert first.score == again.score != other.score
    assert first.score == pytest.approx(whole.score, rel=0.1) and first.score != whole.score
    # Three runs of the five blocks, the last of 2 frames: one block of each, two patches of 192 pixels.
    assert len(first.per_segment) == 3 and len(shapes) == 6
    assert {shape[3:] for shape in shapes} == {(192, 192)}
    said = first.settings["sampled"]
    assert (
        said["seed"] == 3
        and said["patches"] == 2
        and said["share_of_pixels"] == pytest.approx(192 * 192 / 400 / 240, abs=1e-3)
    )
    assert "sampled" in dict(first.lines()) and "sampled" not in dict(whole.lines())


def test_a_sample_of_every_third_block_still_holds_some(files: tuple[Path, Path]) -> None:
    cv.register_model("test-error", mode="FR", frames=12)(Error)
    network = cv.create_model("test-error")
    for seed in range(6):
        score = cv.score(*files, model=network, allow_random_weights=True, sampled=seed, pairing=Pairing(subsample=3))
        assert len(score.per_segment) == 1


def test_who_can_not_be_sampled_says_so(files: tuple[Path, Path]) -> None:
    for model, message in (("psnr", "no network"), ("rankdvqa-stanet", "no trained|random")):
        with pytest.raises(cv_error(), match=message):
            cv.score(*files, model=model, sampled=1)
    with pytest.raises(DataError, match="cuts patches itself"):
        cv.score(*files, model=cv.create_model("rankdvqa-stanet"), sampled=1, allow_random_weights=True)
    with pytest.raises(DataError, match="seed -1"):
        cv.score(*files, model="rankdvqa-pico", sampled=-1)


def cv_error() -> type[Exception]:
    from compressvqa.errors import CompressVQAError

    return CompressVQAError


def test_kept_scores_of_samples_are_kept_apart() -> None:
    from compressvqa.scoring import NetworkScorer

    network = cv.create_model("rankdvqa-pico", weights="pretrained")
    names = {NetworkScorer(network, sampled=seed).facts[0].identity for seed in (None, 0, 1)}
    states = {str(NetworkScorer(network, sampled=seed).state()[1:]) for seed in (None, 0, 1)}
    assert len(names) == len(states) == 3
