#!/usr/bin/env python3
"""Perceptual and style losses in NumPy, in 64 bits: where the numbers in src/desk/features.rs are
from. The network and the pictures are those of its test.

    python3 tests/references/features.py
"""

import numpy as np

BLOCKS = [2, 2, 3]
WIDTHS = [4, 4, 6, 6, 8, 8, 8]


def network():
    inputs, layers = 3, []
    for layer, outputs in enumerate(WIDTHS):
        i = np.arange(outputs * inputs * 9)
        kernel = np.sqrt(2 / (9 * inputs)) * 1.4 * np.sin(0.37 * i + layer)
        layers.append((kernel.reshape(outputs, inputs, 3, 3), 0.1 * np.cos(np.arange(outputs))))
        inputs = outputs
    return layers


def picture(shift):
    i = np.arange(2 * 3 * 16 * 24)
    return (0.5 + 0.5 * np.sin(0.05 * i * (1 + shift) + shift)).reshape(2, 3, 16, 24)


def pooled(x):
    layers, found = iter(network()), []
    for length in BLOCKS:
        for _ in range(length):
            kernel, bias = next(layers)
            height, width = x.shape[2:]
            padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
            y = bias[None, :, None, None]
            for dy in range(3):
                for dx in range(3):
                    window = padded[:, :, dy : dy + height, dx : dx + width]
                    y = y + np.einsum("oc,nchw->nohw", kernel[:, :, dy, dx], window)
            x = np.maximum(y, 0)
        count, channels, height, width = x.shape
        x = x.reshape(count, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5))
        found.append(x)
    return found


def gram(x):
    rows = x.reshape(*x.shape[:2], -1)
    return rows @ rows.transpose(0, 2, 1) / (rows.shape[1] * rows.shape[2])


original = pooled(picture(0.0))
perceptual = style = 0.0
for shift in (0.1, 0.2):
    for mine, wanted in zip(pooled(picture(shift)), original):
        perceptual += np.abs(mine - wanted).mean()
        style += np.abs(gram(mine) - gram(wanted)).mean()
print(f"perceptual {perceptual:.8f}, style {style:.8f}")
