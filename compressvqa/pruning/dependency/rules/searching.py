"""Places of numbers among sorted ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.algebra import join
from compressvqa.pruning.dependency.labels import ChannelLabels
from compressvqa.pruning.dependency.rules.picks import without_dims
from compressvqa.pruning.dependency.rules.registry import rule
from compressvqa.pruning.recording.graph import Value

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("bucketize", "searchsorted")
def places(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Element by element in the numbers that are looked for; the sorted ones are all needed for each."""
    first, second = node.args[:2]
    numbers, sorted_ones = (second, first) if node.op == "searchsorted" else (first, second)
    output = node.outputs[0]
    assert output is not None
    if not isinstance(numbers, Value):
        return run.block(node, "the sorted numbers are all needed")
    last = len(sorted_ones.shape) - 1
    known = without_dims(run, node, run.labels_of(sorted_ones), [last])
    wanted = run.labels_of(numbers)
    operands = [wanted]
    if last > 0:  # a row of sorted numbers for each row of those that are looked for
        operands = [without_dims(run, node, wanted, [last]), known]
    per_axis, free = join(run, node, operands, lambda flags: False)
    return [ChannelLabels(output.shape, per_axis, free)]
