#!/usr/bin/env bash
# Installs, upgrades, removes and purges the package in a fresh Debian in a folder (debootstrap
# and chroot; no container), and looks at what is there and what is left. Needs root.
#
#   cross/test-deb.sh                     # builds the package first
#   cross/test-deb.sh lbam-edge_amd64.deb
#
# The fresh Debian is kept in ~/.cache/lbam/debian-SUITE.tar for the next time. LBAM_SUITE names
# another suite than bookworm, LBAM_MIRROR another mirror than this machine's own.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=${LBAM_SUITE:-bookworm}
base=${XDG_CACHE_HOME:-$HOME/.cache}/lbam/debian-$suite.tar
config=/etc/lbam-edge.toml

stop() {
    echo "test-deb: $*" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || stop "chroot needs root: sudo $0"
command -v debootstrap >/dev/null || stop "this needs debootstrap: apt-get install debootstrap"
if [ "$#" -gt 0 ]; then
    package=$(realpath "$1")
else
    package=$("$root/cross/deb.sh" | tail -n 1)
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
system=$work/root

if [ ! -e "$base" ]; then
    options=(--variant=minbase "--include=systemd,man-db,libgcc-s1")
    mirror=${LBAM_MIRROR:-}
    if [ -z "$mirror" ]; then
        # shellcheck disable=SC2016 # apt expands it
        mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' \
            "Codename: $suite" | sort -u | head -n 1)
    fi
    options+=("$suite" "$system")
    if [ -n "$mirror" ]; then options+=("$mirror"); fi
    debootstrap "${options[@]}" >"$work/debootstrap.log" ||
        stop "debootstrap failed: $(tail -n 3 "$work/debootstrap.log")"
    mkdir -p "$(dirname "$base")"
    tar -C "$system" -cf "$base.part" .
    mv "$base.part" "$base"
else
    mkdir "$system"
    tar -C "$system" -xf "$base"
fi

passed=0

fail() {
    echo "FAILED $1"
    echo "  $2"
    echo "$passed passed, 1 failed"
    exit 1
}

# ok NAME COMMAND...
ok() {
    local name=$1
    shift
    "$@" >"$work/log" 2>&1 || fail "$name" "$(tail -n 5 "$work/log")"
    passed=$((passed + 1))
    echo "ok $name"
}

# is NAME EXPECTED FOUND
is() {
    if [ "$2" != "$3" ]; then fail "$1" "expected $2, found $3"; fi
    passed=$((passed + 1))
    echo "ok $1"
}

inside() { chroot "$system" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
there() { if [ -e "$system$1" ] || [ -L "$system$1" ]; then echo there; else echo absent; fi; }
# Without what dpkg keeps books in, and without /run, which a start empties.
files() {
    (cd "$system" && find . \( -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache \
        -o -path ./run \) -prune -o -print | sort)
}

files >"$work/before"

# -- Install ------------------------------------------------------------------------------------

cp "$package" "$system/first.deb"
ok "the package installs" inside dpkg -i /first.deb
rm "$system/first.deb"
is "dpkg finds every file as it was packed" "" "$(inside dpkg --verify lbam-edge)"
ok "the program runs" inside lbam-edge --version
models=0
for model in "$system"/usr/share/lbam/*.lbam; do
    ok "$(basename "$model") is right" inside lbam-edge info "/usr/share/lbam/$(basename "$model")"
    models=$((models + 1))
done
is "there are models" yes "$([ "$models" -gt 0 ] && echo yes || echo no)"
ok "frames are filled with the model that is found by itself" inside lbam-edge --config $config \
    --camera test: --mask rect:30%,30%,20%,20% --frames 2 --no-realtime --output /run/out.y4m
rm -f "$system/run/out.y4m"
ok "the doctor finds no problem" inside lbam-edge doctor --config $config --camera test:
ok "the manual page is there" inside man -w lbam-edge
ok "so is that of a command" inside man -w lbam-edge-doctor
for path in /usr/share/bash-completion/completions/lbam-edge /usr/share/zsh/vendor-completions/_lbam-edge \
    /usr/share/fish/vendor_completions.d/lbam-edge.fish /usr/share/doc/lbam-edge/copyright \
    /usr/share/doc/lbam-edge/third-party.gz /usr/share/doc/lbam-edge/service.md \
    /usr/share/doc/lbam-edge/devices.md /usr/share/lbam/small-int8.lbam /usr/share/lbam/nano-int8.lbam; do
    is "$path is there" there "$(there "$path")"
done
is "there is a changelog" yes "$(compgen -G "$system/usr/share/doc/lbam-edge/changelog*" >/dev/null && echo yes)"
units=$(inside dpkg -L lbam-edge | grep -o '.*/systemd/system$' | head -n 1)
for unit in lbam-edge.service lbam-edge@video0.service; do
    ok "systemd takes $unit" inside systemd-analyze verify --man=no "$unit"
done
is "the unit is not enabled by itself" disabled "$(inside systemctl is-enabled lbam-edge 2>&1 || true)"
ok "it can be enabled" inside systemctl enable lbam-edge
is "then it is" enabled "$(inside systemctl is-enabled lbam-edge 2>&1 || true)"
ok "so can an instance" inside systemctl enable lbam-edge@video0
echo LBAM_HTTP=127.0.0.1:8082 >"$system/etc/default/lbam-edge-video0"
# shellcheck disable=SC2016 # dpkg-query expands it
is "the configuration is a conffile" " $config" \
    "$(inside dpkg-query -W -f '${Conffiles}\n' lbam-edge | grep -o " $config" || true)"

# -- Upgrade ------------------------------------------------------------------------------------

# repack VERSION TO: the same package under another version; a third argument changes its
# configuration
repack() {
    rm -rf "$work/repack"
    dpkg-deb -R "$package" "$work/repack"
    sed -i "s/^Version: .*/Version: $1/" "$work/repack/DEBIAN/control"
    if [ "$#" -gt 2 ]; then
        echo "$3" >>"$work/repack$config"
        rm -f "$work/repack/DEBIAN/md5sums"
    fi
    dpkg-deb --root-owner-group -b "$work/repack" "$system/$2" >/dev/null
}

version=$(dpkg-deb -f "$package" Version)
echo 'threads = 1' >>"$system$config"
mine=$(md5sum <"$system$config")
repack "$version+1" second.deb
ok "an upgrade installs" inside dpkg -i /second.deb
is "the configuration is kept" "$mine" "$(md5sum <"$system$config")"
repack "$version+2" third.deb '# A new default.'
ok "an upgrade with another default installs" inside dpkg --force-confdef --force-confold -i /third.deb
is "the configuration is kept again" "$mine" "$(md5sum <"$system$config")"
is "the new default lies beside it" there "$(there $config.dpkg-dist)"
is "the unit is still enabled" enabled "$(inside systemctl is-enabled lbam-edge 2>&1 || true)"
ok "a mistake in the configuration is told" sh -c "echo threads = many >>'$system$config'"
code=0
inside lbam-edge --config $config 2>"$work/told" || code=$?
is "with exit code 78" 78 "$code"
ok "and with file and line" grep "^lbam-edge: $config:[0-9]*: " "$work/told"

# -- Remove and purge ---------------------------------------------------------------------------

mkdir -p "$system/var/lib/private/lbam-edge"
ln -s private/lbam-edge "$system/var/lib/lbam-edge"
ok "the package is removed" inside dpkg -r lbam-edge
is "the program is gone" absent "$(there /usr/bin/lbam-edge)"
is "the unit is gone" absent "$(there "$units/lbam-edge.service")"
is "the configuration stays" there "$(there $config)"
ok "it installs again" inside dpkg -i /third.deb
is "with the configuration of before" there "$(there $config)"
ok "the package is purged" inside dpkg -P lbam-edge
rm -f "$system/second.deb" "$system/third.deb" "$system$config.dpkg-dist"
files >"$work/after"
is "nothing is left" "" "$(comm -13 "$work/before" "$work/after")"

echo "$passed passed, 0 failed"
