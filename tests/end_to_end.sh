#!/usr/bin/env bash
# What a user does, with the programs as they are built: import, export, fill a picture, fill a
# stream, pipe through ffmpeg, look at the page, and the mistakes one makes.
#
#   tests/end_to_end.sh
#
# LBAM_EDGE and LBAM_DESK name the programs; else those of the target folder are taken.
# LBAM_PORT is the port of the page; else any free one. Needs ffmpeg, curl and Python 3, and paints
# in a browser where there are Chromium and its driver.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lbam/target}
edge=${LBAM_EDGE:-$target/release/lbam-edge}
desk=${LBAM_DESK:-$target/release/lbam-desk}
# Which the programs would take for settings that there are not.
unset LBAM_EDGE LBAM_DESK
data=$root/tests/data/parity
# Settings of the caller must not change what is tested.
unset LBAM_MODEL LBAM_HTTP LBAM_THREADS LBAM_CAMERA LBAM_FAIL_CLOSED LBAM_LOG RUST_LOG \
    LBAM_CAMERA_FORMAT LBAM_CAMERA_SIZE LBAM_DETAIL LBAM_KERNEL LBAM_CONFIG LBAM_MASK LBAM_OUTPUT LBAM_FRAMES LBAM_REALTIME LBAM_WAIT LBAM_HTTP_HOST \
    NOTIFY_SOCKET WATCHDOG_USEC STATE_DIRECTORY
# A proxy would look for the page on its own machine.
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1

work=$(mktemp -d)
export XDG_STATE_HOME=$work/state
server=
cleanup() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

passed=0

ok() {
    passed=$((passed + 1))
    echo "ok $*"
}

# fail NAME EXPECTED FOUND
fail() {
    echo "FAILED $1"
    echo "  expected: $2"
    echo "  found:    $3"
    echo "$passed passed, 1 failed"
    exit 1
}

# is NAME EXPECTED FOUND
is() {
    if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "$2" "$3"; fi
}

# works NAME COMMAND...: it ends with 0
works() {
    local name=$1 code=0
    shift
    "$@" >out.txt 2>err.txt || code=$?
    if [ "$code" != 0 ]; then fail "$name" "exit code 0" "$code: $(tail -5 err.txt)"; fi
    ok "$name"
}

# refuses NAME CODE TEXT COMMAND...: it ends with CODE, with one line on standard error that
# holds TEXT, and nothing on standard output
refuses() {
    local name=$1 wanted=$2 text=$3 code=0
    shift 3
    "$@" >out.txt 2>err.txt </dev/null || code=$?
    if [ "$code" != "$wanted" ]; then
        fail "$name" "exit code $wanted" "$code: $(tail -5 err.txt)"
    fi
    if [ "$(wc -l <err.txt)" != 1 ]; then fail "$name" "one line on stderr" "$(cat err.txt)"; fi
    if ! grep -qF -- "$text" err.txt; then fail "$name" "a line with $text" "$(cat err.txt)"; fi
    if [ -s out.txt ]; then fail "$name" "nothing on stdout" "$(head -c 200 out.txt)"; fi
    ok "$name"
}

# raw IN OUT: a picture as its RGB bytes
raw() {
    ffmpeg -nostdin -v error -y -i "$1" -f rawvideo -pix_fmt rgb24 "$2"
}

# difference A B: the largest difference of two files of one length
difference() {
    is_length=$(stat -c %s "$1")
    if [ "$is_length" != "$(stat -c %s "$2")" ]; then
        echo "lengths $is_length and $(stat -c %s "$2")"
        return
    fi
    # cmp prints bytes in octal and ends with 1 where files differ.
    { cmp -l "$1" "$2" || true; } | awk '
        function octal(text,   i, value) {
            for (i = 1; i <= length(text); i++) value = 8 * value + substr(text, i, 1)
            return value
        }
        { d = octal($2) - octal($3); if (d < 0) d = -d; if (d > most) most = d }
        END { print most + 0 }'
}

frames_in() {
    ffprobe -v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$1"
}

for program in "$edge" "$desk"; do
    if [ ! -x "$program" ]; then fail "programs" "$program" "nothing there; build it first"; fi
done
for tool in ffmpeg ffprobe curl python3; do
    if ! command -v "$tool" >/dev/null; then fail "tools" "$tool" "it is not installed"; fi
done

cat >compare.py <<'PYTHON'
"""compare.py WIDTH HEIGHT X Y W H A B: two yuv420p clips, inside and outside of a rectangle.

Prints how many bytes outside differ, and how many frames differ inside. A chroma sample counts
as inside when one of its four pixels is.
"""
import sys

width, height, x, y, w, h = map(int, sys.argv[1:7])
a, b = (open(path, "rb").read() for path in sys.argv[7:9])
planes = [(0, width, height, x, y, x + w, y + h)]
chroma = ((width + 1) // 2, (height + 1) // 2)
box = (x // 2, y // 2, (x + w + 1) // 2, (y + h + 1) // 2)
planes += [(width * height, *chroma, *box), (width * height + chroma[0] * chroma[1], *chroma, *box)]
frame = width * height + 2 * chroma[0] * chroma[1]
if len(a) != len(b) or not a or len(a) % frame:
    sys.exit(f"{len(a)} and {len(b)} bytes, frames of {frame}")
outside = changed = 0
for start in range(0, len(a), frame):
    inside = False
    for offset, pw, ph, left, top, right, bottom in planes:
        for row in range(ph):
            at = start + offset + row * pw
            one, two = a[at:at + pw], b[at:at + pw]
            if one == two:
                continue
            if not top <= row < bottom:
                left_here = right_here = 0
            else:
                left_here, right_here = left, right
            inside = inside or one[left_here:right_here] != two[left_here:right_here]
            outside += sum(p != q for p, q in zip(one[:left_here], two[:left_here]))
            outside += sum(p != q for p, q in zip(one[right_here:], two[right_here:]))
    changed += inside
print(f"{outside} bytes outside, {changed} frames inside")
PYTHON

# -- From the authors' checkpoint to a filled picture ------------------------------------------

works "import reads an official checkpoint" \
    "$desk" import "$data/official_width_8.pth" --output a.safetensors
works "export writes a .lbam file in f32" \
    "$desk" export a.safetensors --format lbam --precision f32 --output a.lbam
works "export writes a .lbam file in f16" \
    "$desk" export a.safetensors --format lbam --precision f16 --output half.lbam
works "export writes ONNX" "$desk" export a.safetensors --format onnx --output a.onnx
works "image fills a picture" "$edge" image --model a.lbam --input "$data/picture.png" \
    --mask "$data/mask.png" --output o.png
raw o.png o.raw
raw "$data/composite.png" composite.raw
most=$(difference o.raw composite.raw)
case $most in
    0 | 1) ok "image agrees with the authors' code (largest difference: $most level)" ;;
    *) fail "image agrees with the authors' code" "at most 1 level" "$most" ;;
esac
works "info checks a file" "$edge" info a.lbam
works "info prints JSON" "$edge" info half.lbam --json
is "info tells base channels and precision" "8 f16" \
    "$(python3 -c 'import json; d = json.load(open("out.txt")); print(d["base_channels"], d["precision"])')"
works "bench prints JSON" "$edge" bench --model half.lbam --size 128x256 --frames 2 --json
is "bench tells size, kernel and both stages" "128x256 True True True" \
    "$(python3 -c 'import json; d = json.load(open("out.txt")); print(d["size"], bool(d["kernel"]), d["mask_stage_ms"]["median"] > 0, d["frame_stage_ms"]["p99"] > 0)')"

# -- To int8 -----------------------------------------------------------------------------------

mkdir pictures none
ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=320x256:d=4:r=2 pictures/%d.png
works "calibrate writes an int8 model, a receipt and a page" "$desk" calibrate a.safetensors \
    --images pictures --output int8.lbam --receipt receipt.json --report report.html
works "info reads the receipt out of the model file" "$edge" info int8.lbam
is "the receipt lists pictures used and held back, and every tensor" "6 2 13" \
    "$(python3 -c 'import json; d = json.load(open("receipt.json")); print(*(len(d[k]) for k in ("pictures", "held_back_pictures", "layers")))')"
is "the page holds its pictures and loads nothing" "2 0" \
    "$(grep -c 'src="data:image/png' report.html) $(grep -c '://' report.html)"
works "image fills a picture in int8" "$edge" image --model int8.lbam --input "$data/picture.png" \
    --mask "$data/mask.png" --output int8.png
raw int8.png int8.raw
most=$(difference int8.raw composite.raw)
# The authors' test weights are random: nothing they make is smooth.
if [ "$most" -le 24 ]; then ok "int8 agrees with the authors' code (largest difference: $most levels)"
else fail "int8 agrees with the authors' code" "at most 24 levels" "$most"; fi
refuses "no pictures, no calibration" 1 none "$desk" calibrate a.safetensors --images none \
    --output no.lbam --receipt no.json --report no.html

works "eval scores three models beside a baseline" "$desk" eval --model a.lbam --model int8.lbam --model a.onnx \
    --images pictures --detail --live --baseline mean --report scores --json
is "eval gives every filler every bucket and says what it did not take" \
    "a.lbam a.lbam + detail a.lbam + live a.onnx a.onnx + detail a.onnx + live int8.lbam int8.lbam + detail int8.lbam + live mean 8 None" \
    "$(python3 -c 'import json; d = json.load(open("out.txt")); r = d["results"]; print(*sorted(r), min(b["count"] for f in r for k, b in r[f].items() if k != "overall"), d["lpips"])')"
is "its report is a page that loads nothing, and pictures" "0 report.html report.json report.md sheet.png" \
    "$(grep -c '://' scores/report.html) $(cd scores && echo *)"
refuses "LPIPS needs its weights" 78 "a.safetensors: has no features.0.weight" "$desk" eval \
    --model int8.lbam --images pictures --lpips a.safetensors

# Two pictures that differ under the mask alone must come out the same.
ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=128x128:d=0.04 -frames:v 1 one.png
ffmpeg -nostdin -v error -y -i one.png -vf "drawbox=40:40:30:30:white:fill" two.png
for picture in one two; do
    works "image takes a rectangle as mask ($picture)" "$edge" image --model half.lbam \
        --input $picture.png --mask rect:40,40,30,30 --output $picture-filled.png --detail
    raw $picture-filled.png $picture.raw
done
is "a filled picture does not depend on what was hidden" 0 "$(difference one.raw two.raw)"

# The shipped models say that their fills are smooth.
for detail in default detail no-detail; do
    option=${detail/#default/}
    works "the shipped model fills a picture ($detail)" "$edge" image --model "$root/models/small-int8.lbam" \
        --input "$data/picture.png" --mask "$data/mask.png" --output $detail.png ${option:+--$option}
    raw $detail.png $detail.raw
done
is "its fills get detail unless told otherwise" "0 yes" \
    "$(difference default.raw detail.raw) $([ "$(difference default.raw no-detail.raw)" -gt 0 ] && echo yes)"

# -- Streams ------------------------------------------------------------------------------------

live=(--camera test: --frames 100 --no-realtime --model half.lbam)
works "a run without mask passes frames on" "$edge" "${live[@]}" --output plain.y4m
works "a run with a mask fills frames" \
    "$edge" "${live[@]}" --mask rect:30%,30%,20%,20% --output out.y4m --json
is "the run filled every frame" "100 100 0" \
    "$(python3 -c 'import json; d = json.load(open("out.txt")); print(d["shown"], d["filled"], d["flat"])')"
is "the clip has 100 frames" 100 "$(frames_in out.y4m)"
for clip in plain out; do
    ffmpeg -nostdin -v error -y -i $clip.y4m -f rawvideo -pix_fmt yuv420p $clip.yuv
done
is "known pixels are the input's, holes are not" "0 bytes outside, 100 frames inside" \
    "$(python3 compare.py 640 480 192 144 128 96 plain.yuv out.yuv 2>&1)"

works "a run writes a folder of pictures" "$edge" --camera test:130x70 --frames 3 --no-realtime \
    --model half.lbam --mask rect:10%,10%,20%,20% --output folder
is "the folder has numbered pictures" "000001.png 000002.png 000003.png" "$(echo folder/* | sed 's|folder/||g')"
works "a folder of pictures goes in" "$edge" --camera folder --no-realtime --model half.lbam \
    --mask rect:10%,10%,20%,20% --output again.y4m
is "the folder's clip has 3 frames" 3 "$(frames_in again.y4m)"

pipe_in_and_out() {
    ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=320x240:r=25:d=1 -pix_fmt yuv420p \
        -f yuv4mpegpipe - |
        "$edge" --camera - --mask rect:40,40,60,60 --no-realtime --model half.lbam --output - |
        ffmpeg -nostdin -v error -y -i - -c:v ffv1 piped.mkv
}
works "ffmpeg pipes a clip in and plays what comes out" pipe_in_and_out
is "the piped clip has 25 frames" 25 "$(frames_in piped.mkv)"

works "frames kept back count for --frames" timeout 60 "$edge" --camera test: --frames 5 \
    --no-realtime --model half.lbam --fail-closed --output closed --json
works "nothing passes without a mask under --fail-closed" "$edge" --camera again.y4m \
    --no-realtime --model half.lbam --fail-closed --output closed --json
is "no picture was written" 0 "$(find closed -type f | wc -l)"

# -- Configuration, the service manager, the doctor ----------------------------------------------

cat >lbam.toml <<'TOML'
camera = "test:64x48"
model = "half.lbam"
mask = ["rect:0,0,8,8", "rect:20,20,8,8"]
frames = 3
realtime = false
TOML
works "a run takes its settings from a file" "$edge" --config lbam.toml --output c.y4m --json
is "the file's frames were filled" "3 3" \
    "$(python3 -c 'import json; d = json.load(open("out.txt")); print(d["shown"], d["filled"])')"
works "a variable goes before the file" \
    env LBAM_FRAMES=4 LBAM_CONFIG=lbam.toml "$edge" --output c.y4m
is "the variable's frames came" 4 "$(frames_in c.y4m)"
works "a flag goes before the variable" \
    env LBAM_FRAMES=4 LBAM_CONFIG=lbam.toml "$edge" --output c.y4m --frames 2
is "the flag's frames came" 2 "$(frames_in c.y4m)"
works "lists of the environment are split" \
    env "LBAM_MASK=rect:0,0,8,8; rect:9,9,8,8" LBAM_OUTPUT="c.y4m;d.y4m" \
    "$edge" --config lbam.toml
is "both outputs are there" "3 3" "$(frames_in c.y4m) $(frames_in d.y4m)"
is "the variable's masks count, and no others" 1 "$(grep -c 'mask: rect:0,0,8,8 and rect:9,9,8,8$' err.txt)"
refuses "a wrong list in the environment is refused" 2 LBAM_MASK env LBAM_MASK=rect:1 \
    "$edge" --config lbam.toml --output no.y4m
refuses "a variable that is no text is refused" 2 "LBAM_MASK: " env "LBAM_MASK=rect:$(printf '\377')" \
    "$edge" --config lbam.toml --output no.y4m
refuses "a mask that nobody can paint is refused" 2 "--output http:" env LBAM_LOG=error \
    "$edge" --config lbam.toml --mask http: --output no.y4m
printf 'camera = "test:64x48"\nmodel = "half.lbam"\nframes = 3\nrealtime = false\nfail-closed = true\n' >closed.toml
works "a variable that is empty is as good as unset" \
    env LBAM_FAIL_CLOSED= "$edge" --config closed.toml --output unset.y4m
is "and the file keeps frames back" no "$([ -e unset.y4m ] && echo yes || echo no)"
printf 'frames = 3\n\ncammera = "test:"\n' >wrong.toml
refuses "an unknown key is refused with its line" 78 'wrong.toml:3: unknown field' \
    "$edge" --config wrong.toml --output no.y4m
refuses "an absent configuration is refused" 78 absent.toml \
    "$edge" --config absent.toml --output no.y4m

# log_within NAME TEXT: the running program says it sooner or later
log_within() {
    for _ in $(seq 300); do
        if grep -q -- "$2" reload.err; then
            ok "$1"
            return
        fi
        sleep 0.1
    done
    fail "$1" "$2" "$(cat reload.err)"
}
cat >reload.toml <<'TOML'
camera = "test:64x48"
model = "half.lbam"
mask = "rect:0,0,8,48"
realtime = true
TOML
"$edge" --config reload.toml --output reload.y4m 2>reload.err &
server=$!
log_within "a service begins" "mask: rect:0,0,8,48"
sed -i 's/^mask.*/mask = "rect:56,0,8,48"/' reload.toml
kill -HUP "$server"
log_within "at SIGHUP it takes another mask" "read again; mask: rect:56,0,8,48"
sed -i 's/^mask.*/mask = "rect:56,0,8"/' reload.toml
kill -HUP "$server"
log_within "a wrong line is told" "reload.toml:3:.*all stays as it was"
sed -i 's/^mask.*/mask = "rect:56,0,8,48"/; s/64x48/32x32/' reload.toml
kill -HUP "$server"
log_within "what needs a restart is told" "camera.*changed; restart the service; all stays as it was"
sleep 0.5
kill -TERM "$server"
code=0
wait "$server" || code=$?
server=
is "and the run ends well" 0 "$code"
works "the same without a mask" "$edge" --model half.lbam --camera test:64x48 --no-realtime --output open.y4m \
    --frames 3000
is "first the one mask holds, then the other, and no frame shows both places" yes "$(python3 - <<'PYTHON'
header = len("FRAME\n")
size = header + 64 * 48 * 3 // 2


def frames(name):
    data = open(name, "rb").read()
    data = data[data.index(b"\n") + 1 :]
    return [data[at + header : at + header + 64 * 48] for at in range(0, len(data), size)]


def columns(frame, left, right):
    return [frame[y * 64 + left : y * 64 + right] for y in range(48)]


seen = []
whole = frames("open.y4m")
for frame in frames("reload.y4m"):
    # In real time frames are left out, so look for the one that it was.
    one = next(other for other in whole if columns(other, 8, 56) == columns(frame, 8, 56))
    seen.append(tuple(columns(frame, x, x + 8) == columns(one, x, x + 8) for x in (0, 56)))
changes = [now for before, now in zip([None] + seen, seen) if now != before]
print("yes" if changes == [(False, True), (True, False)] else changes)
PYTHON
)"

cat >notify.py <<'PYTHON'
"""notify.py COMMAND...: starts it as systemd would, and prints what it is told until READY=1 and
two WATCHDOG=1 have come, then what it is told after SIGTERM."""
import os, signal, socket, subprocess, sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("notify")
listener.settimeout(30)
environment = dict(os.environ, NOTIFY_SOCKET=os.path.abspath("notify"), WATCHDOG_USEC="2000000")
program = subprocess.Popen(sys.argv[1:], env=environment, stderr=subprocess.DEVNULL)
told = []
try:
    while told.count("WATCHDOG=1") < 2:
        told += listener.recv(4096).decode().split("\n")
    program.send_signal(signal.SIGTERM)
    while "STOPPING=1" not in told:
        told += listener.recv(4096).decode().split("\n")
except TimeoutError:
    told.append("silence")
finally:
    program.kill() if "silence" in told else None
    code = program.wait()
    os.unlink("notify")
words = [line for line in told if not line.startswith("STATUS=")]
food = words.count("WATCHDOG=1")
status = any(line.startswith(f"STATUS={os.environ['WANTED']}") for line in told)
print(words[0], words[-1], food >= 2, words.count("READY=1"), status, code)
PYTHON
page=(--model half.lbam --mask "rect:0,0,8,8" --output http: --http 127.0.0.1:0)
is "systemd is told of a run, its frames and its end" "READY=1 STOPPING=1 True 1 True 0" \
    "$(WANTED=running python3 notify.py "$edge" --camera test:64x48 "${page[@]}" 2>&1)"
is "waiting for an absent camera counts as ready and alive" "READY=1 STOPPING=1 True 1 True 0" \
    "$(WANTED="waiting for the camera: /dev/video99" python3 notify.py "$edge" \
        --camera /dev/video99 "${page[@]}" 2>&1)"

works "the doctor finds nothing wrong" "$edge" doctor --config lbam.toml --http 127.0.0.1:0
works "the doctor prints JSON" "$edge" doctor --config lbam.toml --http 127.0.0.1:0 --json
is "its checks are there" "0 camera,configuration,loopback,mask,model,page,processor" \
    "$(python3 -c 'import json
d = json.load(open("out.txt"))
names = {check["check"] for check in d["checks"]} - {"memory", "heat", "throttling", "clock"}
print(d["problems"], ",".join(sorted(names)))')"
code=0
"$edge" doctor --camera /dev/video99 --model absent.lbam --http 127.0.0.1:0 >out.txt 2>err.txt ||
    code=$?
is "the doctor ends with 1 and counts what is wrong" "1 2" "$code $(grep -c '^problem' out.txt)"
works "manual pages are written" "$edge" man man1
is "there is one for each command" yes \
    "$([ -s man1/lbam-edge.1 ] && [ -s man1/lbam-edge-doctor.1 ] && echo yes)"

# -- Mistakes -----------------------------------------------------------------------------------

head -c 100000 a.lbam >truncated.lbam
head -c 100000 /dev/urandom >random.lbam
: >empty.lbam
# One byte of the content: image finds out beside its work, and keeps the picture back.
{ head -c 200000 a.lbam; printf X; tail -c +200002 a.lbam; } >damaged.lbam
for kind in truncated random empty damaged; do
    refuses "the $kind model file is refused by info" 78 $kind.lbam "$edge" info $kind.lbam
    refuses "the $kind model file is refused by image" 78 $kind.lbam "$edge" image \
        --model $kind.lbam --input "$data/picture.png" --mask "$data/mask.png" --output no.png
    refuses "the $kind model file is refused by a run" 78 $kind.lbam "$edge" \
        --camera test: --frames 1 --model $kind.lbam --output no.y4m
done
works "an empty variable counts as none" env LBAM_KERNEL= "$edge" bench --model int8.lbam --frames 1
refuses "a kernel that is not there is refused" 78 LBAM_KERNEL env LBAM_KERNEL=abacus "$edge" \
    --camera test: --mask rect:10%,10%,20%,20% --frames 1 --output no.y4m --model int8.lbam
refuses "an absent model file is refused" 78 absent.lbam "$edge" info absent.lbam

ffmpeg -nostdin -v error -y -f lavfi -i color=white:s=64x64 -frames:v 1 small.png
refuses "a mask of another size is refused by image" 1 "64x64" "$edge" image --model half.lbam \
    --input "$data/picture.png" --mask small.png --output no.png
head -c 3000 /dev/urandom >noise.png
ffmpeg -nostdin -v error -y -f lavfi -i color=black:s=128x128 -frames:v 1 black.png
refuses "a mask that hides nothing is refused by image" 1 "black.png: the mask hides nothing" "$edge" \
    image --model half.lbam --input one.png --mask black.png --output no.png
refuses "a picture that is not one is refused" 1 noise.png "$edge" image --model half.lbam \
    --input noise.png --mask "$data/mask.png" --output no.png
refuses "a mask that is not a picture is refused" 1 noise.png "$edge" image --model half.lbam \
    --input "$data/picture.png" --mask noise.png --output no.png
refuses "an absent picture is refused" 1 absent.png "$edge" image --model half.lbam \
    --input absent.png --mask "$data/mask.png" --output no.png
refuses "an absent camera ends with 75 under --no-wait" 75 /dev/video99 \
    env LBAM_LOG=error "$edge" \
    --camera /dev/video99 --no-wait --model half.lbam --output no.y4m
refuses "a checkpoint that is none is refused" 78 noise.png "$desk" import noise.png --output no.safetensors
refuses "weights that are none are refused" 78 noise.png "$desk" export noise.png --format lbam --output no.lbam
# misuse NAME TEXT COMMAND...: ends with code 2, and clap's answer has TEXT.
misuse() {
    local code=0
    "${@:3}" >out.txt 2>usage.txt </dev/null || code=$?
    is "$1" "2 0" "$code $(grep -qF -- "$2" usage.txt; echo $?)"
}
misuse "a run goes on in its own folder" "leave --output out" "$desk" train --resume run --output other
misuse "a run is pruned when it begins" "'--resume" "$desk" train --resume run --prune-kernels 0.25
misuse "options that do not go together are refused" "without --adversarial-weight" \
    "$desk" train --images pictures --output no --adversary-from 5
misuse "networks take no pictures of 300 pixels" 128 \
    "$desk" train --images pictures --output no --size 300

# What is read is not written over, and what cannot be written is told before the work.
cp again.y4m read.y4m
refuses "a run does not write over its clip" 2 "read.y4m is what is read" "$edge" --camera read.y4m \
    --mask rect:10%,10%,20%,20% --model half.lbam --output ./read.y4m
cp black.png mask.png
refuses "image does not write over its mask" 2 "mask.png is the mask" "$edge" image \
    --model half.lbam --input one.png --mask mask.png --output ../"${PWD##*/}"/mask.png
mkdir several
refuses "image takes no folder of masks" 2 "is a folder of masks" "$edge" image \
    --model half.lbam --input one.png --mask several --output no.png
mkfifo pipe.png
refuses "image does not wait for a pipe" 1 "pipe.png" timeout 20 "$edge" image \
    --model half.lbam --input pipe.png --mask rect:1,1,9,9 --output no.png
refuses "image names the formats it writes" 1 ".png, .jpg" timeout 20 "$edge" image \
    --model half.lbam --input absent.png --mask rect:1,1,9,9 --output no.gif
misuse "calibrate does not write over its weights" "is what is read" "$desk" calibrate a.safetensors \
    --images pictures --output a.safetensors
misuse "calibrate does not write one file over the other" "twice" "$desk" calibrate a.safetensors \
    --images pictures --output no.lbam --report no.lbam
refuses "calibrate tells at once what it cannot write" 1 absent/no.lbam "$desk" calibrate \
    a.safetensors --images none --output absent/no.lbam
refuses "training weights are no model" 78 "calibrate" "$edge" info a.safetensors
refuses "a model is no training weights" 78 "model file for devices" "$desk" export half.lbam \
    --format onnx --output no.onnx
is "a refusal says each thing once" 1 "$(grep -o "model file for devices" err.txt | wc -l)"
head -n 1 again.y4m >none.y4m
refuses "a clip without a frame is an error" 1 "no whole frame" env LBAM_LOG=error "$edge" \
    --camera none.y4m --mask rect:1,1,9,9 --model half.lbam --output no.y4m
code=0
"$edge" doctor --camera again.y4m --model half.lbam --mask small.png --output absent/no.y4m >out.txt || code=$?
is "the doctor sees a mask that does not fit and an output that cannot be" "1 1 1" \
    "$code $(grep -c 64x64 out.txt) $(grep -c absent/no.y4m out.txt)"

# A run whose reader goes away, or whose terminal is closed, is not lost.
train=("$desk" train --images pictures --preset nano --size 128 --batch 1)
"${train[@]}" --output piped --steps 6 2>&1 | head -n 2 >out.txt || true
is "a run goes on where nobody reads of it" yes "$([ -e piped/weights.safetensors ] && echo yes)"
# Also where this runs under nohup, which the run would otherwise heed.
env --default-signal=HUP "${train[@]}" --output closed-run --steps 100000 >out.txt 2>err.txt &
server=$!
for _ in $(seq 600); do
    if grep -q "^step 2 " err.txt; then break; fi
    sleep 0.1
done
kill -HUP $server
wait $server || true
server=
is "a run whose terminal is closed is saved" yes "$([ -e closed-run/checkpoint/weights.safetensors ] && echo yes)"
refuses "a resumed run that has done more is not one" 1 "--steps is all of them" env RUST_LOG=error \
    "$desk" train --resume piped --steps 3

refuses "a report that cannot be written is told at once" 1 noise.png "$desk" eval \
    --model int8.lbam --images pictures --report noise.png/report

# Before a run fails it may log what it opened; only the error is looked at.
refuses "a mask of another size is refused by a run" 1 64x64 env LBAM_LOG=error "$edge" \
    --camera test: --mask small.png --frames 1 --no-realtime --model half.lbam --output no.y4m
is "no refusal left a file behind" "" "$(find . -name 'no.*' | head)"

# -- Masks from another program ------------------------------------------------------------------

works "without a sender of masks a run goes on" "$edge" --camera test: --mask unix:masks \
    --frames 5 --no-realtime --model half.lbam --output hidden.y4m
# The pattern moves; what shows nothing of it does not.
is "and shows nothing of its pictures" 1 \
    "$(ffmpeg -v error -i hidden.y4m -f framemd5 - | grep -v '^#' | cut -d , -f 6 | sort -u | wc -l)"
"$edge" --camera test:320x240 --mask unix:masks --frames 500 --no-realtime --model half.lbam \
    --output sent.y4m >sent.txt 2>sent.err &
server=$!
code=0
python3 - >sender.txt 2>&1 <<'PYTHON' || code=$?
"""Sends a mask of a box, ten times a second, until nobody takes it any more."""

import socket
import time

mask = bytearray(320 * 240)
for y in range(60, 180):
    mask[y * 320 + 80 : y * 320 + 240] = b"\xff" * 160
sender = socket.socket(socket.AF_UNIX)
for _ in range(100):
    try:
        sender.connect("masks")
        break
    except OSError:
        time.sleep(0.1)
try:
    while True:
        sender.sendall(b"P5 320 240 255\n" + mask)
        time.sleep(0.1)
except ConnectionError:
    pass
PYTHON
is "a program sends masks" 0 "$code"
code=0
wait "$server" || code=$?
server=
is "and the run ends well" 0 "$code"
works "the same without a mask" "$edge" --camera test:320x240 --no-realtime --frames 500 \
    --model half.lbam --output open.y4m
is "the last frame is open around the box, and hidden in it" yes "$(python3 - <<'PYTHON'
size = 320 * 240 * 3 // 2
sent, whole = (open(name, "rb").read()[-size:] for name in ("sent.y4m", "open.y4m"))
rows = [slice(y * 320, y * 320 + 320) for y in range(240)]
around = all(sent[rows[y]] == whole[rows[y]] for y in (*range(60), *range(180, 240)))
inside = any(sent[rows[y]][80:240] != whole[rows[y]][80:240] for y in range(60, 180))
print("yes" if around and inside else (around, inside))
PYTHON
)"

# -- The page -----------------------------------------------------------------------------------

port=${LBAM_PORT:-$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
url=http://127.0.0.1:$port

# serve OPTIONS...: begins to serve the page, with a picture on it
serve() {
    "$edge" --camera test: --model half.lbam --output http: --http "127.0.0.1:$port" "$@" \
        >page.txt 2>page.err &
    server=$!
    rm -f snapshot.jpg
    for _ in $(seq 300); do
        if curl -sf "$url/snapshot.jpg" -o snapshot.jpg; then return; fi
        if ! kill -0 "$server" 2>/dev/null; then break; fi
        sleep 0.1
    done
    fail "the page shows a picture" "a snapshot" "$(cat page.err)"
}

stop_serving() {
    kill -TERM "$server"
    code=0
    wait "$server" || code=$?
    server=
}

# figure NAME: what the page says of it
figure() {
    curl -sf "$url/status.json" |
        python3 -c 'import json, sys; print(json.load(sys.stdin).get(sys.argv[1], 0))' "$1"
}

# Frames filled so far; waits for the first of them.
filled() {
    local count=0
    for _ in $(seq 100); do
        count=$(figure filled)
        if [ "$count" -gt 0 ]; then break; fi
        sleep 0.1
    done
    echo "$count"
}

# put_mask FILE OPTIONS...: the code that a mask sent to the page is answered with
put_mask() {
    local file=$1
    shift
    curl -s -o answer.txt -w '%{http_code}' -X PUT --data-binary "@$file" "$@" "$url/mask"
}

serve --mask rect:30%,30%,20%,20% --http-host camera.example.org
is "the snapshot is a JPEG of the camera's size" "mjpeg,640,480" \
    "$(ffprobe -v error -show_entries stream=codec_name,width,height -of csv=p=0 snapshot.jpg)"
curl -sf "$url/" -o page.html || true
is "the page is a page" 1 "$(grep -ci '<html' page.html)"
is "a strange host name is refused" 403 \
    "$(curl -s -o refused.txt -w '%{http_code}' -H 'Host: evil.example' "$url/")"
is "one that was named is not" 200 \
    "$(curl -s -o named.txt -w '%{http_code}' -H 'Host: camera.example.org' "$url/")"
curl -sf "$url/status.json" -o status.json || true
is "the status is JSON" object \
    "$(python3 -c 'import json; print("object" if isinstance(json.load(open("status.json")), dict) else "none")' 2>&1)"
# The stream never ends by itself, so curl ends when its reader has had enough.
{ curl -sN --max-time 20 "$url/stream.mjpg" 2>/dev/null || true; } | head -c 20000 >stream.bin || true
is "the stream is made of parts" "--frame" "$(head -1 stream.bin | tr -d '\r')"
is "its parts are JPEG" yes \
    "$(python3 -c 'import sys; d = open("stream.bin", "rb").read(); print("yes" if b"\r\n\r\n\xff\xd8\xff" in d else "no")')"
is "masks from elsewhere are not painted over" "404 1" \
    "$(put_mask "$data/mask.png") $(grep -c -- '--mask http:' answer.txt)"
stop_serving
is "the service ends with 0 when told to stop" 0 "$code"

serve --fail-closed
for _ in $(seq 100); do
    if [ "$(figure withheld)" -gt 0 ]; then break; fi
    sleep 0.1
done
is "before a mask is painted nothing passes" "0 yes" \
    "$(figure shown) $([ "$(figure withheld)" -gt 0 ] && echo yes)"
is "a file that is no picture is no mask" 400 "$(put_mask noise.png)"
is "another site does not paint" 403 "$(put_mask "$data/mask.png" -H 'Origin: http://evil.example')"
is "nothing was kept of either" no "$([ -e "$XDG_STATE_HOME/lbam" ] && echo yes || echo no)"
is "a mask is painted" 204 "$(put_mask "$data/mask.png")"
is "from then on frames are filled" yes "$([ "$(filled)" -gt 0 ] && echo yes || echo no)"
stop_serving
serve --fail-closed
is "the mask is there after a restart" yes "$([ "$(filled)" -gt 0 ] && echo yes || echo no)"
stop_serving
rm -r "$XDG_STATE_HOME"
if command -v chromedriver >/dev/null; then
    serve --fail-closed
    works "a mask is painted in a browser" python3 "$root/tests/browser.py" "$url/"
    is "what was painted there is filled" yes "$([ "$(filled)" -gt 0 ] && echo yes || echo no)"
    # A box of half the width and height, and the round corner that was taken away again.
    is "the mask is what was painted" yes "$(curl -sf "$url/mask" -o painted.png &&
        ffmpeg -v error -i painted.png -f rawvideo -pix_fmt gray - |
        python3 -c 'import sys; share = sum(map(bool, sys.stdin.buffer.read())) / (640 * 480); print("yes" if 0.22 < share < 0.25 else share)')"
    stop_serving
else
    echo "there is no chromedriver here: nothing is painted in a browser"
fi

echo "$passed passed, 0 failed"
