"""What lbam-desk would have a CUDA GPU do, from the trace of driver.c: calls of a step, and the machine
code of the convolutions."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

folder, tools = Path(sys.argv[1]), Path(sys.argv[2])
# Which of Triton's two knows the H200 and the later PTX.
assembler = next(tool for tool in ("ptxas-blackwell", "ptxas") if (tools / tool).exists())


def tool(name, *arguments):
    done = subprocess.run([tools / name, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"report.py: {name}: {done.stderr.strip()}")
    return done.stdout


def machine_code(number):
    """Registers, bytes on the stack, and the instructions of the loop that has most multiply-adds."""
    source, code = folder / f"{number}.ptx", folder / f"{number}.cubin"
    # NVRTC writes for its own version; what these kernels use is older.
    source.write_text(re.sub(r"^\.version 9\.\d$", ".version 8.8", source.read_text(), flags=re.M))
    tool(assembler, "-arch=sm_90a", "-O3", source, "-o", code)
    usage = tool("cuobjdump", "--dump-resource-usage", code)
    instructions, labels, loops = [], {}, []
    for line in tool("nvdisasm", "-c", code).splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels[label[1]] = len(instructions)
        elif found := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z]\w*)[\w.]*(.*)", line):
            instructions.append(found[1])
            target = labels.get((re.search(r"\.L_x_\d+", found[2]) or [None])[0])
            if found[1] == "BRA" and target is not None:
                loops.append(Counter(instructions[target:]))
    loop = max(loops, key=lambda loop: loop["FFMA"])
    return [int(re.search(rf"{what}:(\d+)", usage)[1]) for what in ("REG", "STACK")], loop


lines = (folder / "trace").read_text().splitlines()
refused = [line for line in lines if "REFUSED" in line]
if refused:
    sys.exit("report.py: CUDA would not record this step:\n" + "\n".join(refused))
recorded = [line for line in lines if re.match(r"- recorded \d+ kernels", line)]
if not recorded:
    sys.exit("report.py: no step was recorded")
print("The step that is " + recorded[0].removeprefix("- ") + ", and what is called beside it each time:")
replays = [at for at, line in enumerate(lines) if line == "- replay"]
if len(replays) > 1:
    step = lines[replays[-2] + 1 : replays[-1] + 1]
    calls = Counter()
    for line in step:
        # Without what differs from launch to launch: a module's number, a hash, sizes.
        call = re.sub(r"_[0-9a-f]{8} .*", "", line[2:])
        calls[re.sub(r" [\dx]+\b", "", call)] += 1
    for call, count in calls.most_common():
        print(f"{count:>6} {call}")

kernels = Counter()
for line in lines:
    if found := re.match(r"C launch (\d+) ((halve|double|correlate)_kernel)", line):
        kernels[found[2], int(found[1])] += 1
print("Convolutions in it, and the loop of each that has most multiply-adds:")
print(f"{'kernel':<18}{'launches':>9}{'registers':>10}{'stack':>6}{'loop':>6}{'FFMA':>6}{'LDS':>5}  share of FFMA")
for (name, number), launches in sorted(kernels.items()):
    (registers, stack), loop = machine_code(number)
    total, ffma = sum(loop.values()), loop["FFMA"]
    print(
        f"{name:<18}{launches:>9}{registers:>10}{stack:>6}{total:>6}{ffma:>6}{loop['LDS']:>5}"
        f"  {100 * ffma / total:.0f} %"
    )
