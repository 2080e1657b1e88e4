"""LPIPS and DISTS under weights drawn here, against torchmetrics' and pyiqa's programs; pyiqa's metrics as scorers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from compressvqa.errors import DataError, RegistryError, WeightsError
from compressvqa.registry import scorers
from compressvqa.scoring.image_metrics import FrameScorer, pyiqa_scorer
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.read import read_frames


def backbone(name: str, folder: Path) -> None:
    """A file as torchvision publishes it: drawn convolutions, and a classifier of one stored number."""
    with torch.device("meta"):
        network = getattr(torchvision.models, name)()
    generator, state = torch.Generator().manual_seed(7), {}
    for key, value in network.state_dict().items():
        if key.startswith("features") and value.ndim == 4:
            drawn = torch.randn(value.shape, generator=generator) * math.sqrt(2 / value[0].numel())
            state[key] = drawn.half()  # a smaller file; it becomes float32 where it is loaded
        elif key.startswith("features"):
            state[key] = 0.1 * torch.randn(value.shape, generator=generator)
        else:
            state[key] = torch.zeros(()).expand(value.shape)
    file = getattr(torchvision.models, {"alexnet": "AlexNet_Weights", "vgg16": "VGG16_Weights"}[name]).DEFAULT.url
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / file.rsplit("/", 1)[-1])


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of torch's hub that holds both backbones."""
    home = tmp_path_factory.mktemp("home")
    backbone("alexnet", home / "hub" / "checkpoints")
    backbone("vgg16", home / "hub" / "checkpoints")
    with pytest.MonkeyPatch.context() as change:
        change.setenv("TORCH_HOME", str(home))
        yield home


@pytest.fixture(scope="module")
def made(hub: Path) -> dict[str, Any]:
    return {name: scorers[name].value() for name in ("lpips", "lpips-vgg", "dists")}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty hub, and a network that answers nothing."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path / "hub" / "checkpoints"


def frames(clip: Path) -> Tensor:
    return torch.stack([planes.to_rgb() for planes in read_frames(clip)])


def score(scorer: Any, reference: Path | None, *distorted: Path) -> list[Any]:
    left = None if reference is None else Clip(reference)
    found = scorer.score(left, [Clip(path) for path in distorted], Pairing())
    return [course[scorer.facts[0].name] for course in found]


def theirs(name: str, network: Any, reference: Tensor, distorted: Tensor) -> list[float]:
    """Scores of torchmetrics' own forward, frame by frame, the distorted one first as it wants."""
    with torch.inference_mode():
        pairs = zip(distorted[:, None], reference[:, None], strict=True)
        if name == "dists":
            return [float(network(d, r)) for d, r in pairs]
        return [float(network(d, r, normalize=True)) for d, r in pairs]


@pytest.mark.parametrize("name", ["lpips", "lpips-vgg", "dists"])
def test_scores_are_those_of_torchmetrics(name: str, made: dict[str, Any], write) -> None:
    reference, one, two = write("r.y4m", 3), write("a.y4m", 3, noise=0.02), write("b.y4m", 3, noise=0.2)
    courses = score(made[name], reference, one, two)
    for course, path in zip(courses, (one, two), strict=True):
        wanted = theirs(name, made[name].network, frames(reference), frames(path))
        assert [part.score for part in course.segments] == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert [(part.first_frame, part.last_frame) for part in course.segments] == [(0, 0), (1, 1), (2, 2)]
        assert course.score == pytest.approx(sum(wanted) / 3, rel=1e-4)
    assert 0 < courses[0].score < courses[1].score


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_scores_are_those_of_pyiqa(name: str, made: dict[str, Any]) -> None:
    """pyiqa reads the same file of the backbone; the learnt weights of the layers are given to it."""
    pytest.importorskip("pyiqa")
    from pyiqa.archs.dists_arch import DISTS
    from pyiqa.archs.lpips_arch import LPIPS

    network: Any = DISTS(pretrained=False) if name == "dists" else LPIPS(pretrained=False, net="alex")
    ours = made[name].network.state_dict()
    learnt = {key: value for key, value in ours.items() if key.startswith(("lin", "alpha", "beta"))}
    assert not network.load_state_dict(learnt, strict=False).unexpected_keys
    generator = torch.Generator().manual_seed(1)
    reference = torch.rand(2, 3, 72, 90, generator=generator)
    distorted = (reference + 0.2 * torch.randn(reference.shape, generator=generator)).clamp(0, 1)
    with torch.inference_mode():
        wanted = network(distorted, reference).flatten()
        scorer = made[name]
        found = torch.cat([scorer.measure(scorer.prepare(r[None, None]), d[None, None])
                           for r, d in zip(reference, distorted, strict=True)])  # fmt: skip
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["lpips", "lpips-vgg", "dists"])
def test_the_same_clip_scores_zero_and_a_repeat_gives_the_same(name: str, made: dict[str, Any], write) -> None:
    reference, distorted = write("r.y4m", 2), write("d.y4m", 2, noise=0.1)
    same, first = score(made[name], reference, reference, distorted)
    assert abs(same.score) < 1e-6
    assert score(made[name], reference, distorted)[0] == first


def test_facts(made: dict[str, Any]) -> None:
    """Parameters are those of the published table; lower is better for all three."""
    facts = {name: scorer.facts[0] for name, scorer in made.items()}
    assert all(not fact.higher_is_better and fact.mode == "FR" and fact.name == name for name, fact in facts.items())
    assert facts["lpips"].params == 2_470_848
    assert facts["dists"].params == pytest.approx(14.7147e6, rel=3e-4)
    assert len({fact.identity for fact in facts.values()}) == 3


def test_identity_changes_with_the_weights(hub: Path, made: dict[str, Any]) -> None:
    assert scorers["lpips"].value().facts[0].identity == made["lpips"].facts[0].identity
    (file,) = (hub / "hub" / "checkpoints").glob("alexnet*")
    state = torch.load(file, weights_only=True)
    kept = state["features.0.bias"].clone()
    state["features.0.bias"] += 1
    torch.save(state, file)
    try:
        assert scorers["lpips"].value().facts[0].identity != made["lpips"].facts[0].identity
    finally:
        state["features.0.bias"] = kept
        torch.save(state, file)


def test_frames_that_are_too_small(made: dict[str, Any], write) -> None:
    small = write("s.y4m", 1, height=24, width=40)
    with pytest.raises(DataError, match="31"):
        score(made["lpips"], small, small)
    assert score(made["dists"], small, small)[0].score == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_weights_that_cannot_be_fetched_are_named_in_one_line(name: str, no_network: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        scorers[name].value()
    text = str(caught.value)
    assert "\n" not in text and "https://" in text and str(no_network) in text and ".pth" in text


def test_a_damaged_file_of_weights_is_named(no_network: Path) -> None:
    no_network.mkdir(parents=True)
    name = torchvision.models.AlexNet_Weights.DEFAULT.url.rsplit("/", 1)[-1]
    (no_network / name).write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(WeightsError, match="damaged") as caught:
        scorers["lpips"].value()
    assert str(no_network / name) in str(caught.value) and "\n" not in str(caught.value)
    torch.save({"other": torch.zeros(1)}, no_network / name)
    with pytest.raises(WeightsError, match="another network"):
        scorers["lpips"].value()


# --- pyiqa ------------------------------------------------------------------------------------------------------


class TestPyiqa:
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("pyiqa")

    def test_the_reference_comes_first_here_and_second_there(self, write) -> None:
        import pyiqa

        reference, distorted = (write(f"{n}.y4m", 2, height=192, width=224, noise=n) for n in (0.02, 0.1))
        (found,) = score(pyiqa_scorer("vif"), reference, distorted)
        metric = pyiqa.create_metric("vif", device="cpu")
        # One by one: of two frames at once pyiqa makes scores that differ from these in the fourth digit.
        wanted = [float(metric(d[None], r[None])) for d, r in zip(frames(distorted), frames(reference), strict=True)]
        assert [part.score for part in found.segments] == pytest.approx(wanted, rel=1e-5)
        swapped = metric(frames(reference), frames(distorted))
        assert found.score != pytest.approx(float(swapped.mean()), rel=1e-2)

    @pytest.mark.parametrize("name", ["psnr", "ssim", "ms_ssim", "fsim", "vsi", "gmsd", "nlpd", "cw_ssim"])
    def test_metrics_without_weights(self, name: str, write) -> None:
        reference = write("r.y4m", 1, height=176, width=180)
        one, two = (write(f"{n}.y4m", 1, height=176, width=180, noise=n) for n in (0.05, 0.3))
        scorer = pyiqa_scorer(name)
        better, worse = score(scorer, reference, one, two)
        sign = 1 if scorer.facts[0].higher_is_better else -1
        assert sign * better.score > sign * worse.score
        assert scorer.facts[0].name == f"pyiqa/{name}" and scorer.facts[0].mode == "FR"
        assert score(scorer, reference, one)[0] == better

    def test_facts_come_from_pyiqas_table(self) -> None:
        assert not pyiqa_scorer("gmsd").facts[0].higher_is_better
        assert pyiqa_scorer("ssim").facts[0].higher_is_better
        assert pyiqa_scorer("ssim").facts[0].score_range == (0.0, 1.0)
        assert pyiqa_scorer("psnr").facts[0].score_range is None

    def test_no_reference_metrics_look_at_the_distorted_clip_only(self, write) -> None:
        import pyiqa

        clip = write("d.y4m", 2, noise=0.1)
        scorer = pyiqa_scorer("piqe")
        (found,) = score(scorer, None, clip)
        wanted = [float(pyiqa.create_metric("piqe", device="cpu")(frame[None])) for frame in frames(clip)]
        assert scorer.facts[0].mode == "NR"
        assert [part.score for part in found.segments] == pytest.approx(wanted, rel=1e-5)

    def test_random_draws_repeat_and_leave_no_trace(self, write) -> None:
        class Draws(torch.nn.Module):
            def forward(self, distorted: Tensor) -> Tensor:
                return torch.rand(1) + distorted.mean()

        from compressvqa.scoring.image_metrics import PyiqaScorer
        from compressvqa.scoring.scorer import Facts

        scorer: FrameScorer = PyiqaScorer(Draws(), Facts("draws", "draws", mode="NR"))
        clip = write("d.y4m", 2)
        torch.manual_seed(3)
        first = score(scorer, None, clip)
        after = torch.rand(1)
        assert score(scorer, None, clip) == first
        torch.manual_seed(3)
        assert torch.rand(1) == after

    @pytest.mark.parametrize(
        ("name", "error", "match"),
        [("niq", RegistryError, "niqe"), ("fid", DataError, "sets of pictures"), ("clipscore", DataError, "text")],
    )
    def test_names_that_give_no_scorer(self, name: str, error: type[Exception], match: str) -> None:
        with pytest.raises(error, match=match):
            pyiqa_scorer(name)

    def test_frames_that_a_metric_refuses(self, write) -> None:
        small = write("s.y4m", 1, height=24, width=40)
        with pytest.raises(DataError, match="pyiqa/ms_ssim can't score a frame of 40x24") as caught:
            score(pyiqa_scorer("ms_ssim"), small, small)
        assert "\n" not in str(caught.value)
        still = write("t.y4m", 1, height=96, width=112)
        with pytest.raises(DataError, match="pyiqa/vif gives nan for a frame of 112x96"):
            score(pyiqa_scorer("vif"), still, still)

    @pytest.fixture
    def cache(self, no_network: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """pyiqa's folder of weights, empty; it fixes the place when it is imported."""
        import pyiqa.utils.download_util as place

        monkeypatch.setattr(place, "DEFAULT_CACHE_DIR", str(no_network))
        return no_network

    def weights(self, folder: Path) -> Path:
        from pyiqa.archs.cnniqa_arch import default_model_urls

        folder.mkdir(parents=True, exist_ok=True)
        return folder / default_model_urls["koniq10k"].rsplit("/", 1)[-1]

    def test_weights_that_cannot_be_fetched_are_named_in_one_line(self, cache: Path, capsys) -> None:
        with pytest.raises(WeightsError) as caught:
            pyiqa_scorer("cnniqa")
        text = str(caught.value)
        assert "\n" not in text and "https://" in text and str(self.weights(cache)) in text
        assert capsys.readouterr() == ("", "")

    def test_weights_in_their_place_are_used_and_nothing_is_printed(self, cache: Path, write, capsys) -> None:
        from pyiqa.archs.cnniqa_arch import CNNIQA

        network = CNNIQA(pretrained=None).eval()
        torch.save({"params": network.state_dict()}, self.weights(cache))
        scorer, clip = pyiqa_scorer("cnniqa"), write("d.y4m", 2)
        with torch.inference_mode():
            wanted = [float(network(frame[None])) for frame in frames(clip)]
        assert [part.score for part in score(scorer, None, clip)[0].segments] == pytest.approx(wanted, rel=1e-5)
        assert scorer.facts[0].params == sum(parameter.numel() for parameter in network.parameters())
        assert capsys.readouterr() == ("", "")

    def test_a_pickle_that_runs_code_is_not_loaded(self, cache: Path, tmp_path: Path) -> None:
        trace = tmp_path / "it ran"

        class Runs:
            def __reduce__(self) -> Any:
                return (Path.touch, (trace,))

        file = self.weights(cache)
        torch.save({"params": Runs()}, file)
        with pytest.raises(WeightsError) as caught:
            pyiqa_scorer("cnniqa")
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)
        assert not trace.exists()
