"""Runs a recipe in a run folder: data, the stages one after the other, figures, report."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa import registry
from compressvqa.cost import compare_latency, profile
from compressvqa.data.judged import Judged
from compressvqa.environment import environment
from compressvqa.errors import CompressVQAError, RecipeError
from compressvqa.files import check_writable, plain, write_json
from compressvqa.metrics import correlation
from compressvqa.models import load, save
from compressvqa.models.scales import fit_to_labels, scale_of
from compressvqa.plurals import count
from compressvqa.progress import bar
from compressvqa.report import model_card, write_report
from compressvqa.running.metrics_log import MetricsLog
from compressvqa.running.precision import fabric_of, precision_of, processes_of
from compressvqa.running.preflight import preflight
from compressvqa.running.recipe import INITIAL, Recipe, kind_of, start_of, teachers_of
from compressvqa.running.recipe_file import located
from compressvqa.running.run_folder import RunFolder, StageFolder
from compressvqa.running.surroundings import logged_to, silent, terminated_as_interrupted, threads
from compressvqa.stages import StageContext, StageResult
from compressvqa.training.world import World

log = logging.getLogger("compressvqa")


@dataclass(frozen=True)
class RunResult:
    """What a run made.

    Args:
        folder: the run folder.
        model: folder of the last stage's network; `compressvqa.load` reads it.
        report: the report, one HTML file.
        table: one row a stage: params, macs, macs_conv_linear, latency_ms, srocc, plcc, pair_accuracy, n.
    """

    folder: Path
    model: Path
    report: Path
    table: list[dict[str, Any]] = field(default_factory=list)


def run(
    recipe: Recipe | str | Path,
    *,
    out: str | Path | None = None,
    resume: bool = True,
    data_folder: str | Path | None = None,
    tell: Callable[[RunResult], None] | None = None,
) -> RunResult:
    """Runs a recipe to its report.

    A run that was stopped, even by kill -9, goes on when it is called again with the same `out`, and gives the same
    result on the same machine. Stages whose settings changed, and those after them, are done again.

    Args:
        recipe: a checked recipe, or the path or name of one.
        out: the run folder; by default ``runs/<name of the recipe>``.
        resume: False refuses a folder that already holds a run.
        data_folder: where the prepared data is kept, so that runs may share it; by default inside the run folder.
        tell: called with the result once it is known, before the last network, the results and the report are written:
            a disk that is full then keeps nobody from the figures.

    Raises:
        CompressVQAError: anything that the user can mend: data, weights, targets, a loss that is not a number.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    folder = RunFolder(Path(out) if out is not None else Path("runs") / recipe.name)
    if not resume and (folder.path / "recipe.yaml").exists():
        raise CompressVQAError("this folder already holds a run", where=folder.path, hint="another --out, or --resume")
    data = Path(data_folder) if data_folder else folder.path / "data"
    here = processes_of(recipe.runtime)
    if not here.first:
        with terminated_as_interrupted(), silent(), threads(recipe.runtime.threads):
            return _Run(recipe, folder, data, here).help()
    with folder.locked(), terminated_as_interrupted(), logged_to(folder.path / "log.txt"):
        check_writable(data / "train" / "index.json")
        with threads(recipe.runtime.threads):
            return _Run(recipe, folder, data, here).run(tell)


class _Nowhere:
    """The log of figures of a process that writes none."""

    def write(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Writes nothing."""

    def forget(self, stage: str) -> None:
        """There is nothing to forget."""

    def rows(self) -> list[dict[str, Any]]:
        """No lines."""
        return []


class _Run:
    """One call of `run`: the recipe, its folder, and what its stages share."""

    def __init__(self, recipe: Recipe, folder: RunFolder, data_folder: Path, here: World) -> None:
        self.recipe, self.folder, self.data_folder, self.here = recipe, folder, data_folder, here
        self.environment = environment() | {"precision": precision_of(recipe.runtime)}
        self.objective = registry.objectives[kind_of(recipe.objective)].value(recipe.objective)
        self.dataset = registry.datasets[kind_of(recipe.data)].value(recipe.data)
        # Networks are made first: a wrong name, checkpoint or module path should not cost the time of preparing data.
        self.networks = preflight(recipe)
        self.inputs = self.networks.inputs
        self.rows: list[dict[str, Any]] = []
        self.figures: dict[str, dict[str, Any]] = {}
        self.stage_models: dict[str, Path] = {}
        self.environments: dict[str, dict[str, Any]] = {}  # of the run that each stage was done in
        self.scores: dict[str, list[float]] = {}
        self.judged: Judged | None = None

    def run(self, tell: Callable[[RunResult], None] | None) -> RunResult:
        recipe, began = self.recipe, time.monotonic()
        self.folder.begin(recipe, self.environment)
        log.info("%s: %s, in %s", recipe.name, count(len(recipe.stages), "stage"), self.folder.path)
        self._prepare_all()
        self.here.wait()
        self.identity = self.networks.identity | identity_of_data(
            {"train": self.train, "validation": self.validation, "unlabelled": self.unlabelled}
        )
        self.metrics: MetricsLog | _Nowhere
        with closing(MetricsLog(self.folder.path, {config.name for config in recipe.stages})) as self.metrics:
            for index, config in enumerate(recipe.stages):
                self._stage(index, config)
        results = self._results()
        result = RunResult(
            self.folder.path, self.folder.path / "model", self.folder.path / "report.html", results["table"]
        )
        if tell is not None:
            tell(result)
        last = [config.name for config in recipe.stages if config.network == "model"] or [recipe.stages[-1].name]
        network = load(self.stage_models[last[-1]])
        if "scale" not in self.figures[last[-1]] and hasattr(self.dataset, "judge"):  # an older version's stage
            self._judge(last[-1], network)
            self.figures[last[-1]] |= self._scale(network)
        card = model_card(results, scale=scale_of(network))
        save(network, self.folder.path / "model", card=card, facts={"table": results["table"]})
        write_json(self.folder.path / "results.json", results)
        write_report(results, self.folder.path, recipe.to_yaml())
        log.info("%s: done in %.0f s", recipe.name, time.monotonic() - began)
        return result

    def help(self) -> RunResult:
        """What the other processes do that torchrun started: they take their shares of the trainings."""
        self.here.wait()  # data is prepared once
        self._prepare_all()
        self.metrics = _Nowhere()
        for index, config in enumerate(self.recipe.stages):
            self.stage_models[config.name] = Path(self.here.same(None))
            if not self.here.same(None):
                network = self._network_at(start_of(self.recipe, index), config.network)
                with tempfile.TemporaryDirectory() as place:
                    self._run_stage(StageFolder(Path(place)), config, network)
                self.here.wait()  # until the first one has written the network
        return RunResult(self.folder.path, self.folder.path / "model", self.folder.path / "report.html")

    def _prepare_all(self) -> None:
        self.train, self.validation = self._prepare("train"), self._prepare("validation")
        wanted = any(stage.data == "unlabelled" for stage in self.recipe.stages)
        self.unlabelled = self._prepare_unlabelled() if wanted else None

    def _prepare(self, part: str) -> Any:
        with bar(f"data: {part}") as progress:
            examples = self.dataset.prepare(self.data_folder / part, part=part, progress=progress)
        log.info("data: %s: %s", part, _brief(examples.summary()))
        return examples

    def _prepare_unlabelled(self) -> Any:
        choice = self.recipe.unlabelled
        assert choice is not None
        self.unlabelled_dataset = registry.datasets[kind_of(choice)].value(choice)
        with bar("data: unlabelled") as progress:
            examples = self.unlabelled_dataset.prepare(self.data_folder / "unlabelled", part="train", progress=progress)
        log.info("data: unlabelled: %s", _brief(examples.summary()))
        return examples

    def _stage(self, index: int, config: Any) -> None:
        folder = self.folder.stage(self.recipe, index, self.identity)
        done = folder.result()
        if folder.fresh:
            self.metrics.forget(config.name)
        self.here.same(str(folder.model.absolute()))
        self.here.same(done is not None)
        if done is None:
            began = time.monotonic()
            result = self._run_stage(folder, config, self._network_at(start_of(self.recipe, index), config.network))
            network = result.network.cpu().eval()
            row, scores = self._judge(config.name, network)
            figures = result.figures | self._scale(network)
            done = {"figures": figures, "row": row, "scores": scores, "environment": self.environment}
            save(network, folder.model)
            done["seconds"] = time.monotonic() - began
            folder.finish(done)
            self.here.wait()
            log.info("stage %s: %s", config.name, _brief(done["row"]))
        else:
            log.info("stage %s: done before, %s", config.name, _brief(done["row"]))
        self.rows.append(done["row"] | {"origin": self._origin(index)} | self._agreement(done.get("scores", [])))
        self.figures[config.name] = done["figures"]
        self.stage_models[config.name] = folder.model
        self.environments[config.name] = done.get("environment", {})
        self.scores[config.name] = done.get("scores", [])

    def _network_at(self, start: str, which: str) -> nn.Module:
        return self.networks.initial(which) if start == INITIAL else load(self.stage_models[start])

    def _origin(self, index: int) -> str | None:
        """The stage whose network a stage made something of: the one it starts from, else its teacher."""
        start = start_of(self.recipe, index)
        if start != INITIAL:
            return start
        return next((name for name in teachers_of(self.recipe.stages[index]) if name in self.scores), None)

    def _network_named(self, name: str) -> nn.Module:
        """What a stage ended with; else the recipe's network of that name as it is built."""
        return load(self.stage_models[name]) if name in self.stage_models else self.networks.initial(name)

    def _agreement(self, scores: list[float]) -> dict[str, float]:
        """How a stage's scores of the validation clips agree with those of the first stage's network."""
        first = next(iter(self.scores.values()), [])
        if len(first) < 2 or len(first) != len(scores):
            return {}
        found = correlation(scores, first, "none")
        return {"agreement_srocc": found.srocc, "agreement_plcc": found.plcc}

    def _run_stage(self, folder: StageFolder, config: Any, network: nn.Module) -> StageResult:
        recipe = self.recipe
        seed = zlib.crc32(f"{recipe.seed}/{config.name}".encode())
        entry = registry.stages[kind_of(config)]
        stage, whole = entry.value(config), bool(entry.facts.get("whole_weights"))
        if recipe.runtime.recompute:
            _recompute(network, recipe)
        with bar(f"stage: {config.name}") as progress:

            def write(step: int, steps: int, figures: dict[str, float]) -> None:
                self.metrics.write(config.name, step, figures)
                progress.update(step, steps, note=f"loss {figures['loss']:.3f}" if "loss" in figures else "")

            context = StageContext(
                folder=folder.path,
                objective=self.objective,
                batches=lambda batch: self._batches(config.data, batch, seed),
                network_of=self._network_named,
                inputs=self.inputs,
                fabric=lambda: fabric_of(recipe.runtime, network, whole_weights=whole),
                log=write,
                seed=seed,
            )
            with located(recipe, "stages", recipe.stages.index(config)):
                result = stage.run(network, context)
        assert isinstance(result, StageResult)
        return result

    def _batches(self, data: str, batch: int, seed: int) -> Any:
        if data == "unlabelled":
            return self.unlabelled_dataset.batches(self.unlabelled, batch=batch, seed=seed)
        return self.dataset.batches(self.train, batch=batch, seed=seed)

    def _judge(self, name: str, network: nn.Module) -> tuple[dict[str, Any], list[float]]:
        """The row of the table for a network, its size and how it ranks the validation data; and its scores of them."""
        scores: list[float] = []

        def score(*clips: Tensor) -> Any:
            found = answer(*clips)
            scores.extend(found.detach().float().flatten().tolist())
            return found

        with bar(f"evaluate: {name}") as progress, self._answering(network) as answer:
            if hasattr(self.dataset, "judge"):
                self.judged = self.dataset.judge(self.validation, score, progress)
                judged = self.dataset.figures(self.judged)
            else:
                judged = self.dataset.evaluate(self.validation, score, progress)
        complexity = profile(network, self.inputs)
        size = {"params": complexity.params, "macs": complexity.macs, "macs_conv_linear": complexity.macs_conv_linear}
        return {"stage": name, **size, **judged}, scores

    def _scale(self, network: nn.Module) -> dict[str, Any]:
        """Fits the scale of the network that was judged last, to what it was judged by; figures of it."""
        judged = self.judged
        if judged is None:
            return {}
        identical: list[float] = []
        if hasattr(self.dataset, "identical"):
            with self._answering(network) as answer:
                identical = self.dataset.identical(self.validation, answer)
        found = fit_to_labels(network, judged.scores, judged.labels, span=judged.span, fitted_to=judged.label,
                              identical=identical)  # fmt: skip
        log.info("scale: %s", f"none, {found['none']}" if "none" in found else "0 to 100, " + _brief(found))
        return {"scale": found}

    @contextmanager
    def _answering(self, network: nn.Module) -> Iterator[Callable[..., Tensor]]:
        """A network as data sets call it, on the device of the run; it is on the processor afterwards."""
        fabric = fabric_of(self.recipe.runtime)
        network.to(fabric.device)
        with torch.inference_mode():
            yield lambda *clips: network(*(clip.to(fabric.device) for clip in clips))
        network.cpu()

    def _made_elsewhere(self) -> list[str]:
        """A sentence for each stage that was done on another machine, or with other versions, than this run's."""
        now, found = _flat(self.environment), []
        for name, there in self.environments.items():
            other = [f"{key} {value}" for key, value in _flat(there).items() if value != now.get(key)]
            if other:
                found.append(f"Stage {name} was made with {', '.join(other)}; latency is of the environment below.")
        return found

    def _results(self) -> dict[str, Any]:
        networks = {name: load(path) for name, path in self.stage_models.items()}
        latencies = compare_latency(networks, self.inputs)
        for row in self.rows:
            measured = latencies[row["stage"]]
            row |= {"latency_ms": measured.median_ms, "latency_p90_ms": measured.p90_ms}
        curves: dict[str, list[dict[str, Any]]] = {}
        for line in self.metrics.rows():
            curves.setdefault(line.pop("stage"), []).append(line)
        validation = self.validation.summary()
        if "identity" in validation:  # what it is judged on is also a matter of how much of each patch is shown
            validation["identity"] += f"-{getattr(self.recipe.data, 'evaluation_size', None) or 'whole'}"
        return {
            "name": self.recipe.name,
            "description": self.recipe.description,
            "created": time.strftime("%Y-%m-%d"),
            "model": self.recipe.model.registered,
            "inputs": [list(tensor.shape) for tensor in self.inputs],
            "environment": self.environment,
            "stage_environments": self.environments,
            "limits": self._made_elsewhere(),
            "data": {"train": self.train.summary(), "validation": validation},
            "label": getattr(self.recipe.data, "label", None) or validation.get("label"),
            "table": self.rows,
            "curves": curves,
            "stages": self.figures,
        }


def _flat(environment: Mapping[str, Any]) -> dict[str, str]:
    parts = {key: value for key, value in environment.items() if not isinstance(value, Mapping)}
    return {key: str(value) for key, value in {**parts, **environment.get("packages", {})}.items()}


def _recompute(network: nn.Module, recipe: Recipe) -> None:
    switch = getattr(network, "set_grad_checkpointing", None)
    if not callable(switch):
        raise RecipeError(f"{recipe.model.registered} can't recompute its activations", hint="runtime.recompute: false")
    switch(True)


def _brief(figures: dict[str, Any]) -> str:
    plain = {k: v for k, v in figures.items() if isinstance(v, (int, float, str)) and not isinstance(v, bool)}
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in plain.items() if k != "stage")


def identity_of_data(parts: Mapping[str, Any]) -> dict[str, str]:
    """What the content of data is told by: the data set's own word for it, else all that it says of itself.

    Args:
        parts: {name: prepared examples, or None}.
    """
    found = {}
    for name, examples in parts.items():
        if examples is not None:
            summary = plain(examples.summary())
            said = summary.get("identity") or json.dumps(summary, sort_keys=True)
            found[name] = hashlib.sha256(str(said).encode()).hexdigest()
    return found
