#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzing campaigns and the speed of harnesses: scripts/fuzz.sh --help
exec python3 "$(dirname "${BASH_SOURCE[0]}")/fuzz_campaign.py" "$@"
