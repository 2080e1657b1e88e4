"""ST-GREED once more, slowly and over the whole clip, out of scipy's parts."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage, stats


def small(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The mean over areas, by spreading each sample into as many equal ones as make the areas whole."""
    height, width = picture.shape
    fine = np.repeat(np.repeat(picture.astype(float), rows, axis=0), columns, axis=1)
    return fine.reshape(rows, height, columns, width).mean(axis=(1, 3))


SHAPES = np.geomspace(0.2, 9.999, 1000)
KURTOSES = np.array([stats.gennorm.stats(shape, moments="k") + 3 for shape in SHAPES])


def shape_of(kurtosis: float) -> float:
    return float(np.interp(kurtosis, KURTOSES[::-1], SHAPES[::-1]))


def entropies(band: np.ndarray) -> np.ndarray:
    rows, columns = band.shape[0] // 5, band.shape[1] // 5
    band = band[: rows * 5, : columns * 5]
    variance = band.var()
    shape = shape_of(stats.kurtosis(band.ravel(), fisher=False) * (variance / (variance - 0.1)) ** 2)
    line = np.exp(-0.5 * (np.arange(-2, 3) / (5 / 6)) ** 2)
    window = np.outer(line, line) / line.sum() ** 2
    found = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            block = band[5 * row : 5 * row + 5, 5 * column : 5 * column + 5]
            local = float((window * block**2).sum())
            scale = math.sqrt(local * math.gamma(1 / shape) / math.gamma(3 / shape))
            found[row, column] = math.log(1 + local) * stats.gennorm.entropy(shape, scale=scale)
    return found


def clip_entropies(frames: np.ndarray, bank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(windows, rows, columns) in space and (7, windows, rows, columns) in time, of small pictures (T, H, W)."""
    windows = len(frames) - bank.shape[1] + 1
    blurred = [ndimage.gaussian_filter(frame, 7 / 6, radius=3, mode="reflect") for frame in frames[:windows]]
    spatial = np.stack([entropies(frame - mean) for frame, mean in zip(frames, blurred, strict=False)])
    bands = [
        np.apply_along_axis(np.convolve, 0, frames, taps)[bank.shape[1] - 1 : len(frames)] for taps in bank
    ]  # fmt: skip
    return spatial, np.stack([[entropies(frame) for frame in band] for band in bands])


def features(reference: np.ndarray, distorted: np.ndarray, bank: np.ndarray, step: int = 1) -> np.ndarray:
    """Eight features of one scale. `step`, odd: how many reference frames a distorted one stands for."""
    spatial_d, temporal_d = clip_entropies(distorted, bank)
    spatial_r, temporal_r = clip_entropies(reference, bank)
    # A slot is the frames nearest in time to a distorted one; the first has only the second half of them.
    last = np.arange(step // 2, len(reference), step)
    _, temporal_p = clip_entropies(reference[last], bank)
    count = min(spatial_d.shape[0], temporal_p.shape[1])
    slots = [slice(max(0, end - step + 1), end + 1) for end in last[:count]]
    spatial_r = np.stack([spatial_r[slot].mean(axis=0) for slot in slots])
    temporal_r = np.stack([temporal_r[:, slot].mean(axis=1) for slot in slots], axis=1)
    d, p = temporal_d[:, :count], temporal_p[:, :count]
    temporal = np.abs((1 + np.abs(d - p)) * (1 + temporal_r) / (1 + p) - 1)
    return np.array([np.abs(spatial_r - spatial_d[:count]).mean(), *temporal.mean(axis=(1, 2, 3))])
