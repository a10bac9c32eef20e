#!/usr/bin/env bash
# Builds Debian packages of lbam-edge; the last lines are their paths.
#
#   cross/deb.sh               # for this machine
#   cross/deb.sh amd64 arm64   # for these
#
# Packages go to the folder `debian` in the build folder unless LBAM_DEB_DIR is set. What is in
# them stands in Cargo.toml, and the profile that they are built with: `dist`, which takes a
# quarter of an hour for each machine. LBAM_PROFILE=release takes what tests are built with, for a
# try. Installs what is missing, cargo-deb too (some minutes).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

. scripts/setup.sh build

stop() {
    echo "deb: $*" >&2
    exit 1
}

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
if ! cargo deb --version >/dev/null 2>&1; then cargo install cargo-deb --locked >&2; fi
missing=()
command -v python3 >/dev/null || missing+=(python3)
command -v objdump >/dev/null || missing+=(binutils)
if [ "${#missing[@]}" -gt 0 ]; then setup_apt "${missing[@]}"; fi
compgen -G 'models/small-*.lbam' >/dev/null || stop "there is no models/small-*.lbam to pack"
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

# The package says which glibc it needs; a build on a newer system may need more.
check_libraries() {
    local program=$1 stated newest library
    stated=$(sed -n 's/^depends = "libc6 (>= \([0-9.]*\)).*/\1/p' Cargo.toml)
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
    local architecture=$1 triple=$2 program=$3 packaging
    shift 3
    check_libraries "$program"
    packaging=$(dirname "$program")/packaging
    rm -rf "$packaging"
    cp -a "$parts" "$packaging"
    python3 cross/notices.py "$triple" | gzip -9n >"$packaging/third-party.gz"
    cargo deb --locked --no-build --profile "$LBAM_PROFILE" \
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
