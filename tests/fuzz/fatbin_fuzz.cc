// Any bytes as the content of .nv_fatbin.
#include <string_view>

#include "elf/fatbin.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  ssmend::FatBinary result;
  ssmend::parse_fat_containers({reinterpret_cast<const char*>(data), size}, result);
  for (const ssmend::GpuImage& image : result.images) (void)ssmend::gpu_image_name(image);
  return 0;
}
