#!/bin/sh
# Runs every fuzz target for SECONDS on a seed corpus taken from this machine's files.
#   tests/fuzz/run.sh BUILD_FOLDER [SECONDS] [FOLDER_WITH_LIBRARIES]
set -eu
build=$1
seconds=${2:-900}
libraries=${3:-/usr/lib}
corpus=$build/corpus
mkdir -p "$corpus/elf" "$corpus/fatbin" "$corpus/ld_cache"
find "$libraries" -name '*.so*' -type f -size -40k 2>/dev/null | head -60 |
  while read -r file; do cp "$file" "$corpus/elf/"; done
cp /etc/ld.so.cache "$corpus/ld_cache/" 2>/dev/null || true
find "$libraries" -name '*.so*' -type f -size -16M 2>/dev/null | while read -r file; do
  objcopy -O binary --only-section=.nv_fatbin "$file" "$corpus/fatbin/$(basename "$file")" 2>/dev/null || true
done
find "$corpus/fatbin" -type f \( -empty -o -size +256k \) -delete
for target in elf fatbin ld_cache; do
  echo "== $target"
  "$build/${target}_fuzz" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="$build/${target}-" "$corpus/$target" 2>&1 | tail -4
done
