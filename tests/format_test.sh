#!/usr/bin/env bash
# Every C++ and CUDA file is as .clang-format says.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v clang-format >/dev/null || { echo "SKIP: clang-format is not installed"; exit 77; }
mapfile -t files < <(find tool kernels tests \( -name '*.h' -o -name '*.cc' -o -name '*.cu' \) -print)
[ ${#files[@]} -gt 0 ] || { echo "no file found"; exit 1; }
clang-format --dry-run -Werror "${files[@]}"
echo "${#files[@]} files formatted"
