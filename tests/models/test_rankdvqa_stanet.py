"""RankDVQA whole: patches of any clip, pooled by a softmax over all of them."""

import copy
import itertools

import pytest
import torch

from compressvqa.errors import DataError, WeightsError
from compressvqa.models import RankDVQASTANet, create_model, example_inputs, load, rankdvqa_stanet, save, spec_of
from compressvqa.models.patch_grid import patch_grid
from compressvqa.pruning import prune

torch.set_num_threads(1)
TINY = {"widths": (4, 5, 6, 5, 4, 7), "merge_width": 4, "mlp_width": 4}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def tiny(**settings):
    """Patches of 96 pixels, so that small pictures have several; a STANet whose weights differ."""
    network = create_model(
        "rankdvqa-stanet", patch_network=TINY, **{"patch": 96, "stride": (48, 64), **settings}
    ).eval()
    if network.pooling is not None:
        for parameter in network.pooling.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return network


def clips(frames=12, height=100, width=170, batch=1):
    reference = torch.rand(batch, frames, 3, height, width)
    return reference, (reference + 0.2 * torch.randn_like(reference)).clamp(0, 1)


def partials(network, reference, distorted):
    blocks = zip(reference.split(12, dim=1), distorted.split(12, dim=1), strict=True)
    return [network.partial(network.prepare(r), d) for r, d in blocks]


@torch.no_grad()
def test_it_is_the_weighted_mean_of_what_the_parts_say():
    """Done again, patch by patch, with PQANet and STANet as they are called by themselves."""
    network, (reference, distorted) = tiny(), clips(frames=15, batch=2)
    scores, features = [], []
    for r, d in zip(reference.split(12, dim=1), distorted.split(12, dim=1), strict=True):
        filled = torch.cat([d, d[:, -1:].repeat(1, 12 - d.shape[1], 1, 1, 1)], dim=1)
        for top, left, h, w in patch_grid(100, 170, patch=96, stride=(48, 64)):
            box = (..., slice(top, top + h), slice(left, left + w))
            scores.append(network.patch_network(r[box], d[box]))
            features.append(network.patch_network.patch_features(filled[box]))
    wanted = network.pooling(torch.stack(scores, 1)[:, None], torch.stack(features, 1)[:, None])
    torch.testing.assert_close(network(reference, distorted), wanted, rtol=1e-4, atol=1e-5)
    assert len(scores) == 2 * 2 * 3  # blocks, rows, columns


@pytest.mark.parametrize(
    ("frames", "size"), [*itertools.product((1, 5, 12, 25), ((96, 96), (100, 130))), (1, (270, 480)), (13, (270, 480))]
)
@torch.no_grad()
def test_any_length_and_size_and_streaming_is_the_whole(frames, size):
    network, (reference, distorted) = tiny(patch=256, stride=(103, 111)), clips(frames, *size)
    parts = partials(network, reference, distorted)
    assert {part.shape for part in parts} == {(1, len(patch_grid(*size)), 2)}
    assert len(parts) == -(-frames // 12)
    assert torch.equal(network.pool(parts), network(reference, distorted))


@torch.no_grad()
def test_one_prepared_reference_serves_several_distorted_clips():
    network, (reference, distorted) = tiny(), clips()
    prepared = network.prepare(reference)
    for clip in (distorted, reference, distorted.flip(1)):
        assert torch.equal(network.pool([network.partial(prepared, clip)]), network(reference, clip))


@torch.no_grad()
def test_what_does_not_fit_into_memory_is_computed_again(monkeypatch):
    network, (reference, distorted) = tiny(patches_per_forward=1), clips()
    wanted = network(reference, distorted)
    one = sum(found.nbytes for found in network.prepare(reference).maps[0])
    for room, kept in ((one, [1]), (2.5 * one, [1, 1]), (1e12, [1] * 6)):
        monkeypatch.setattr(rankdvqa_stanet, "KEPT_BYTES", room)
        prepared = network.prepare(reference)
        assert [1 for maps in prepared.maps if maps is not None] == kept
        assert torch.equal(network.pool([network.partial(prepared, distorted)]), wanted)


@torch.no_grad()
def test_patches_at_a_time_do_not_matter():
    (reference, distorted), found = clips(batch=2), []
    for number in (1, 4, 100):
        torch.manual_seed(3)
        found.append(tiny(patches_per_forward=number)(reference, distorted))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


@torch.no_grad()
def test_weights_sum_to_one_over_all_patches_of_space_and_time():
    """With scores of one everywhere the pooled score is the sum of the weights."""
    network, (reference, distorted) = tiny(), clips(frames=25, batch=2)
    parts = partials(network, reference, distorted)
    ones = [torch.stack([torch.ones_like(part[..., 0]), part[..., 1]], dim=-1) for part in parts]
    torch.testing.assert_close(network.pool(ones), torch.ones(2))
    saliency = torch.cat(parts, dim=1)[..., 1]
    assert saliency.shape == (2, 3 * 6)
    assert (saliency.std(dim=1) > 0).all()


@torch.no_grad()
def test_order_of_patches_and_blocks_does_not_matter():
    network, (reference, distorted) = tiny(), clips(frames=25)
    parts = partials(network, reference, distorted)
    shuffled = [part[:, torch.randperm(part.shape[1])] for part in reversed(parts)]
    torch.testing.assert_close(network.pool(shuffled), network(reference, distorted))


@torch.no_grad()
def test_constant_saliency_is_mean_pooling():
    network, (reference, distorted) = tiny(), clips(frames=25)
    plain = RankDVQASTANet.around(network, pooling="mean").eval()
    mean = torch.cat(partials(plain, reference, distorted), dim=1)[..., 0].mean(dim=1)
    torch.testing.assert_close(plain(reference, distorted), mean)
    assert not torch.allclose(network(reference, distorted), mean)
    for parameter in network.pooling.weigh[-2].parameters():
        parameter.zero_()
    torch.testing.assert_close(network(reference, distorted), mean)
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in network.patch_network.parameters())


def test_gradient_reaches_stanet():
    """The public code's softmax runs over one element, so that nothing ever reaches its STANet."""
    network = tiny()
    network(*clips()).sum().backward()
    for name, parameter in network.pooling.named_parameters():
        if name == "weigh.6.bias":
            continue  # shifts every patch alike; only LeakyReLU's kink lets it act
        assert parameter.grad.abs().sum() > 0, name


def pruned(remove_dead=True):
    network = create_model("rankdvqa", **TINY)
    ratios = {"extractor.stages.2": 0.5, "extractor.stages.4": 0.5, "scales": 0.5}
    return prune(network, example_inputs(network, size=96), ratios=ratios, remove_dead=remove_dead).model.eval()


@pytest.mark.parametrize(("remove_dead", "stages"), [(True, (3, 5)), (False, (3, 6))])
@torch.no_grad()
def test_around_a_pruned_pqanet_saved_and_loaded(remove_dead, stages, tmp_path):
    inner = pruned(remove_dead)
    network = RankDVQASTANet.around(inner, patch=96, stride=(48, 64))
    assert network.stages == stages
    assert not network.training
    widths = inner.stage_widths()
    assert network.pooling.weigh[0].in_channels == widths[stages[0]] + widths[stages[1]] < 6 + 7
    reference, distorted = clips(frames=13)
    found = network(reference, distorted)
    again = load(save(network, tmp_path / "model"))
    assert torch.equal(again(reference, distorted), found)
    assert spec_of(again) == spec_of(network)
    assert spec_of(again).name == "rankdvqa-stanet"
    # The PQANet inside is a copy: the given one stays as it was.
    network.patch_network.extractor.stages[0][0].weight.zero_()
    assert inner.extractor.stages[0][0].weight.abs().sum() > 0


@torch.no_grad()
def test_mean_pooling_is_saved_and_gets_a_stanet_later(tmp_path):
    plain = RankDVQASTANet.around(pruned(), pooling="mean", patch=96, stride=(48, 64))
    reference, distorted = clips()
    loaded = load(save(plain, tmp_path / "mean"))
    assert torch.equal(loaded(reference, distorted), plain(reference, distorted))
    pooled = RankDVQASTANet.around(loaded)
    assert pooled.pooling is not None
    assert pooled.patches_of(100, 170) == plain.patches_of(100, 170) == patch_grid(100, 170, patch=96, stride=(48, 64))
    assert torch.equal(pooled.patch_network(reference, distorted), plain.patch_network(reference, distorted))
    assert load(save(pooled, tmp_path / "pooled"))(reference, distorted) == pooled(reference, distorted)


def test_parameters_of_the_whole():
    network = create_model("rankdvqa-stanet")
    assert sum(p.numel() for p in network.parameters()) == 4_594_938 + 58_993


@torch.no_grad()
def test_describe_is_what_partial_is_made_of():
    network, (reference, distorted) = tiny(), clips(batch=2)
    described = network.describe(network.prepare(reference, [4, 1]), distorted)
    whole = network.partial(network.prepare(reference), distorted)[:, [4, 1]]
    assert described.features.shape == (2, 2, 12, 6 + 7, 4, 4)
    saliency = network.pooling.saliency(described.features.flatten(0, 1)).reshape(2, 2)
    torch.testing.assert_close(torch.stack([described.scores, saliency], dim=-1), whole)


@torch.no_grad()
def test_half_precision_pools_in_single():
    network, (reference, distorted) = tiny(), clips()
    exact = network(reference, distorted)
    half = copy.deepcopy(network).bfloat16()
    found = half(reference.bfloat16(), distorted.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05)


def test_what_does_not_fit():
    network, (reference, distorted) = tiny(), clips()
    with pytest.raises(DataError, match="differ in shape"):
        network(reference, distorted[:, :11])
    with pytest.raises(DataError, match="differ in shape"):
        network.partial(network.prepare(reference), distorted[:, :11])
    with pytest.raises(DataError, match="longer than 12"):
        network.prepare(torch.rand(1, 13, 3, 96, 96))
    with pytest.raises(DataError, match="too small"):
        network(reference[..., :90, :], distorted[..., :90, :])
    with pytest.raises(WeightsError, match="no sixth stage any more"):
        RankDVQASTANet.around(pruned(), stages=(3, 6))
    with pytest.raises(WeightsError, match="no 7th stage, which"):
        tiny(stages=(3, 7))
    with pytest.raises(DataError, match="gives no patch scores"):
        RankDVQASTANet.around(create_model("stanet"))
    for wrong in ({"patch": 64}, {"stride": (97, 48)}, {"patches_per_forward": 0}, {"pooling": "max"}):
        with pytest.raises(DataError):
            tiny(**wrong)
