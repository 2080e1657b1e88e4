"""What a distortion is: a named function of a picture, at five levels of strength."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from compressvqa.errors import DataError

LEVELS = 5
# (picture (3, H, W) in [0, 1], setting of the level, what is drawn at random) -> picture of the same size
Function = Callable[[Tensor, float, np.random.Generator], Tensor]


@dataclass(frozen=True)
class Distortion:
    """One way in which a picture loses quality.

    Args:
        name: its name in a recipe.
        settings: what the function takes at levels 1 (barely seen) to 5 (annoying), see the function.
        function: does it.
    """

    name: str
    settings: tuple[float, ...]
    function: Function

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return (self.function.__doc__ or "").split("\n", 1)[0]

    def __call__(self, picture: Tensor, level: int, rng: np.random.Generator) -> Tensor:
        """The picture at a level, a pure function of its arguments (and of the generator's state).

        Args:
            picture: (3, H, W) RGB, float32 in [0, 1]; it is left as it is.
            level: 1 to 5.
            rng: where direction, sign and noise are drawn from.

        Returns:
            (3, H, W), float32 in [0, 1].

        Raises:
            DataError: no such level, no picture, or the library that does it was built without it.
        """
        if not 1 <= level <= len(self.settings):
            raise DataError(f"there is no level {level} of {self.name!r}", hint=f"1 to {len(self.settings)}")
        if picture.ndim != 3 or picture.shape[0] != 3 or 0 in picture.shape:
            raise DataError(f"a picture is (3, height, width), not {tuple(picture.shape)}")
        return self.function(picture, self.settings[level - 1], rng).clamp(0, 1)


DISTORTIONS: dict[str, Distortion] = {}


def distortion(name: str, *settings: float) -> Callable[[Function], Function]:
    """Decorator that gives a function its name and the settings of its levels."""

    def decorate(function: Function) -> Function:
        assert len(settings) == LEVELS and name not in DISTORTIONS
        DISTORTIONS[name] = Distortion(name, settings, function)
        return function

    return decorate


def distortion_named(name: str) -> Distortion:
    """The distortion of a name.

    Raises:
        DataError: there is none; the message suggests near ones.
    """
    if name not in DISTORTIONS:
        near = difflib.get_close_matches(name, DISTORTIONS, n=3, cutoff=0.5)
        raise DataError(f"unknown distortion {name!r}", hint=", ".join(near or DISTORTIONS))
    return DISTORTIONS[name]
