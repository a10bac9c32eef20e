#!/bin/sh
# Tests lbam-edge as a package and a service on the emulated device: install, pictures, an
# unplugged camera, a hung process, a broken model, the doctor, upgrade and purge. Writes what came
# out to the disk as a tar file.
#
# Not to be run by hand: cross/device/system.sh puts it there, cross/device/run.sh --system looks
# at the results. Lines that begin with "ok " and "FAILED " are counted there.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 SYSTEMD_COLORS=0
busybox ip link set lo up
mkdir -p /out
cd /out || exit 1

camera=/dev/video0
driver=/sys/bus/platform/drivers/vivid
config=/etc/lbam-edge.toml
page=http://127.0.0.1:8080
# How long to wait for anything, seconds: an emulated processor on a busy host is slow.
patience=300

uptime_seconds() { cut -d . -f 1 /proc/uptime; }

say() { echo "[$(uptime_seconds) s] $*"; }

ok() { echo "ok $*"; }

failed() { echo "FAILED $*"; }

# is NAME EXPECTED FOUND
is() { if [ "$2" = "$3" ]; then ok "$1"; else failed "$1: expected $2, found $3"; fi; }

# works NAME COMMAND...
works() {
    name=$1
    shift
    if "$@" >log.txt 2>&1; then ok "$name"; else failed "$name: $(tail -n 3 log.txt)"; fi
}

# within NAME COMMAND...: the command succeeds sooner or later
within() {
    name=$1
    shift
    end=$(($(uptime_seconds) + patience))
    until "$@"; do
        if [ "$(uptime_seconds)" -ge "$end" ]; then
            failed "$name: not within $patience s"
            systemctl status --no-pager -n 5 lbam-edge
            return 1
        fi
        sleep 0.5
    done
    ok "$name"
}

fetch() { busybox wget -q -O "$2" "$page/$1" 2>/dev/null; }

status() { fetch status.json -; }

mask_is() { status | grep -q "\"mask\":\"$1\""; }

state_is() { status | grep -q "\"state\":\"$1\""; }

figure() { status | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }

# figure_above NAME NUMBER
figure_above() {
    found=$(figure "$1")
    [ "${found:-0}" -gt "$2" ]
}

# shows NAME VALUE: what systemd says of the service
shows() { [ "$(property "$1")" = "$2" ]; }

property() { systemctl show -P "$1" "${2:-lbam-edge}"; }

has_changed() { [ "$(property MainPID)" != "$1" ] && [ "$(property MainPID)" != 0 ]; }

# doctor_finds NAME TEXT COMMAND...: the doctor calls something a problem, and ends with 1
doctor_finds() {
    name=$1 text=$2
    shift 2
    "$@" >doctor.txt 2>&1
    code=$?
    found=$(if grep -q "problem.*$text" doctor.txt; then echo found; else cat doctor.txt; fi)
    is "$name" "1 found" "$code $found"
}

echo "== emulated device: $(uname -r), systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')"
within "the camera is there" [ -e $camera ]
# Without its clock in the picture the camera sends the same frame for ever.
still() { v4l2-ctl -d $camera --set-ctrl osd_text_mode=2; }
still
v4l2-ctl -d $camera --set-fmt-video=width=640,height=480,pixelformat=YUYV --stream-mmap \
    --stream-count=1 --stream-to=camera.raw >v4l2.txt 2>&1

# -- The package --------------------------------------------------------------------------------

# The system's own packages were unpacked and not installed, so dpkg does not know that libc is
# there.
works "the package installs" dpkg --force-depends -i /root/lbam-edge.deb
is "and starts nothing" inactive "$(systemctl is-active lbam-edge)"
is "dpkg finds every file as it was packed" "" "$(dpkg --verify lbam-edge)"
works "the model that comes with it is right" lbam-edge info /usr/share/lbam/small-int8.lbam

# -- The doctor ---------------------------------------------------------------------------------

works "the doctor finds no problem" lbam-edge doctor --config $config
cat log.txt
setpriv=$(command -v setpriv)
doctor_finds "the doctor tells whom the group video is missing" video \
    "$setpriv" --reuid=65534 --regid=65534 --clear-groups lbam-edge doctor
doctor_finds "the doctor tells of an absent camera" video9 lbam-edge doctor --camera /dev/video9
doctor_finds "the doctor tells of an absent model" absent.lbam \
    lbam-edge doctor --model /absent.lbam
lbam-edge doctor --config $config >doctor.txt 2>&1
is "the doctor tells of the missing module v4l2loopback, and the mend" yes \
    "$(grep -A 1 'v4l2loopback is not loaded' doctor.txt | grep -q 'mend:.*modprobe' && echo yes)"

# -- The service --------------------------------------------------------------------------------

# Even numbers: then no chroma sample belongs to both sides of an edge.
echo 'mask = "rect:96,64,128,96"' >>$config
# Of pieces of vivid's bars the fill would be what the camera saw.
echo 'detail = false' >>$config
works "the service is enabled and comes up" systemctl enable --now lbam-edge
is "it says that it is ready" active "$(systemctl is-active lbam-edge)"
within "the page shows filled frames" figure_above filled 1
is "it runs as a user of its own" yes \
    "$([ "$(stat -c %u "/proc/$(property MainPID)")" -ge 61184 ] && echo yes)"
works "the page gives a snapshot" fetch snapshot.jpg before.jpg
status >before.json

process=$(property MainPID)
sed -i 's/^mask = .*/mask = "rect:320,240,64,64"/' $config
works "the service reloads" systemctl reload lbam-edge
within "another mask is in force" mask_is rect:320,240,64,64
sed -i 's/^mask = .*/mask = "rect:96,64,128,96"/' $config
works "it reloads again" systemctl reload lbam-edge
within "the first mask is in force" mask_is rect:96,64,128,96
is "in the same process" "$process" "$(property MainPID)"

say "unplugging the camera"
echo vivid.0 >$driver/unbind
within "unplugging it is noticed" state_is "waiting for the camera"
is "the service stays up" active "$(systemctl is-active lbam-edge)"
is "systemctl status says what it waits for" yes \
    "$(property StatusText | grep -q 'waiting for the camera' && echo yes)"
works "a placeholder is shown" fetch snapshot.jpg placeholder.jpg
before=$(figure filled)
echo vivid.0 >$driver/bind
within "the camera is back" [ -e $camera ]
still
within "pictures come again by themselves" figure_above filled "$((before + 1))"
works "the page gives a snapshot again" fetch snapshot.jpg after.jpg
status >after.json

say "stopping the process: the watchdog must find out"
process=$(property MainPID)
kill -STOP "$process"
within "the watchdog restarts it" has_changed "$process"
is "once" 1 "$(property NRestarts)"
within "pictures come again after the restart" figure_above filled 1
works "the page gives a snapshot after the restart" fetch snapshot.jpg restarted.jpg
status >restarted.json
is "the log says why" yes "$(journalctl -u lbam-edge --no-pager | grep -q -i watchdog && echo yes)"

say "a broken model"
head -c 100000 /usr/share/lbam/small-int8.lbam >/var/lib/broken.lbam
chmod 644 /var/lib/broken.lbam
echo 'model = "/var/lib/broken.lbam"' >>$config
systemctl restart lbam-edge >/dev/null 2>&1
sleep 10
is "the service has failed" failed "$(systemctl is-active lbam-edge)"
is "with exit code 78" 78 "$(property ExecMainStatus)"
is "and is not restarted" 0 "$(property NRestarts)"
is "the log names the file" yes \
    "$(journalctl -u lbam-edge --no-pager | grep -q 'broken.lbam: not a safetensors file' && echo yes)"
sed -i /broken/d $config
systemctl reset-failed lbam-edge

say "the instance for one camera"
works "the instance comes up" systemctl start lbam-edge@video0
within "its page shows filled frames" figure_above filled 1
works "it stops when told" systemctl stop lbam-edge@video0
is "cleanly" success "$(property Result lbam-edge@video0)"

# -- Upgrade and purge --------------------------------------------------------------------------

works "the service starts again" systemctl start lbam-edge
mine=$(md5sum <$config)
process=$(property MainPID)
works "an upgrade installs" dpkg --force-depends -i /root/lbam-edge.deb
is "the configuration is kept" "$mine" "$(md5sum <$config)"
within "the upgrade restarts the service" has_changed "$process"
works "the package is purged" dpkg -P lbam-edge
is "nothing runs any more" "" "$(pidof lbam-edge)"
is "the configuration is gone" absent "$([ -e $config ] && echo there || echo absent)"
is "no unit is left" "" "$(systemctl list-unit-files --no-legend 'lbam-edge*' | head -n 1)"
journalctl -u lbam-edge --no-pager >journal.txt
is "nothing panicked" 0 "$(grep -c panicked journal.txt)"

say "writing the results"
busybox tar -c -f /dev/vda -C /out .
sync
echo "== the device ends"
