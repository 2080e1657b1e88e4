"""Both networks side by side: the smaller one, and the original with everything else zeroed, on many inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.errors import VerifyError
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.verification.comparison import all_finite, difference, movement
from compressvqa.pruning.verification.copies import isolated
from compressvqa.pruning.verification.correspondence import Correspondence, named_tensors
from compressvqa.pruning.verification.running import answers
from compressvqa.pruning.verification.trials import Trial, drawn, other_batch, other_pictures
from compressvqa.pruning.verification.zeroed import Zeroed
from compressvqa.torch_private import tree_leaves, tree_map_only

TOLERANCE = 1e-5  # of an output's movement
_DOUBTFUL = 1e-2  # up to here rounding may be at fault, and is measured
_DRAWN = 65521  # one draw serves all weights; its prime length lets every row of a weight begin elsewhere in it
_NUDGE = 2.0**-21  # a few units in the last place of 32 bits


@dataclass(frozen=True)
class Outcome:
    """What a comparison gave.

    Args:
        error: the largest, relative to the outputs' movement.
        said: why it does not pass, or None.
        allowed: what rounding explains.
        tried: the inputs.
        moves: how far each output moves.
    """

    error: float
    said: str | None = None
    allowed: float = TOLERANCE
    tried: tuple[str, ...] = ()
    moves: tuple[float, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether both networks answer alike."""
        return self.said is None

    @property
    def moved(self) -> bool:
        """Whether any output moves, so that being alike says something."""
        return any(self.moves)


@dataclass
class Proof:
    """Two networks of which every tensor of one was found in the other.

    Args:
        original: the network before pruning.
        smaller: what was made of it.
        found: what of the original was kept.
        layers: positions that norm layers without a weight kept, by path.
        inputs: what both are called with.
        wide: compute in 64 bits.
        seed: of everything drawn.
        norms: weights of norm layers of somebody's own.
        unzeroed: tensors that something is divided by.
    """

    original: nn.Module
    smaller: nn.Module
    found: Correspondence
    layers: Mapping[str, Tensor]
    inputs: Any
    wide: bool
    seed: int
    norms: frozenset[str] = frozenset()
    unzeroed: tuple[str, ...] = ()

    def networks(self, shake: float | None = None, draw: int = 0) -> tuple[nn.Module, Zeroed]:
        """Copies of both, the original zeroed; with `shake`, both with the same noise on the weights that they share.

        Args:
            shake: how much noise, as a share of what a fresh layer's weights are.
            draw: 1 for the same noise with the other sign, which wakes channels that the first one leaves silent.
        """
        small, large = isolated(self.smaller, wide=self.wide), self.original
        if shake is not None:
            large = isolated(self.original, wide=self.wide)
            _shake(large, self.found.pairs, -shake if draw else shake, self.seed + 100)
            ours, theirs = named_tensors(large), named_tensors(small)
            with torch.no_grad():
                for name, pair in self.found.pairs.items():
                    held = theirs[pair.small]
                    held.copy_(pair.place.of(ours[name].to(pair.dtype)).to(held))
        zeroed = Zeroed(large, self.found, self.layers, norms=self.norms, unzeroed=self.unzeroed, wide=self.wide)
        return small, zeroed

    def compare(self, small: nn.Module, zeroed: Zeroed, *, widely: bool = True) -> Outcome:
        """Runs both networks on the inputs given, on fresh ones, and on those of other sizes.

        Args:
            small: the smaller network, from `networks`.
            zeroed: the original, from `networks`.
            widely: whether to try other batch and picture sizes.
        """
        given = self.widened(self.inputs)
        try:
            first = zeroed.answers(given, self.seed)
        except Exception as error:  # a network that looks at its numbers may fail on zeros
            return Outcome(math.inf, f"with the rest zeroed, the original does not run: {_line(error)}")
        trials = [Trial("the inputs given", given)]
        expected = [first]
        for number in (1, 2):
            draw = self._second(zeroed, number)
            if draw is not None:
                trials.append(Trial(f"draw {number}", draw[0]))
                expected.append(draw[1])
        moves = movement(expected)
        for trial, wanted in self._others(zeroed) if widely else ():
            trials.append(trial)
            expected.append(wanted)
        worst, where = 0.0, trials[0]
        for trial, wanted in zip(trials, expected, strict=True):
            try:
                found = answers(small, trial.inputs, self.seed)
            except Exception as error:  # any network may fail in any way
                return Outcome(math.inf, f"does not run on {trial.name}: {_line(error)}", tried=_names(trials))
            if [t.shape for t in found] != [t.shape for t in wanted]:
                return Outcome(math.inf, f"its outputs on {trial.name} have other sizes", tried=_names(trials))
            apart = difference(found, wanted, moves)
            if apart > worst:
                worst, where = apart, trial
        allowed = TOLERANCE
        if TOLERANCE < worst < _DOUBTFUL:
            allowed = max(TOLERANCE, 4 * self._rounding(zeroed, where, moves))
        said = None if worst <= allowed else f"off by {worst:.1e} on {where.name}"
        return Outcome(worst, said, allowed, _names(trials), tuple(moves))

    def leave_divisors(self) -> bool:
        """Finds what something is divided by, where zeros make it no number, and leaves that as it is from now on.

        Returns:
            Whether something was found.
        """
        before = self.unzeroed
        for _ in range(8):
            _, zeroed = self.networks()
            given = self.widened(self.inputs)
            try:
                if all_finite(zeroed.answers(given, self.seed)):
                    break
                path = _first_not_finite(zeroed, given, self.seed)
            except Exception:  # said by `compare`
                break
            names = {n for n in self.found.cut if path is not None and n.rpartition(".")[0] == path}
            if not names - set(self.unzeroed):
                break
            self.unzeroed = tuple(sorted({*self.unzeroed, *names}))
        return self.unzeroed != before

    def widened(self, inputs: Any) -> Any:
        """Inputs as wide as the networks are run."""
        if not self.wide:
            return inputs
        kinds = {torch.complex64: torch.complex128}
        return tree_map_only(
            Tensor, lambda t: t.double() if t.is_floating_point() else t.to(kinds.get(t.dtype, t.dtype)), inputs
        )

    def _second(self, zeroed: Zeroed, number: int) -> tuple[Any, list[Tensor]] | None:
        """Fresh inputs that the original takes, and its answers: with integers drawn, or else kept."""
        for integers in (True, False):
            fresh = self.widened(drawn(self.inputs, self.seed + number, integers=integers))
            try:
                found = zeroed.answers(fresh, self.seed)
            except Exception:  # integers that do not fit together, for example
                continue
            if all_finite(found):
                return fresh, found
        return None

    def _others(self, zeroed: Zeroed) -> list[tuple[Trial, list[Tensor]]]:
        """Inputs of another batch size and of another picture size, where the original takes them."""
        found = []
        batch = other_batch(self.inputs, self.seed + 3)
        for trials in ([batch] if batch else [], other_pictures(self.inputs, self.seed + 4)):
            for trial in trials:
                try:
                    wanted = zeroed.answers(inputs := self.widened(trial.inputs), self.seed)
                except Exception:  # it takes other sizes
                    continue
                if all_finite(wanted):
                    found.append((Trial(trial.name, inputs), wanted))
                    break
        return found

    def _rounding(self, zeroed: Zeroed, trial: Trial, moves: list[float]) -> float:
        """How far the original's answers move when its inputs do by a few units in the last place of 32 bits."""
        nudged = tree_map_only(Tensor, lambda t: t * (1 + _NUDGE) if t.is_floating_point() else t, trial.inputs)
        return difference(zeroed.answers(nudged, self.seed), zeroed.answers(trial.inputs, self.seed), moves)


def is_wide(original: nn.Module, inputs: Any, seed: int) -> bool:
    """Whether a network runs in 64 bits; it may make 32-bit tensors of its own.

    Raises:
        VerifyError: it does not run in 32 either.
    """
    if not any(isinstance(t, Tensor) for t in tree_leaves(inputs)):
        raise VerifyError("the inputs hold no tensor", hint="a tuple by position, a dict by name, or one tensor")
    proof = Proof(original, original, Correspondence({}), {}, inputs, True, seed)
    try:
        answers(isolated(original, wide=True), proof.widened(inputs), seed)
    except Exception:
        try:
            found = answers(isolated(original), inputs, seed)
        except VerifyError:
            raise
        except Exception as error:
            shapes = ", ".join(str(tuple(t.shape)) for t in tree_leaves(inputs) if isinstance(t, Tensor))
            raise VerifyError(f"the original does not run on these inputs, {shapes}: {_line(error)}") from error
        if not found:
            raise VerifyError("the original returns no tensor") from None
        return False
    return True


def _names(trials: Collection[Trial]) -> tuple[str, ...]:
    return tuple(trial.name for trial in trials)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _shake(model: nn.Module, names: Collection[str], share: float, seed: int) -> None:
    """Adds noise to the parameters of these names, of `share` times the size that a fresh layer's weights have.

    Running means and variances, all equal in a network as it is built, get some as well; a variance stays positive.
    """
    drawn = torch.randn(_DRAWN, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    at = 0
    held = {id(tensor): (name, tensor) for name, tensor in named_tensors(model).items() if name in names}

    def noise(tensor: Tensor) -> Tensor:
        nonlocal at
        at = (at + 7919) % _DRAWN  # every tensor begins elsewhere
        return drawn.roll(at).repeat(-(-tensor.numel() // _DRAWN))[: tensor.numel()].view(tensor.shape).to(tensor)

    with torch.no_grad():
        for name, tensor in held.values():
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            if isinstance(tensor, nn.Parameter):
                fan_in = tensor.numel() / len(tensor) if tensor.ndim > 1 else 4.0
                tensor.add_(noise(tensor), alpha=share / math.sqrt(fan_in))
            elif name.endswith("running_mean"):
                tensor.add_(noise(tensor), alpha=share / 2)
            elif name.endswith("running_var"):
                tensor.mul_((noise(tensor) * share / 4).exp())


def _first_not_finite(zeroed: Zeroed, inputs: Any, seed: int) -> str | None:
    """The path of the module whose own work makes the first number that is none."""
    said: list[str] = []

    def note(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            taken, made = ([t for t in tree_leaves(tree) if isinstance(t, Tensor)] for tree in (args, output))
            if not said and not all_finite(made):
                parent = path.rpartition(".")[0]
                said.append(path if all_finite(taken) else parent)

        return hook

    handles = [module.register_forward_hook(note(path)) for path, module in modules_of(zeroed.model)]
    try:
        zeroed.answers(inputs, seed)
    finally:
        for handle in handles:
            handle.remove()
    return said[0] if said else None
