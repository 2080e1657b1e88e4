"""The score of each place: its mean is the network's score, and damage is where it was put."""

import pytest
import torch

from compressvqa.models import create_model
from compressvqa.models.score_map import has_score_map, score_map


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return create_model("rankdvqa", widths=(4, 6, 8, 10, 12, 14), merge_width=8, mlp_width=8).eval()


@pytest.mark.parametrize("size", [(96, 96), (100, 134)])
def test_the_mean_over_places_is_the_score(network, size):
    chance = torch.Generator().manual_seed(1)
    clips = [torch.rand((2, 12, 3, *size), generator=chance) for _ in range(2)]
    with torch.inference_mode():
        found = score_map(network, *clips)
        torch.testing.assert_close(found.mean(dim=(1, 2)), network(*clips))
    assert found.shape[0] == 2 and found.shape[1] >= size[0] // 4
    assert not any(scale.head._forward_hooks for scale in network.scales), "nothing is left in the network"


def test_the_map_differs_where_the_clips_do(network):
    reference = torch.rand((1, 12, 3, 192, 192), generator=torch.Generator().manual_seed(2))
    distorted = reference.clone()
    distorted[..., :48, 144:] = 0.5  # the upper right corner is grey
    with torch.inference_mode():
        change = (score_map(network, reference, distorted) - score_map(network, reference, reference))[0].abs()
    height, width = change.shape
    corner = change[: height // 4, 3 * width // 4 :].mean()
    assert corner > 4 * change[height // 2 :, : width // 2].mean()


def test_a_network_without_scores_of_places_has_none():
    assert not has_score_map(create_model("c3dvqa", patch=64, stride=64, width=2, trunk_width=8))
