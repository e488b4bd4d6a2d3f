"""Is torch itself in order: imports, sees the GPU, computes, and has torch.distributed's names."""

import time

import check


def run():
    begin = time.perf_counter()
    with check.step("import torch"):
        import torch

        check.ok("import torch", f"torch {torch.__version__}, CUDA {torch.version.cuda}",
                 time.perf_counter() - begin)
    with check.step("torch and the GPU"):
        reason = check.gpu_missing()
        if reason or check.DEVICE != "cuda":
            check.not_checked("torch and the GPU", reason or "asked to run on the CPU",
                              gpu_is_missing=bool(reason))
        else:
            begin = time.perf_counter()
            left = torch.arange(4096, dtype=torch.float64).reshape(64, 64) % 17
            found = (left.cuda() @ left.cuda()).cpu()
            major, minor = torch.cuda.get_device_capability()
            name = f"{torch.cuda.get_device_name()} (sm_{major}{minor})"
            if torch.equal(found, left @ left):
                check.ok("torch and the GPU", f"{name}: a product of small whole numbers, exactly",
                         time.perf_counter() - begin, 0.0, 0.0)
            else:
                check.failed("torch and the GPU", f"{name}: a matrix product is wrong")
    with check.step("torch.distributed"):
        import torch.distributed as distributed

        names = ("is_initialized", "get_rank", "all_reduce", "_all_gather_base")
        missing = [name for name in names if not hasattr(distributed, name)]
        if not missing:
            check.ok("torch.distributed", "has the names that mamba_ssm looks up", 0.0)
        elif distributed.is_available():
            check.failed("torch.distributed", f"is available but lacks {', '.join(missing)}")
        else:
            check.ok("torch.distributed", f"not part of this torch ({', '.join(missing)} missing)",
                     0.0)


if __name__ == "__main__":
    check.main(run)
