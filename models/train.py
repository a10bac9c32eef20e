#!/usr/bin/env python3
"""Trains LBAM in PyTorch, from weights of lbam-desk to such weights.

    lbam-desk masks --ratio 0.1-0.5 --count 6000 --seed 77 --output masks
    models/train.py --photographs photographs --masks masks --init run/weights.safetensors \\
        --output weights.safetensors --seconds 218

The shipped models' last steps were made with it; their cards say which. Losses, crops and colours
are those of `lbam-desk train --ssim-weight 1.5 --vary-colours`. --lpips adds LPIPS of one square of
the composite, half as wide, about a pixel of the hole; --adversary adds a discriminator of the
composite's patches. Deep in a hole this network, which is given no noise, can make texture only from
its own strides, and paints a grid when asked for it: --grid-weight tells it not to, --reach asks for
texture near the rim alone.

All photographs lie in memory, at nine scales. On an NVIDIA GPU (--device cuda) a step is one CUDA
graph, without a word from the processor. On a processor with AMX --bfloat16 is several times as fast;
an allocator that keeps its pages, such as jemalloc, saves a quarter more. The learning rate follows
a cosine over the time given. Needs torch, numpy and Pillow.
"""

import argparse
import json
import math
import struct
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional

SIZE = 256
SLOPE = 0.2
# Short sides of the photographs that crops are taken from.
SCALES = [256, 288, 320, 362, 406, 456, 512, 575, 640]
WHOLE_SCENES = 0.25
# Ranges of the attention's scalars.
LIMITS = {"a": (1.01, 6.0), "mu": (0.1, 3.0), "sigma1": (0.5, 2.0), "sigma2": (0.5, 2.0)}
# Shares of masks that are brush strokes, and rectangles; the rest are both.
BRUSH, RECTANGLES = 0.7, 0.15
WARM_UP = 300
AVERAGE = 0.999
# Seconds between two weights written; the last are written at the end.
SAVE_EVERY = 300
# Of patterns looked for, pixels, and the squares in which they are.
PERIOD, WINDOW = 16, 128
GRID_FLOOR = 1e-3
ORDERS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]


def read(path):
    """Tensors and metadata of a safetensors file."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    body = data[8 + length :]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        kind = {"F32": "<f4", "F16": "<f2"}[entry["dtype"]]
        values = np.frombuffer(body[begin:end], kind).astype(np.float32)
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]))
    return tensors, metadata


def write(path, tensors, metadata):
    """The other way round, aside and then in place."""
    header, chunks, at = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors):
        values = tensors[name].detach().float().cpu().numpy().astype("<f4")
        offsets = [at, at + values.nbytes]
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": offsets}
        chunks.append(values.tobytes())
        at += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    aside = Path(f"{path}.part")
    aside.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))
    aside.replace(path)


class Network:
    """The network over lbam-desk's tensors. Picture n has mask n % K."""

    def __init__(self, weights, device):
        self.weights = {name: tensor.to(device) for name, tensor in weights.items()}
        for tensor in self.weights.values():
            if tensor.dim() == 4:
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
            tensor.requires_grad_()

    def attend(self, features, name):
        a, mu, sigma1, sigma2 = (self.weights[f"{name}.{scalar}"] for scalar in LIMITS)
        distance = features - mu
        above = (distance >= 0).float()
        gaussian = torch.exp(-(distance * distance) * (above * (sigma2 - sigma1) + sigma1))
        return a * gaussian + above * (1 - gaussian)

    def branch(self, mask, kernel, attention, layers):
        maps = []
        for layer in range(1, layers + 1):
            weight = self.weights[kernel.format(layer)]
            if layer == 1:
                weight = weight.sum(1, keepdim=True)
            features = functional.conv2d(mask, weight, stride=2, padding=1)
            maps.append(self.attend(features, attention.format(layer)))
            positive = features > 0
            mask = torch.where(positive, torch.where(positive, features, 1.0) ** 0.8, 0.0)
        return maps

    def forward(self, pictures, masks):
        forward = "ec{}.conv.maskConv.weight", "ec{}.conv.activationFuncG_A"
        reverse = "reverseConv{}.reverseMaskConv.weight", "reverseConv{}.activationFuncG_A"
        known = self.branch(masks, *forward, 7)
        hidden = self.branch(1 - masks, *reverse, 6)
        shares = pictures.shape[0] // masks.shape[0]

        def under(features, maps):
            return functional.leaky_relu(features * maps.repeat(shares, 1, 1, 1), SLOPE)

        channel = masks.repeat(shares, 1, 1, 1)
        features = torch.cat([pictures * channel, channel], 1)
        features = features.contiguous(memory_format=torch.channels_last)
        encoded = []
        for layer in range(1, 8):
            weight = self.weights[f"ec{layer}.conv.conv.weight"]
            features = functional.conv2d(features, weight, stride=2, padding=1)
            features = under(features, known[layer - 1])
            encoded.append(features)
        for layer in range(1, 7):
            weight = self.weights[f"dc{layer}.conv.weight"]
            features = functional.conv_transpose2d(features, weight, stride=2, padding=1)
            skip = encoded[6 - layer]
            features = torch.cat([skip, under(features, hidden[6 - layer])], 1)
        weight = self.weights["dc7.weight"]
        features = functional.conv_transpose2d(features, weight, stride=2, padding=1)
        return (torch.tanh(features) + 1) / 2


def dissimilarity(first, second):
    """One minus the structural similarity of windows of 8x8 pixels, four apart."""

    def mean(values):
        return functional.avg_pool2d(values, 8, 4)

    c1, c2 = 0.01**2, 0.03**2
    a, b = mean(first), mean(second)
    aa, bb, ab = a * a, b * b, a * b
    variances = mean(first * first) - aa + mean(second * second) - bb
    covariance = mean(first * second) - ab
    similar = (2 * ab + c1) * (2 * covariance + c2) / ((aa + bb + c1) * (variances + c2))
    return 1 - similar.mean()


def losses(output, composite, pictures, holes, ssim_weight):
    """The loss, and its parts: mean errors in hole and outside, and dissimilarity."""
    difference = (output - pictures).abs()
    hole, valid = (difference * holes).mean(), (difference * (1 - holes)).mean()
    ssim = dissimilarity(composite, pictures)
    return torch.stack([6 * hole + valid + ssim_weight * ssim, hole, valid, ssim])


class Lpips:
    """LPIPS 0.1 with VGG-16: how unlike two pictures look."""

    STAGES = [[0, 2], [5, 7], [10, 12, 14], [17, 19, 21], [24, 26, 28]]
    MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, path, device, precision):
        tensors, _ = read(path)
        self.precision = precision

        def layer(place):
            kernel = tensors[f"features.{place}.weight"].to(device, precision)
            bias = tensors[f"features.{place}.bias"].to(device, precision)
            return kernel.to(memory_format=torch.channels_last), bias

        self.stages = [[layer(place) for place in stage] for stage in self.STAGES]
        names = [f"lin{stage}.model.1.weight" for stage in range(len(self.STAGES))]
        self.weights = [tensors[name].flatten().to(device) for name in names]
        self.mean = torch.tensor(self.MEAN, device=device).view(1, 3, 1, 1)
        self.deviation = torch.tensor(self.DEVIATION, device=device).view(1, 3, 1, 1)

    def features(self, pictures):
        """Of each stage [N, H, W, C], with unit length at each pixel."""
        values, found = (pictures - self.mean) / self.deviation, []
        values = values.to(self.precision).contiguous(memory_format=torch.channels_last)
        for index, stage in enumerate(self.stages):
            if index > 0:
                values = functional.max_pool2d(values, 2)
            for kernel, bias in stage:
                values = functional.relu(functional.conv2d(values, kernel, bias, padding=1))
            exact = values.permute(0, 2, 3, 1).float()
            found.append(exact * (exact * exact).sum(3, keepdim=True).add(1e-8).rsqrt())
        return found

    def distance(self, first, second):
        """Of `[N, 3, H, W]`, the mean."""
        with torch.no_grad():
            wanted = self.features(second)
        total = 0
        for mine, other, weights in zip(self.features(first), wanted, self.weights):
            difference = mine - other
            total = total + (difference * difference @ weights).mean()
        return total


class Discriminator(torch.nn.Module):
    """Tells filled patches from photographed ones: convolutions of bounded norm, a score for each
    patch of 78x78 pixels, 16 apart (Yu et al., Free-Form Image Inpainting with Gated Convolution,
    2019). It sees the hole, and only what touches it counts."""

    WIDTHS = [4, 64, 128, 256, 256]
    STRIDE = 16

    def __init__(self):
        super().__init__()

        def layer(inputs, outputs, **options):
            convolution = torch.nn.Conv2d(inputs, outputs, padding=1, **options)
            return torch.nn.utils.parametrizations.spectral_norm(convolution)

        self.hidden = torch.nn.ModuleList(
            layer(inputs, outputs, kernel_size=4, stride=2)
            for inputs, outputs in zip(self.WIDTHS, self.WIDTHS[1:])
        )
        self.last = layer(self.WIDTHS[-1], 1, kernel_size=3)
        self.to(memory_format=torch.channels_last)

    def forward(self, pictures, holes):
        values = torch.cat([pictures * 2 - 1, holes], 1)
        values = values.contiguous(memory_format=torch.channels_last)
        for layer in self.hidden:
            values = functional.leaky_relu(layer(values), SLOPE)
        return self.last(values).float()


def grid(composite, pictures, holes):
    """How much more than in the pictures, in levels of 1, pixels PERIOD apart deviate alike from what
    is around them: the amplitude of a pattern that repeats with the network's strides. Random texture
    has none."""
    tiles = SIZE // WINDOW, WINDOW // PERIOD, PERIOD

    def folded(values):
        return values.unflatten(2, tiles).unflatten(5, tiles).sum((3, 6))

    count = folded(holes)
    pairs = (count * (count - 1)).sum((3, 5)).clamp_min(PERIOD**2)

    def power(values):
        around = functional.avg_pool2d(values, 9, 1, 4, count_include_pad=False)
        deviation = (values - around) * holes
        # Unbiased: products of different pixels alone.
        products = folded(deviation) ** 2 - folded(deviation * deviation)
        return products.sum((3, 5)) / pairs

    excess = functional.relu(power(composite) - functional.relu(power(pictures)))
    return (excess + GRID_FLOOR**2).sqrt().mean() - GRID_FLOOR


def nearness(known, window):
    """From 1 at the rim of holes `[K, 1, SIZE, SIZE]` to 0 where no known pixel is within half of the
    window."""
    for shape in ((window, 1), (1, window)):
        padding = [side // 2 for side in shape]
        known = functional.avg_pool2d(known, shape, 1, padding, count_include_pad=False)
    return (2 * known).clamp(max=1)


def squares(holes, side):
    """A square's pixels as indices of rows and columns [N, side] for each of the holes
    [N, SIZE, SIZE]: about a random pixel of the hole, as far as the picture reaches."""
    flat = torch.multinomial(holes.flatten(1), 1)
    corner = torch.cat([flat // SIZE, flat % SIZE], 1) - side // 2
    corner = corner.clamp(0, SIZE - side)
    return (corner[:, :, None] + torch.arange(side, device=holes.device)).unbind(1)


def load_photograph(path):
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


def load_mask(path):
    mask = Image.open(path).convert("L")
    if mask.size != (SIZE, SIZE):
        raise SystemExit(f"train.py: {path}: a mask of {SIZE}x{SIZE} is wanted")
    return np.packbits(np.asarray(mask) > 127)


class Photographs:
    """All at all scales in one buffer. Sources, which are folders, weigh the square root of their
    number, as in lbam-desk."""

    def __init__(self, folder, device):
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        with ProcessPoolExecutor() as pool:
            pictures = list(pool.map(load_photograph, files, chunksize=4))
        sources = {}
        for index, path in enumerate(files):
            sources.setdefault(path.relative_to(folder).parts[0], []).append(index)
        weights = torch.zeros(len(files), dtype=torch.float64)
        for members in sources.values():
            weights[members] = len(members) ** -0.5
        self.weights = weights.to(device)
        table = torch.zeros(len(files), len(SCALES), 3, dtype=torch.int64)
        parts, at = [], 0
        for index, picture in enumerate(pictures):
            values = torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float()
            short = min(values.shape[2:])
            for column, scale in enumerate(SCALES):
                side = min(scale, max(short, SIZE))
                shape = tuple(max(SIZE, round(v * side / short)) for v in values.shape[2:])
                scaled = values
                if shape != tuple(values.shape[2:]):
                    scaled = functional.interpolate(values, shape, mode="bicubic", antialias=True)
                scaled = scaled.clamp(0, 255).round().byte()[0].permute(1, 2, 0)
                parts.append(scaled.flatten())
                table[index, column] = torch.tensor([at, *shape])
                at += scaled.numel()
        self.pixels, self.table = torch.cat(parts), table.to(device)
        self.orders = torch.tensor(ORDERS, device=device)
        print(f"{len(files)} photographs, {at / 1e9:.2f} GB", flush=True)

    def draw(self, out):
        """Random squares, some mirrored, in other colours, into `[N, 3, SIZE, SIZE]`."""
        count, device = out.shape[0], out.device

        def unit(*shape):
            return torch.rand(count, *shape, device=device)

        which = torch.multinomial(self.weights, count, replacement=True)
        scale = torch.where(unit() < WHOLE_SCENES, 0, (unit() * len(SCALES)).long())
        at, height, width = self.table[which, scale].unbind(1)
        top = (unit() * (height - SIZE + 1)).long()
        left = (unit() * (width - SIZE + 1)).long()
        places = torch.arange(SIZE, device=device)
        mirrored = torch.where((unit() < 0.5)[:, None], SIZE - 1 - places, places)
        rows = (top[:, None] + places)[:, :, None] * width[:, None, None]
        index = at[:, None, None] + 3 * (rows + (left[:, None] + mirrored)[:, None, :])
        order = self.orders[torch.where(unit() < 0.5, (unit() * len(ORDERS)).long(), 0)]
        values = self.pixels[index[:, None] + order[:, :, None, None]].float() / 255
        power = torch.exp2(unit(1, 1, 1) - 0.5) * torch.exp2(unit(3, 1, 1) * 0.2 - 0.1)
        contrast = 0.75 + 0.35 * unit(1, 1, 1)
        values = (values.clamp_min(1e-6) ** power - 0.5) * contrast + 0.5
        out.copy_(values.clamp_(0, 1))


class Masks:
    """Brush strokes of a folder (white = hole), and rectangles."""

    def __init__(self, folder, device, rng):
        files = sorted(Path(folder).glob("*.png"))
        with ProcessPoolExecutor() as pool:
            bits = np.stack(list(pool.map(load_mask, files, chunksize=64)))
        strokes = np.unpackbits(bits, axis=1).reshape(-1, SIZE, SIZE)
        rectangles = []
        while len(rectangles) < 2048:
            hole = np.zeros((SIZE, SIZE), np.uint8)
            for _ in range(rng.integers(1, 5)):
                height, width = rng.integers(24, 180, 2)
                top, left = rng.integers(0, SIZE - height + 1), rng.integers(0, SIZE - width + 1)
                hole[top : top + height, left : left + width] = 1
            if 0.08 <= hole.mean() <= 0.5:
                rectangles.append(hole)
        self.strokes = torch.from_numpy(strokes).to(device)
        self.rectangles = torch.from_numpy(np.stack(rectangles)).to(device)

    def draw(self, out):
        """Masks, turned and mirrored, into `[K, 1, SIZE, SIZE]`, 1 = known."""
        count, device = out.shape[0], out.device

        def coin():
            return (torch.rand(count, device=device) < 0.5)[:, None, None]

        def turned(holes):
            hole = holes[torch.randint(len(holes), (count,), device=device)]
            hole = torch.where(coin(), hole.flip(1), hole)
            hole = torch.where(coin(), hole.flip(2), hole)
            return torch.where(coin(), hole.transpose(1, 2), hole)

        strokes, rectangles = turned(self.strokes), turned(self.rectangles)
        kind = torch.rand(count, device=device)[:, None, None]
        other = torch.where(kind < BRUSH + RECTANGLES, rectangles, strokes | rectangles)
        out.copy_(1 - torch.where(kind < BRUSH, strokes, other).float()[:, None])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", required=True, help="folder with a folder for each source")
    parser.add_argument("--masks", required=True, help="folder of what lbam-desk masks draws")
    parser.add_argument("--init", required=True, help="weights to begin with")
    parser.add_argument("--output", required=True, help="weights at the end, a running average")
    parser.add_argument("--seconds", type=float, default=300, help="in all, from the start")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--masks-per-step", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1.2e-3)
    parser.add_argument("--ssim-weight", type=float, default=1.5)
    parser.add_argument("--lpips", help="vgg16.safetensors of models/features/fetch.sh")
    parser.add_argument("--lpips-weight", type=float, default=0.3)
    parser.add_argument(
        "--reach", type=int, default=0, help="LPIPS and adversary judge so far into holes; 0: all"
    )
    parser.add_argument(
        "--adversary", type=float, default=0, help="length of its gradient, as a share of the losses'"
    )
    parser.add_argument("--adversary-rate", type=float, default=2e-4)
    parser.add_argument(
        "--grid-weight", type=float, default=0, help="against patterns that repeat with the strides"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--bfloat16", action="store_true", help="convolve in 16 bits")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begun = time.time()
    torch.manual_seed(arguments.seed)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    device, graphs = arguments.device, arguments.device == "cuda"
    weights, metadata = read(arguments.init)
    if {"attention", "attention_masks"} & metadata.keys():
        sys.exit(f"train.py: {arguments.init} is an ablation; lbam-desk trains those")
    photographs = Photographs(arguments.photographs, device)
    masks = Masks(arguments.masks, device, np.random.default_rng(arguments.seed))
    network = Network(weights, device)
    names = sorted(network.weights)
    parameters = [network.weights[name] for name in names]
    limited = [(network.weights[name], LIMITS.get(name.split(".")[-1])) for name in names]
    rate, keep = torch.zeros((), device=device), torch.zeros((), device=device)
    adam = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99), fused=True, capturable=graphs)
    average = [tensor.detach().clone() for tensor in parameters]
    pictures = torch.zeros(arguments.batch, 3, SIZE, SIZE, device=device)
    known = torch.zeros(arguments.masks_per_step, 1, SIZE, SIZE, device=device)
    precision = torch.bfloat16 if arguments.bfloat16 else torch.float32
    lpips = Lpips(arguments.lpips, device, precision) if arguments.lpips else None
    adversary = Discriminator().to(device) if arguments.adversary else None
    if adversary:
        its_adam = torch.optim.Adam(
            adversary.parameters(), arguments.adversary_rate, (0.5, 0.9), capturable=graphs
        )
    pull = torch.zeros((), device=device)
    sums = torch.zeros(8, device=device)

    def draw():
        photographs.draw(pictures)
        masks.draw(known)

    def in_bits():
        return torch.autocast(device, torch.bfloat16, enabled=arguments.bfloat16)

    def discriminate(seen, holes):
        """One step of the discriminator; its loss, and the network's."""
        weight = functional.avg_pool2d(holes, adversary.STRIDE)
        weight = weight / weight.sum()
        with in_bits():
            real, filled = adversary(
                torch.cat([pictures, seen.detach()]), holes.repeat(2, 1, 1, 1)
            ).chunk(2)
        loss = ((functional.relu(1 - real) + functional.relu(1 + filled)) * weight).sum()
        its_adam.zero_grad(set_to_none=True)
        loss.backward()
        its_adam.step()
        with in_bits():
            scores = adversary(seen, holes)
        return loss, -(scores * weight).sum()

    def step():
        adam.zero_grad(set_to_none=True)
        with in_bits():
            whole = network.forward(pictures, known).float()
        # What the losses say of it comes together here, and then goes through the network.
        output = whole.detach().requires_grad_()
        shares = arguments.batch // arguments.masks_per_step
        holes = 1 - known.repeat(shares, 1, 1, 1)
        composite = output * holes + pictures * (1 - holes)
        parts = losses(output, composite, pictures, holes, arguments.ssim_weight)
        total, look = parts[0], torch.zeros((), device=device)
        seen = composite
        if arguments.reach:
            near = nearness(known, 2 * arguments.reach + 1).repeat(shares, 1, 1, 1)
            seen = torch.lerp(pictures, composite, near)
        if lpips:
            rows, columns = squares(holes[:, 0], SIZE // 2)
            which = torch.arange(arguments.batch, device=device)[:, None, None]
            place = which, slice(None), rows[:, :, None], columns[:, None, :]
            cut = [values[place].permute(0, 3, 1, 2) for values in (seen, pictures)]
            look = lpips.distance(*cut)
            total = total + arguments.lpips_weight * look
        repeats = torch.zeros((), device=device)
        if arguments.grid_weight:
            repeats = grid(composite, pictures, holes)
            total = total + arguments.grid_weight * repeats
        (gradient,) = torch.autograd.grad(total, output, retain_graph=adversary is not None)
        told = fooled = torch.zeros((), device=device)
        if adversary:
            told, fooled = discriminate(seen, holes)
            (its,) = torch.autograd.grad(fooled, output)
            gradient = gradient + its * (pull * gradient.norm() / its.norm().clamp_min(1e-12))
        whole.backward(gradient)
        adam.step()
        with torch.no_grad():
            for tensor, limits in limited:
                if limits:
                    tensor.clamp_(*limits)
            for mean, tensor in zip(average, parameters):
                mean.add_((tensor - mean) * (1 - keep))
            sums.add_(torch.cat([parts, torch.stack([look, repeats, told, fooled])]).detach())

    replay = step
    if graphs:
        # Some steps of no length, in which everything finds its place, then one to be repeated.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(4):
                draw()
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        torch.cuda.synchronize()
        replay = graph.replay
    sums.zero_()
    started, done, shown, counted, saved = time.time(), 0, time.time(), 0, time.time()

    def save():
        if not all(torch.isfinite(values).all() for values in average):
            sys.exit("train.py: a weight is not finite; what was saved before is as it was")
        notes = {
            "program": f"models/train.py, PyTorch {torch.__version__}",
            "training_batch": str(arguments.batch),
            "training_init": Path(arguments.init).name,
            "training_learning_rate": str(arguments.learning_rate),
            "training_seconds": f"{time.time() - begun:.0f}",
            "training_seed": str(arguments.seed),
            "training_steps": str(done),
        }
        # By "fills" lbam-edge knows what to give detail: not what an adversary sharpened.
        gone = {"fills"} if arguments.adversary else set()
        kept = {key: value for key, value in metadata.items() if key not in gone}
        write(arguments.output, dict(zip(names, average)), kept | notes)

    budget = max(1, arguments.seconds - (started - begun))
    while (share := (time.time() - started) / budget) < 1:
        cosine = 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2
        rate.fill_(arguments.learning_rate * min(1, (done + 1) / WARM_UP) * cosine)
        keep.fill_(min(AVERAGE, (1 + done) / (10 + done)))
        # The discriminator learns before it is heard.
        pull.fill_(arguments.adversary * min(1, max(0, done / WARM_UP - 1)))
        draw()
        replay()
        done += 1
        if done % 50:
            continue
        if graphs:
            torch.cuda.synchronize()
        if time.time() - shown > 10:
            total, hole, valid, ssim, look, repeats, told, fooled = (sums / (done - counted)).tolist()
            speed = done * arguments.batch / (time.time() - started)
            print(
                f"step {done}: total {total:.4f}, hole {hole:.5f}, valid {valid:.5f}, "
                f"ssim {ssim:.4f}, lpips {look:.4f}, grid {repeats:.5f}, adversary {told:.3f} {fooled:+.3f}, "
                f"{speed:.0f} pictures/s, {time.time() - begun:.0f} s",
                flush=True,
            )
            if not math.isfinite(total):
                sys.exit("train.py: the loss is not finite; nothing more is written")
            sums.zero_()
            shown, counted = time.time(), done
            if time.time() - saved > SAVE_EVERY:
                save()
                saved = time.time()
    save()
    print(f"{done} steps of {arguments.batch} in {time.time() - started:.1f} s")


if __name__ == "__main__":
    main()
