#!/bin/bash
# Everything about the kernel library that needs a GPU, in one call and without a network: checks,
# sanitizers, the PTX fallback, and timings.
#
# usage: run_all.sh SITE [UPSTREAM_FOLDER]
#   SITE             the payload's folder (build/share/ssmend/kernels/linux_x86_64)
#   UPSTREAM_FOLDER  optional: upstream's causal_conv1d_cuda.so, its package causal_conv1d, its
#                    test_causal_conv1d.py and einops, for comparison
# Exit status 1 where a check failed. PYTHON (python3) needs torch with CUDA.
set -u
site=$(cd "$1" && pwd)
upstream=${2:+$(cd "$2" && pwd)}
python=${PYTHON:-python3}
cd "$(dirname "$0")" || exit 2
export PYTHONPATH=$site PYTHONUNBUFFERED=1
failed=0
step() {  # step NAME COMMAND...
  local name=$1
  shift
  echo "== $name"
  "$@" || { failed=1; echo "FAILED: $name"; }
}

step "conv1d against float64" timeout 300 "$python" conv1d_check.py
step "conv1d read through attributes, not DLPack" \
  env SSM_KERNELS_NO_DLPACK=1 timeout 120 "$python" conv1d_check.py --quick
step "conv1d from the compute_87 PTX" \
  env SSM_KERNELS_IMAGE=compute_87 timeout 200 "$python" conv1d_check.py --quick
step "conv1d package: autograd and torch.compile" timeout 200 "$python" conv1d_package_check.py
if command -v compute-sanitizer > /dev/null; then
  for tool in memcheck racecheck; do
    step "compute-sanitizer $tool" timeout 300 compute-sanitizer --tool $tool --error-exitcode 1 \
      --kernel-regex kns=ssm_ "$python" conv1d_check.py --sanitize
  done
else
  echo "== compute-sanitizer: not here, not run"
fi
if [ -n "$upstream" ]; then
  step "upstream's own tests on this module" env PYTHONPATH="$site:$upstream" timeout 500 \
    "$python" -m pytest -q -x -p no:cacheprovider "$upstream/test_causal_conv1d.py" \
    -k "not race_condition"
  step "timings beside upstream" timeout 200 "$python" conv1d_bench.py \
    --upstream "$upstream/causal_conv1d_cuda.so"
else
  step "timings" timeout 200 "$python" conv1d_bench.py
fi
exit $failed
