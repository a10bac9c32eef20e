#!/usr/bin/env bash
# Builds Debian packages of lbam-edge; the last lines are their paths.
#
#   cross/deb.sh               # for this machine
#   cross/deb.sh amd64 arm64   # for these
#
# Packages go to the folder `debian` in the build folder unless LBAM_DEB_DIR is set. What is in
# them stands in Cargo.toml, and the profile that they are built with: `dist`, which takes a
# quarter of an hour for each machine. LBAM_PROFILE=release takes what tests are built with, for a
# try. Installs what is missing, cargo-deb too (some minutes). Run it on Debian 12, or where glibc is
# no newer: a program that is built with a newer glibc may not start on Debian 12.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

. scripts/setup.sh build

stop() {
    echo "deb: $*" >&2
    exit 1
}

# The glibc that the package asks for.
stated=$(sed -n 's/^depends = "libc6 (>= \([0-9.]*\)).*/\1/p' Cargo.toml)
[ -n "$stated" ] || stop "Cargo.toml does not state the package's glibc (depends)"

command -v dpkg >/dev/null || stop "this needs Debian's tools (dpkg); run it on Debian or Ubuntu"
here=$(dpkg --print-architecture)
architectures=("$@")
if [ "${#architectures[@]}" = 0 ]; then architectures=("$here"); fi
for architecture in "${architectures[@]}"; do
    case $architecture in
        "$here" | arm64) ;;
        *) stop "cannot build for $architecture; this machine is $here, and arm64 is crossed to" ;;
    esac
done
# Built with Debian 12's glibc the program asks for no more than the package states. With a newer one
# it may, which check_libraries finds out when the program is built.
newest_known=2.36
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d ' ' -f 2 || true)
if [ -n "$glibc" ] && ! setup_at_least "$newest_known" "$glibc"; then
    echo "deb: warning: this system's glibc is $glibc. The package is for glibc $stated and later; \
what is built with one after $newest_known (Debian 12's) may need more, and is refused when it is \
built. Debian 12 is the safe place to build" >&2
fi

if ! cargo deb --version >/dev/null 2>&1; then cargo install cargo-deb --locked >&2; fi
missing=()
command -v python3 >/dev/null || missing+=(python3)
command -v objdump >/dev/null || missing+=(binutils)
if [ "${#missing[@]}" -gt 0 ]; then setup_apt "${missing[@]}"; fi
for model in models/small-int8.lbam models/nano-int8.lbam; do
    [ -e "$model" ] || stop "there is no $model to pack"
done
native=$CARGO_TARGET_DIR
out=${LBAM_DEB_DIR:-$native/debian}
export LBAM_PROFILE=${LBAM_PROFILE:-dist}
mkdir -p "$out"

# Manual pages and completions are printed by the program itself, as it runs here.
cargo build --locked --release --bin lbam-edge
parts=$native/packaging
rm -rf "$parts"
mkdir -p "$parts/man"
"$native/release/lbam-edge" man "$parts/man"
for shell in bash zsh fish; do
    "$native/release/lbam-edge" completions "$shell" >"$parts/completions.$shell"
done
# Without a time of its own, so that the same source gives the same package.
gzip -9n "$parts"/man/*.1

# The program may ask for no newer glibc and for no other libraries than the package does.
check_libraries() {
    local program=$1 newest library
    newest=$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
    setup_at_least "$stated" "$newest" ||
        stop "$program asks for glibc $newest and the package for $stated; build on an older \
system, or raise depends in Cargo.toml"
    while read -r library; do
        case $library in
            libc.so.* | libm.so.* | libgcc_s.so.* | libdl.so.* | libpthread.so.* | librt.so.* | ld-linux*) ;;
            *) stop "$program needs $library; name its package in depends in Cargo.toml" ;;
        esac
    done < <(objdump -p "$program" | sed -n 's/^ *NEEDED *//p')
}

# pack ARCHITECTURE TRIPLE PROGRAM OPTIONS...
pack() {
    local architecture=$1 triple=$2 program=$3 packaging revision
    shift 3
    # apt takes packages of one version for the same, whatever is in them. git asks about the folder's
    # owner where root builds.
    revision=$(TZ=UTC git -c safe.directory="$PWD" log -1 --format=%cd \
        --date=format-local:%Y%m%d%H%M%S 2>/dev/null || true)
    check_libraries "$program"
    packaging=$(dirname "$program")/packaging
    rm -rf "$packaging"
    cp -a "$parts" "$packaging"
    python3 cross/notices.py "$triple" | gzip -9n >"$packaging/third-party.gz"
    cargo deb --locked --no-build --profile "$LBAM_PROFILE" --deb-revision "${revision:-1}" \
        --output "$out/lbam-edge_$architecture.deb" "$@" >&2
}

for architecture in "${architectures[@]}"; do
    if [ "$architecture" = "$here" ]; then
        cargo build --locked --profile "$LBAM_PROFILE" --bin lbam-edge
        triple=$(rustc -vV | sed -n 's/^host: //p')
        pack "$architecture" "$triple" "$native/$LBAM_PROFILE/lbam-edge"
    else
        program=$(cross/build.sh | tail -n 1)
        (
            CARGO_TARGET_DIR=${program%/aarch64-unknown-linux-gnu/*}
            export CARGO_TARGET_DIR
            pack "$architecture" aarch64-unknown-linux-gnu "$program" \
                --target aarch64-unknown-linux-gnu
        )
    fi
done
for architecture in "${architectures[@]}"; do echo "$out/lbam-edge_$architecture.deb"; done
