"""Prints what run.sh counted, and keeps it as CSV.

    report.py WORK PROCESSOR NETWORK RECORD.csv

WORK has bench.json and counts of lbam-edge, and of every peer NAME.json and NAME.counts.
"""

import csv
import json
import pathlib
import sys

# Instructions of tract alone on the whole network, in its best precision, over our frame stage.
GOALS = {"small": 8, "paper": 5}
# Instructions per 16 multiply-adds of the frame stage, with dot products.
DOT_GOALS = {"small": 2.0, "paper": 1.5}
# A peer that computes something else does not count: dB over the picture. 8 bits in every tensor,
# or 16-bit floats.
LEAST_PSNR = 35.0


def counts_at(mark, path):
    lines = path.read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith(f"{mark} ")]


def steps(work):
    """(stage, name, instructions, multiply-adds) of every step, then of both stages."""
    bench = json.loads((work / "bench.json").read_text())
    steps = bench["profile"]["steps"]
    # The program asks at the end of every step; after the last step it never asks again.
    counts = counts_at("CLOCK", work / "counts")[-len(steps) - 1 :]
    rows = []
    for step, begin, end in zip(steps, counts, counts[1:]):
        rows.append([step["stage"], step["name"], end - begin, step["multiply_adds"]])
    for stage in ("mask", "frame"):
        own = [row for row in rows if row[0] == stage]
        rows.append([stage, "all", sum(row[2] for row in own), sum(row[3] for row in own)])
    return bench, rows


def detail(work):
    """Instructions of the last frame's detail: the program asks before and after, and never again."""
    begin, end = counts_at("CLOCK", work / "detail.counts")[-2:]
    return end - begin


def peers(work):
    """Instructions of the second run, by name."""
    found = {}
    for path in sorted(work.glob("* *.counts")):
        name = path.stem
        report = json.loads((work / f"{name}.json").read_text().splitlines()[0])
        if not report["psnr"] >= LEAST_PSNR:
            sys.exit(f"report.py: {name} computes something else: {report['psnr']:.1f} dB")
        # Begin and end of the one timed run.
        begin, end = counts_at("MARK", path)
        found[name] = end - begin
    return found


def main():
    work, processor, network, record = pathlib.Path(sys.argv[1]), *sys.argv[2:]
    bench, rows = steps(work)
    kernel = bench["kernel"]
    print(f"{bench['model']} on {processor}, {kernel}, {bench['size']}, all of it a hole")
    for stage, name, instructions, products in rows:
        ratio = f"{16 * instructions / products:6.2f} per 16 multiply-adds" if products else ""
        print(f"  {stage:<6} {name:<18} {instructions / 1e6:8.2f} M instructions {ratio}")
    own_detail = detail(work)
    print(f"  detail, hole of 20 %      {own_detail / 1e6:8.2f} M instructions")
    mask, frame = (row[2] for row in rows[-2:])
    counts = peers(work)
    if counts:
        print(f"whole network by others, over our frame stage ({frame / 1e6:.1f} M) "
              f"and over both stages ({(mask + frame) / 1e6:.1f} M)")
        for name, instructions in counts.items():
            print(f"  {name:<12} {instructions / 1e6:10.1f} M {instructions / frame:8.2f}x "
                  f"{instructions / (mask + frame):8.2f}x")
        tract = min((count, name) for name, count in counts.items() if name.startswith("tract"))
        print(f"  tract at its best ({tract[1]}) over our frame stage: {tract[0] / frame:.2f}, "
              f"goal {GOALS[network]}")
        if kernel.endswith("dotprod"):
            print(f"  per 16 multiply-adds, frame stage: {16 * frame / rows[-1][3]:.2f}, "
                  f"goal {DOT_GOALS[network]}")
    if record:
        with open(record, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["model", "processor", "kernel", "stage", "step", "instructions",
                             "multiply_adds"])
            model = pathlib.Path(bench["model"]).name
            writer.writerows([model, processor, kernel, *row] for row in rows)
            writer.writerow([model, processor, "", "detail", "hole of 20 %", own_detail, ""])
            for name, count in counts.items():
                writer.writerow([network, processor, name, "whole network", "all", count, ""])


if __name__ == "__main__":
    main()
