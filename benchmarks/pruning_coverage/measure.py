"""What is measured of one network. Every part runs in a forked process of its own, with a time limit."""

from __future__ import annotations

import copy
import ctypes
import gc
import json
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from compressvqa.errors import CompressVQAError, DataError, PruneError
from compressvqa.models import load, save
from compressvqa.pruning import find_groups, prune, trace
from pruning_coverage.case import Case
from pruning_coverage.clock import seconds
from pruning_coverage.judging import distinct, judge
from pruning_coverage.ours import LIBRARIES, TARGET, Row, attempt
from pruning_coverage.peer import prune_in_place, pruned_copy

PEER_LIMIT = 5.0  # seconds for torch-pruning, whose search for groups may not end
_TWICE_UP_TO = 3_000_000  # parameters of a network that is pruned, saved and loaded a second time


def measure(case: Case, *, threads: int, limit: float, with_memory: bool = False) -> Row:
    """One row of the table.

    Args:
        case: the network.
        threads: of torch.
        limit: processor seconds for each part.
        with_memory: measure peak memory as well, which needs three more processes.
    """
    row: Row = {"name": case.name, "family": case.family, "expected": case.expects, "threads": threads}
    row["ours"] = apart(lambda: ours(case), threads, limit)
    row["torch_pruning"] = apart(lambda: peer(case), threads, min(limit, PEER_LIMIT))
    if with_memory and case.family in LIBRARIES and case.family != "pattern":
        # Beside a pattern's few kilobytes of activations, Python's own objects are all that one would see.
        for work in ("forward", "prune", "verify"):
            row[f"memory_{work}"] = apart(lambda work=work: memory(case, work), threads, limit).get("bytes")
    return row


def apart(work: Callable[[], Row], threads: int, limit: float) -> Row:
    """Runs `work` in a forked process; what ends it is written into its result under "outcome"."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        # Ends the process, also inside a loop that never returns; others on the machine don't shorten its time.
        signal.setitimer(signal.ITIMER_PROF, limit)
        signal.setitimer(signal.ITIMER_REAL, 20 * limit)
        warnings.simplefilter("ignore")
        torch.set_num_threads(threads)
        try:
            answer = work()
            answer["cpu_s"] = round(time.process_time(), 2)
        except Exception as error:  # whatever a network does, the next one is measured
            answer = {"outcome": "crashed", "said": f"{type(error).__name__}: {error}"[:2000]}
        with os.fdopen(writer, "w") as stream:
            json.dump(answer, stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    if text:
        answer_of_child: Row = json.loads(text)
        return answer_of_child
    late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM)
    return {
        "outcome": "did not end" if late else "crashed",
        "said": f"in {limit:.0f} s" if late else f"status {status}",
    }


def ours(case: Case) -> Row:
    """Pruned, proven, judged, saved and loaded; and how long each took."""
    tried = attempt(case)
    row, model, inputs, pruned = tried.row, tried.model, tried.inputs, tried.pruned
    if pruned is None or tried.again is None:
        return row
    again, one = tried.again, inputs[0] if isinstance(inputs, list) else inputs
    row["params"] = sum(p.numel() for p in model.parameters())
    row["forward_s"] = seconds(lambda _: _call(model, one))
    row["trace_s"] = seconds(lambda _: find_groups(trace(model, one)))
    row["prune_s"] = seconds(lambda _: again(verify=False))
    row["verified_s"] = (
        min(row["verified_s"], seconds(lambda _: again())) if row["verified_s"] < 1 else row["verified_s"]
    )
    row["round_trip"] = round_trip(pruned.model, one, again=row["params"] <= _TWICE_UP_TO)
    # Last: it leaves parameters without gradients, and torch's attention takes another way then.
    row["counted_share"] = macs(pruned.model, one) / macs(model, one)
    return row


def peer(case: Case) -> Row:
    """The same of torch-pruning."""
    model = case.build()
    inputs, calls = case.inputs(model), case.calls(model)
    inputs = inputs[0] if isinstance(inputs, list) else inputs
    if not case.expects:
        distinct(model)
    ignored = returned_layers(model, inputs)
    row: Row = {"ignored": ignored}
    try:
        small = pruned_copy(model, inputs, ignored)
        work = partial(prune_in_place, inputs=inputs, ignored=ignored)
        row["prune_s"] = seconds(work, lambda: copy.deepcopy(model))
        row["copy_s"] = seconds(lambda _: copy.deepcopy(model))
    except Exception as error:  # a user would see it
        return {**row, "outcome": "raised", "said": f"{type(error).__name__}: {error}".splitlines()[0][:500]}
    verdict = judge(model, small, calls)
    row |= {"outcome": verdict.outcome, "said": verdict.said}
    if verdict.outcome != "broken":
        row["share"] = macs(small, inputs) / macs(model, inputs)
    return row


def returned_layers(model: nn.Module, inputs: Any) -> list[str]:
    """Paths of the layers whose channels the network returns, by our trace."""
    try:
        groups = find_groups(trace(model, inputs))
    except Exception:  # torch-pruning goes without the list
        return []
    return sorted({path for g in groups if g.frozen is not None and "returns" in g.frozen for path in g.producers})


def round_trip(model: nn.Module, inputs: Any, *, again: bool) -> str:
    """ "once" or "twice" where state and outputs come back to the bit, else what is wrong."""
    found = _saved_and_loaded(model, inputs)
    if isinstance(found, str) or not again:
        return found if isinstance(found, str) else "once"
    try:
        second = prune(found, inputs, ratios=0.3).model
    except PruneError:
        return "once"  # nothing more can go
    found = _saved_and_loaded(second, inputs)
    return f"after a second pruning: {found}" if isinstance(found, str) else "twice"


def _saved_and_loaded(model: nn.Module, inputs: Any) -> nn.Module | str:
    """What comes back, or what is wrong with it."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            saved = save(model, Path(folder) / "model")
            loaded, again = load(saved), load(saved)
    except DataError as error:  # it was not made by create_model
        return f"not tried: {error.what}"
    except CompressVQAError as error:
        return str(error)
    # What is compared has been called, and may keep what it saw for the next call.
    return _difference(model.eval(), loaded, inputs) or again


def _difference(a: nn.Module, b: nn.Module, inputs: Any) -> str:
    left, right = a.state_dict(), b.state_dict()
    if list(left) != list(right):
        return "other tensors"
    differing = [name for name in left if not _same(left[name], right[name])]
    if differing:
        return f"{differing[0]} differs"
    return "" if all(map(_same, _call(a, inputs), _call(b, inputs))) else "outputs differ"


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num())


def macs(model: nn.Module, inputs: Any) -> int:
    """Multiply-accumulates of convolutions, linear layers and matrix products, counted by torch's FlopCounterMode."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # the counter raises at a view of a parameter that was made without gradients
    # The counter knows matrix products and convolutions: attention and recurrent layers must run as such.
    with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False) if recurrent else nullcontext():
        fast, _ = torch.backends.mha.get_fastpath_enabled(), torch.backends.mha.set_fastpath_enabled(False)
        try:
            with FlopCounterMode(display=False) as counter:
                _call(model, inputs)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
    return max(1, int(counter.get_total_flops()) // 2)


def memory(case: Case, work: str) -> Row:
    """Peak memory of a forward pass with its weights, of pruning, or of pruning with verification, in bytes."""
    model = case.build()
    inputs = case.inputs(model)
    if work == "forward":
        weights = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
        return {"bytes": weights + peak_rise(lambda: _call(model, inputs))}
    return {"bytes": peak_rise(lambda: prune(model, inputs, target_macs=TARGET, verify=work == "verify"))}


def peak_rise(work: Callable[[], Any]) -> int:
    """Bytes by which this process's peak resident size rises over what is resident now; Linux only."""
    libc = ctypes.CDLL("libc.so.6")
    # Memory that is freed goes back at once, so that what is resident is what is in use.
    libc.mallopt(-3, 64 * 1024)  # M_MMAP_THRESHOLD
    gc.collect()
    libc.malloc_trim(0)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    work()
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def _call(model: nn.Module, inputs: Any) -> list[Tensor]:
    torch.manual_seed(5)  # some networks crop at random
    inputs = (inputs,) if isinstance(inputs, Tensor) else inputs
    with torch.no_grad():
        out = model(**inputs) if isinstance(inputs, dict) else model(*inputs)
    return [t for t in tree_flatten(out)[0] if isinstance(t, Tensor)]
