#include "core/choose.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace ssm {
namespace {

bool is_tegra(int sm) { return sm == 72 || sm == 87 || sm == 101 || sm == 110; }

// The CUDA version (11080) whose driver first knew a PTX version (78), from the release history in
// the PTX manual: CUDA 11.n brought 7.n, CUDA 12.0 to 12.5 brought 8.0 to 8.5, 12.6 none, 12.7 to
// 12.9 brought 8.6 to 8.8, CUDA 13.n brought 9.n.
int driver_for_ptx(int isa) {
  const int major = isa / 10;
  int minor = isa % 10;
  if (major <= 6) return 10000;
  if (major == 8 && minor >= 6) ++minor;
  return (major + 4) * 1000 + minor * 10;
}

int driver_for_sm(int sm) {
  if (sm >= 100) return 12080;
  if (sm >= 89) return 11080;
  return 11000;
}

// 0: it runs; higher is worse. -1: it does not, and `why` says why.
int rank_of(const ssm_image& image, int sm, int driver_version, char* why, size_t why_bytes) {
  if (image.kind == SSM_PTX) {
    const int needed = driver_for_ptx(image.ptx_isa);
    if (image.sm > sm) {
      snprintf(why, why_bytes, "compute_%d is above this GPU", image.sm);
      return -1;
    }
    if (driver_version < needed) {
      snprintf(why, why_bytes, "PTX %d.%d needs a driver for CUDA %d.%d", image.ptx_isa / 10,
               image.ptx_isa % 10, needed / 1000, needed % 1000 / 10);
      return -1;
    }
    return 1000 + (sm - image.sm);
  }
  if (image.sm != sm) {
    if (image.sm / 10 != sm / 10 || image.sm > sm) {
      snprintf(why, why_bytes, "sm_%d is another family", image.sm);
      return -1;
    }
    if (is_tegra(sm) || is_tegra(image.sm)) {
      snprintf(why, why_bytes, "sm_%d code does not serve sm_%d: Tegra takes its exact SM",
               image.sm, sm);
      return -1;
    }
  }
  if (image.compiler / 1000 > driver_version / 1000) {
    snprintf(why, why_bytes, "sm_%d made by CUDA %d.%d needs a driver for CUDA %d.0", image.sm,
             image.compiler / 1000, image.compiler % 1000 / 10, image.compiler / 1000);
    return -1;
  }
  if (driver_version < driver_for_sm(image.sm)) {
    const int needed = driver_for_sm(image.sm);
    snprintf(why, why_bytes, "sm_%d needs a driver for CUDA %d.%d", image.sm, needed / 1000,
             needed % 1000 / 10);
    return -1;
  }
  return sm - image.sm;
}

bool is_forced(const ssm_image& image, const char* forced) {
  char name[24];
  snprintf(name, sizeof name, "%s_%d", image.kind == SSM_PTX ? "compute" : "sm", image.sm);
  return strcmp(name, forced) == 0;
}

// Appends to a fixed buffer; what does not fit is cut.
class Text {
 public:
  Text(char* data, size_t size) : data_(data), size_(size) {
    if (size_ > 0) data_[0] = '\0';
  }
  __attribute__((format(printf, 2, 3))) void add(const char* format, ...) {
    if (used_ + 1 >= size_) return;
    va_list arguments;
    va_start(arguments, format);
    const int written = vsnprintf(data_ + used_, size_ - used_, format, arguments);
    va_end(arguments);
    if (written > 0) used_ += static_cast<size_t>(written);
  }

 private:
  char* data_;
  size_t size_;
  size_t used_ = 0;
};

}  // namespace

ssm_status choose_image(const ssm_image* images, int count, const char* unit, int sm,
                        int driver_version, const char* forced, int* index, char* reason,
                        size_t reason_bytes) {
  const bool force = forced != nullptr && forced[0] != '\0';
  int best = -1;
  int best_rank = 0;
  int candidates = 0;
  char why[128];
  for (int i = 0; i < count; ++i) {
    if (strcmp(images[i].unit, unit) != 0) continue;
    ++candidates;
    if (force && !is_forced(images[i], forced)) continue;
    int rank = rank_of(images[i], sm, driver_version, why, sizeof why);
    if (rank < 0) continue;
    if (images[i].local != 0) rank -= 10000;
    const bool older_toolkit = best >= 0 && images[i].compiler < images[best].compiler;
    if (best < 0 || rank < best_rank || (rank == best_rank && older_toolkit)) {
      best = i;
      best_rank = rank;
    }
  }
  Text text(reason, reason_bytes);
  const int driver_major = driver_version / 1000;
  const int driver_minor = driver_version % 1000 / 10;
  if (best >= 0) {
    const ssm_image& image = images[best];
    *index = best;
    text.add("%s_%d", image.kind == SSM_PTX ? "compute" : "sm", image.sm);
    if (image.kind == SSM_PTX) {
      text.add(" PTX %d.%d, compiled by the driver", image.ptx_isa / 10, image.ptx_isa % 10);
    } else if (image.sm == sm) {
      text.add(" image, made for this GPU");
    } else {
      text.add(" image, which sm_%d runs as the same family", sm);
    }
    text.add(" (NVRTC %d.%d, driver for CUDA %d.%d)", image.compiler / 1000,
             image.compiler % 1000 / 10, driver_major, driver_minor);
    if (image.local != 0) text.add("; built on this machine");
    if (force) text.add("; forced by SSM_KERNELS_IMAGE=%s", forced);
    if (image.sm == sm && image.kind == SSM_CUBIN) return SSM_OK;
  } else {
    *index = -1;
    text.add("no image of %s runs on sm_%d with a driver for CUDA %d.%d", unit, sm, driver_major,
             driver_minor);
    if (candidates == 0) text.add(": the library has no image of it");
    if (force) text.add(": SSM_KERNELS_IMAGE=%s", forced);
  }
  // Why the exact image, or any, was not taken: only those near enough to be expected.
  int named = 0;
  for (int i = 0; i < count && !force; ++i) {
    if (i == best || strcmp(images[i].unit, unit) != 0) continue;
    if (rank_of(images[i], sm, driver_version, why, sizeof why) >= 0) continue;
    const bool near = images[i].sm / 10 == sm / 10 || (best < 0 && images[i].kind == SSM_PTX);
    if (near && named++ < 4) text.add("; %s", why);
  }
  return best >= 0 ? SSM_OK : SSM_NO_IMAGE;
}

}  // namespace ssm
