#!/bin/sh
# Runs every fuzz target for SECONDS on a seed corpus taken from real files: the libraries, wheels
# and installed distributions under FOLDER, and this machine's ld.so.cache.
#   tests/fuzz/run.sh BUILD_FOLDER [SECONDS] [FOLDER] [TARGET...]
set -eu
build=$1
seconds=${2:-900}
folder=${3:-/usr/lib}
[ $# -gt 3 ] && shift 3 || set -- elf fatbin ld_cache distribution
corpus=$build/corpus
mkdir -p "$corpus/elf" "$corpus/fatbin" "$corpus/ld_cache" "$corpus/distribution"
find "$folder" -name '*.so*' -type f -size -64k 2>/dev/null | head -80 |
  while read -r file; do cp "$file" "$corpus/elf/"; done
cp /etc/ld.so.cache "$corpus/ld_cache/" 2>/dev/null || true
find "$folder" -name '*.so*' -type f -size -16M 2>/dev/null | while read -r file; do
  objcopy -O binary --only-section=.nv_fatbin "$file" "$corpus/fatbin/$(basename "$file")" 2>/dev/null || true
done
find "$corpus/fatbin" -type f \( -empty -o -size +256k \) -delete
# METADATA's description is of no interest: the header alone keeps an input short.
find "$folder" -name '*.dist-info' -type d 2>/dev/null | head -80 | while read -r info; do
  {
    sed '/^\r*$/q' "$info/METADATA"
    printf '\036'
    head -n 60 "$info/RECORD"
    printf '\036'
    cat "$info/direct_url.json" || true
  } >"$corpus/distribution/$(basename "$info")" 2>/dev/null || true
done
for target in "$@"; do
  echo "== $target, $(find "$corpus/$target" -type f | wc -l) seeds"
  "$build/${target}_fuzz" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="$build/${target}-" "$corpus/$target" >"$build/$target.log" 2>&1 ||
    echo "$target: a crash, see $build/$target.log"
  tail -3 "$build/$target.log"
done
