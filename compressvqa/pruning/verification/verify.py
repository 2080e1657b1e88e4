"""The public verb: is this network the original with channels zeroed, whoever pruned it, and which ones?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from compressvqa.errors import VerifyError
from compressvqa.pruning.recording.entries import examples_in
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.wrappers import bare
from compressvqa.pruning.verification.by_running import first_layers, settled_by_running
from compressvqa.pruning.verification.correspondence import Correspondence, find, removed_outputs
from compressvqa.pruning.verification.doubt import Doubts, settled
from compressvqa.pruning.verification.norms import own_norms
from compressvqa.pruning.verification.power import Power, power_of
from compressvqa.pruning.verification.proof import Outcome, Proof, is_wide
from compressvqa.pruning.verification.result import Verification, joined
from compressvqa.pruning.verification.zeroed import Zeroed
from compressvqa.torch_private import tables

_SHAKES = (1.0, 0.5, 0.1, 0.02)


def verify(original: nn.Module, smaller: nn.Module, inputs: Any, *, power: bool = True, seed: int = 0) -> Verification:
    """Tells whether a network is another one with channels zeroed, whoever pruned it and with whatever.

    Nothing but the two networks is looked at. Every parameter and buffer of the smaller network is found again as a
    block of the original's; the original with everything else set to zero must then answer as the smaller network does:
    on the inputs given, on fresh ones, with another batch size and another picture size, with the weights as they are
    and with noise on them. Only norm layers are taken differently: their statistics are over the channels kept.

    Args:
        original: the network before pruning, in any mode.
        smaller: what was made of it. Weights that were trained since then can't be found again.
        inputs: what both are called with: a tuple (by position), a dict (by name) or one tensor. A list of tuples or
            dicts is several examples: it must hold for each, with the same channels.
        power: check too which tensors could have lost other channels without anything showing.
        seed: of the inputs and the noise that are drawn, and of the networks' own random numbers.

    Both networks are left as they were, to the bit: copies of them are run, in eval mode.

    Returns:
        What was found; ``bool(result)`` is `result.passed`. A difference is measured relative to how far an output
        moves between inputs, and allowed up to 1e-5 of it, or up to what rounding explains.

    Raises:
        VerifyError: these are no two networks, or the original does not take the inputs.
    """
    original, smaller = _network(original, "the original"), _network(smaller, "the smaller network")
    found: Verification | None = None
    for number, example in enumerate(examples_in(inputs), 1):
        again = _on_example(original, smaller, example, power, seed)
        found = again if found is None else joined(found, again, number)
        if not found.passed:
            break
    assert found is not None
    return found


def _on_example(original: nn.Module, smaller: nn.Module, inputs: Any, power: bool, seed: int) -> Verification:
    wide = is_wide(original, inputs, seed)
    found, doubts = settled(find(original, smaller), original, smaller)
    unmatched = {**found.foreign, **found.recomputed, **dict.fromkeys(found.gone, "nothing is left of it")}
    result = Verification(
        passed=False,
        status="",
        max_error=None,
        removed=removed_outputs(original, found.cut),
        kept={name: tuple(tuple(k.tolist()) for k in place.kept) for name, place in found.cut.items()},
        unmatched=unmatched,
        bits=64 if wide else 32,
    )
    if found.foreign:
        name, why = next(iter(found.foreign.items()))
        more = f"; and {len(found.foreign) - 1} more" if len(found.foreign) > 1 else ""
        return replace(result, status=f"no correspondence: {name} ({why}){more}")
    vectors = {name: found.pairs[name].small for name, place in found.cut.items() if len(place.size) == 1}
    norms = own_norms(original, smaller, vectors)
    proof = Proof(original, smaller, found, first_layers(doubts), inputs, wide, seed, norms)
    proof, outcome = _first(proof, doubts)
    return _judged(proof, doubts, outcome, replace(result, **_kept(proof.found, original)), power)


def _network(model: nn.Module, which: str) -> nn.Module:
    """A network that can be copied and looked into.

    Raises:
        VerifyError: it is none.
    """
    import torch

    if not isinstance(model, nn.Module):
        raise VerifyError(f"{which} is {_article(type(model).__name__)}, not a torch.nn.Module")
    for path, module in modules_of(model):
        if isinstance(module, torch.jit.ScriptModule):
            raise VerifyError("a ScriptModule can't be looked into", where=path or which, hint="the network it is of")
        held = [t for table in tables(module)[:2] for t in table.values()]
        if any(isinstance(t, (UninitializedBuffer, UninitializedParameter)) for t in held):
            raise VerifyError("it has no size before its first run", where=path or which, hint="run the network once")
    return bare(model)[0]


def _article(word: str) -> str:
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"


def _kept(found: Correspondence, original: nn.Module) -> dict[str, Any]:
    return {
        "removed": removed_outputs(original, found.cut),
        "kept": {name: tuple(tuple(k.tolist()) for k in place.kept) for name, place in found.cut.items()},
    }


def _first(proof: Proof, doubts: Doubts) -> tuple[Proof, Outcome]:
    """The comparison with the weights as they are; where it fails and values left a choice, running settles it."""
    outcome = _compared(proof)
    if outcome.passed or not doubts:
        return proof, outcome
    try:
        found, layers = settled_by_running(
            proof.original,
            proof.smaller,
            proof.found,
            doubts,
            proof.widened(proof.inputs),
            norms=proof.norms,
            wide=proof.wide,
            seed=proof.seed,
        )
    except Exception:  # the smaller network does not run, which `outcome` says
        return proof, outcome
    again = replace(proof, found=found, layers=layers, unzeroed=())
    other = _compared(again)
    return (again, other) if other.passed or other.error < outcome.error else (proof, outcome)


def _compared(proof: Proof) -> Outcome:
    """The comparison with the weights as they are; where zeros are divided by, with these left as they are."""
    outcome = proof.compare(*proof.networks())
    if outcome.passed or not proof.leave_divisors():
        return outcome
    return proof.compare(*proof.networks())


def _judged(proof: Proof, doubts: Doubts, outcome: Outcome, result: Verification, with_power: bool) -> Verification:
    """The result, after the weights were shaken and the power was checked."""
    result = replace(result, max_error=outcome.error, tried=outcome.tried, notes=tuple(_notes(proof)))
    if not outcome.passed:
        hint = _recomputed(proof.found)
        return replace(result, status=f"{outcome.said}{hint}")
    shaken, share, networks = _shaken(proof)
    if shaken is not None and not shaken.passed:
        if not any(len(choices) != 1 for choices in doubts.values()):
            said = f"{shaken.said} with noise on the weights; as they are, they hide it"
            return replace(result, status=said, max_error=max(outcome.error, shaken.error))
        note = "with noise on the weights the two differ: equal channels leave open which of them were kept"
        result, shaken = replace(result, notes=(*result.notes, note)), None
    if not (outcome.moved or (shaken is not None and shaken.moved)):
        return replace(result, status="proves nothing: no output moves between inputs")
    notes = list(result.notes)
    if not outcome.moved:
        notes.append("no output moves between inputs with the weights as they are; it is proven with noise on them")
    if shaken is not None:
        tried = (*result.tried, f"{share:.0%} noise on the weights")
        result = replace(result, max_error=max(outcome.error, shaken.error), tried=tried)
    if not any(name.startswith("draw") for name in result.tried):
        notes.append("the original takes no other inputs than those given")
    power = Power()
    if with_power and proof.found.cut:
        moving = [(zeroed, shaken.moves) for zeroed in networks] if shaken is not None and shaken.moved else []
        if outcome.moved:
            moving.append((proof.networks()[1], outcome.moves))
        power = power_of(moving, proof.found.cut, proof.widened(proof.inputs), proof.seed)
    notes += _said(power)
    return replace(result, passed=True, status="passed", unobservable=power.unobservable, notes=tuple(notes))


def _said(power: Power) -> list[str]:
    notes = []
    if power.silent:
        names = [f"{count} of {name}" for name, count in power.silent.items()]
        more = f" and some of {len(names) - 3} others" if len(names) > 3 else ""
        shown = ", ".join(names[:3])
        notes.append(f"kept channels that move no output, so that a mistake in these would not show: {shown}{more}")
    if power.untried:
        notes.append(f"{len(power.untried)} tensors without a derivative were not tried, from {power.untried[0]} on")
    return notes


def _shaken(proof: Proof) -> tuple[Outcome | None, float, list[Zeroed]]:
    """The comparison with noise on the weights, as much as the original bears, drawn twice: the worse outcome.

    Returns:
        The outcome, how much noise it was, and the zeroed networks with each noise.
    """
    for share in _SHAKES:
        small, zeroed = proof.networks(share)
        outcome = proof.compare(small, zeroed, widely=False)
        if not (outcome.moved or outcome.passed):
            continue
        if not outcome.passed:
            return outcome, share, [zeroed]
        other, again = proof.networks(share, 1)
        second = proof.compare(other, again, widely=False)
        return (second if second.moved and not second.passed else outcome), share, [zeroed, again]
    return None, 0.0, []


def _notes(proof: Proof) -> list[str]:
    notes = []
    if proof.unzeroed:
        notes.append(f"divided by, so left as they are: {', '.join(proof.unzeroed)}")
    if not proof.wide:
        notes.append("the networks run in 32 bits only")
    return notes


def _recomputed(found: Correspondence) -> str:
    if not found.recomputed:
        return ""
    name, why = next(iter(found.recomputed.items()))
    return f" (no correspondence: {name}, {why})"
