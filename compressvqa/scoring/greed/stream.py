"""Entropies and features of ST-GREED frame by frame, in memory that does not grow with the length of a clip."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from compressvqa.scoring.greed.entropy import scaled_entropy
from compressvqa.scoring.greed.filters import Array, filter_bank
from compressvqa.scoring.greed.luma import without_local_mean

# For each scale (8, rows, columns): the scaled entropies of the spatial band and of the seven temporal ones.
Entropies: TypeAlias = tuple[Array, ...]
Pictures: TypeAlias = tuple[Array, ...]

FEATURE_NAMES = tuple(f"{band}-{scale}" for band in ("spatial", *(f"band{n}" for n in range(1, 8)))
                      for scale in ("fine", "coarse"))  # fmt: skip
WINDOW = filter_bank().shape[1]


class EntropyStream:
    """Entropies of one video. Those of window i look at frames i to i + 35; the spatial ones at frame i alone."""

    def __init__(self) -> None:
        self._bank, self._number = filter_bank()[:, ::-1], 0
        self._rings: list[Array] = []
        self._spatial: deque[tuple[Array, ...]] = deque(maxlen=WINDOW)

    def push(self, pictures: Pictures) -> Entropies | None:
        """Takes the next frame's small pictures; gives the window that ends with it once there is one."""
        if not self._rings:
            self._rings = [np.zeros((WINDOW, picture.size)) for picture in pictures]
        for ring, picture in zip(self._rings, pictures, strict=True):
            ring[self._number % WINDOW] = picture.ravel()
        self._spatial.append(tuple(scaled_entropy(without_local_mean(picture)) for picture in pictures))
        self._number += 1
        if self._number < WINDOW:
            return None
        # The oldest frame lies at this place of the ring: the filters are turned to it instead of the frames.
        turned = np.roll(self._bank, self._number % WINDOW, axis=1)
        found = []
        for ring, picture, spatial in zip(self._rings, pictures, self._spatial[0], strict=True):
            bands = (turned @ ring).reshape(-1, *picture.shape)
            found.append(np.concatenate([spatial[None], scaled_entropy(bands)]))
        return tuple(found)


class FeatureStream:
    """Features of one distorted video, fed in step with its reference.

    The pseudo-reference is the reference brought to the distorted frame rate by leaving frames
    out. Reference frame n falls into the slot ``floor(n * ratio + 1/2)``; the pseudo-reference keeps the last frame of
    each slot (as ffmpeg's filter fps does), and the reference's entropies are averaged over the slot.

    Args:
        ratio: frame rate of the distorted video over that of the reference, at most 1.
        every: of each `every` blocks of 12 windows, one is looked at.
    """

    def __init__(self, ratio: Fraction = Fraction(1), every: int = 1) -> None:
        self._ratio, self._every = ratio, every
        self._distorted, self._pseudo = EntropyStream(), None if ratio == 1 else EntropyStream()
        self._held: list[Entropies] = []
        # What is computed and waits for the others: reference (slot means), pseudo-reference, distorted.
        self._waiting: tuple[deque[Entropies], ...] = (deque(), deque(), deque())
        self._total, self._count, self._windows = np.zeros(16), 0, 0

    def ends_slot(self, number: int) -> bool:
        """Whether the distorted video's next frame belongs to reference frame `number`, the last of its slot."""
        return self._slot(number + 1) > self._slot(number)

    def push_reference(self, number: int, pictures: Pictures, entropies: Entropies | None) -> None:
        """Takes reference frame `number`: its pictures, and the entropies of the window that ends with it."""
        reference, pseudo, _ = self._waiting
        if entropies is not None:
            self._held.append(entropies)
            if self.ends_slot(number - WINDOW + 1):
                reference.append(tuple(np.mean(parts, axis=0) for parts in zip(*self._held, strict=True)))
                self._held = []
        if self._pseudo is not None and self.ends_slot(number):
            found = self._pseudo.push(pictures)
            if found is not None:
                pseudo.append(found)
        self._compare()

    def push_distorted(self, pictures: Pictures) -> None:
        """Takes the distorted video's next frame."""
        found = self._distorted.push(pictures)
        if found is not None:
            self._waiting[2].append(found)
        self._compare()

    def features(self) -> Array | None:
        """Mean over the windows so far, (16,); None where there is no window yet."""
        return None if self._count == 0 else self._total / self._count

    def _slot(self, number: int) -> int:
        return int(number * self._ratio + Fraction(1, 2))

    def _compare(self) -> None:
        reference, pseudo, distorted = self._waiting
        while reference and distorted and (pseudo or self._pseudo is None):
            r, d = reference.popleft(), distorted.popleft()
            p = r if self._pseudo is None else pseudo.popleft()
            if self._windows // 12 % self._every == 0:
                self._total += np.stack([_differences(*scale) for scale in zip(r, p, d, strict=True)], axis=1).ravel()
                self._count += 1
            self._windows += 1


def _differences(reference: Array, pseudo: Array, distorted: Array) -> Array:
    """(8,): the spatial mean of the entropic difference in each band.

    The temporal one, ``|(1 + |D - P|) (1 + R) / (1 + P) - 1|``, weighs what coding changed at one frame rate (D against
    the pseudo-reference P) by what the frame rate alone changed (R against P); at equal rates it is ``|D - R|``.
    """
    ratio = (1 + reference[1:]) / (1 + pseudo[1:])
    temporal = np.abs((1 + np.abs(distorted[1:] - pseudo[1:])) * ratio - 1)
    spatial = np.abs(reference[:1] - distorted[:1])
    means: Array = np.concatenate([spatial, temporal]).mean(axis=(1, 2))
    return means
