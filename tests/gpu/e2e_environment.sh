#!/usr/bin/env bash
# The whole way on a GPU, with the real packages and without their CUDA builds: broken, repaired,
# right numbers, undone, broken again. Needs a python3 that holds torch, and what
# tests/gpu/pack_e2e.sh packed; no network. Prints a table; exit 1 where anything is not as it must.
#   tests/gpu/e2e_environment.sh [CASE ...]      (default: all)
set -euo pipefail
cd "$(dirname "$0")"
exec python3 -B e2e_environment.py --packed ../../.device/e2e.tar.gz "$@"
