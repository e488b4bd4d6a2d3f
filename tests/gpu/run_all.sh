#!/bin/bash
# Everything about the kernel library that needs a GPU, in one call and without a network: checks,
# sanitizers, the PTX fallback, and timings.
#
# usage: run_all.sh SITE [UPSTREAM_FOLDER]
#   SITE             the payload's folder (build/share/ssmend/kernels/linux_x86_64)
#   UPSTREAM_FOLDER  optional: upstream's causal_conv1d_cuda.so and selective_scan_cuda.so, the
#                    packages causal_conv1d, mamba_ssm and einops, and the test files
#                    test_causal_conv1d.py, test_selective_scan.py, test_selective_state_update.py
#                    and test_vmamba.py, for comparison; what is not there is not run
# Exit status 1 where a check failed; one that exits with 77 says what it lacks and was skipped.
# PYTHON (python3) needs torch with CUDA. With STEPS only the steps whose name fits that regular
# expression are run: STEPS='conv1d|GPUs'. OTHER_PYTHONS names interpreters, with torch or without,
# that shall load the convolution's module and run its kernels too.
set -u
site=$(cd "$1" && pwd)
upstream=${2:+$(cd "$2" && pwd)}
python=${PYTHON:-python3}
cd "$(dirname "$0")" || exit 2
export PYTHONPATH=$site PYTHONUNBUFFERED=1
failed=0
only=${STEPS:-.}
step() {  # step NAME COMMAND...
  local name=$1
  shift
  [[ $name =~ $only ]] || return 0
  echo "== $name"
  "$@"
  local status=$?
  [ $status = 0 ] || [ $status = 77 ] || { failed=1; echo "FAILED: $name"; }
}

step "conv1d against float64" timeout 300 "$python" conv1d_check.py
step "conv1d read through attributes, not DLPack" \
  env SSM_KERNELS_NO_DLPACK=1 timeout 120 "$python" conv1d_check.py --quick
step "conv1d from the compute_87 PTX" \
  env SSM_KERNELS_IMAGE=compute_87 timeout 200 "$python" conv1d_check.py --quick
step "conv1d package: autograd and torch.compile" timeout 200 "$python" conv1d_package_check.py
for other in ${OTHER_PYTHONS:-}; do
  step "conv1d under $other, without torch" timeout 60 "$other" other_python_check.py
done
step "scan against float64" timeout 400 "$python" scan_correctness.py "$site"
step "scan functions" timeout 200 "$python" scan_functions.py "$site"
step "scan package: torch.compile, saved states, devices" timeout 200 "$python" scan_package_check.py
step "several GPUs" timeout 200 "$python" devices_check.py
if command -v compute-sanitizer > /dev/null; then
  for tool in memcheck racecheck; do
    step "conv1d under compute-sanitizer $tool" timeout 300 compute-sanitizer --tool $tool \
      --error-exitcode 1 --kernel-regex kns=ssm_ "$python" conv1d_check.py --sanitize
    step "scan under compute-sanitizer $tool" timeout 300 compute-sanitizer --tool $tool \
      --error-exitcode 1 --kernel-regex kns=scan_ "$python" scan_correctness.py "$site" --quick
    step "decode step under compute-sanitizer $tool" timeout 300 compute-sanitizer --tool $tool \
      --error-exitcode 1 --kernel-regex kns=scan_ "$python" scan_functions.py "$site" --updates
  done
else
  echo "== compute-sanitizer: not here, not run"
fi
if [ -n "$upstream" ]; then
  # 13,299 tests: 45 s in 12 processes on one H100, far longer in one.
  side_by_side=()
  "$python" -c "import xdist" 2> /dev/null && side_by_side=(-n 12)
  step "conv1d: upstream's own tests on this module" env PYTHONPATH="$site:$upstream" timeout 900 \
    "$python" -m pytest -q -x "${side_by_side[@]}" -p no:cacheprovider \
    "$upstream/test_causal_conv1d.py" -k "not race_condition"
  step "conv1d timings beside upstream" timeout 200 "$python" conv1d_bench.py \
    --upstream "$upstream/causal_conv1d_cuda.so"
  for file in test_selective_scan.py test_selective_state_update.py test_vmamba.py; do
    [ -f "$upstream/$file" ] || continue
    step "upstream's $file, as published" timeout 500 "$python" upstream_scan_tests.py \
      "$upstream/$file" "$site" "$upstream" --published --seconds 300
  done
  if [ -f "$upstream/selective_scan_cuda.so" ]; then
    step "scan timings beside upstream" timeout 300 "$python" scan_benchmark.py "$site" \
      "$upstream/selective_scan_cuda.so"
  fi
  if [ -d "$upstream/mamba_ssm" ]; then
    step "decode step beside Triton" timeout 100 "$python" scan_update_benchmark.py "$site" \
      "$upstream"
  fi
else
  step "conv1d timings" timeout 200 "$python" conv1d_bench.py
fi
exit $failed
