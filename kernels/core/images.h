// The images this library can choose from: the embedded pack and, where it lies beside the library,
// local_images.pack. Read once; never changes afterwards.
#pragma once

#include "ssm_kernels.h"

namespace ssm {

inline constexpr int kMaxImages = 512;

// Records of a local pack whose source hash differs from the embedded one of the same unit are left
// out: their kernels take other parameters.
// `data` is null until load_image() has unpacked the image.
const ssm_image* images(int* count);

// The image with its data, unpacked now or before; null data, never an error, where the pack is
// damaged or memory is short.
ssm_image load_image(int index);

}  // namespace ssm
