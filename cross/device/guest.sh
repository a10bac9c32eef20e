#!/bin/sh
# The emulated device's only program beside lbam-edge: boots, puts lbam-edge to the test against
# the kernel's virtual camera, writes what came out of it to the disk as a tar file, and ends.
#
# Not to be run by hand: cross/device/initramfs.sh makes it /init, cross/device/run.sh looks at
# the results. Lines that begin with "ok " and "FAILED " are counted there.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
ip link set lo up

camera=/dev/video0
masks=/dev/video1
output=/dev/video5
driver=/sys/bus/platform/drivers/vivid
page=http://127.0.0.1:8080
# Even numbers: then no chroma sample of YUYV or NV12 belongs to both sides of an edge.
mask="--mask rect:96,64,128,96"
# How long to wait for anything, seconds: an emulated processor on a busy host is slow.
patience=240
export LBAM_MODEL=/model.lbam

uptime_seconds() { cut -d . -f 1 /proc/uptime; }

say() { echo "[$(uptime_seconds) s] $*"; }

ok() { echo "ok $*"; }

failed() { echo "FAILED $*"; }

# is NAME EXPECTED FOUND
is() { if [ "$2" = "$3" ]; then ok "$1"; else failed "$1: expected $2, found $3"; fi; }

# within NAME COMMAND...: the command succeeds sooner or later
within() {
    name=$1
    shift
    end=$(($(uptime_seconds) + patience))
    until "$@"; do
        if [ "$(uptime_seconds)" -ge "$end" ]; then
            failed "$name: not within $patience s"
            wget -q -O - "$page/status.json"
            return 1
        fi
        sleep 0.5
    done
    ok "$name"
}

# Without its clock in the picture the camera sends the same frame for ever.
still() { v4l2-ctl -d "$camera" --set-ctrl osd_text_mode=2; }

control() { v4l2-ctl -d "$camera" --set-ctrl "$1"; }

status() { wget -q -O - "$page/status.json" 2>/dev/null; }

state_is() { status | grep -q "\"state\":\"$1\""; }

figure() { status | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }

# figure_above NAME NUMBER
figure_above() {
    found=$(figure "$1")
    [ "${found:-0}" -gt "$2" ]
}

# stream NAME: at least two whole pictures of the page's stream
stream() {
    bytes=$(($(stat -c %s /out/snapshot.jpg) * 5 / 2))
    timeout "$patience" wget -q -O - "$page/stream.mjpg" | head -c $bytes >"/out/$1"
}

is_gone() { [ ! -e "$camera" ]; }

is_there() { [ -e "$camera" ]; }

ends_with_75() {
    lbam-edge --camera "$camera" --no-wait --frames 1 --output /out/no.y4m 2>/out/refused.txt
    [ $? = 75 ]
}

echo "== emulated device: $(uname -r), $(grep -c ^processor /proc/cpuinfo) cores"
for module in /modules/*.ko; do
    case $module in
        # Two webcams, of which the second shows masks: capture devices, no tuner, output or radio.
        *vivid.ko) insmod "$module" n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0,0 ;;
        *v4l2loopback.ko) insmod "$module" video_nr=5 exclusive_caps=1 ;;
        *) insmod "$module" ;;
    esac || failed "insmod $module"
done
within "the camera is there" is_there
still
lbam-edge info "$LBAM_MODEL"

# -- Every pixel format -------------------------------------------------------------------------

# Without detail: vivid's bars go on under the hole as they are around it, and of pieces of them the
# fill would be what the camera saw.
for format in YUYV NV12 RGB3 GREY; do
    mkdir "/out/$format"
    cd "/out/$format" || exit 1
    say "format $format"
    # Another program's view of the same frame.
    v4l2-ctl -d "$camera" --set-fmt-video=width=640,height=480,pixelformat=$format \
        --stream-mmap --stream-count=1 --stream-to=camera.raw >v4l2.txt 2>&1
    for kind in plain filled; do
        holes=
        if [ $kind = filled ]; then holes="$mask --no-detail"; fi
        # shellcheck disable=SC2086 # words on purpose
        lbam-edge --camera "$camera" --camera-format $format $holes --frames 2 \
            --output $kind.y4m --output $kind --json >$kind.json 2>$kind.txt
        is "$format $kind: the run ends with 0" 0 $?
        is "$format $kind: the camera was opened in that format" 1 \
            "$(grep -c "640x480 $format" $kind.txt)"
    done
    tail -n 1 filled.txt
done
cd / || exit 1

lbam-edge --camera "$camera" --camera-format MJPG --frames 1 --output /out/other.y4m \
    2>/out/other.txt
is "a format that the camera lacks is told and another taken" "0 1" \
    "$? $(grep -c 'does not offer the format asked for' /out/other.txt)"
rm -f /out/other.y4m

# A frame a second: each takes longer than is first waited.
v4l2-ctl -d "$camera" --set-parm=1 >/out/parm.txt 2>&1
timeout "$patience" lbam-edge --camera "$camera" --frames 3 --output /out/slow.y4m 2>/out/slow.txt
is "a camera slower than two frames a second is waited for" "0 0" \
    "$? $(grep -c 'no frame for' /out/slow.txt)"
rm -f /out/slow.y4m
v4l2-ctl -d "$camera" --set-parm=25 >>/out/parm.txt 2>&1

v4l2-ctl -d "$camera" --stream-mmap --stream-count=1000000 >/dev/null 2>&1 &
holder=$!
within "a camera in use ends with 75 under --no-wait" ends_with_75
is "and says so" 1 "$(grep -c 'in use by another program' /out/refused.txt)"
lbam-edge --camera "$camera" --frames 1 --output /out/never.y4m 2>/out/busy.txt &
waiting=$!
within "one that is in use is waited for" grep -q 'in use by another program' /out/busy.txt
sleep 15
is "and that is said once, and nothing else" "1 0" \
    "$(grep -c 'in use by another program' /out/busy.txt) $(grep -c 'another was tried' /out/busy.txt)"
kill $waiting
wait $waiting
kill $holder
wait $holder

# -- Masks from a device, and a device that pictures go to --------------------------------------

mkdir /out/devices
cd /out/devices || exit 1
say "masks from a device"
# Bars, the four at the left brighter than the middle.
v4l2-ctl -d "$masks" --set-ctrl osd_text_mode=2,test_pattern=1
v4l2-ctl -d "$masks" --set-fmt-video=width=640,height=480,pixelformat=GREY \
    --stream-mmap --stream-count=1 --stream-to=mask.raw >v4l2.txt 2>&1
lbam-edge --camera "$camera" --camera-format YUYV --mask "$masks" --frames 30 --no-realtime \
    --output masked.y4m --json >masked.json 2>masked.txt
is "a run with masks from a device ends with 0" 0 $?
lbam-edge --camera "$camera" --camera-format YUYV --mask /dev/video9 --frames 2 \
    --output hidden.y4m --json >hidden.json 2>hidden.txt
is "so does one that waits for them" 0 $?
is "and says that all is hidden" 1 "$(grep -c 'no mask comes; all is hidden' hidden.txt)"

say "pictures to a device"
lbam-edge --camera "$output" --no-wait --frames 1 --output idle.y4m 2>idle.txt
is "a loopback device that nothing is written to may come" "75 1" \
    "$? $(grep -c 'nothing is written to this loopback device' idle.txt)"
# Without detail, which goes on from frame to frame, each frame of a still camera is filled alike.
# shellcheck disable=SC2086 # words on purpose
lbam-edge --camera "$camera" --camera-format YUYV $mask --no-detail --frames 1 \
    --output filled.y4m 2>filled.txt
is "a run without detail ends with 0" 0 $?
# One that is killed must not keep the device from the next.
for run in "YUYV KILL 137" "RGB3 TERM 0"; do
    # shellcheck disable=SC2086 # words on purpose
    set -- $run
    format=$1
    # shellcheck disable=SC2086 # words on purpose
    lbam-edge --camera "$camera" --camera-format $format $mask --no-detail --output "$output" \
        2>"output-$format.txt" &
    service=$!
    within "$format: the device takes pictures" grep -q "$output: 640x480 YUYV" "output-$format.txt"
    # The first may be of the run before.
    v4l2-ctl -d "$output" --stream-mmap --stream-skip=5 --stream-count=5 \
        --stream-to="looped-$format.raw" >>v4l2.txt 2>&1
    kill "-$2" $service
    wait $service
    is "$format: a run to a device ends with $3" "$3" $?
done
for wrong in /dev/video9 "$masks"; do
    lbam-edge --camera "$camera" --output "$wrong" 2>refused.txt
    is "what is no output device is refused: $wrong" "1 1" \
        "$? $(grep -c 'pictures cannot go out there' refused.txt)"
done
cd / || exit 1

# -- The page, and a camera that fails in every way it can --------------------------------------

# shellcheck disable=SC2086 # words on purpose
lbam-edge --camera "$camera" $mask --no-detail --output http: --http 127.0.0.1:8080 2>/out/page.txt &
service=$!
within "the page shows filled frames" figure_above filled 1
wget -q -O /out/snapshot.jpg "$page/snapshot.jpg"
is "the page gives a snapshot" 0 $?
stream before.mjpg

control inject_v4l2_buf_flag_error=1
control inject_v4l2_buf_flag_error=1
within "frames that the driver marks as damaged are counted" figure_above damaged 0
before=$(figure filled)
within "and pictures go on" figure_above filled "$((before + 1))"

say "unplugging the camera"
echo vivid.0 >$driver/unbind
within "the camera is gone" is_gone
within "unplugging it is noticed" state_is "waiting for the camera"
status >/out/unplugged.json
lbam-edge --camera "$camera" --no-wait --output /out/no.y4m 2>/out/refused.txt
is "an absent camera ends with 75 under --no-wait" 75 $?
before=$(figure filled)
say "plugging it in again"
echo vivid.0 >$driver/bind
within "the camera is back" is_there
still
within "pictures come again by themselves" figure_above filled "$((before + 1))"
within "and the page says so" state_is running
stream after.mjpg

say "the camera falls silent"
control percentage_of_dropped_buffers=100
within "a silent camera is noticed" state_is "waiting for the camera"
sleep 12
is "opening it again does not count as its return" "waiting for the camera" \
    "$(status | sed -n 's/.*"state":"\([^"]*\)".*/\1/p')"
before=$(figure filled)
control percentage_of_dropped_buffers=0
within "pictures come again after silence" figure_above filled "$((before + 1))"

say "the driver fails while streaming"
before=$(figure filled)
control inject_fatal_streaming_error=1
within "pictures come again after a fatal error of the driver" figure_above filled "$((before + 1))"
within "and the page says so" state_is running

status >/out/end.json
kill -TERM $service
wait $service
is "the service ends with 0 when told to stop" 0 $?
is "nothing panicked" 0 "$(cat /out/*.txt /out/*/*.txt | grep -c panicked)"
is "no refusal left a file behind" "" "$(ls /out/no.y4m 2>/dev/null)"
grep -v INFO /out/page.txt

say "writing the results"
tar -c -f /dev/vda -C /out .
sync
echo "== the device ends"
poweroff -f
