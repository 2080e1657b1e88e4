"""Channels of several layers that can only go together, and what of each parameter goes with them."""

from __future__ import annotations

from dataclasses import dataclass

from compressvqa.plurals import count
from compressvqa.pruning.dependency.labels import Ids


@dataclass(frozen=True, eq=False)
class Slot:
    """The part of one parameter or buffer that falls with a group's channels.

    Args:
        leaf: name of the parameter or buffer.
        dim: the dimension that is cut.
        indices: (channels, per channel) positions along it.
        role: "out" where the layer makes the channels, "in" where it reads them, "with" for biases, norms and tables.
        shared: whether the positions also fall with channels of another factor, as columns that read an outer product.
    """

    leaf: str
    dim: int
    indices: Ids
    role: str
    shared: bool = False


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that can be cut one by one, each with all that hangs on it.

    Args:
        name: path of the first layer that makes the channels.
        channels: how many there are.
        slots: what falls with them.
        producers: paths of the layers that make them, with the outputs of the layer per channel.
        consumers: paths of the layers that read them, with the inputs of the layer per channel.
        frozen: why they can't be cut, or None.
        ties: the operators that tied them, in words.
        coupling: name that this group shares with others whose widths depend on its own by a number in the forward:
            all of them keep the same number of units.
        unit: channels in a unit; without a coupling 1.
        numbers: the numbers that make the coupling, in words.
    """

    name: str
    channels: int
    slots: tuple[Slot, ...]
    producers: dict[str, int]
    consumers: dict[str, int]
    frozen: str | None
    ties: tuple[str, ...]
    coupling: str | None = None
    unit: int = 1
    numbers: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.name}: {count(self.channels, 'channel')}" + (f", kept: {self.frozen}" if self.frozen else "")]
        lines += [f"  made by {path} ({number} per channel)" for path, number in self.producers.items()]
        lines += [f"  read by {path} ({number} per channel)" for path, number in self.consumers.items()]
        return "\n".join(lines)
