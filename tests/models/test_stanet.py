"""STANet: the softmax really weighs the patches."""

import pytest
import torch

from compressvqa.errors import DataError
from compressvqa.models import STANet, create_model, example_inputs

torch.set_num_threads(1)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return create_model("stanet").eval()


def test_size_of_the_published_network(network):
    assert sum(p.numel() for p in network.parameters()) == 58_993


def test_weights_sum_to_one_and_differ(network):
    _, features = example_inputs(network, batch=2)
    weights = network.patch_weights(features)
    torch.testing.assert_close(weights.sum(dim=(1, 2)), torch.ones(2))
    assert weights.std() > 0


def test_gradient_reaches_every_weight(network):
    scores, features = example_inputs(network)
    network(scores, features).sum().backward()
    for name, parameter in network.named_parameters():
        if name == "weigh.6.bias":
            continue  # shifts every patch alike; only LeakyReLU's kink lets it act
        assert parameter.grad.abs().sum() > 0, name


def test_order_of_patches_does_not_matter(network):
    scores, features = example_inputs(network)
    order = torch.tensor([2, 0, 1])
    shuffled = network(scores[:, :, order].flip(1), features[:, :, order].flip(1))
    torch.testing.assert_close(network(scores, features), shuffled)


def test_equal_patches_give_the_plain_mean(network):
    scores, features = example_inputs(network)
    alike = features[:, :1, :1].expand_as(features)
    torch.testing.assert_close(network(scores, alike), scores.mean(dim=(1, 2)))


def test_score_stays_between_worst_and_best_patch(network):
    scores, features = example_inputs(network, batch=3)
    found = network(scores, 20 * features)
    assert (found >= scores.amin(dim=(1, 2))).all()
    assert (found <= scores.amax(dim=(1, 2))).all()


def test_it_takes_what_rankdvqa_gives(network):
    pqanet = create_model("rankdvqa").eval()
    reference, distorted = example_inputs(pqanet, size=96, batch=2)
    with torch.no_grad():
        features = pqanet.patch_features(distorted)[None, None]  # one block of two patches
        found = network(pqanet(reference, distorted)[None, None], features)
    assert found.shape == (1,)


def test_inputs_that_do_not_fit(network):
    scores, features = example_inputs(network)
    with pytest.raises(DataError, match="don't fit"):
        network(scores[:, :1], features)
    with pytest.raises(DataError, match="256, height, width"):
        network(scores, features[..., :100, :, :])
    with pytest.raises(DataError, match="are not"):
        network(scores, features[0])
    assert STANet(channels=11)(scores, features[..., :11, :, :]).shape == (1,)
