"""Trains LBAM in PyTorch for some steps, as `lbam-desk train` does, and prints the median step.

The network is written from the paper's equations; `--own-masks` gives each picture a mask of its
own, else a batch shares one and the mask branches run once, as in lbam-desk. Pictures are noise:
only time is measured. On a GPU they come from the host's memory at each step, as photographs do,
and the loss goes back.
"""

import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

CHANNELS = [1, 2, 4, 8, 8, 8, 8]
SLOPE = 0.2


class Attention(nn.Module):
    def __init__(self, start):
        super().__init__()
        self.scalars = nn.Parameter(torch.tensor(start))

    def forward(self, features):
        a, mu, sigma1, sigma2 = self.scalars
        distance = features - mu
        squared = distance * distance
        below = a * torch.exp(-sigma1 * squared)
        above = 1 + (a - 1) * torch.exp(-sigma2 * squared)
        return torch.where(distance < 0, below, above)


def update(features):
    positive = features > 0
    return torch.where(positive, torch.where(positive, features, 1.0) ** 0.8, 0.0)


def halving(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)


class Lbam(nn.Module):
    def __init__(self, base):
        super().__init__()
        widths = [base * multiple for multiple in CHANNELS]
        inputs = [3, *widths]
        self.encoder = nn.ModuleList(
            halving(4 if level == 0 else inputs[level], widths[level]) for level in range(7)
        )
        self.forward_masks = nn.ModuleList(halving(inputs[l], widths[l]) for l in range(7))
        self.reverse_masks = nn.ModuleList(halving(inputs[l], widths[l]) for l in range(6))
        self.forward_attention = nn.ModuleList(Attention([1.1, 2.0, 1.0, 1.0]) for _ in range(7))
        self.reverse_attention = nn.ModuleList(Attention([1.1, 1.0, 0.5, 0.5]) for _ in range(6))
        deep = [widths[6], *(2 * widths[level] for level in range(5, -1, -1))]
        outputs = [widths[level] for level in range(5, -1, -1)] + [3]
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False) for i, o in zip(deep, outputs)
        )
        for parameter in self.parameters():
            if parameter.dim() == 4:
                nn.init.normal_(parameter, std=0.02 * (64 / base) ** 0.5)

    def maps(self, convolutions, attentions, mask):
        maps = []
        for convolution, attention in zip(convolutions, attentions):
            features = convolution(mask)
            maps.append(attention(features))
            mask = update(features)
        return maps

    def forward(self, pictures, masks):
        three = masks.expand(-1, 3, -1, -1)
        known = self.maps(self.forward_masks, self.forward_attention, three)
        hidden = self.maps(self.reverse_masks, self.reverse_attention, 1 - three)
        features = torch.cat([pictures * masks, masks.expand(pictures.shape[0], -1, -1, -1)], 1)
        encoded = []
        for convolution, attention in zip(self.encoder, known):
            features = functional.leaky_relu(convolution(features) * attention, SLOPE)
            encoded.append(features)
        for at, convolution in enumerate(self.decoder):
            features = convolution(features)
            if at == 6:
                return (torch.tanh(features) + 1) / 2
            level = 5 - at
            decoded = functional.leaky_relu(features * hidden[level], SLOPE)
            features = torch.cat([encoded[level], decoded], 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--own-masks", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16 where it serves")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    model = Lbam(arguments.base)
    order = torch.channels_last if arguments.channels_last else torch.contiguous_format
    device = arguments.device
    model = model.to(device, memory_format=order)
    adam = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.5, 0.9))
    side = arguments.size
    originals = torch.rand(arguments.batch, 3, side, side).to(memory_format=order)
    if device != "cpu":
        originals = originals.pin_memory()
    masks = torch.ones(arguments.batch if arguments.own_masks else 1, 1, side, side)
    masks[:, :, side // 4 : side // 2, side // 4 : side // 2 + side // 8] = 0
    masks = masks.to(device)
    times = []
    for _ in range(arguments.steps):
        begun = time.perf_counter()
        pictures = originals.to(device, non_blocking=True)
        with torch.autocast(device, torch.bfloat16, enabled=arguments.mixed_precision):
            output = model(pictures, masks)
        difference = (output.float() - pictures).abs()
        loss = 6 * (difference * (1 - masks)).mean() + (difference * masks).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        loss.item()
        times.append(time.perf_counter() - begun)
    print(f"{statistics.median(times[len(times) // 2 :]):.4f}")


main()
