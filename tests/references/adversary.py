#!/usr/bin/env python3
"""The discriminator's scores, the penalty on their slopes and its gradients in JAX, which
differentiates twice by itself, in 64 bits: where the numbers in src/desk/discriminator_tests.rs are
from. Weights, pictures and masks are those of its tests.

    pip install jax && python3 tests/references/adversary.py
"""

import jax
import jax.numpy as np

jax.config.update("jax_enable_x64", True)
PENALTY = 10


def convolve(x, weight, stride, padding):
    borders = [(padding, padding)] * 2
    return jax.lax.conv_general_dilated(x, weight, (stride, stride), borders)


def network(side, base):
    """Columns of (weight, bias) and the fusion; all parameters numbered in that order."""
    depth, number = 0, 0
    while side % 2 ** (depth + 1) == 0 and side // 2 ** (depth + 1) >= 4:
        depth += 1
    parameters = []

    def kernel(outputs, inputs):
        nonlocal number
        i = np.arange(outputs * inputs * 16)
        values = np.sqrt(2 / (16 * inputs)) * 1.4 * np.sin(0.37 * i + number)
        number += 1
        return values.reshape(outputs, inputs, 4, 4)

    for _ in range(2):
        inputs = 3
        for layer in range(depth):
            outputs = base * min(2**layer, 8)
            parameters.append(kernel(outputs, inputs))
            parameters.append(0.1 * np.cos(np.arange(outputs) + number))
            number += 1
            inputs = outputs
    parameters.append(kernel(1, 2 * inputs))
    return parameters


def picture(shift, side):
    i = np.arange(2 * 3 * side * side)
    return (0.5 + 0.5 * np.sin(0.05 * i * (1 + shift) + shift)).reshape(2, 3, side, side)


def masks(side):
    k, y, x = np.meshgrid(np.arange(2), np.arange(side), np.arange(side), indexing="ij")
    return ((x // 3 * 7 + y // 2 * 3 + 5 * k) % 11 >= 4).astype(float)[:, None]


def scores(parameters, x, m):
    half, features = len(parameters) // 2, []
    for view, layers in ((x * m, parameters[:half]), (x * (1 - m), parameters[half:-1])):
        for weight, bias in zip(layers[::2], layers[1::2]):
            view = convolve(view, weight, 2, 1) + bias[None, :, None, None]
            view = np.where(view < 0, 0.2 * view, view)
        features.append(view)
    return convolve(np.concatenate(features, 1), parameters[-1], 1, 0).mean((1, 2, 3))


def penalty(parameters, x, m):
    slopes = jax.grad(lambda x: scores(parameters, x, m).sum())(x)
    return ((np.sqrt((slopes**2).sum((1, 2, 3))) - 1) ** 2).mean()


def loss(parameters, fake, real, m):
    share = np.array([0.3, 0.8])[:, None, None, None]
    critic = scores(parameters, fake, m).mean() - scores(parameters, real, m).mean()
    return critic + PENALTY * penalty(parameters, share * real + (1 - share) * fake, m)


def projected(gradients):
    """A number for each tensor that depends on all of its values and their places."""
    flat = [g.ravel() for g in gradients]
    return [float((g * np.sin(0.7 * np.arange(g.size) + 1)).sum()) for g in flat]


for side, base in ((32, 2), (24, 3)):
    parameters, m = network(side, base), masks(side)
    fake, real = picture(0.1, side), picture(0.0, side)
    print(f"side {side}, base {base}")
    print("scores", [f"{score:.8f}" for score in scores(parameters, real, m)])
    value, gradients = jax.value_and_grad(penalty)(parameters, real, m)
    print(f"penalty {value:.8f}")
    print("its gradients", [f"{value:.6e}" for value in projected(gradients)])
    value, gradients = jax.value_and_grad(loss)(parameters, fake, real, m)
    print(f"loss {value:.8f}")
    print("its gradients", [f"{value:.6e}" for value in projected(gradients)])
