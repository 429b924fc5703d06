# SPDX-License-Identifier: Apache-2.0
"""Where things are in the source tree."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[3]
