import pytest
from torch import nn

from compressvqa.distillation import pair_taps
from compressvqa.errors import RecipeError


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn, self.mlp = nn.Linear(2, 2), nn.Linear(2, 2)


def network(depth, name="blocks"):
    model = nn.Module()
    model.add_module("stem", nn.Linear(2, 2))
    model.add_module(name, nn.ModuleList(Block() for _ in range(depth)))
    return model


def test_twelve_blocks_are_spread_over_forty():
    pairs = pair_taps(network(12), network(40), {"blocks.*": "blocks.*"})
    ends = [3, 6, 9, 13, 16, 19, 23, 26, 29, 33, 36, 39]  # the last of each twelfth: 40/12, 80/12, ... rounded up
    assert pairs == {f"blocks.{i}": f"blocks.{end}" for i, end in enumerate(ends)}


def test_the_longer_side_may_be_the_students():
    assert pair_taps(network(6), network(2, "trunk"), {"blocks.*": "trunk.*"}) == {
        "blocks.2": "trunk.0", "blocks.5": "trunk.1",
    }  # fmt: skip


def test_paths_and_patterns_side_by_side_in_the_order_of_the_networks():
    pairs = pair_taps(network(2), network(11), {"stem": "stem", "blocks.[01].attn": "blocks.1[0-9]*.attn"} | {})
    assert pairs == {"stem": "stem", "blocks.1.attn": "blocks.10.attn"}
    assert pair_taps(network(3), network(3), {"**.mlp": "**.attn"}) == {
        f"blocks.{i}.mlp": f"blocks.{i}.attn" for i in range(3)
    }
    # Ten comes after nine, as in the network, not after one.
    assert list(pair_taps(network(11), network(11), {"blocks.*": "blocks.*"}).values())[-1] == "blocks.10"


def test_a_module_with_two_names_is_one_to_a_pattern():
    shared = network(2)
    shared.add_module("again", shared.blocks)
    assert list(pair_taps(shared, network(2), {"*.[01]": "blocks.*"})) == ["blocks.0", "blocks.1"]
    assert pair_taps(shared, network(2), {"again.1": "blocks.1"}) == {"again.1": "blocks.1"}


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"block.*": "blocks.*"}, r"the student: 'block\.\*' matches no module.*blocks"),
        ({"blocks.*": "bloks.*"}, r"the teacher: 'bloks\.\*' matches no module.*blocks"),
        ({"blocks.*": "stem"}, r"'blocks\.\*' matches 3 modules, and 'stem' is one.*blocks\.2"),
        ({"stem": "blocks.*"}, r"'blocks\.\*' matches 5 modules"),
        ({"blocks.*": "blocks.*", "blocks.1": "stem"}, r"'blocks\.1' is paired twice: with 'blocks\.\d' and 'stem'"),
        ({"blocks.**": "blocks.*"}, r"matches the student's 'blocks' and 'blocks\.0' inside it"),
    ],
)
def test_mistakes_are_named(features, said):
    with pytest.raises(RecipeError, match=said):
        pair_taps(network(3), network(5), features)
