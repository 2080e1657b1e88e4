"""Native code against eager PyTorch and against its own plain form."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from compressvqa.deploy.native import Kernel, build, calibrate, pack, self_test
from compressvqa.deploy.native.fold import fold
from compressvqa.deploy.native.kernel import Features
from compressvqa.deploy.native.runtime import Native, NativeFloat32, checked_kernel
from compressvqa.deploy.runtime import BlockSize
from compressvqa.errors import DataError, RuntimeRefusedError, WeightsError
from compressvqa.models import load
from compressvqa.models.rankdvqa import RankDVQA
from compressvqa.models.shipped import shipped_folder
from compressvqa.video.block import Frames
from compressvqa.video.frames import Colour, Planes, plane_shapes

USUAL = Colour()


def network(widths=(4, 4, 6, 6, 8, 4), seed=0, **settings):
    """A small RankDVQA whose every part says something: biases are not zero, attention is not flat."""
    torch.manual_seed(seed)
    made = RankDVQA(widths, **{"merge_width": 8, "mlp_width": 6, **settings}).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(0, 0.1)
            elif "attention" in name or "mlp" in name:
                parameter.mul_(8)
    return made


def clip(height, width, frames, chroma="420", colour=USUAL, noise=0.0):
    """Coloured squares that move, with codes outside of the nominal range too."""
    dice, other = np.random.default_rng(3), np.random.default_rng(4)
    top = 2**colour.bitdepth - 1
    kind = np.uint8 if colour.bitdepth <= 8 else np.uint16
    bases = []
    for rows, columns in plane_shapes(height, width, chroma):
        bases.append(np.kron(dice.random((rows // 8 + 1, columns // 8 + 1)), np.ones((8, 8)))[:rows, :columns])
    made = []
    for number in range(frames):
        moved = [np.roll(base, number, axis=1) for base in bases]
        parts = [np.clip(top * (p + noise * (other.random(p.shape) - 0.5)), 0, top).astype(kind) for p in moved]
        made.append(Planes(parts[0], *(parts[1:] or (None, None)), chroma, colour))
    return made


def eager(model, reference, distorted):
    r, d = (torch.stack([planes.to_rgb() for planes in side])[None] for side in (reference, distorted))
    with torch.inference_mode():
        return float(model(r, d))


@pytest.fixture(scope="module")
def shipped():
    return load(shipped_folder("rankdvqa-pico")).eval()


@pytest.fixture(scope="module")
def shipped_scores(shipped):
    return self_test.eager_scores(shipped)


CASES = [
    ({}, (100, 130, 12), ("420", USUAL)),
    ({"widths": (1, 2, 3, 1, 9, 4), "merge_width": 6, "mlp_width": 5, "heads": 3}, (97, 101, 5), ("422", Colour(10))),
    ({"widths": (16, 1, 1, 23, 2, 4), "merge_width": 1, "mlp_width": 1, "heads": 1}, (100, 131, 1),
     ("444", Colour(12, "bt2020"))),
    ({"widths": (5, 6, 7, 8, 9, 4), "merge_width": 10, "mlp_width": 7}, (96, 96, 2), ("400", Colour(8, "bt601", True))),
    ({"widths": (13, 11, 10, 14, 9, 4), "channel_order": "bgr"}, (99, 160, 2), ("420", Colour(16, "smpte240m"))),
    ({"widths": (3, 4, 5)}, (105, 290, 2), ("444", Colour(8, "ycgco"))),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "size", "form"), CASES)
def test_float32_is_eager(settings, size, form):
    model = network(**settings)
    a, b = clip(*size, *form), clip(*size, *form, noise=0.3)
    kernel = Kernel(model, precision="float32", strip=16)
    expected = eager(model, a, b)
    assert kernel.score(a, b) == pytest.approx(expected, abs=1e-4 * max(1, abs(expected)))
    assert kernel.score_kept(kernel.features(a), b) == kernel.score(a, b)


@pytest.mark.parametrize(("precision", "most"), [("int16", 0.02), ("mixed", 0.02), ("int8", 0.05)])
def test_whole_numbers_are_near(shipped, precision, most):
    """On squares in strong colours, which are nothing that it was calibrated on."""
    a, kernel = clip(97, 101, 3), Kernel(shipped, precision=precision)
    others = [clip(97, 101, 3, noise=noise) for noise in (0.1, 0.5, 1)]
    expected, found = np.array([(eager(shipped, a, b), kernel.score(a, b)) for b in others]).T
    assert np.abs(expected - found).max() < most * np.ptp(expected)
    assert np.abs(expected - found).max() > 0  # they are other numbers: this compares two things


def test_strips_do_not_change_the_score():
    model, a, b = network(), clip(141, 120, 3), clip(141, 120, 3, noise=0.3)
    assert len({Kernel(model, strip=strip).score(a, b) for strip in (8, 24, 64, 1000)}) == 1


def test_instruction_sets_agree(shipped):
    names = [name for name, (needed, _) in build.SETS.items() if needed <= build.processor_flags()]
    if len(names) == 1:
        pytest.skip("this processor has one instruction set only")
    a, b = clip(97, 101, 2), clip(97, 101, 2, noise=0.3)
    for precision in ("float32", "mixed"):
        found = [Kernel(shipped, precision=precision, instructions=name).score(a, b) for name in names]
        assert found == pytest.approx([found[0]] * len(names), rel=1e-5)


def test_sides_may_differ_in_form_and_rows_may_lie_apart():
    model, a = network(), clip(96, 100, 2)
    b = clip(96, 100, 2, "444", Colour(10), noise=0.3)
    kernel = Kernel(model, precision="float32")
    expected = eager(model, a, b)
    assert kernel.score(a, b) == pytest.approx(expected, abs=1e-4)
    parts = [[np.pad(p, ((0, 3), (0, 9)))[: p.shape[0], : p.shape[1]] for p in (o.y, o.u, o.v)] for o in b]
    wide = [Planes(y, u, v, "444", Colour(10)) for y, u, v in parts]
    assert kernel.score(a, wide) == kernel.score(a, b)
    assert kernel.score(a, [a[0], b[1]]) == pytest.approx(eager(model, a, [a[0], b[1]]), abs=1e-4)


def test_kept_features_serve_several_sizes_and_outlive_the_kernel_calls():
    model, kernel = network(), Kernel(network(), precision="float32")
    a, others = clip(96, 100, 2), [clip(96, 100, 2, noise=noise) for noise in (0.1, 0.5)]
    features = kernel.features(a)
    kernel.score(clip(100, 96, 1), clip(100, 96, 1))  # another size in between
    found = [kernel.score_kept(features, other) for other in others]
    assert isinstance(features, Features)
    assert found == pytest.approx([eager(model, a, other) for other in others], abs=1e-4)


@pytest.mark.parametrize(
    ("reference", "distorted", "said"),
    [
        (clip(96, 96, 2), clip(96, 96, 1), "differ in size or number"),
        (clip(96, 96, 1), clip(96, 98, 1), "differ in size or number"),
        (clip(95, 96, 1), clip(95, 96, 1), "too small"),
        (clip(96, 96, 13), clip(96, 96, 13), "longer than 12"),
        ([], [], "one frame at least"),
        ([*clip(96, 96, 1), *clip(98, 96, 1)], clip(96, 96, 2), "one size"),
    ],
)
def test_misuse_is_one_line(reference, distorted, said):
    with pytest.raises(DataError, match=said):
        Kernel(network(), precision="float32").score(reference, distorted)


def test_foreign_layers_and_damaged_weights_are_refused():
    model = network()
    model.scales[1].mlp.act = torch.nn.ReLU()
    with pytest.raises(WeightsError, match="GELU"):
        fold(model)
    model = network()
    model.extractor.stages[0][1].negative_slope = 0.2
    with pytest.raises(WeightsError, match="stage of two convolutions"):
        fold(model)
    model = network()
    model.extractor.stages[0][0].weight.data[0] = float("nan")
    with pytest.raises(RuntimeRefusedError, match="not finite"):
        checked_kernel(model)
    with pytest.raises(RuntimeRefusedError, match="not Linear"):
        checked_kernel(torch.nn.Linear(2, 2))


def test_eager_scores_of_the_built_in_pairs_are_the_networks_own(shipped, shipped_scores):
    found = []
    for reference, others in self_test.pairs()[3:5]:
        found += [eager(shipped, reference, one) for one in others]
    assert shipped_scores[15:25] == pytest.approx(found, abs=1e-4)
    assert np.ptp(shipped_scores) > 8  # of about 12 that its scores of real pictures span


@pytest.mark.parametrize("precision", ["mixed", "int16"])
def test_the_shipped_network_agrees_in_whole_numbers(shipped, shipped_scores, precision):
    found = self_test.check(Kernel(shipped, precision=precision), shipped, shipped_scores)
    assert 1e-4 < found.error < 0.01  # they are other numbers: this compares two things


def wrong(how, monkeypatch):
    """Breaks what a kernel is packed with, a little, as a mistake in it would."""
    if how == "bytes in the second stage":
        kinds = [(1, 1), (2, 2), (2, 2), (2, 2), (2, 2)]
        monkeypatch.setattr(pack, "kinds_of", lambda precision, stages: kinds[:stages])
    elif how == "a column too weak":
        usual = pack._convolution
        monkeypatch.setattr(pack, "_convolution", lambda c, *rest, **most: usual(_one_sided(c), *rest, **most))
    elif how == "no attention":
        usual = pack._scale
        monkeypatch.setattr(pack, "_scale", lambda s, m: usual(replace(s, project_value=0 * s.project_value), m))
    elif how == "difference left out":
        usual_scale = pack._scale

        def without(scale, unit_mean):
            weight = scale.weight.copy()
            weight[:, -1, 2] = 0  # of one frame in twelve
            return usual_scale(replace(scale, weight=weight), unit_mean)

        monkeypatch.setattr(pack, "_scale", without)
    elif how == "a channel too coarse":
        usual_steps = pack._steps
        monkeypatch.setattr(pack, "_steps", lambda kind, layer, ranges: _coarse(usual_steps(kind, layer, ranges)))


def _one_sided(layer):
    """A convolution that misses the column on its right in a tenth."""
    weight = layer.weight.copy()
    weight[..., 2] *= 0.9
    return replace(layer, weight=weight)


def _coarse(steps):
    return replace(steps, up=steps.up / 400 if steps.kind == 1 else steps.up)


@pytest.mark.parametrize(
    "how",
    ["bytes in the second stage", "a column too weak", "no attention", "difference left out", "a channel too coarse"],
)
def test_a_kernel_that_is_a_little_wrong_is_refused(shipped, shipped_scores, how, monkeypatch):
    wrong(how, monkeypatch)
    with pytest.raises(RuntimeRefusedError, match="differs from eager"):
        self_test.check(Kernel(shipped, precision="mixed"), shipped, shipped_scores)


def test_the_cheapest_precision_that_agrees_is_taken(shipped, monkeypatch):
    assert checked_kernel(shipped).precision == "mixed"
    monkeypatch.setitem(self_test.TOLERANCES, "mixed", 1e-6)
    assert checked_kernel(shipped).precision == "int16"


def test_a_kernel_that_is_wrong_is_refused(monkeypatch):
    model = network()
    self_test.check(Kernel(model, precision="float32"), model)
    other = network()
    with torch.no_grad():
        other.scales[2].head.weight[0, 1] *= -1
    with pytest.raises(RuntimeRefusedError, match="differs from eager"):
        self_test.check(Kernel(other, precision="float32"), model)
    # The same where the compiled code is at fault: a bit of its work is left out.
    monkeypatch.setattr(Kernel, "score_kept", lambda self, r, d: float("nan"))
    with pytest.raises(RuntimeRefusedError, match="differs from eager"):
        checked_kernel(model)


def test_without_a_compiler_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPRESSVQA_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RuntimeRefusedError, match="no C\\+\\+ compiler"):
        checked_kernel(network())
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'error: out of patience' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(RuntimeRefusedError, match="out of patience"):
        checked_kernel(network())
    assert not list((tmp_path / "native").glob("*.so"))


def test_runtime_gives_what_the_network_gives():
    model = network()
    a, others = clip(96, 100, 3), [clip(96, 100, 3, noise=noise) for noise in (0.1, 0.6)]
    prepared = Native().prepare(model, BlockSize(12, 96, 100))
    found = prepared.partials(Frames(a), [Frames(one) for one in others])
    with torch.inference_mode():
        left = model.prepare(Frames(a).rgb())
        expected = [model.partial(left, Frames(one).rgb()) for one in others]
    assert [one.shape for one in found] == [one.shape for one in expected]
    span = abs(float(expected[0] - expected[1]))
    assert all(abs(float(x - y)) < 0.1 * span for x, y in zip(found, expected, strict=True))
    assert float(prepared.partials(Frames(a), [Frames(others[0])])[0]) == float(found[0])
    in_float = NativeFloat32().prepare(model, BlockSize(12, 96, 100))
    exact = in_float.partials(Frames(a), [Frames(one) for one in others])
    assert [float(one) for one in exact] == pytest.approx([float(one) for one in expected], abs=1e-4)
    rgb = in_float.partials(Frames(rgb=Frames(a).rgb()), [Frames(rgb=Frames(others[0]).rgb())])
    assert float(rgb[0]) == pytest.approx(float(exact[0]), abs=0.002 * span)
    called = NativeFloat32().compile(model, None)(Frames(a).rgb(), Frames(others[0]).rgb())
    assert called.shape == (1,)
    assert float(called) == pytest.approx(float(rgb[0]))


def test_ranges_hold_what_was_seen():
    model = network()
    pictures = [torch.rand(2, 3, 96, 96)]
    ranges = calibrate(model, pictures)
    with torch.inference_mode():
        maps = model.extractor(model.range_shift(pictures[0]))
    for (_, second), found in zip(ranges, maps, strict=False):
        assert second.least == pytest.approx(found.amin((0, 2, 3)).numpy(), rel=1e-5)
        assert second.most == pytest.approx(found.amax((0, 2, 3)).numpy(), rel=1e-5)
