"""Layers once more, slow and plain, with numpy and scipy: what the networks' tests compare a forward pass with."""

import numpy as np
from scipy.signal import correlate


def weights(layer):
    """(weight, bias or 0) of a layer as float64."""
    weight = layer.weight.detach().double().numpy()
    return weight, 0.0 if layer.bias is None else layer.bias.detach().double().numpy()


def convolution(maps, layer):
    """A convolution of one sample, (C, ...) to (C', ...), zeros outside; any number of dimensions, any stride."""
    weight, bias = weights(layer)
    padded = np.pad(maps, [(0, 0), *((side, side) for side in layer.padding)])
    outs = np.stack([correlate(padded, one, mode="valid")[0] for one in weight])
    outs = outs[(slice(None), *(slice(None, None, step) for step in layer.stride))]
    return outs + np.reshape(bias, (-1,) + (1,) * (outs.ndim - 1))


def linear(values, layer):
    """(..., inputs) to (..., outputs)."""
    weight, bias = weights(layer)
    return values @ weight.T + bias


def leaky(values, slope):
    """LeakyReLU."""
    return np.where(values > 0, values, slope * values)


def halve(picture):
    """(H, W): smoothed by (1 4 6 4 1)/16 both ways, every second row and column kept."""
    line = np.array([1, 4, 6, 4, 1]) / 16
    return correlate(picture, np.outer(line, line), mode="same")[::2, ::2]


def double(picture, height, width):
    """(h, w) spread over (height, width) with zeros between, smoothed, times 4."""
    line = np.array([1, 4, 6, 4, 1]) / 16
    spread = np.zeros((height, width))
    spread[::2, ::2] = picture
    return 4 * correlate(spread, np.outer(line, line), mode="same")


def high_pass(picture):
    """(H, W) without what two halvings keep."""
    half = halve(picture)
    return picture - double(double(halve(half), *half.shape), *picture.shape)


def log_error(reference, distorted):
    """(log 255^2 - log(d^2 + 1)) / log 255^2 with d in steps of 1/255."""
    whole = np.log(255.0**2)
    return (whole - np.log((255 * (reference - distorted)) ** 2 + 1)) / whole


def luma709(frame):
    """(3, H, W) to (H, W): the Y plane of a limited-range BT.709 video, divided by 255."""
    return (16 + 219 * (0.2126 * frame[0] + 0.7152 * frame[1] + 0.0722 * frame[2])) / 255


def stack(maps, layers, slope):
    """Convolutions of a Sequential, each with a LeakyReLU after it but for the last one, which has none."""
    convolutions = [layer for layer in layers if hasattr(layer, "stride")]
    for i, layer in enumerate(convolutions):
        maps = convolution(maps, layer)
        if i + 1 < len(convolutions):
            maps = leaky(maps, slope)
    return maps
