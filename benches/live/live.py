"""Shows scenes to lbam-edge and scores what comes out; see run.sh.

Each scene is a photograph with a rectangle or ellipse as its mask, 10 to 30 % of the frame wide and 12
to 40 % high. Three things are done with it:

  still   it stands still
  noisy   it stands still, and the camera has noise of 3 levels
  turns   the camera turns by 4 pixels a frame for 30 frames, and then rests

LPIPS (VGG-16) is of the square around the hole, PSNR of the hole; a change is the mean of what
pixels, or means of 5x5 pixels, differ by from one frame to the next.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy
import torch
from PIL import Image, ImageDraw, ImageOps

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "models"))
import train  # noqa: E402

WIDTH, HEIGHT = 640, 480
NOISE = 3
STEP, TURNS, RESTS = 4, 30, 30
STILL = 24
HEADER = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F30:1 Ip A1:1 C444 XCOLORRANGE=FULL\n".encode()
TO_YUV = numpy.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
OFFSET = numpy.array([0, 128, 128])


def write_clip(path, frames):
    """Frames `[H, W, 3]` in RGB as y4m."""
    with path.open("wb") as clip:
        clip.write(HEADER)
        for frame in frames:
            yuv = numpy.rint(frame @ TO_YUV.T + OFFSET).clip(0, 255).astype(numpy.uint8)
            clip.write(b"FRAME\n" + yuv.transpose(2, 0, 1).tobytes())


def read_clip(path):
    """The frames of a y4m, `[H, W, 3]` in RGB."""
    with path.open("rb") as clip:
        clip.readline()
        while clip.readline():
            yuv = numpy.frombuffer(clip.read(3 * WIDTH * HEIGHT), numpy.uint8)
            yuv = yuv.reshape(3, HEIGHT, WIDTH).transpose(1, 2, 0) - OFFSET
            yield (yuv @ numpy.linalg.inv(TO_YUV).T).clip(0, 255).astype(numpy.float32)


def scenes(folder, count):
    """Wide photographs and masks, the same ones each time."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    chance = random.Random(1)
    chance.shuffle(files)
    width = WIDTH + STEP * TURNS
    for path in files:
        if count == 0:
            return
        photograph = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        scale = HEIGHT / photograph.height
        if scale > 1 or photograph.width * scale < width:
            continue
        photograph = photograph.resize((round(photograph.width * scale), HEIGHT), Image.LANCZOS)
        wide, high = chance.uniform(0.1, 0.3) * WIDTH, chance.uniform(0.12, 0.4) * HEIGHT
        left, top = chance.uniform(0, WIDTH - wide), chance.uniform(0, HEIGHT - high)
        mask = Image.new("L", (WIDTH, HEIGHT))
        draw = ImageDraw.Draw(mask)
        shape = chance.choice([draw.rectangle, draw.ellipse])
        shape([left, top, left + wide, top + high], fill=255)
        count -= 1
        yield numpy.asarray(photograph, numpy.float32)[:, :width], mask


def filled(arguments, folder, frames, mask):
    """What the program makes of frames."""
    write_clip(folder / "in.y4m", frames)
    mask.save(folder / "mask.png")
    command = [arguments.edge, "--camera", folder / "in.y4m", "--mask", folder / "mask.png"]
    command += ["--model", arguments.model, "--no-realtime", "--output", folder / "out.y4m"]
    subprocess.run(command + arguments.options, check=True, capture_output=True)
    return list(read_clip(folder / "out.y4m"))


class Scores:
    """Means of figures by name."""

    def __init__(self):
        self.all = {}

    def add(self, name, value):
        self.all.setdefault(name, []).append(float(value))

    def quality(self, name, fill, truth, hole, lpips):
        error = ((fill - truth)[hole] ** 2).mean()
        self.add(f"{name}: PSNR in the hole, dB", 10 * numpy.log10(255**2 / max(error, 1e-3)))
        rows, columns = (numpy.flatnonzero(hole.any(axis)) for axis in (1, 0))
        side = min(HEIGHT, 2 * max(numpy.ptp(rows), numpy.ptp(columns)))
        top, left = (
            int(numpy.clip((line[0] + line[-1] - side) // 2, 0, length - side))
            for line, length in ((rows, HEIGHT), (columns, WIDTH))
        )
        first, second = (
            torch.from_numpy(picture[top : top + side, left : left + side].copy() / 255)
            .permute(2, 0, 1)[None]
            .float()
            for picture in (fill, truth)
        )
        with torch.no_grad():
            self.add(f"{name}: LPIPS around it", lpips.distance(first, second))

    def change(self, name, before, now, hole):
        difference = now - before
        coarse = box_mean(difference)
        self.add(f"{name}: change, known, levels", numpy.abs(difference[~hole]).mean())
        self.add(f"{name}: change, hole, levels", numpy.abs(difference[hole]).mean())
        self.add(f"{name}: change of 5x5, known, levels", numpy.abs(coarse[~hole]).mean())
        self.add(f"{name}: change of 5x5, hole, levels", numpy.abs(coarse[hole]).mean())

    def print(self):
        for name, values in self.all.items():
            print(f"{name:<40} {numpy.mean(values):8.3f}   (n={len(values)})")


def box_mean(picture, side=5):
    sums = torch.from_numpy(picture).permute(2, 0, 1)[None]
    means = torch.nn.functional.avg_pool2d(sums, side, 1, side // 2)
    return means[0].permute(1, 2, 0).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=pathlib.Path, required=True)
    parser.add_argument("--lpips", required=True, help="weights of VGG-16's")
    parser.add_argument("--scenes", type=int, default=32)
    parser.add_argument("options", nargs="*", help="for lbam-edge")
    arguments = parser.parse_args()
    lpips = train.Lpips(arguments.lpips, "cpu", torch.float32)
    scores, chance = Scores(), numpy.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for number, (wide, mask) in enumerate(scenes(arguments.images, arguments.scenes), 1):
            print(f"\rscene {number}", end="", file=sys.stderr, flush=True)
            hole = numpy.asarray(mask) > 127
            still = wide[:, :WIDTH]
            fills = filled(arguments, folder, [still] * STILL, mask)
            scores.quality("still, frame 1", fills[0], still, hole, lpips)
            scores.quality(f"still, frame {STILL}", fills[-1], still, hole, lpips)
            noisy = [still + chance.normal(0, NOISE, still.shape) for _ in range(STILL)]
            fills = filled(arguments, folder, noisy, mask)
            for before, now in zip(fills[-6:], fills[-5:]):
                scores.change("noisy", before, now, hole)
            turned = [wide[:, STEP * turn :][:, :WIDTH] for turn in range(TURNS + 1)]
            fills = filled(arguments, folder, turned + turned[-1:] * RESTS, mask)
            scores.quality("turns, half way", fills[TURNS // 2], turned[TURNS // 2], hole, lpips)
            scores.quality("turns, at its end", fills[TURNS], turned[-1], hole, lpips)
            scores.quality(f"turns, {RESTS} frames later", fills[-1], turned[-1], hole, lpips)
    print(file=sys.stderr)
    scores.print()


if __name__ == "__main__":
    main()
