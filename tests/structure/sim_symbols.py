# SPDX-License-Identifier: Apache-2.0
"""libvmxsim and the vmxsim command neither define nor use a symbol of libvmxcore (vmxc_*)."""

import argparse
import subprocess

from common import finish


def symbols(nm, path):
    """Names that the file defines or refers to."""
    run = subprocess.run([nm, "--format=posix", path], capture_output=True, text=True, check=True)
    for line in run.stdout.splitlines():
        parts = line.split()
        if len(parts) >= 2 and not line.endswith(":"):
            yield parts[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nm", required=True)
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    offenders = []
    checked = 0
    for path in arguments.files:
        names = list(symbols(arguments.nm, path))
        checked += len(names)
        offenders += [f"{path}: {name}" for name in names if name.startswith("vmxc_")]
    finish(offenders, f"{checked} symbols in {len(arguments.files)} files")


if __name__ == "__main__":
    main()
