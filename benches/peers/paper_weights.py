"""Random weights of the paper's width, from the names and shapes of narrower ones.

    paper_weights.py SMALL.safetensors OUT.safetensors

Speed does not depend on the weights' values, and no trained full-width network ships yet.
"""

import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

BASE = 64
# Keeps features in range through seven layers, as machine-drawn weights of this width should.
DEVIATION = 0.02


def main():
    source, target = sys.argv[1:]
    draw = np.random.default_rng(1)
    tensors = {}
    with safe_open(source, framework="numpy") as small:
        base = small.get_tensor("ec1.conv.conv.weight").shape[0]
        for name in small.keys():
            value = small.get_tensor(name)
            if value.ndim == 4:
                # Channels are multiples of the base; pictures', masks' and kernels' sides are not.
                sides = [s * BASE // base if s % base == 0 else s for s in value.shape]
                value = draw.normal(0, DEVIATION, sides).astype(np.float32)
            tensors[name] = value
    save_file(tensors, target, {"architecture": "lbam", "base_channels": str(BASE)})


if __name__ == "__main__":
    main()
