#!/usr/bin/env python3
"""LPIPS in NumPy, in 64 bits: where the numbers in src/desk/lpips.rs are from. The networks and the
pictures are those of its tests.

    python3 tests/references/lpips.py
"""

import numpy as np

# Stages of convolutions: side of the kernel, stride, padding; and the window before each stage.
ALEXNET = [[(11, 4, 2)], [(5, 1, 2)], [(3, 1, 1)], [(3, 1, 1)], [(3, 1, 1)]], [0, 3, 3, 0, 0]
VGG16 = [[(3, 1, 1)] * count for count in (2, 2, 3, 3, 3)], [0, 2, 2, 2, 2]


def picture(shift):
    i = np.arange(3 * 48 * 64)
    level = np.floor(128 + 127 * np.sin(0.05 * i * (1 + shift) + shift) + 0.5)
    values = level.reshape(48, 64, 3).transpose(2, 0, 1) / 255 * 2 - 1
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    return (values - shift[:, None, None]) / scale[:, None, None]


def convolution(x, kernel, bias, stride, padding):
    side = kernel.shape[2]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    return np.einsum("oiyx,ihwyx->ohw", kernel, windows) + bias[:, None, None]


def maximum(x, side):
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
    return windows[:, ::2, ::2].max(axis=(3, 4))


def look(x, stages, windows):
    found, layer = [], 0
    for stage, (layers, window) in enumerate(zip(stages, windows)):
        if window:
            x = maximum(x, window)
        for side, stride, padding in layers:
            outputs, inputs = 4 + stage, x.shape[0]
            count = inputs * side * side
            i = np.arange(outputs * count)
            kernel = np.sqrt(2 / count) * 1.4 * np.sin(0.37 * i + layer)
            kernel = kernel.reshape(outputs, inputs, side, side)
            x = convolution(x, kernel, 0.1 * np.cos(np.arange(outputs)), stride, padding)
            x, layer = np.maximum(x, 0), layer + 1
        found.append(x / (np.sqrt((x * x).sum(axis=0)) + 1e-10))
    return found


for name, network in (("alexnet", ALEXNET), ("vgg16", VGG16)):
    distance = 0
    for a, b in zip(look(picture(0.0), *network), look(picture(0.1), *network)):
        weights = 0.1 + 0.05 * np.arange(len(a))
        distance += (weights[:, None, None] * (a - b) ** 2).sum(axis=0).mean()
    print(f"{name} {distance:.8f}")
