#!/usr/bin/env bash
# Packs what tests/gpu/e2e_environment.sh needs into .device/e2e.tar.gz (which git ignores), for a
# GPU machine that can fetch nothing: ssmend with its data and libraries, the packages as wheels for
# Python 3.12, and the few files that are used of a Mamba-YOLO and a VMamba checkout.
#   tests/gpu/pack_e2e.sh BUILD_FOLDER [--python PYTHON3.12_WITH_TORCH] [--yolo DIR] [--vmamba DIR]
#                         [--upstream causal_conv1d_cuda.so] [--scan selective_scan_cuda.so.xz]
# --upstream, --scan: causal_conv1d 1.6.0's and mamba_ssm's own CUDA builds, for the cases of two
# packages that do not fit.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$1
shift
python=python3
yolo=
vmamba=
upstream=
scan=
while [ $# -gt 0 ]; do
  case $1 in
    --python) python=$2 ;;
    --yolo) yolo=$2 ;;
    --vmamba) vmamba=$2 ;;
    --upstream) upstream=$2 ;;
    --scan) scan=$2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
to=$root/.device/e2e
rm -rf "$to/ssmend" "$to/yolo" "$to/vmamba" "$to/upstream"
mkdir -p "$to/ssmend/bin" "$to/ssmend/lib" "$to/wheels" "$to/upstream" "$to/yolo" "$to/vmamba"

cp "$build/bin/ssmend" "$to/ssmend/bin/"
cp -rL "$build/share" "$to/ssmend/"
# Its libraries travel with it, found through an RPATH (which holds for theirs too);
# LD_LIBRARY_PATH would change what it finds.
ldd "$to/ssmend/bin/ssmend" | awk '$3 ~ /^\// {print $3}' |
  grep -Ev '/(libc|libm|libdl|libpthread|ld-linux[^/]*)\.so' | xargs -I{} cp -L {} "$to/ssmend/lib/"
patchelf --force-rpath --set-rpath '$ORIGIN/../lib' "$to/ssmend/bin/ssmend"

export MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE
export CAUSAL_CONV1D_FORCE_BUILD=TRUE CAUSAL_CONV1D_SKIP_CUDA_BUILD=TRUE
for requirement in causal-conv1d==1.6.0 mamba-ssm==1.2.0 mamba-ssm==2.0.4 mamba-ssm==2.2.2 \
  mamba-ssm==2.2.4 mamba-ssm==2.2.6.post3 mamba-ssm==2.3.2.post1; do
  name=${requirement//-/_}
  compgen -G "$to/wheels/${name/==/-}-*.whl" >/dev/null && continue
  "$python" -m pip wheel -q --no-deps --no-build-isolation --no-binary :all: -w "$to/wheels" \
    "$requirement"
done
compgen -G "$to/wheels/transformers-4.57*" >/dev/null ||
  "$python" -m pip download -q --no-deps -d "$to/wheels" 'transformers==4.57.*' einops \
    'huggingface-hub<1.0' 'tokenizers>=0.22,<0.23' safetensors regex pyyaml requests tqdm packaging \
    filelock fsspec urllib3 idna charset-normalizer certifi
if [ -n "$yolo" ]; then
  mkdir -p "$to/yolo/ultralytics/nn/modules"
  cp "$yolo"/ultralytics/nn/modules/{mamba_yolo,common_utils_mbyolo}.py \
    "$to/yolo/ultralytics/nn/modules/"
fi
if [ -n "$vmamba" ]; then
  mkdir -p "$to/vmamba/classification/models"
  cp "$vmamba"/classification/models/{vmamba,csm_triton,csms6s}.py \
    "$to/vmamba/classification/models/"
fi
[ -z "$upstream" ] || cp "$upstream" "$to/upstream/causal_conv1d_cuda.so"
[ -z "$scan" ] || cp "$scan" "$to/upstream/selective_scan_cuda.so.xz"
rm -rf "$to"/ssmend/share/ssmend/kernels/linux_aarch64
tar -C "$to" -czf "$root/.device/e2e.tar.gz" ssmend wheels upstream yolo vmamba
du -h "$root/.device/e2e.tar.gz"
