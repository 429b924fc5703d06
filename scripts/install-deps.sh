#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building and testing needs, and only what is missing. With nothing missing it neither asks for
# root nor touches the network.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/install-deps.sh [--build | --all | --list]

  --build  what building and running needs (scripts/demo.sh)
  --all    that, and what the tests need (scripts/test.sh); the default
  --list   print the Debian and Ubuntu packages that are missing, install nothing
TEXT
}

readonly CMAKE_MINIMUM=3.25

# ---- Probes: each answers whether one thing is usable, however it was installed. ----

has_command() {
    command -v "$1" >/dev/null 2>&1
}

# A tool is there if it starts: a dangling link or a shim without its program is not enough.
has_tool() {
    has_command "$1" && "$1" --version >/dev/null 2>&1 </dev/null
}

has_header() {
    { has_command gcc && echo "#include <$1>" | gcc -E -x c - >/dev/null 2>&1; }
}

has_library() {
    has_command pkg-config && pkg-config --exists "$1"
}

has_universal_ctags() {
    has_command ctags-universal ||
        { has_command ctags && ctags --version 2>/dev/null | grep -q "Universal Ctags"; }
}

# What the compiled module of the Python package needs.
has_python_headers() {
    has_command python3 &&
        [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null)/Python.h" ]
}

has_python_venv() {
    has_command python3 && python3 -c 'import ensurepip, venv' >/dev/null 2>&1
}

has_clang_format() {
    has_tool clang-format-14 || has_tool clang-format
}

has_clang_tidy() {
    has_tool clang-tidy-14 || has_tool clang-tidy
}

# Debian's program is bochs-bin; bochs may be a script around it.
has_bochs() {
    has_command bochs-bin || has_command bochs
}

has_libfuzzer() {
    has_command clang && echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' |
        clang -x c -w -fsanitize=fuzzer,address - -o /dev/null >/dev/null 2>&1
}

has_file() {
    [ -e "$1" ]
}

# The Linux header that the header test compiles after; only x86 has it.
has_linux_vmx_header() {
    case "$(uname -m)" in
    x86_64 | i?86) has_header asm/vmx.h ;;
    esac
}

# ---- What is needed: one line per thing, `need <package> <probe> [argument]`. ----

missing=()

need() {
    local package=$1
    shift
    "$@" || missing+=("$package")
}

find_missing() {
    missing=()
    need cmake has_tool cmake
    need ninja-build has_tool ninja
    need gcc has_tool gcc
    need libc6-dev has_header stdio.h
    need pkg-config has_tool pkg-config
    need libjansson-dev has_library jansson
    need libxxhash-dev has_library libxxhash
    [ "$1" = build ] && return
    need afl++ has_command afl-clang-fast
    need binutils has_tool objdump
    need bochs has_bochs
    need bochsbios has_file /usr/share/bochs/BIOS-bochs-latest
    need check has_library check
    need clang has_tool clang
    need clang-format has_clang_format
    need clang-tidy has_clang_tidy
    need cppcheck has_tool cppcheck
    need g++ has_tool g++
    need libclang-rt-dev has_libfuzzer
    need gcovr has_tool gcovr
    need git has_tool git
    need gnuplot-nox has_tool gnuplot
    need linux-libc-dev has_linux_vmx_header
    need make has_tool make
    need python3 has_tool python3
    need python3-dev has_python_headers
    need python3-venv has_python_venv
    need qemu-system-x86 has_tool qemu-system-x86_64
    need universal-ctags has_universal_ctags
    need valgrind has_tool valgrind
    need vgabios has_file /usr/share/bochs/VGABIOS-lgpl-latest
}

# ---- Installing ----

give_up() {
    {
        echo "install-deps: $1"
        echo "Missing, by their names in Debian and Ubuntu: ${missing[*]}"
        echo "Install them and run this again. On Debian or Ubuntu:"
        echo "    sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
    } >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@" # may ask for a password
    else
        sudo -n "$@"
    fi
}

check_root() {
    [ "$(id -u)" = 0 ] && return
    has_command sudo || give_up "packages are missing, this is not root, and there is no sudo."
    [ -t 0 ] || sudo -n true 2>/dev/null ||
        give_up "packages are missing, and sudo wants a password that nobody can type here."
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 \
        -o Acquire::Retries=3 "$@"
}

install_missing() {
    has_command apt-get || give_up "this is not Debian or Ubuntu (there is no apt-get)."
    check_root
    echo "install-deps: installing ${missing[*]}"
    apt update || echo "install-deps: the package lists could not be refreshed; trying what is there" >&2

    # The layout of the sources is that of clang-format 14; where a system has a newer default, take 14 as well.
    local -a packages=()
    for package in "${missing[@]}"; do
        if [ "$package" = clang-format ] && apt-cache show clang-format-14 >/dev/null 2>&1; then
            package=clang-format-14
        fi
        packages+=("$package")
    done
    apt install --yes --no-install-recommends "${packages[@]}" ||
        give_up "apt-get could not install them (is there a network?)."
}

check_cmake_version() {
    local version
    version=$(cmake --version | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')
    if [ "$(printf '%s\n%s\n' "$CMAKE_MINIMUM" "$version" | sort -V | head -n 1)" != "$CMAKE_MINIMUM" ]; then
        echo "install-deps: CMake $CMAKE_MINIMUM or newer is needed, this system has $version." >&2
        echo "Debian 12 and Ubuntu 24.04 have it; elsewhere: https://cmake.org/download/" >&2
        exit 1
    fi
}

main() {
    local scope=all list=false
    case "${1:---all}" in
    --build) scope=build ;;
    --all) ;;
    --list) list=true ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac

    find_missing "$scope"
    if [ "$list" = true ]; then
        [ "${#missing[@]}" = 0 ] || printf '%s\n' "${missing[@]}"
        exit 0
    fi
    if [ "${#missing[@]}" != 0 ]; then
        install_missing
        hash -r
        find_missing "$scope"
        [ "${#missing[@]}" = 0 ] || give_up "after installing, these still do not work."
    fi
    check_cmake_version
    echo "install-deps: everything is there"
}

main "$@"
