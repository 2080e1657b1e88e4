"""The stage that turns density into fewer channels, and transformers into shallower ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from compressvqa.errors import PruneError, RecipeError
from compressvqa.files import write_json
from compressvqa.models import also_of, load, save
from compressvqa.module_paths import covers, modules_named
from compressvqa.pruning import Pruned, PrunedDepth, Schedule, WrittenSettings, density, density_ratios, prune_depth
from compressvqa.pruning.depth.depth import blocks_to_go
from compressvqa.pruning.reach import check_reach, foreseen
from compressvqa.registry import importances, ratio_rules, runtimes, stages
from compressvqa.stages.base import StageConfig, StageContext, StageResult
from compressvqa.stages.train import TrainingConfig
from compressvqa.training.loop import Batches
from compressvqa.training.optimizers import OptimizerChoice
from compressvqa.untrusted import read_json


class FineTuning(TrainingConfig):
    """Training on the recipe's objective between two steps of pruning."""

    name: str = Field("fine-tuning", description="not used: the figures are those of the prune stage")
    optimizer: OptimizerChoice = Field(
        OptimizerChoice.model_construct(name="adamw", lr=1e-4, betas=(0.5, 0.999)), description="the optimiser"
    )


@stages.register("prune")
class PruneStage:
    """Removes channels, each layer by its density, and proves that the rest computes the same (Feng et al., II-A).

    With `depth`, whole residual blocks go first. Targets are shares of the network that the stage was given.
    """

    class Config(WrittenSettings, StageConfig):
        """Settings of pruning: whole blocks, then channels."""

        depth: float | None = Field(
            None, gt=0, lt=1, description="share of the residual blocks that goes first; those under `protect` stay"
        )
        blocks: str | tuple[str, ...] | None = Field(
            None,
            description="which modules are blocks: module path patterns, or a list's path; null: every "
            "element of a list or sequence that adds to its input",
        )
        depth_by: Literal["influence", "loss", "even", "last"] = Field(
            "influence",
            description="which blocks go. influence: those that turn their input least; loss: those that the objective "
            "misses least, one after another; even, last: by their place",
        )

        rule: str | None = Field(
            "in",
            description="a registered ratio rule: density to share kept; zeros: the channels that are exactly zero; "
            "null: uniform, and no channel goes where there is neither a target nor a global ranking but `depth`",
        )
        gradient_batches: int = Field(
            8, ge=1, description="batches that an importance like 'taylor' or 'activation', or `depth_by`, sees"
        )
        batch: int = Field(8, ge=1, description="pairs (or clips) in such a batch")
        steps: int = Field(1, ge=1, description="pruning steps; `finetune` comes between them")
        finetune: FineTuning | None = Field(None, description="the training after every step but the last")

        @model_validator(mode="after")
        def _fits(self) -> PruneStage.Config:
            if self.scope == "global" and self.rule is not None:
                raise ValueError("scope 'global' ranks all channels together, so it takes no rule: `rule: null`")
            if self.rule == "zeros" and self.has_target:
                raise ValueError("rule 'zeros' removes just what is exactly zero, so it takes no target")
            if self.rule == "zeros" and self.steps > 1:
                raise ValueError("rule 'zeros' loses nothing, so it takes one step")
            if self.depth is None and (self.blocks is not None or self.depth_by != "influence"):
                raise ValueError("`blocks` and `depth_by` say which blocks `depth` removes, so they need it")
            if not (self.rule or self.scope == "global" or self.has_target or self.depth):
                raise ValueError("nothing is asked for: a target, a `rule`, `scope: global`, or `depth`")
            if not self.cuts_channels and self.steps > 1:
                raise ValueError("`steps` are those of channel pruning, and no channel is to go: a target, or a rule")
            if (self.steps > 1) != (self.finetune is not None):
                raise ValueError("`steps` above 1 and `finetune` go together: the training is between the steps")
            return self

        @property
        def cuts_channels(self) -> bool:
            """Whether channels are asked for; without that, a stage with `depth` removes blocks and nothing else."""
            return self.rule is not None or self.scope == "global" or self.has_target or self.depth is None

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, network: nn.Module, teacher: nn.Module) -> None:
        """Looks, before any data is prepared, whether there are the rule, importance and modules that are named.

        Raises:
            CompressVQAError: an unknown rule or importance, or a path or pattern that matches nothing.
        """
        config = self.config
        if config.rule not in (None, "zeros"):
            ratio_rules[config.rule]
        importances[config.importance.name]
        for pattern in config.protect:
            modules_named(network, pattern, RecipeError, where="protect")
        for pattern in (config.blocks,) if isinstance(config.blocks, str) else config.blocks or ():
            modules_named(network, pattern, RecipeError, where="blocks")

    def rehearse(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module | None:
        """Looks whether any weights of the network could be pruned as asked; the smaller network where it is foreseen.

        Raises:
            CompressVQAError: a target that no cut reaches, or nothing that may go, or the runtime is not installed.
        """
        config = self.config
        if config.target_latency is not None and isinstance(config.runtime, str):
            runtimes[config.runtime].value()
        if config.depth is not None:  # which blocks go is a matter of weights, and channels go from what is left
            try:
                blocks_to_go(network, inputs, config.depth, blocks=config.blocks, protect=config.protect)
            except PruneError as error:  # in the words of this stage
                hint = None if error.hint is None else error.hint.replace("remove=", "depth: ")
                what = error.what.replace("remove=", "depth ")
                raise PruneError(what, where=error.where or "depth", hint=hint) from error
            return None
        also = also_of(network, inputs)
        settings = {name: getattr(config, name) for name in WrittenSettings.model_fields}
        check_reach(network, inputs, also=also, **settings)
        return None if config.rule else foreseen(network, inputs, also=also, **settings)

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Returns a new, smaller network; its figures say what was removed, and how exactly it matches."""
        context = context.on_device()
        network.to(context.inputs[0].device)
        journal = _Journal(context.folder)
        before = {"widths": _widths(network), "density": {p: layer.density for p, layer in density(network).items()}}
        current, depth = self._shorten(network, context, journal)
        if not self.config.cuts_channels:
            return StageResult(current, {"max_error": depth["max_error"], "depth": depth, "density": before["density"]})
        ratios = journal.once("ratios", lambda: self._ratios(current, context))
        schedule = self._schedule(network, context, ratios, current)
        parts = []
        for number in range(1, self.config.steps + 1):
            folder = context.folder / f"step-{number}"
            last = number == self.config.steps
            figures = journal.read(f"step-{number}")
            if figures is None:
                self._take_gradients(current, context)
                pruned = schedule.prune(number, current)
                figures, current = _figures(pruned), pruned.model
                if not last:
                    save(current, folder / "model")
                    journal.write(f"step-{number}", figures)
            if not last:
                # Read back also where it was just written, so that a run that is resumed here is the same.
                current = load(folder / "model").to(context.inputs[0].device)
                if journal.read(f"step-{number + 1}") is None:
                    self._fine_tune(current, replace(context, folder=folder), number)
            parts.append(figures)
        return StageResult(current, self._sum_up(parts, before, depth))

    def _shorten(self, network: nn.Module, context: StageContext, journal: _Journal) -> tuple[nn.Module, Any]:
        """The network without the blocks that `depth` removes, and the figures of that."""
        config = self.config
        if config.depth is None:
            return network, None
        known = journal.read("depth")
        clips = _Clips(context, config.batch, config.gradient_batches)
        pruned = prune_depth(
            network,
            context.inputs,
            # Chosen once: a stage that goes on after a kill leaves out the same blocks.
            remove=config.depth if known is None else known["removed"],
            blocks=config.blocks,
            by=config.depth_by,
            batches=clips if config.depth_by == "influence" else None,
            loss=clips.loss if config.depth_by == "loss" and known is None else None,
            protect=config.protect,
            seed=context.seed,
        )
        if known is None:
            known = _depth_figures(pruned)
            journal.write("depth", known)
        return pruned.model, known

    def _ratios(self, network: nn.Module, context: StageContext) -> Any:
        rule = self.config.rule
        if rule == "zeros":
            return rule
        if rule is None:
            return None if self.config.has_target or self.config.scope == "local" else 0.5
        return density_ratios(network, rule, inputs=context.inputs, also=also_of(network, context.inputs))

    def _schedule(self, network: nn.Module, context: StageContext, ratios: Any, shallow: nn.Module) -> Schedule:
        config = self.config
        # Layers of blocks that went need no protection any more; a name that never fitted is still an error.
        left = {path for path, _ in shallow.named_modules()}
        lost = {path for path, _ in network.named_modules()} - left
        over = [p for p in config.protect if _names(p, lost) and not _names(p, left)]
        settings = {name: getattr(config, name) for name in WrittenSettings.model_fields}
        settings["importance"] = replace(
            config.importance, batches=_Clips(context, config.batch, config.gradient_batches)
        )
        settings["protect"] = tuple(p for p in config.protect if p not in over)
        also = also_of(network, context.inputs)
        return Schedule(
            network, context.inputs, also=also, steps=config.steps, ratios=ratios, seed=context.seed, **settings
        )

    def _take_gradients(self, network: nn.Module, context: StageContext) -> None:
        """Sums the objective's gradients over some batches, as `Parameter.grad`, if the importance needs them."""
        network.zero_grad(set_to_none=True)
        if not importances[self.config.importance.name].facts.get("gradients"):
            return
        objective, batches = context.objective, context.batches(self.config.batch)
        network.eval()  # dropout would only add noise
        for step in range(self.config.gradient_batches):
            batch = batches.batch_at(step)
            objective.loss(network(*objective.inputs(batch)), batch).backward()

    def _fine_tune(self, network: nn.Module, context: StageContext, number: int) -> None:
        """Trains in the step's folder, on the batches that follow those of the steps before."""
        config = self.config.finetune
        assert config is not None
        done, total = (number - 1) * config.steps, (self.config.steps - 1) * config.steps

        def log(step: int, steps: int, figures: dict[str, float]) -> None:
            context.log(done + step, total, figures)

        moved = replace(
            context, log=log, seed=context.seed + number, batches=lambda n: _Later(context.batches(n), done)
        )
        config.fit(network, config.optimizer.build(network.parameters()), moved)

    def _sum_up(self, parts: list[dict[str, Any]], before: dict[str, Any], depth: Any) -> dict[str, Any]:
        removed: dict[str, int] = {}
        for part in parts:
            for path, count in part["removed"].items():
                removed[path] = removed.get(path, 0) + count
        figures: dict[str, Any] = {
            "rule": self.config.rule,
            "max_error": max(part["max_error"] for part in ([] if depth is None else [depth]) + parts),
            "dead": [path for part in parts for path in part["dead"]],
            "removed": removed,
            "widths_before": {path: before["widths"][path] for path in removed if path in before["widths"]},
            "density": before["density"],
            "plan": parts[-1]["plan"],
        }
        if depth is not None:
            figures["depth"] = depth
        if parts[-1]["latency"] is not None:
            figures["latency"] = parts[-1]["latency"]
        return figures | ({"steps": parts} if len(parts) > 1 else {})


def _figures(pruned: Pruned) -> dict[str, Any]:
    """What one step did, as plain JSON values."""
    timing = pruned.plan.latency
    return {
        "max_error": pruned.max_error,
        "dead": list(pruned.dead),
        "removed": {path: len(channels) for path, channels in pruned.removed.items()},
        "plan": str(pruned.plan),
        "params": list(pruned.plan.params),
        "macs": list(pruned.plan.macs),
        "latency": None if timing is None else {**vars(timing), "share": timing.share},
    }


def _names(pattern: str, paths: Iterable[str]) -> bool:
    return any(covers(pattern, path) for path in paths)


def _depth_figures(pruned: PrunedDepth) -> dict[str, Any]:
    """Which blocks went, and why, as plain JSON values."""
    before, after = pruned.complexity_before, pruned.complexity_after
    return {
        "removed": list(pruned.removed),
        "blocks": list(pruned.blocks),
        "by": pruned.by,
        "scores": pruned.scores,
        "max_error": pruned.max_error,
        "params": [before.params, after.params],
        "macs": [before.macs, after.macs],
    }


class _Journal:
    """What is known so far of a stage that may be killed: ``steps.json`` in its folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "steps.json"
        self._known: dict[str, Any] = read_json(self._file) if self._file.exists() else {}

    def read(self, key: str) -> Any:
        return self._known.get(key)

    def write(self, key: str, value: Any) -> None:
        self._known[key] = value
        write_json(self._file, self._known)

    def once(self, key: str, make: Any) -> Any:
        if key not in self._known:
            self.write(key, make())
        return self._known[key]


class _Clips:
    """The inputs of some training batches, read anew whenever they are gone through."""

    def __init__(self, context: StageContext, batch: int, count: int) -> None:
        self._context, self._batch, self._count = context, batch, count

    def __iter__(self) -> Iterator[Any]:
        for batch in self._all():
            yield tuple(self._context.objective.inputs(batch))

    def loss(self, network: nn.Module) -> float:
        """The mean of the objective's loss over the batches."""
        objective = self._context.objective
        losses = [float(objective.loss(network(*objective.inputs(batch)), batch)) for batch in self._all()]
        return sum(losses) / len(losses)

    def _all(self) -> Iterator[Any]:
        batches = self._context.batches(self._batch)
        for step in range(self._count):
            yield batches.batch_at(step)


class _Later:
    """Batches from a later step on."""

    def __init__(self, batches: Batches, offset: int) -> None:
        self._batches, self._offset = batches, offset

    def batch_at(self, step: int) -> Any:
        return self._batches.batch_at(step + self._offset)


def _widths(network: nn.Module) -> Mapping[str, int]:
    names = ("out_channels", "out_features")
    return {
        path: int(getattr(module, name))
        for path, module in network.named_modules()
        for name in names
        if isinstance(getattr(module, name, None), int)
    }
