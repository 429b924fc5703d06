# SPDX-License-Identifier: Apache-2.0
"""What the structural tests share: the source tree, its files, and how a test ends."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77  # CTest's SKIP_RETURN_CODE


def tracked_files():
    """Files of the repository, as paths relative to its root.

    Where git cannot say (a source archive), every file below the root that is no build product.
    """
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"],
        capture_output=True, text=True, check=False) if shutil.which("git") else None
    if listing is not None and listing.returncode == 0 and listing.stdout:
        names = [Path(name) for name in listing.stdout.split("\0") if name]
        return [name for name in names if (ROOT / name).is_file()]
    return sorted(_walk())


def _walk():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders
                      if f != ".git" and f != "__pycache__" and not f.startswith("build")]
        for name in names:
            yield Path(folder, name).relative_to(ROOT)


def c_files(*folders):
    """Tracked .c and .h files below the given folders (all of the tree without arguments)."""
    return [f for f in tracked_files()
            if f.suffix in (".c", ".h") and (not folders or f.parts[0] in folders)]


def need_tool(*names):
    """The first of these programs that exists. A test that lacks its tool fails, unless
    VMXSIM_ALLOW_SKIP=1 says that this machine is known to be incomplete."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    if os.environ.get("VMXSIM_ALLOW_SKIP") == "1":
        skip(f"{names[0]} is not installed and VMXSIM_ALLOW_SKIP=1")
    sys.exit(f"FAILED: {names[0]} is not installed (scripts/install-deps.sh installs it; "
             "VMXSIM_ALLOW_SKIP=1 skips this test)")


def skip(why):
    """Ends the test as skipped."""
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def finish(offenders, checked):
    """Ends the test: fails with the list of offenders, or says what was checked.

    Nothing checked is a failure too: a test that looks at nothing proves nothing."""
    if offenders:
        print("\n".join(offenders))
        sys.exit(f"FAILED: {len(offenders)} offender(s)")
    if checked == 0 or checked.startswith("0 "):
        sys.exit("FAILED: there was nothing to check")
    print(f"ok: {checked}")
