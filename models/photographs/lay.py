"""Lay the photographs of photographs.csv in a folder and verify them.

    lay.py check [--heldout DIR] [--purge] OUT  verify everything; with --purge remove
                                                what is too near to a held-out picture
    lay.py missing OUT                          the packages that are still needed
    lay.py lay [--heldout DIR] OUT PACKAGE TREE take one package's photographs
                                                from its unpacked tree

`fetch.sh` beside this file calls it; it needs Pillow only for `--heldout`.
"""

import argparse
import csv
import hashlib
import os
import sys
from pathlib import Path

import carve

# Of the 512 bits of a fingerprint. Photographs that have nothing in common
# differ by 150 or more; the same one packed harder, scaled, blurred, lighter or
# cropped by a few per cent differs by less than 120.
NEAR = 120


def rows():
    with open(Path(__file__).with_name("photographs.csv"), newline="") as file:
        return list(csv.DictReader(file))


def place(out, row):
    return out / row["package"] / row["name"]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def state(out, row):
    """Is the photograph "there", "missing" or "wrong"?"""
    try:
        data = place(out, row).read_bytes()
    except FileNotFoundError:
        return "missing"
    return "there" if sha256(data) == row["sha256"] else "wrong"


class HeldOut:
    """The pictures for evaluation, of which no likeness may be trained on."""

    ENDINGS = frozenset([".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"])

    def __init__(self, folder):
        paths = sorted(
            path for path in Path(folder).rglob("*") if path.suffix.lower() in self.ENDINGS
        )
        if not paths:
            raise SystemExit(f"lay.py: no pictures in {folder}")
        self.hashes = {sha256(path.read_bytes()): path.name for path in paths}
        # Both ways round, so that a mirrored photograph is found as well.
        self.prints = [
            (path.name, fingerprint)
            for path in paths
            for mirrored in (False, True)
            for fingerprint in fingerprints(path, mirrored, whole_only=True)
        ]

    def nearest(self, path):
        """Give the least distance to a held-out picture, and that picture."""
        same = self.hashes.get(sha256(path.read_bytes()))
        if same is not None:
            return 0, same
        return min(
            ((ours ^ theirs).bit_count(), name)
            for ours in fingerprints(path)
            for name, theirs in self.prints
        )


def fingerprints(path, mirrored=False, whole_only=False):
    """Difference hashes of a picture and of the squares along its long side."""
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        image.draft("L", (512, 512))  # JPEG: decode no larger than needed
        grey = image.convert("RGB").convert("L")
    grey.thumbnail((512, 512), Image.Resampling.BOX)
    if mirrored:
        grey = ImageOps.mirror(grey)
    width, height = grey.size
    side = min(width, height)
    boxes = [(0, 0, width, height)]
    if not whole_only:
        for x, y in {
            (round((width - side) * part), round((height - side) * part))
            for part in (0.0, 0.5, 1.0)
        }:
            boxes.append((x, y, x + side, y + side))
    return [difference_hash(grey, box) for box in boxes]


def difference_hash(grey, box):
    """Is each point of a 16x16 grid darker than its right, its lower neighbour?"""
    from PIL import Image

    bits = 0
    for size, step in (((17, 16), 1), ((16, 17), 16)):
        points = grey.resize(size, Image.Resampling.LANCZOS, box).tobytes()
        for y in range(16):
            for x in range(16):
                at = y * size[0] + x
                bits = bits << 1 | (points[at] < points[at + step])
    return bits


def lay(out, package, tree, heldout):
    """Write one package's photographs; give the number that could not be had."""
    wanted = [row for row in rows() if row["package"] == package]
    opened = None, {}
    laid = failed = 0
    for row in wanted:
        if state(out, row) == "there":
            continue
        try:
            box, *inner = row["path_in_package"].split("!")
            if not inner:
                data = (tree / box).read_bytes()
            else:
                if opened[0] != box:
                    opened = box, carve.open_container(str(tree / box))
                data = opened[1][inner[0]]()
                if inner[1:] == ["preview"]:
                    data = carve.preview(data)
        except (OSError, KeyError, carve.CarveError) as error:
            complain(f"{package}: no {row['path_in_package']}: {error!r}")
            failed += 1
            continue
        if sha256(data) != row["sha256"]:
            complain(f"{package}: {row['path_in_package']} is another file than the list says")
            failed += 1
            continue
        target = place(out, row)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.part")
        aside.write_bytes(data)
        try:
            if heldout and refused(heldout, aside, row):
                failed += 1
                continue
            os.replace(aside, target)
            laid += 1
        finally:
            aside.unlink(missing_ok=True)
    there = len(wanted) - laid - failed
    print(f"{package}: {laid} laid, {there} already there, {failed} not to be had", flush=True)
    return failed


def refused(heldout, path, row):
    distance, name = heldout.nearest(path)
    if distance <= NEAR:
        complain(
            f"{row['package']}/{row['name']} is too near to the held-out {name} "
            f"({distance} of 512 bits differ, more than {NEAR} must)"
        )
    return distance <= NEAR


def check(out, heldout, purge):
    """Verify everything that is laid; give whether all is well."""
    listed = rows()
    count = {"there": 0, "missing": 0, "wrong": 0, "refused": 0}
    nearest = (513, "", "")
    for row in listed:
        found = state(out, row)
        if found == "there" and heldout:
            distance, name = heldout.nearest(place(out, row))
            nearest = min(nearest, (distance, f"{row['package']}/{row['name']}", name))
            if refused(heldout, place(out, row), row):
                found = "refused"
                if purge:
                    place(out, row).unlink()
        elif found != "there":
            complain(f"{found}: {row['package']}/{row['name']}")
        count[found] += 1
    known = {place(out, row) for row in listed}
    strangers = sorted(p for p in out.rglob("*") if p.is_file() and p not in known)
    for path in strangers:
        complain(f"not in the list: {path.relative_to(out)}")
    if heldout:
        distance, ours, theirs = nearest
        print(f"nearest to the held-out pictures: {ours} to {theirs}, {distance} of 512 bits")
    line = f"{len(listed)} photographs, {count['there']} verified, {count['missing']} missing"
    for word, number in (
        ("wrong", count["wrong"]),
        ("too near to held-out pictures", count["refused"]),
        ("strange files", len(strangers)),
    ):
        if number:
            line += f", {number} {word}"
    print(line)
    return count["there"] == len(listed)


def complain(text):
    print(f"lay.py: {text}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description="Lay and verify the photographs.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, help_text in (
        ("check", "verify everything"),
        ("missing", "name the packages that are still needed"),
        ("lay", "take one package's photographs from its unpacked tree"),
    ):
        sub = commands.add_parser(command, help=help_text)
        sub.add_argument("out", type=Path)
        if command != "missing":
            sub.add_argument("--heldout", type=Path, metavar="DIR")
        if command == "check":
            sub.add_argument("--purge", action="store_true")
        if command == "lay":
            sub.add_argument("package")
            sub.add_argument("tree", type=Path)
    options = parser.parse_args()
    if options.command == "missing":
        needed = {row["package"] for row in rows() if state(options.out, row) != "there"}
        print("\n".join(sorted(needed)))
        return 0
    heldout = HeldOut(options.heldout) if options.heldout else None
    if options.command == "check":
        return 0 if check(options.out, heldout, options.purge) else 1
    return 1 if lay(options.out, options.package, options.tree, heldout) else 0


if __name__ == "__main__":
    sys.exit(main())
