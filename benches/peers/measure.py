"""Runs lbam-edge and its peers in turns, checks that they agree, and writes what was measured.

    measure.py WORK --edge PROGRAM --contender PROGRAM --int8 MODEL --network NAME
               --csv FILE

Each contender is a process of its own. In each round each is given the same time, all others
standing still meanwhile; a figure is the median over rounds of a round's median, so that what
disturbs a round disturbs all of them and is forgotten.
"""

import argparse
import csv
import json
import os
import pathlib
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent

# Contender, runtime, precision, work, file. Of the ways tried to give a runtime this network,
# those stand here that were fastest in it.
PEERS = [
    ("ONNX Runtime", "onnxruntime", "f32", "whole", "whole.onnx"),
    ("ONNX Runtime", "onnxruntime", "f32", "split", "split.onnx"),
    ("ONNX Runtime", "onnxruntime", "int8", "whole", "more-whole.onnx"),
    ("ONNX Runtime", "onnxruntime", "int8", "split", "more-split.onnx"),
    ("OpenVINO", "openvino", "f32", "whole", "phases-whole.onnx"),
    ("OpenVINO", "openvino", "f32", "split", "phases-split.onnx"),
    ("OpenVINO, QDQ", "openvino", "int8", "whole", "conv-whole.onnx"),
    ("OpenVINO, QDQ", "openvino", "int8", "split", "conv-split.onnx"),
    ("OpenVINO, NNCF", "openvino", "int8", "whole", "nncf-whole.xml"),
    ("OpenVINO, NNCF", "openvino", "int8", "split", "nncf-split.xml"),
    ("ncnn", "ncnn", "f32", "whole", "smooth_whole.ncnn.param"),
    ("tract", "tract", "f32", "whole", "whole.onnx"),
    ("rten", "rten", "f32", "whole", "whole.onnx"),
]
# What lbam-edge is asked: name, and how the hole is given.
EVERYTHING, ROUND = "all a hole", "5 % round hole"
# The mask that the peers get, too.
SAME = "20 % hole"
HOLES = [
    (EVERYTHING, ["--hole", "1"]),
    (SAME, ["--mask", "mask.png"]),
    (ROUND, ["--mask", "round.png"]),
]

WORKS = {"whole": "whole network", "split": "maps given"}
# Counts of /proc/PID/smaps that tell whether pages are the file's and shared.
PAGES = ("Size", "Rss", "Pss", "Shared_Clean", "Private_Clean", "Private_Dirty", "Anonymous")

# Floats in another order of summation; ncnn holds weights in 16 bits.
WORST_F32 = 1e-3
# 8 bits in every tensor, ranges by each runtime's own calibration.
LEAST_PSNR_INT8 = 35.0

# Times of lbam-edge are so short that each round may have many frames.
FRAMES = {"small": 200, "paper": 25}


class Disagreement(Exception):
    """A contender computes something else."""


class Peer:
    def __init__(self, peer, threads, arguments, realtime):
        work = arguments.work
        self.name, runtime, self.precision, self.work, model = peer
        self.times = []
        command = [sys.executable, str(HERE / "contender.py")]
        if runtime == "rten":
            command = [arguments.contender]
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            realtime + command + [runtime, str(work / model), str(threads), str(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.report = self.answer()
        self.report["start_to_first_ms"] = (time.perf_counter() - begun) * 1e3
        self.process.send_signal(signal.SIGSTOP)

    def answer(self):
        # Some libraries write to standard output, too.
        for line in self.process.stdout:
            if line[0] in "{[":
                return json.loads(line)
        raise RuntimeError(f"{self.name} {self.precision} {self.work} ended without an answer")

    def round(self, seconds):
        self.process.send_signal(signal.SIGCONT)
        print(f"run {seconds}", file=self.process.stdin, flush=True)
        self.times.append(statistics.median(self.answer()))
        # Threads that spin for a while after work would take a core from the next contender.
        self.process.send_signal(signal.SIGSTOP)

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()

    def check(self):
        report = self.report
        if self.precision == "f32" and not report["worst_error"] <= WORST_F32:
            raise Disagreement(f"{self.name}: worst error {report['worst_error']:.2g}")
        if self.precision == "int8" and not report["psnr"] >= LEAST_PSNR_INT8:
            raise Disagreement(f"{self.name} {self.work} int8: {report['psnr']:.1f} dB")


def bench(arguments, hole, threads, realtime, frames):
    hole = [str(arguments.work / h) if h.endswith(".png") else h for h in hole]
    command = [arguments.edge, "bench", "--model", arguments.int8, *hole]
    command += ["--threads", str(threads), "--frames", str(frames), "--json"]
    done = subprocess.run(realtime + command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def start_to_first(arguments, hole, realtime):
    """A whole process that fills one frame, from its start to its end."""
    begun = time.perf_counter()
    bench(arguments, hole, 1, realtime, 1)
    return (time.perf_counter() - begun) * 1e3


def agreement(arguments):
    """What lbam-edge fills, against the float reference: PSNR in the hole, dB."""
    work = arguments.work
    with tempfile.TemporaryDirectory() as folder:
        filled = pathlib.Path(folder) / "filled.png"
        command = [arguments.edge, "image", "--model", arguments.int8]
        command += ["--input", work / "picture.png", "--mask", work / "mask.png"]
        subprocess.run(command + ["--output", filled], check=True)
        found = np.asarray(Image.open(filled).convert("RGB"), np.float64)
    reference = np.load(work / "reference.npy")[0].transpose(1, 2, 0) * 255.0
    hole = np.load(work / "mask.npy")[0, 0] == 0
    psnr = -10 * np.log10(np.mean((found[hole] - reference[hole]) ** 2) / 255**2)
    if not psnr >= LEAST_PSNR_INT8:
        raise Disagreement(f"lbam-edge int8: {psnr:.1f} dB in the hole")
    return float(psnr)


def mapped_weights(arguments):
    """KiB of the model's pages while two processes have it open, as /proc/PID/smaps says: a
    dictionary of the first process' counts, summed over its mappings of the file."""
    command = [arguments.edge, "bench", "--model", arguments.int8, "--hole", "1"]
    command += ["--threads", "1", "--frames", "100000", "--json"]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    try:
        time.sleep(1.5)
        counts, inside = {}, False
        name = os.path.realpath(arguments.int8)
        for line in pathlib.Path(f"/proc/{processes[0].pid}/smaps").read_text().splitlines():
            words = line.split()
            if not words[0].endswith(":"):
                inside = line.endswith(name)
            elif inside and words[-1] == "kB":
                counts[words[0][:-1]] = counts.get(words[0][:-1], 0) + int(words[1])
        return counts
    finally:
        for process in processes:
            process.kill()
            process.wait()


def processor_seconds():
    """Seconds that all cores have worked and that have passed on all of them, since the start."""
    words = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, idle, waited, *rest = (int(w) / os.sysconf("SC_CLK_TCK") for w in words)
    busy = user + nice + system + sum(rest)
    return busy, busy + idle + waited


def camera_memory(arguments):
    """Peak resident MiB of the live program: a 640x480 pattern, one hole, 200 frames."""
    with tempfile.TemporaryDirectory() as folder:
        command = [arguments.edge, "--camera", "test:640x480", "--mask", "rect:30%,30%,25%,25%"]
        command += ["--model", arguments.int8, "--frames", "200", "--no-realtime"]
        command += ["--output", f"{folder}/out.y4m"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Not from wait4: its figure has this program's own memory in it, from before the exec.
        peak = None
        while process.poll() is None:
            peak = peak_memory(process.pid) or peak
            time.sleep(0.02)
        return peak if process.returncode == 0 else None


def peak_memory(pid):
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None


class Run:
    """What one run has measured so far."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.begun = processor_seconds()
        self.realtime = ["chrt", "--fifo", "1"] if arguments.realtime else []
        self.rows = []
        # Milliseconds by (threads, contender, precision, work).
        self.peers = {}
        # Milliseconds by (threads, hole, quantity).
        self.ours = {}
        # Of each peer on the whole network and one thread.
        self.memory = {}
        # By precision: lists of create, with first output, from process start.
        self.starts = {"f32": [], "int8": []}

    def record(self, threads, contender, precision, quantity, value, unit):
        if value is not None:
            row = (threads, contender, precision, quantity, f"{value:.4g}", unit)
            self.rows.append(row)

    def peak(self):
        """What one core does in 8-bit integers at most, G operations a second, measured now."""
        command = [self.arguments.edge, "bench", "--model", self.arguments.int8, "--profile",
                   "--frames", "1", "--threads", "1", "--json"]
        done = subprocess.run(self.realtime + command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["profile"]["peak_gops"]

    def start_peer(self, peer, threads):
        peer = Peer(peer, threads, self.arguments, self.realtime)
        try:
            peer.check()
        except Disagreement:
            peer.end()
            raise
        return peer

    def note_start(self, peer):
        report = peer.report
        opened = report["create_ms"] + report["first_run_ms"]
        times = (report["create_ms"], opened, report["start_to_first_ms"])
        self.starts[peer.precision].append(times)

    def on_threads(self, threads):
        """All rounds with so many threads."""
        arguments, peers = self.arguments, []
        frames = FRAMES.get(arguments.network, 50)
        ours = {name: [] for name, _ in HOLES}
        wholes, peaks = [], []
        try:
            for peer in PEERS:
                if threads == 1 or peer[1] != "tract":
                    peers.append(self.start_peer(peer, threads))
            for _ in range(arguments.rounds):
                for peer in peers:
                    peer.round(arguments.seconds)
                for name, hole in HOLES:
                    ours[name].append(bench(arguments, hole, threads, self.realtime, frames))
                if threads > 1:
                    continue
                peaks.append(self.peak())
                wholes.append(start_to_first(arguments, HOLES[0][1], self.realtime))
                for peer in PEERS:
                    if peer[1] == "onnxruntime" and peer[3] == "whole":
                        started = self.start_peer(peer, 1)
                        self.note_start(started)
                        started.end()
        finally:
            for peer in peers:
                peer.end()
        for peer in peers:
            self.note_peer(peer, threads)
        self.note_ours(ours, threads)
        if threads == 1:
            self.note_first(ours, wholes, peaks)

    def note_peer(self, peer, threads):
        median = statistics.median(peer.times)
        who = (threads, peer.name, peer.precision)
        self.peers[(*who, peer.work)] = median
        self.record(*who, WORKS[peer.work], median, "ms")
        if peer.work == "whole" and threads == 1:
            report = peer.report
            self.memory[peer.name, peer.precision] = report["rss_mib"]
            self.record(*who, "peak memory", report["rss_mib"], "MiB")
            if peer.name != "ONNX Runtime":
                self.record(*who, "create session", report["create_ms"], "ms")
            if peer.precision == "int8":
                self.record(*who, "agreement", report["psnr"], "dB")
            else:
                self.record(*who, "worst error", report["worst_error"], "of 1")

    def note_ours(self, ours, threads):
        for name, results in ours.items():
            for quantity, pick in (
                ("frame stage", lambda r: r["frame_stage_ms"]["median"]),
                ("mask stage", lambda r: r["mask_stage_ms"]["median"]),
                ("both stages", lambda r: r["frame_full_ms"]),
            ):
                median = statistics.median(map(pick, results))
                self.ours[threads, name, quantity] = median
                self.record(threads, "lbam-edge", "int8", f"{quantity}, {name}", median, "ms")

    def note_first(self, ours, wholes, peaks):
        results = [result for results in ours.values() for result in results]
        self.load = statistics.median(result["load_ms"] for result in results)
        self.first = statistics.median(r["first_frame_ms"] for r in ours[SAME])
        self.process = statistics.median(wholes)
        self.bench_memory = max(result["rss_mib"] for result in results)
        who = (1, "lbam-edge", "int8")
        self.record(*who, "peak memory", self.bench_memory, "MiB")
        self.record(*who, "open and check the model", self.load, "ms")
        self.record(*who, "process start to first frame", self.first, "ms")
        self.record(*who, "whole process with one frame", self.process, "ms")
        for precision, times in self.starts.items():
            medians = [statistics.median(column) for column in zip(*times)]
            self.starts[precision] = medians
            quantities = ("create session", "create session and first output",
                          "process start to first output, Python's start included")
            for quantity, median in zip(quantities, medians):
                self.record(1, "ONNX Runtime", precision, quantity, median, "ms")
        self.core = statistics.median(peaks) if all(peaks) else None
        if self.core:
            rate = 2 * results[0]["macs_frame"] / self.ours[1, EVERYTHING, "frame stage"] / 1e6
            self.share = 100 * rate / self.core
            self.record(1, "one core", "int8", "peak", self.core, "G operations/s")
            self.record(*who, f"share of peak, frame stage, {EVERYTHING}", self.share, "%")

    def note_memory(self):
        self.pages = mapped_weights(self.arguments)
        self.camera = camera_memory(self.arguments)
        who = (1, "lbam-edge", "int8")
        for key in PAGES:
            quantity = f"pages of the model, two processes: {key}"
            self.record(*who, quantity, self.pages.get(key), "KiB")
        self.record(*who, "peak memory, live 640x480", self.camera, "MiB")

    def best_peer(self, threads, work):
        """The fastest of any precision."""
        found = {k: v for k, v in self.peers.items() if k[0] == threads and k[3] == work}
        key = min(found, key=found.get)
        return found[key], f"{key[1]} {key[2]}"

    def ratios(self):
        for threads in (1, 2):
            whole, given = (self.best_peer(threads, work) for work in ("whole", "split"))
            frame = self.ours[threads, EVERYTHING, "frame stage"]
            same = self.ours[threads, SAME, "frame stage"]
            both = self.ours[threads, SAME, "both stages"]
            hole = self.ours[threads, ROUND, "frame stage"]
            own = (frame, "lbam-edge")
            yield threads, "mask stands, peer runs the whole network", *whole, same
            yield threads, "the same, but all a hole for lbam-edge", *whole, frame
            yield threads, "mask stands, maps given to both", *given, same
            yield threads, "the same, but all a hole for us", *given, frame
            yield threads, "mask changes on every frame", *whole, both
            yield threads, "round hole of 5 %, peer runs the whole network", *whole, hole
            yield threads, "round hole of 5 %, against our own whole picture", *own, hole
        one = (self.ours[1, EVERYTHING, "frame stage"], "lbam-edge, 1 thread")
        yield 2, "2 threads over 1, frame stage", *one, self.ours[2, EVERYTHING, "frame stage"]

    def print_tables(self):
        arguments = self.arguments
        print(f"\n{arguments.network}, 256x256, ms, medians of {arguments.rounds} rounds")
        print(f"{'':<52}1 thread  2 threads")

        def line(label, times):
            texts = [f"{time:9.2f}" if time else " " * 9 for time in times]
            print(f"{label:<50} {'  '.join(texts)}")

        for name, precision, work in sorted({key[1:] for key in self.peers}):
            times = [self.peers.get((threads, name, precision, work)) for threads in (1, 2)]
            line(f"{name} {precision}, {WORKS[work]}", times)
        for name, _ in HOLES:
            for quantity in ("frame stage", "mask stage", "both stages"):
                times = [self.ours[threads, name, quantity] for threads in (1, 2)]
                line(f"lbam-edge int8, {quantity}, {name}", times)
        print("\nthe fastest peer of any precision over lbam-edge int8")
        for threads, what, other, name, own in self.ratios():
            ratio = f"{other / own:6.2f}x  {other:.2f} ({name}) / {own:.2f}"
            print(f"  {threads} thread{'s' if threads > 1 else ' '}  {what:<50}{ratio}")
            self.record(threads, "ratio", "int8", what, other / own, "x")
        print("\nstart, memory, agreement, one thread")
        for precision, (create, opened, started) in self.starts.items():
            print(f"  ONNX Runtime {precision}: session {create:.1f} ms, with first output "
                  f"{opened:.1f}, from process start with Python {started:.0f}")
        print(f"  lbam-edge: open and check {self.load:.2f} ms, first frame {self.first:.1f} ms "
              f"after process start, whole process {self.process:.1f} ms")
        print(f"  open and check over ONNX Runtime's f32 session: "
              f"{100 * self.load / self.starts['f32'][0]:.1f} %")
        if self.core:
            print(f"  {self.share:.0f} % of a core's {self.core:.0f} G operations/s")
        print(f"  peak memory, MiB: bench {self.bench_memory:.1f}, live 640x480 "
              f"{self.camera or float('nan'):.1f}; least peer {min(self.memory.values()):.0f}")
        pages = ", ".join(f"{key} {self.pages.get(key)}" for key in PAGES)
        print(f"  pages of the model while two processes run it, KiB: {pages}")
        print(f"  lbam-edge agrees with the f32 reference to {self.agreement:.1f} dB in the hole; "
              "all peers are within tolerance")

    def write(self):
        arguments = self.arguments
        busy, passed = (now - then for now, then in zip(processor_seconds(), self.begun))
        own = sum(sum(resource.getrusage(who)[:2]) for who in
                  (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        others = 100 * max(0.0, busy - own) / passed
        target = pathlib.Path(arguments.csv)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = not target.exists()
        note = f"{arguments.note}; other processes took {others:.0f} % of the processor"
        note += "; real-time priority" if self.realtime else ""
        with target.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if fresh:
                heads = ("threads", "contender", "precision", "quantity", "value", "unit")
                writer.writerow(("network", *heads))
            writer.writerow((arguments.network, "", "machine", "", note, "", ""))
            writer.writerows((arguments.network, *row) for row in self.rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    for option in ("--edge", "--contender", "--int8", "--network", "--csv"):
        parser.add_argument(option, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--realtime", action="store_true", help="first in line for the processor")
    parser.add_argument("--note", default="", help="about machine and versions, for the record")
    run = Run(parser.parse_args())
    run.agreement = agreement(run.arguments)
    run.record(1, "lbam-edge", "int8", "agreement in the hole", run.agreement, "dB")
    for threads in (1, 2):
        run.on_threads(threads)
    run.note_memory()
    run.print_tables()
    run.write()


if __name__ == "__main__":
    try:
        main()
    except Disagreement as error:
        sys.exit(f"measure.py: {error}")
