#!/usr/bin/env bash
# Installs what the programs are built and tested with: system packages and Rust.
#
#   scripts/setup.sh          # to build
#   scripts/setup.sh tests    # to test as well (ffmpeg, rustfmt, clippy, Chromium, a Vulkan device)
#
# Other scripts source it, and get cargo on their path and the build folder with it.
#
# What is there already is left alone, so a machine that has everything needs no administrator.
set -euo pipefail

# A clone that comes later builds from what an earlier one compiled.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lbam/target}

setup_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
setup_purpose=${1:-build}
setup_path=$PATH

setup_say() { echo "setup: $*" >&2; }

setup_stop() {
    setup_say "$*"
    exit 1
}

# Succeeds on Debian 12. (Ubuntu's archive has no packages for Arm beside those for PCs.)
setup_is_debian_12() {
    grep -qxE 'ID="?debian"?' /etc/os-release && grep -qxE 'VERSION_ID="?12"?' /etc/os-release
} 2>/dev/null

# Succeeds if version $1 is $2 or later.
setup_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

setup_as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        setup_stop "needs an administrator for: $* (and there is no sudo)"
    fi
}

setup_apt_ready=
setup_apt_update() {
    local try told
    if [ -n "$setup_apt_ready" ]; then return; fi
    # A fresh machine updates itself first, and apt-get update does not wait for that.
    for try in {1..40}; do
        if told=$(setup_as_root env LC_ALL=C apt-get update -qq 2>&1); then
            if [ -n "$told" ]; then echo "$told" >&2; fi
            setup_apt_ready=yes
            return
        fi
        [[ $told == *"Could not get lock"* ]] || break
        [ "$try" != 1 ] || setup_say "another program uses apt; waiting for it, up to ten minutes"
        sleep 15
    done
    echo "$told" >&2
    setup_stop "apt-get update failed; mend that, then run this again"
}

setup_apt() {
    local removed
    command -v apt-get >/dev/null ||
        setup_stop "this system has no apt-get; please install by hand what corresponds to: $*"
    setup_apt_update
    setup_say "installing $*"
    # What the user has is not taken away for it.
    setup_as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends --no-remove \
        -o DPkg::Lock::Timeout=600 "$@" >&2 && return
    removed=$(apt-get install -s -qq --no-install-recommends "$@" 2>/dev/null |
        sed -n 's/^Remv \([^ ]*\).*/\1/p' | xargs || true)
    [ -z "$removed" ] ||
        setup_say "apt would remove $removed for it, which this does not; if you can do without, \
remove that by hand, then run this again"
    return 1
}

# Succeeds if apt can install the package.
setup_offers() {
    # No pipe into grep -q: it stops reading at the first match, and apt-cache may die of that.
    [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[!\(]* ]]
}

setup_has_libclang() {
    local place
    for place in "${LIBCLANG_PATH:-}" /usr/lib/*/libclang{,-[0-9]*}.so* \
        /usr/lib/llvm-*/lib/libclang{,-[0-9]*}.so* /usr/lib{,64}/libclang{,-[0-9]*}.so* \
        /usr/local/lib/libclang{,-[0-9]*}.so*; do
        if [ -n "$place" ] && [ -e "$place" ]; then return 0; fi
    done
    return 1
}

# bindgen reads the kernel's camera header with libclang, whose package carries a version.
setup_libclang() {
    if setup_has_libclang; then return; fi
    if command -v apt-get >/dev/null; then setup_apt_update; fi
    local package
    for package in libclang1 libclang1-14 $(apt-cache pkgnames libclang1- 2>/dev/null |
        grep -E '^libclang1-[0-9]+$' | sort -Vr); do
        if setup_offers "$package"; then
            setup_apt "$package"
            setup_has_libclang && return
        fi
    done
    setup_stop "found no package with libclang; install one, or set LIBCLANG_PATH to its folder"
}

# A browser for the page's test, which does without where there is none to be had: Ubuntu has it as
# a snap alone.
setup_browser() {
    if command -v chromedriver >/dev/null || ! command -v apt-get >/dev/null; then return; fi
    # Without lists nothing is offered.
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || setup_apt_update
    if setup_offers chromium-driver; then setup_apt chromium chromium-driver; fi
}

setup_packages() {
    local missing=()
    command -v cc >/dev/null && command -v make >/dev/null || missing+=(build-essential)
    command -v pkg-config >/dev/null || missing+=(pkg-config)
    command -v curl >/dev/null || missing+=(curl)
    [ -e /usr/include/linux/videodev2.h ] || missing+=(linux-libc-dev)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    if [ "$setup_purpose" = tests ]; then
        command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || missing+=(ffmpeg)
        command -v python3 >/dev/null || missing+=(python3)
        command -v shellcheck >/dev/null || missing+=(shellcheck)
        # Some Vulkan device for the GPU's tests: Mesa has one in software.
        [ -d /usr/share/vulkan/icd.d ] || missing+=(mesa-vulkan-drivers)
        # Debian has ldconfig where only root looks.
        PATH=$PATH:/sbin:/usr/sbin ldconfig -p | grep libvulkan.so.1 >/dev/null || missing+=(libvulkan1)
    fi
    if [ "${#missing[@]}" -gt 0 ]; then setup_apt "${missing[@]}"; fi
    setup_libclang
    if [ "$setup_purpose" = tests ]; then setup_browser; fi
}

setup_cargo_version() {
    # rustup's cargo without a toolchain fails; that counts as none.
    cargo --version 2>/dev/null | cut -d ' ' -f 2 || true
}

setup_rust() {
    local wanted found installer by_hand bin=${CARGO_HOME:-$HOME/.cargo}/bin
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$setup_root/Cargo.toml")
    [ -n "$wanted" ] || setup_stop "Cargo.toml states no rust-version"
    by_hand="install Rust $wanted or later by hand (https://rustup.rs), then run this again"
    found=$(setup_cargo_version)
    if ! setup_at_least "${found:-0}" "$wanted" && [ -d "$bin" ]; then
        # rustup's cargo may be off the path in this shell, or behind an older one.
        PATH=$bin:$PATH
        hash -r
        found=$(setup_cargo_version)
    fi
    if ! setup_at_least "${found:-0}" "$wanted"; then
        setup_say "Rust ${found:-none} is here, $wanted or later is needed"
        # The distribution's rustup would remove its cargo; that is not ours to do.
        if ! command -v rustup >/dev/null && [ -z "$found" ] && setup_offers rustup; then
            setup_apt rustup
        fi
        if command -v rustup >/dev/null; then
            rustup toolchain install stable --profile minimal >&2 ||
                setup_stop "rustup could not install stable Rust; $by_hand"
            hash -r
            found=$(setup_cargo_version)
            # Another default or an override still picks the old one.
            if ! setup_at_least "${found:-0}" "$wanted"; then
                export RUSTUP_TOOLCHAIN=stable
                setup_overridden=yes
            fi
        else
            setup_say "installing Rust for this user with rustup's own installer"
            # Fetched whole before anything of it runs.
            installer=$(curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs) ||
                setup_stop "cannot fetch rustup's installer from https://sh.rustup.rs; $by_hand"
            sh -s -- -y --profile minimal <<<"$installer" >&2 ||
                setup_stop "rustup's installer failed; $by_hand"
        fi
        # In front: an older cargo of the distribution may come first otherwise.
        if [ -d "$bin" ]; then PATH=$bin:$PATH; fi
        hash -r
        found=$(setup_cargo_version)
        if ! setup_at_least "${found:-0}" "$wanted"; then
            setup_stop "cargo is ${found:-absent} after installing; $by_hand"
        fi
    fi
    export PATH
    if [ "$setup_purpose" = tests ]; then
        if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
            command -v rustup >/dev/null ||
                setup_stop "rustfmt and clippy are missing; install them beside cargo"
            rustup component add rustfmt clippy >&2 ||
                setup_stop "rustup could not add rustfmt and clippy; install them beside cargo"
        fi
    fi
    setup_say "Rust $found; build folder $CARGO_TARGET_DIR"
}

# What cargo installs must be found in other shells, too. rustup's own installer sees to that; where
# rustup comes from apt, nobody does.
setup_hint() {
    local home=${CARGO_HOME:-$HOME/.cargo}
    local folder=$home/bin
    if [ -n "${setup_overridden:-}" ]; then
        setup_say "your default Rust is older; type cargo +stable in place of cargo, or first: \
rustup default stable"
    fi
    case :$setup_path: in
        *:"$folder":*) return ;;
    esac
    # rustup's installer names the folder in full, or from $HOME on.
    if grep -qsF "${home#"$HOME/"}/env" ~/.profile ~/.bash_profile ~/.bash_login ~/.zshenv; then
        setup_say "open a new shell: $folder is on its path"
    else
        setup_say "$folder, where cargo installs programs, is not on your path; add this line to \
~/.profile, then log in again:"
        echo "export PATH=\"$folder:\$PATH\"" >&2
    fi
}

setup_packages
setup_rust
# Not when another script sources this one.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then setup_hint; fi
