"""Looks at what the emulated device wrote: check.py FOLDER

FOLDER holds the results of guest.sh. Every check prints a line that begins with "ok " or "FAILED ";
the last line counts frames. Pictures to look at go to FOLDER/pictures. Needs ffmpeg.
"""

import json
import pathlib
import shutil
import subprocess
import sys

WIDTH, HEIGHT = 640, 480
# The guest's masks: x, y, width, height.
HOLES = [(96, 64, 128, 96)]
FORMATS = ["YUYV", "NV12", "RGB3", "GREY"]
# What JPEG at lbam's quality may change on average: 0.1 levels were seen in vivid's plain bars, 3.4
# in a fill's fine texture. The bars under the hole are 44 levels from the fill.
JPEG_LEVELS = 1.0
JPEG_LEVELS_HOLE = 8.0
# A hole counts as filled if at least this share of it is not what the camera saw.
CHANGED = 0.5
# ... and it has at least so many values: one painted flat has one.
VALUES = 8


class Results:
    """What a device left in a folder, and what was found about it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.pictures = self.folder / "pictures"
        self.pictures.mkdir(exist_ok=True)
        self.passed = self.failures = 0

    def check(self, name, fine, found=""):
        if fine:
            self.passed += 1
            print(f"ok {name}")
        else:
            self.failures += 1
            print(f"FAILED {name} {found}")

    def end(self, captured, filled, served):
        """Counts what the device itself found, too, and ends the program."""
        for line in (self.folder / "console.txt").read_text(errors="replace").splitlines():
            self.passed += line.startswith("ok ")
            self.failures += line.startswith("FAILED ")
        print(
            f"{captured} frames captured, {filled} filled, {served} served; "
            f"{self.passed} checks passed, {self.failures} failed"
        )
        sys.exit(1 if self.failures else 0)


def rgb(picture):
    """A picture's bytes, from a path or from bytes."""
    source = picture if isinstance(picture, bytes) else picture.read_bytes()
    command = "ffmpeg -v error -i - -frames:v 1 -f rawvideo -pix_fmt rgb24 -".split()
    return subprocess.run(command, input=source, stdout=subprocess.PIPE, check=True).stdout


def y4m(path):
    """Frames of a clip, each as (planes, their widths and heights)."""
    data = path.read_bytes()
    end = data.index(b"\n")
    words = data[:end].decode().split()
    width, height = (int(word[1:]) for word in words[1:3])
    chroma = next(word[1:] for word in words if word.startswith("C"))
    across, down = {"420jpeg": (2, 2), "422": (2, 1), "444": (1, 1), "mono": (0, 0)}[chroma]
    sides = [(width, height)] + ([(width // across, height // down)] * 2 if across else [])
    frames, at = [], end + 1
    while at < len(data):
        assert data[at : at + 6] == b"FRAME\n", data[at : at + 20]
        at += 6
        planes = []
        for w, h in sides:
            planes.append(data[at : at + w * h])
            at += w * h
        frames.append(planes)
    return frames, sides


def as_planes(camera, name):
    """A frame as the driver gave it, in y4m's planes."""
    if name == "YUYV":
        return [camera[0::2], camera[1::4], camera[3::4]]
    if name == "NV12":
        luma = WIDTH * HEIGHT
        return [camera[:luma], camera[luma::2], camera[luma + 1 :: 2]]
    return [camera]


def split(plane, width, height, step):
    """(outside, inside) of the holes; a hole's numbers are divided by the plane's scale."""
    across, down = WIDTH // width, HEIGHT // height
    outside, inside = [], []
    for y in range(height):
        line = plane[y * width * step : (y + 1) * width * step]
        at = 0
        for left, top, w, h in sorted(HOLES):
            if top // down <= y < (top + h) // down:
                begin, end = left // across * step, (left + w) // across * step
                outside.append(line[at:begin])
                inside.append(line[begin:end])
                at = end
        outside.append(line[at:])
    return b"".join(outside), b"".join(inside)


def changed(one, two):
    return sum(a != b for a, b in zip(one, two)) / max(1, len(one))


def distance(one, two):
    return sum(abs(a - b) for a, b in zip(one, two)) / max(1, len(one))


def parts(stream):
    """The whole pictures of a multipart stream, which may be cut anywhere."""
    found, at = [], 0
    while True:
        at = stream.find(b"Content-Length: ", at)
        head = stream.find(b"\r\n\r\n", at)
        if at < 0 or head < 0:
            return found
        length = int(stream[at + 16 : stream.index(b"\r\n", at)])
        at = head + 4 + length
        if at > len(stream):
            return found
        found.append(stream[head + 4 : at])


def check_format(results, name):
    check, pictures, place = results.check, results.pictures, results.folder / name
    raw = (place / "camera.raw").read_bytes()
    statistics = [json.loads((place / f"{kind}.json").read_text()) for kind in ("plain", "filled")]
    plain_png = [rgb(place / "plain" / f"{n:06}.png") for n in (1, 2)]
    filled_png = [rgb(place / "filled" / f"{n:06}.png") for n in (1, 2)]
    if name == "RGB3":
        plain, filled, sides, step = [[p] for p in plain_png], [[p] for p in filled_png], [(WIDTH, HEIGHT)], 3
    else:
        (plain, sides), (filled, _), step = y4m(place / "plain.y4m"), y4m(place / "filled.y4m"), 1
    check(f"{name}: two frames of each", len(plain) == len(filled) == 2, (len(plain), len(filled)))
    check(
        f"{name}: without a mask, frames are another program's, byte for byte",
        all(frame == as_planes(raw, name) for frame in plain),
    )
    outside_same, most_changed, values = True, 0.0, 0
    for frame in filled:
        for index, (new, old, (w, h)) in enumerate(zip(frame, plain[0], sides)):
            new_outside, new_inside = split(new, w, h, step)
            old_outside, old_inside = split(old, w, h, step)
            outside_same &= new_outside == old_outside
            if index == 0:
                most_changed = changed(new_inside, old_inside)
                values = len(set(new_inside))
    check(f"{name}: known pixels are the camera's, byte for byte", outside_same)
    check(f"{name}: holes are not what the camera saw", most_changed >= CHANGED, most_changed)
    check(f"{name}: holes are not flat", values >= VALUES, values)
    check(
        f"{name}: the network filled every frame",
        statistics[1]["filled"] == statistics[1]["shown"] == 2,
        statistics[1],
    )
    shutil.copy(place / "plain" / "000001.png", pictures / f"{name}-before.png")
    shutil.copy(place / "filled" / "000001.png", pictures / f"{name}-after.png")
    return statistics


def check_devices(results):
    """Masks from a device, and pictures that went to one."""
    check, place = results.check, results.folder / "devices"
    camera = as_planes((results.folder / "YUYV/camera.raw").read_bytes(), "YUYV")
    holes = [value >= 128 for value in (place / "mask.raw").read_bytes()]
    share = sum(holes) / len(holes)
    check(f"the device's mask hides a part ({share:.0%})", 0.2 < share < 0.8, share)
    for name, hidden in (("masked", holes), ("hidden", [True] * len(holes))):
        luma = y4m(place / f"{name}.y4m")[0][-1][0]
        known = [(a, b) for a, b, hole in zip(luma, camera[0], hidden) if not hole]
        inside = [(a, b) for a, b, hole in zip(luma, camera[0], hidden) if hole]
        check(f"{name}: what it leaves open is the camera's", all(a == b for a, b in known))
        same = sum(a == b for a, b in inside) / len(inside)
        check(f"{name}: what it hides is not ({same:.0%} the same)", same < 1 - CHANGED, same)
    size = WIDTH * HEIGHT * 2
    paths = {name: place / f"looped-{name}.raw" for name in ("YUYV", "RGB3")}
    check("the output device gave pictures", all(path.exists() for path in paths.values()))
    if results.failures:
        return
    looped = paths["YUYV"].read_bytes()
    frames = [as_planes(looped[at : at + size], "YUYV") for at in range(0, len(looped), size)]
    filled = y4m(place / "filled.y4m")[0][0]
    equal = sum(frame == filled for frame in frames)
    check(
        f"the output device gave what files hold, byte for byte ({equal} of {len(frames)} frames)",
        0 < equal == len(frames),
    )
    command = f"ffmpeg -v error -f rawvideo -pix_fmt yuyv422 -s {WIDTH}x{HEIGHT} -i"
    picture = results.pictures / "output-RGB3.png"
    subprocess.run([*command.split(), paths["RGB3"], "-frames:v", "1", "-y", picture], check=True)
    levels = distance(rgb(picture), rgb(results.folder / "RGB3/filled/000001.png"))
    # Chroma is shared by two pixels there.
    check(f"so it did of RGB, but for the conversion ({levels:.2f} levels)", levels < 4)


def check_stream(results, name, before, filled):
    """Pictures of the page against those from the same camera in files."""
    check, pictures = results.check, results.pictures
    found = parts((results.folder / f"{name}.mjpg").read_bytes())
    check(f"the page's stream {name} unplugging has pictures", len(found) >= 2, len(found))
    known = hole = 0.0
    for number, jpeg in enumerate(found):
        (pictures / f"stream-{name}-{number + 1}.jpg").write_bytes(jpeg)
        outside, inside = split(rgb(jpeg), WIDTH, HEIGHT, 3)
        known = max(known, distance(outside, before[0]))
        hole = max(hole, distance(inside, filled[1]))
    check(f"its known pixels are the camera's ({known:.2f} levels)", known < JPEG_LEVELS, known)
    check(f"its holes are the fill ({hole:.2f} levels)", hole < JPEG_LEVELS_HOLE, hole)
    return len(found)


def main():
    results = Results(sys.argv[1])
    folder = results.folder
    if not (folder / "end.json").exists():
        sys.exit("FAILED the device did not come to its end; console.txt tells how far it came")
    statistics = [one for name in FORMATS for one in check_format(results, name)]
    statistics.append(json.loads((folder / "end.json").read_text()))
    check_devices(results)
    before = split(rgb(folder / "YUYV/plain/000001.png"), WIDTH, HEIGHT, 3)
    filled = split(rgb(folder / "YUYV/filled/000001.png"), WIDTH, HEIGHT, 3)
    served = sum(check_stream(results, name, before, filled) for name in ("before", "after"))
    results.check("no hole was painted flat", all(one["flat"] == 0 for one in statistics))
    results.end(
        captured=sum(one["captured"] for one in statistics),
        filled=sum(one["filled"] for one in statistics),
        served=served,
    )


if __name__ == "__main__":
    main()
