#!/usr/bin/env bash
# Installs what cross-building for 64-bit Arm and running the result under emulation needs, and
# sets what cargo must know. To be sourced, after which `cross_cargo` is cargo for the device:
#
#   . cross/setup.sh          # to build
#   . cross/setup.sh run      # to run Arm programs here as well
#
# rustup's standard library for Arm is taken if it is installed, then Debian's if that is, then what
# rustup fetches. Otherwise, on Debian, compiler and standard library are Debian's `rustc-web` (the
# one it keeps current for browsers), and cargo stays what it is; that needs arm64 as a foreign
# architecture of dpkg, which is added.

cross_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cross_purpose=${1:-build}
# Sourcing scripts use it.
export cross_target=aarch64-unknown-linux-gnu

. "$cross_root/scripts/setup.sh" build

# A folder of its own: another compiler in the same one would build everything anew each time.
export CARGO_TARGET_DIR=${LBAM_CROSS_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lbam/target-aarch64}

cross_offered() {
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9][^ ]*\)$/\1/p'
}

cross_foreign() {
    command -v dpkg >/dev/null || setup_stop "this needs Debian's arm64 packages (no dpkg here)"
    if ! dpkg --print-foreign-architectures | grep -qx arm64; then
        # Where the archive has none, apt-get update would fail from then on.
        setup_is_debian_12 || setup_stop "this needs packages for arm64, which Debian has in its archive \
and Ubuntu has not: run it on Debian 12, or add such an archive and arm64 (dpkg --add-architecture) \
by hand"
        setup_say "adding arm64 as a foreign architecture"
        setup_as_root dpkg --add-architecture arm64
        setup_apt_ready=
        setup_apt_update
    fi
}

cross_has_std() {
    [ -d "$("$1" --print sysroot 2>/dev/null)/lib/rustlib/$cross_target/lib" ]
}

# Takes Debian's compiler if it is version $1 or later and has the standard library.
cross_debian_rust() {
    local found
    found=$(/usr/bin/rustc --version 2>/dev/null | cut -d ' ' -f 2 || true)
    setup_at_least "${found:-0}" "$1" && cross_has_std /usr/bin/rustc || return
    export RUSTC=/usr/bin/rustc
}

cross_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$cross_root/Cargo.toml")
    # Both compilers may be here; rustup's needs no word from us.
    if cross_has_std rustc || cross_debian_rust "$wanted"; then return; fi
    # Nothing of the system's changes for it.
    if command -v rustup >/dev/null && rustup target add "$cross_target" >&2 &&
        cross_has_std rustc; then return; fi
    if command -v apt-get >/dev/null; then
        setup_apt_update
        found=$(cross_offered rustc-web)
        if setup_at_least "${found:-0}" "$wanted"; then
            cross_foreign
            if setup_apt rustc-web libstd-rust-web-dev:arm64 && cross_debian_rust "$wanted"; then
                return
            fi
        fi
    fi
    setup_stop "found no Rust standard library for $cross_target: neither Debian's packages \
nor rustup have one of $wanted or later; install one by hand, then run this again"
}

cross_packages() {
    local missing=()
    command -v aarch64-linux-gnu-gcc >/dev/null || missing+=(gcc-aarch64-linux-gnu)
    [ -e /usr/aarch64-linux-gnu/include/stdio.h ] || missing+=(libc6-dev-arm64-cross)
    if [ "$cross_purpose" = run ]; then
        command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
        if [ ! -e /lib/aarch64-linux-gnu/libc.so.6 ] ||
            [ ! -e /lib/aarch64-linux-gnu/libgcc_s.so.1 ]; then
            cross_foreign
            missing+=(libc6:arm64 libgcc-s1:arm64)
        fi
    fi
    if [ "${#missing[@]}" -gt 0 ]; then setup_apt "${missing[@]}"; fi
}

cross_rust
cross_packages
setup_say "for $cross_target: $("${RUSTC:-rustc}" --version); build folder $CARGO_TARGET_DIR"

cross_cargo() {
    local command=$1
    shift
    (cd "$cross_root" && CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        cargo "$command" --target "$cross_target" "$@")
}
