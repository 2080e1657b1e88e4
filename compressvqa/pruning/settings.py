"""What a pruning is asked for. Each setting is declared here, once: its default, what it may be, what it means.

`prune`, `Schedule`, the stage of a recipe and the command read these declarations: a setting that is added to
`WrittenSettings` is a key of the recipe and an option of the command at once. One that only a program can give (a
tensor, a method) belongs to `Settings`. `prune` spells all of them in its signature, for editors; a test holds the two
together. Nothing of a network is looked at here.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from torch import nn

from compressvqa.errors import PruneError
from compressvqa.registry import runtimes

F = TypeVar("F", bound=Callable[..., Any])
Ratios = float | Mapping[str, float] | str | None
Runtime = str | Callable[[nn.Module, Any], Callable[[], object]]
RUNTIMES = ("eager", "compile", "onnxruntime", "openvino", "native")  # ours; plugins may add more


# Widths that a runtime works through without waste. `native` packs the channels of a pixel four to a word (int8; two in
# int16: `deploy/native/pack.py`). OpenVINO's convolutions make outputs in blocks of 16 with AVX-512 and fill up the
# last one (8 with AVX2): 18 channels cost what 32 do per input, measured by benchmarks/openvino_widths.py.
LIKED_WIDTHS = {"native": 4, "openvino": 16}


@dataclass(frozen=True)
class Importance:
    """A registered criterion and the data that it looks at.

    Args:
        name: of the criterion.
        batches: for a criterion of activations: inputs of the network, each as `prune` takes them; by default the one
            that `prune` is given. Read once for every network that is pruned.
        criterion: the criterion itself where it is not a registered one.
    """

    name: str
    batches: Iterable[Any] | None = None
    criterion: Callable[..., Any] | None = None


@dataclass(frozen=True)
class MustBe:
    """What a value must be, in words that end the sentence "NAME must be ..."."""

    words: str


def _importance(given: object) -> object:
    """From a name, or from a criterion that is not registered, such as an importance of torch-pruning."""
    if isinstance(given, str):
        return Importance(given)
    if callable(given) and not isinstance(given, type):
        return Importance(getattr(given, "__name__", type(given).__name__), criterion=given)
    return given


def _runtime(given: object) -> object:
    if callable(given) or given in RUNTIMES or (isinstance(given, str) and given in runtimes):
        return given
    *first, last = map(repr, RUNTIMES)
    raise ValueError(f"a runtime is {', '.join(first)} or {last}, or a function")


def _multiple(given: object) -> object:
    return LIKED_WIDTHS.get(given, given) if isinstance(given, str) else given


def _patterns(given: object) -> object:
    return (given,) if isinstance(given, str) else given


def _ways(given: object) -> object:
    if isinstance(given, (list, tuple)):
        return tuple(given)
    raise ValueError("no list")


_Kept = Annotated[Annotated[float, Strict(), Field(gt=0, le=1)] | None, MustBe("a share in (0, 1]")]
_Count = Annotated[int, Strict(), Field(ge=1), MustBe("a whole number of at least 1")]


class WrittenSettings(BaseModel):
    """The settings that can be written down: in a recipe, on the command line, and in a call of `prune`."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    target_macs: _Kept = Field(
        None, description="share of the multiply-accumulates to keep; not exceeded, and met within 2 %"
    )
    target_params: _Kept = Field(
        None,
        description="share of the parameters to keep, likewise. With both, groups that weigh more in one of them give "
        "more, so that both are met where the widths allow; `plan.notes` says which one binds where they do not",
    )
    target_latency: _Kept = Field(
        None,
        description="share of the latency to keep, met within 10 % by measuring on this machine, with the example "
        "inputs and with torch's threads as they are set; other targets are not exceeded. See `plan.latency`",
    )
    runtime: Annotated[
        Runtime,
        BeforeValidator(_runtime),
        WithJsonSchema({"type": "string", "enum": list(RUNTIMES)}),
        MustBe(f"{', '.join(RUNTIMES)} or a function (model, inputs) -> call"),
    ] = Field(
        "eager",
        description="what the latency is measured on, as it will score: eager, compile, onnxruntime, openvino or "
        "native; in Python also a function (model, inputs) -> call, where call() runs the network once and is timed",
    )
    importance: Annotated[
        Importance,
        BeforeValidator(_importance),
        PlainSerializer(lambda importance: importance.name, return_type=str),
        WithJsonSchema({"type": "string"}),
        MustBe("a registered name, an Importance, a criterion, or an importance of torch-pruning"),
    ] = Field(
        "l1",
        validate_default=True,
        description="registered criterion that chooses the channels: l1, l2, lamp, fpgm, bn_scale, taylor (of the "
        "gradients that the parameters hold), activation (on the inputs; on other data with Importance('activation', "
        "batches)), random; those of torch-pruning by name (torch-pruning/GroupTaylor) or, in Python, as objects",
    )
    scope: Annotated[Literal["local", "global"], MustBe("local or global")] = Field(
        "local",
        description="local: every group loses its share. global: one ranking of all channels, whose scores are made "
        "comparable by dividing by the group's mean, unless the criterion's are comparable as they are (lamp); a "
        "ratio, then one number, is the share of all channels, and a target cuts the ranking where it is met",
    )
    max_ratio: Annotated[Annotated[float, Strict(), Field(ge=0, le=1)] | None, MustBe("a share in [0, 1]")] = Field(
        None,
        description="no group loses a larger share than this; by default 1 with scope local and 0.9 with global, so "
        "that no layer collapses",
    )
    attention: Annotated[Literal["auto", "keep", "heads", "width"], MustBe("auto, keep, heads or width")] = Field(
        "auto",
        description="what may go of attention. keep: nothing; heads: whole heads; width: the same channels of every "
        "head; the integers in the forward that go with them are set anew. auto: heads and their width stay, and heads "
        "go where the target can't be reached otherwise; `plan.notes` says so",
    )
    protect: Annotated[tuple[str, ...], BeforeValidator(_patterns), MustBe("module paths or patterns of them")] = Field(
        (), description="module paths, or patterns of them, of layers whose output channels all stay"
    )
    round_to: Annotated[
        int,
        Strict(),
        Field(ge=1),
        BeforeValidator(_multiple),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "enum": list(LIKED_WIDTHS)}]}),
        MustBe("a whole number of at least 1, native or openvino"),
    ] = Field(
        1,
        description="layers become the nearest multiple of this wide, never zero; native (4) and openvino (16) stand "
        "for the multiple that this runtime works through without waste. With a target, the nearest at which "
        "it is met. A layer stays whole where that is nearer or where it is narrower than one multiple; `plan.notes` "
        "lists layers that are no multiple wide",
    )
    min_channels: _Count = Field(1, description="every group of tied layers keeps at least so many channels")

    @property
    def has_target(self) -> bool:
        """Whether a size, a cost or a latency is asked for."""
        return any(target is not None for target in (self.target_macs, self.target_params, self.target_latency))

    @property
    def largest_ratio(self) -> float:
        """The largest share that a group may lose."""
        if self.max_ratio is not None:
            return self.max_ratio
        return 0.9 if self.scope == "global" else 1.0


class Settings(WrittenSettings):
    """All settings of `prune`, checked as far as they can be without the network."""

    ratios: Annotated[Any, MustBe("a share, {path: share} or 'zeros'")] = Field(
        None,
        description="share of the channels removed, one for all, or {module path or pattern: share}; of several that "
        "fit a layer the one that says most counts. Where tied layers ask for different shares, the smallest is used "
        "and `plan.notes` says so. None with a target: all groups alike. 'zeros': just the channels whose parameters "
        "are all exactly zero, as a group sparsifier leaves them; the result then equals the network given",
    )
    also: Annotated[tuple[Any, ...], BeforeValidator(_ways), MustBe("a list of ways to call the network")] = Field(
        (),
        description="other ways in which the network is called, so that what only they reach is cut and proven too: "
        "further examples, a bound method with its arguments (model.encode_text, (tokens,)), 'train' for the example "
        "in training mode, ('train', inputs), or an Entry. What no way reaches stays as it is, with the channels that "
        "it may read",
    )
    verify: Annotated[bool, Strict(), MustBe("True or False")] = Field(
        True,
        description="compare with the zeroed original, and ask what would have been noticed. Without it nothing is "
        "proven",
    )
    unobservable: Annotated[Literal["keep", "prune"], MustBe("keep or prune")] = Field(
        "keep",
        description="what becomes of groups of which a wrong cut would go unnoticed, so that nothing is proven for "
        "them. keep: they stay whole; prune: they are pruned, and named in `Pruned.power`",
    )
    remove_dead: Annotated[bool, Strict(), MustBe("True or False")] = Field(
        True, description="replace modules that ran and whose result nothing reads"
    )
    seed: Annotated[int, Strict(), MustBe("a whole number")] = Field(
        0, description="of the random inputs of the check, and of a random importance"
    )

    @classmethod
    def of(cls, **settings: Any) -> Settings:
        """The settings that these make; one that is not given has its default.

        Raises:
            PruneError: there is no such setting, one is out of range, or two exclude each other.
        """
        try:
            return cls(**settings)
        except ValidationError as error:
            raise _refused(error.errors()[0], cls) from None

    def but(self, **changes: Any) -> Settings:
        """The same settings with some changed, which are not checked again."""
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        ratios = self.ratios
        if ratios is None and not self.has_target:
            raise PruneError("nothing was asked for", hint="ratios=0.5, target_params=0.5 or target_macs=0.5")
        if isinstance(ratios, str) and ratios != "zeros":
            raise PruneError(f"ratios are numbers or 'zeros', not {ratios!r}")
        if ratios == "zeros" and (self.has_target or self.scope == "global"):
            raise PruneError("ratios='zeros' removes just what is zero", hint="no target and scope='local' with it")
        if isinstance(ratios, (int, float)) and self.has_target:
            hint = "ratios={layer: share} for layers that differ"
            raise PruneError("ratios can't be one number beside a target: the target says how much goes", hint=hint)
        if isinstance(ratios, Mapping) and self.scope == "global":
            raise PruneError("scope='global' ranks all channels together, so ratios must be one number, or a target")
        for where, ratio in ratios.items() if isinstance(ratios, Mapping) else [("ratios", ratios)]:
            if ratio is not None and ratio != "zeros":
                kept_share(ratio, where)
        return self


def kept_share(ratio: object, where: str) -> float:
    """The share kept for a share removed.

    Raises:
        PruneError: it is no share.
    """
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio <= 1:
        raise PruneError(f"a ratio is the share removed, from 0 to 1, not {ratio!r}", where=where)
    return 1.0 - float(ratio)


def described(function: F) -> F:
    """Decorator: puts what every setting means into a docstring, in place of its line "..."."""
    settings = Settings.model_fields.items()
    lines = [textwrap.fill(f"{n}: {f.description}.", 112, subsequent_indent="    ") for n, f in settings]
    text = textwrap.indent("\n".join(lines), " " * 8)
    function.__doc__ = re.sub(r"^ *\.\.\.$", lambda _: text, function.__doc__ or "", count=1, flags=re.MULTILINE)
    return function


def _refused(fault: Any, settings: type[BaseModel]) -> PruneError:
    """One complaint of pydantic's as a sentence of ours."""
    own = fault.get("ctx", {}).get("error")
    if isinstance(own, PruneError):  # pydantic catches it, since it is a ValueError
        return own
    name = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        return PruneError(f"prune has no setting {name!r}")
    words = next(m.words for m in settings.model_fields[name].metadata if isinstance(m, MustBe))
    return PruneError(f"{name} must be {words}, not {fault['input']!r}")
