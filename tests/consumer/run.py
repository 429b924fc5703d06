# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the consumer programs against vmxsim the way a user gets it.

install     puts the build into an empty prefix and looks at what arrived there
cmake       find_package(vmxsim) from that prefix
pkgconfig   make and pkg-config from that prefix
subproject  add_subdirectory of the source tree
shared      a build with BUILD_SHARED_LIBS, installed elsewhere, and used through find_package
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "structure"))
from common import need_tool  # noqa: E402

HERE = Path(__file__).resolve().parent


def run(*command, **options):
    command = [str(part) for part in command]
    print("+", " ".join(command), flush=True)
    subprocess.run(command, check=True, **options)


def empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def version_of(source):
    text = (source / "CMakeLists.txt").read_text()
    return re.search(r"project\(vmxsim\s+VERSION\s+([0-9.]+)", text).group(1)


def install(arguments):
    prefix = empty(arguments.prefix)
    run(arguments.cmake, "--install", arguments.build, "--prefix", prefix)
    installed = {p.relative_to(prefix / "include") for p in (prefix / "include").rglob("*.*")}
    source = arguments.source / "include"
    wanted = {p.relative_to(source) for p in source.rglob("*.*") if p.suffix in (".h", ".def")}
    if installed != wanted:
        sys.exit(f"FAILED: headers differ from the source tree: {sorted(map(str, installed ^ wanted))}")
    for name in ("libvmxcore.a", "libvmxsim.a", "vmxcore.pc", "vmxsim.pc", "vmxsim-config.cmake",
                 "vmxsim-config-version.cmake"):
        if not list(prefix.rglob(name)):
            sys.exit(f"FAILED: {name} was not installed")
    run(prefix / "bin" / "vmxsim", "profiles")


def build_and_test(arguments, *options):
    work = empty(arguments.work / "consumer")
    run(arguments.cmake, "-S", HERE, "-B", work, "-G", arguments.generator,
        f"-DCMAKE_C_COMPILER={arguments.cc}", f"-DCMAKE_CXX_COMPILER={arguments.cxx}", *options)
    run(arguments.cmake, "--build", work)
    run("ctest", "--test-dir", work, "--output-on-failure", "--no-tests=error")


def use_prefix(arguments, prefix):
    build_and_test(arguments, f"-DCMAKE_PREFIX_PATH={prefix}",
                   f"-DVMXSIM_EXPECTED_VERSION={version_of(arguments.source)}")


def cmake(arguments):
    use_prefix(arguments, arguments.prefix)


def pkgconfig(arguments):
    need_tool("make")
    # The tree is used from another place than it was installed to: the .pc files must follow it.
    moved = arguments.work / "moved"
    shutil.rmtree(moved, ignore_errors=True)
    shutil.copytree(arguments.prefix, moved)
    folder = next(moved.rglob("vmxcore.pc")).parent
    environment = dict(os.environ, PKG_CONFIG_PATH=str(folder))
    version = subprocess.run([need_tool("pkg-config", "pkgconf"), "--modversion", "vmxsim"],
                             env=environment, capture_output=True, text=True, check=True).stdout
    if version.strip() != version_of(arguments.source):
        sys.exit(f"FAILED: vmxsim.pc says version {version.strip()}")
    work = arguments.work / "consumer"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(HERE, work, ignore=shutil.ignore_patterns("__pycache__"))
    run("make", f"CC={arguments.cc}", f"CXX={arguments.cxx}", "run", cwd=work, env=environment)


def subproject(arguments):
    build_and_test(arguments, f"-DVMXSIM_SOURCE={arguments.source}")


def shared(arguments):
    build, prefix = arguments.work / "build", empty(arguments.work / "prefix")
    run(arguments.cmake, "-S", arguments.source, "-B", build, "-G", arguments.generator,
        f"-DCMAKE_C_COMPILER={arguments.cc}", "-DBUILD_SHARED_LIBS=ON", "-DVMXSIM_BUILD_TESTS=OFF",
        "-DVMXSIM_BUILD_EXAMPLES=OFF", "-DCMAKE_INSTALL_RPATH=$ORIGIN/../lib",
        "-DCMAKE_INSTALL_LIBDIR=lib")
    run(arguments.cmake, "--build", build)
    run(arguments.cmake, "--install", build, "--prefix", prefix)
    run(prefix / "bin" / "vmxsim", "profiles")
    use_prefix(arguments, prefix)


STEPS = {step.__name__: step for step in (install, cmake, pkgconfig, subproject, shared)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmake", default="cmake")
    parser.add_argument("--generator", default="Ninja")
    parser.add_argument("--cc", default="cc")
    for name in ("source", "build", "work", "prefix"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("step", choices=STEPS)
    arguments = parser.parse_args()
    arguments.cxx = need_tool("c++", "g++", "clang++")
    try:
        STEPS[arguments.step](arguments)
    except subprocess.CalledProcessError as error:
        sys.exit(f"FAILED: {error}")
    print("ok")


if __name__ == "__main__":
    main()
