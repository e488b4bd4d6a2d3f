#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy, all of them errors. Argument: the build folder with
# compile_commands.json. SKIP where clang-tidy is not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
command -v clang-tidy >/dev/null || { echo "SKIP: clang-tidy is not installed"; exit 77; }
mapfile -t files < <(find tool -name '*.cc' | sort)
[ ${#files[@]} -gt 0 ] || { echo "no file found"; exit 1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet >"$log" 2>&1 ||
  status=1
if [ "$status" -ne 0 ]; then
  grep -Ev 'warnings? (and [0-9]+ errors? )?generated|^Suppressed|^Use -header-filter' "$log" || true
  echo "clang-tidy found problems"
  exit 1
fi
echo "${#files[@]} files checked"
