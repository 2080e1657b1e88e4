"""Which parameters get the L1 penalty: by default the weights of convolutions and linear layers, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from compressvqa.errors import RecipeError
from compressvqa.module_paths import covers, unmatched

Selector = str | type[nn.Module]

DEFAULT_INCLUDE: tuple[Selector, ...] = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
# Norms, embeddings and tables of position biases are few numbers that much depends on: shrinking them saves nothing.
DEFAULT_EXCLUDE: tuple[Selector, ...] = (
    nn.Embedding,
    nn.LayerNorm,
    nn.GroupNorm,
    "**.*relative_position*",
    "**.*position_bias*",
)


def regularised_groups(
    model: nn.Module,
    *,
    lam: float,
    include: Sequence[Selector] = DEFAULT_INCLUDE,
    exclude: Sequence[Selector] = DEFAULT_EXCLUDE,
    relative: bool = False,
) -> list[dict[str, Any]]:
    """Two parameter groups for a sparsifier: first the regularised parameters, then the rest with ``lam=0``.

    A selector is a module class (parameters that its instances own directly), or the path of a module or parameter, or
    a pattern of one ("scales.*.head", see `compressvqa.module_paths`). A parameter is regularised if an `include`
    selector takes it and no `exclude` selector does. One-dimensional parameters (biases, norms) are taken only by a
    path, never by their module's class. A parameter shared by several modules is excluded if one of its names is.
    Frozen parameters are in neither group. The groups also hold the parameters' names, under torch's key
    ``param_names`` once an optimiser has taken them.

    Args:
        model: any network.
        lam: lambda of the first group, > 0.
        include: what to regularise.
        exclude: what to leave alone. Add to the defaults with ``(*DEFAULT_EXCLUDE, "pattern")``.
        relative: give each tensor a lambda in proportion to the root mean square of its weights (a weighted L1 norm),
            so that layers initialised small, like a transformer's linears, don't go first. Then every layer loses the
            same share, and with few steps a deep network may not survive that: off by default.

    Raises:
        RecipeError: a pattern matches no parameter, nothing is left to regularise, or lambda is not positive.

    >>> groups = regularised_groups(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), lam=1e-3)
    >>> [[name for name, _ in group["params"]] for group in groups]
    [['0.weight'], ['0.bias', '1.weight', '1.bias']]
    """
    if not lam > 0:
        raise RecipeError(f"lam is {lam!r} and must be positive", where="regularised_groups")
    names: dict[nn.Parameter, list[str]] = {}
    owners: dict[nn.Parameter, list[nn.Module]] = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            names.setdefault(parameter, []).append(name)
            owners.setdefault(parameter, []).append(module)
    _check_patterns([*include, *exclude], [name for found in names.values() for name in found])

    chosen: list[tuple[str, nn.Parameter]] = []
    rest: list[tuple[str, nn.Parameter]] = []
    for parameter, found in names.items():
        if not parameter.requires_grad:
            continue
        by_pattern = _by_pattern(found, include)
        by_class = parameter.ndim > 1 and _by_class(owners[parameter], include)
        excluded = _by_pattern(found, exclude) or _by_class(owners[parameter], exclude)
        (chosen if (by_pattern or by_class) and not excluded else rest).append((found[0], parameter))
    if not chosen:
        raise RecipeError("no parameter is left to regularise", where=type(model).__name__, hint="include=")
    scales = _relative_scales([parameter for _, parameter in chosen]) if relative else None
    groups: list[dict[str, Any]] = [{"params": chosen, "lam": lam, "lam_scales": scales}]
    return [*groups, {"params": rest, "lam": 0.0}] if rest else groups


def _by_pattern(names: list[str], selectors: Sequence[Selector]) -> bool:
    return any(covers(s, name) for s in selectors if isinstance(s, str) for name in names)


def _by_class(modules: list[nn.Module], selectors: Sequence[Selector]) -> bool:
    return any(isinstance(module, s) for s in selectors if isinstance(s, type) for module in modules)


def _check_patterns(selectors: Sequence[Selector], names: list[str]) -> None:
    for selector in selectors:
        if isinstance(selector, type) or selector in DEFAULT_EXCLUDE:
            continue
        if not any(covers(selector, name) for name in names):
            raise unmatched(selector, names, RecipeError, what="parameter")


def _relative_scales(parameters: list[nn.Parameter]) -> list[float]:
    sizes = [float(parameter.detach().float().square().mean().sqrt()) for parameter in parameters]
    mean = sum(size * p.numel() for size, p in zip(sizes, parameters, strict=True)) / sum(p.numel() for p in parameters)
    return [size / mean if mean > 0 else 1.0 for size in sizes]
