"""The distance of features against LPIPS's and DISTS's equations, written out."""

import numpy as np
import pytest
import timm
import torch

from compressvqa.errors import DataError
from compressvqa.models import FeatureDistance, create_model, example_inputs
from compressvqa.models.feature_distance import STABLE, compare, squared_distance, windows
from compressvqa.pruning import prune

torch.set_num_threads(1)
BACKBONE = "test_efficientnet"


EACH = ("distance", "structure", "loss", "added", "boost")


def network(**settings):
    torch.manual_seed(0)
    return create_model("feature-distance", **{"backbone": BACKBONE, "terms": ("added", "distance"), **settings})


def maps(seed=0, shape=(2, 3, 6, 7)):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_distance_is_equation_1_of_lpips():
    a, b = maps(0), maps(1)
    found = squared_distance(a, b)
    for n in range(2):
        total = np.zeros(3)
        for y in range(6):
            for x in range(7):
                u, v = (m[n, :, y, x].numpy() for m in (a, b))
                total += (u / np.linalg.norm(u) - v / np.linalg.norm(v)) ** 2
        np.testing.assert_allclose(found[n], total / 42)


def test_statistics_are_those_of_a_regression_in_each_window():
    """Structure is DISTS's equation; the others are of numpy's least squares, distorted by reference."""
    a = maps(0, (2, 3, 6, 8)) + 5
    b = 0.8 * a + 0.7 * maps(1, (2, 3, 6, 8)) - 3
    found = compare(a, b, (2, 4), EACH)
    assert list(found) == list(EACH) and all((values >= 0).all() for values in found.values())
    for n in range(2):
        for c in range(3):
            expected = {term: [] for term in EACH[1:]}
            for top in (0, 3):
                for left in (0, 2, 4, 6):
                    u, v = (m[n, c, top : top + 3, left : left + 2].numpy().ravel() for m in (a, b))
                    (vu, cov), (_, vv) = np.cov(u, v, bias=True)
                    gain = (cov + STABLE) / (vu + STABLE)
                    assert gain == pytest.approx(np.polyfit(u, v, 1)[0], abs=0.2)  # but for the stabilising constant
                    expected["structure"].append(1 - (2 * cov + STABLE) / (vu + vv + STABLE))
                    expected["loss"].append(max(0, 1 - gain))
                    expected["boost"].append(max(0, gain - 1))
                    expected["added"].append(np.log(1 + np.var(v - gain * u) / (vu + STABLE)))
            for term, values in expected.items():
                assert float(found[term][n, c]) == pytest.approx(np.mean(values), rel=1e-9)


def test_each_term_answers_to_its_own_damage():
    a = 10 * maps(0, (1, 3, 16, 16))
    softer, sharper, noisy = 0.5 * a + 1, 2 * a - 1, a + 5 * maps(1, (1, 3, 16, 16))
    terms = {name: {term: float(values.mean()) for term, values in compare(a, b, (1, 1), EACH).items()}
             for name, b in (("softer", softer), ("sharper", sharper), ("noisy", noisy))}  # fmt: skip
    assert terms["softer"]["loss"] == pytest.approx(0.5, abs=1e-3) and terms["softer"]["boost"] == 0
    assert terms["sharper"]["boost"] == pytest.approx(1.0, abs=1e-3) and terms["sharper"]["loss"] == 0
    assert terms["softer"]["added"] < 1e-4 > terms["sharper"]["added"]
    assert terms["noisy"]["added"] == pytest.approx(np.log(1.25), abs=0.05)


def test_windows_are_of_one_size_in_pixels_whatever_the_picture():
    coarse = torch.zeros(1, 1, 8, 8)
    assert windows(coarse, (256, 256), 128) == (2, 2) and windows(coarse, (128, 190), 128) == (1, 1)
    assert windows(coarse, (64, 200), 128) == (1, 2) and windows(coarse, (2160, 3840), 128) == (8, 8)
    # A frame of four patches is judged as its patches are, but for what the backbone sees across their edges.
    a, b = maps(0, (4, 3, 16, 16)), maps(1, (4, 3, 16, 16))
    tiled = [m.unflatten(0, (2, 2)).permute(2, 0, 3, 1, 4).reshape(1, 3, 32, 32) for m in (a, b)]
    shift = [m - m.mean((2, 3), keepdim=True) for m in (a, b)]
    whole, patches = compare(*tiled, (2, 2), EACH[1:]), compare(*shift, (1, 1), EACH[1:])
    for term in EACH[1:]:
        torch.testing.assert_close(whole[term][0], patches[term].mean(0))


def test_the_score_is_the_weighted_terms_of_timm_s_own_maps():
    model = network(frames=2, window=32).eval()
    reference, distorted = example_inputs(model, size=64, frames=4)
    with torch.no_grad():
        for parameter in model.weighing.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
        theirs = timm.create_model(BACKBONE, features_only=True).eval()
        theirs.load_state_dict(model.backbone.state_dict())
        config = timm.models.get_pretrained_cfg(BACKBONE)
        mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (config.mean, config.std))
        expected = []
        for frame in (1, 3):  # the middles of two halves of four frames
            pair = [theirs((clip[:, frame] - mean) / deviation) for clip in (reference, distorted)]
            terms = []
            for scale, (a, b) in enumerate(zip(*pair, strict=True)):
                grid = (min(2, a.shape[2]), min(2, a.shape[3]))
                for term, each in compare(a, b, grid, ("added", "distance")).items():
                    part = model.weighing[term][scale]
                    weighed = each * part.channels.exp()
                    total = weighed.sum() if term == "distance" else weighed.mean()
                    terms.append(part.weight.exp() * torch.log(1 + part.steepness.exp() * total))
            expected.append(-model.gain.exp() * sum(terms) / len(terms))
        torch.testing.assert_close(model(reference, distorted), sum(expected)[None] / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("terms", [*((term,) for term in EACH if term != "boost"), EACH])
def test_equal_clips_are_the_best_and_noise_is_worse_the_more_there_is(terms):
    model = network(terms=terms).eval()
    clip = torch.rand(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    flat = torch.full_like(clip, 0.25)
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        assert model(clip, clip) == 0 and model(flat, flat) == 0
        scores = [float(model(clip, clip + strength * noise)) for strength in (0.02, 0.1, 0.4)]
    assert 0 > scores[0] > scores[1] > scores[2]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_backbone_learns_nothing_and_its_norms_never_move(frozen):
    model = network(frozen=frozen).train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(*example_inputs(model, size=64, frames=1)).sum().backward()
        optimizer.step()
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    assert any(key.startswith("weighing.") for key in moved)
    assert any(key.startswith("backbone.") for key in moved) != frozen
    assert not any("running" in key or "num_batches" in key for key in moved)


def test_it_is_pruned_and_the_result_proven():
    model = network(frozen=False).eval()
    inputs = example_inputs(model, size=64, frames=1)
    pruned = prune(model, inputs, ratios=0.3)
    assert pruned.max_error < 1e-4
    assert pruned.complexity_after.macs < 0.85 * pruned.complexity_before.macs
    assert pruned.model(*inputs).shape == (1,)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backbone": "tf_efficientnet_lite"}, "timm has no backbone"),
        ({"terms": ("texture",)}, "can't be compared by .*boost"),
        ({"terms": ()}, "can't be compared by"),
        ({"scales": (1, 0)}, "scales"),
        ({"scales": (0, 9)}, "can't be built"),
        ({"window": 0}, "windows of 0 pixels"),
        ({"backbone_options": {"features_only": False}}, "can't set 'features_only'"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(DataError, match=said):
        network(**settings)


def test_it_is_called_with_two_equal_shapes_of_32_pixels_at_least():
    model = FeatureDistance(BACKBONE)
    with pytest.raises(DataError, match="too small"):
        model(torch.rand(1, 1, 3, 31, 64), torch.rand(1, 1, 3, 31, 64))
    with pytest.raises(DataError, match="differ in shape"):
        model(torch.rand(1, 1, 3, 32, 64), torch.rand(1, 1, 3, 32, 32))
