#include "core/images.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/choose.h"
#include "core/libc_versions.h"
#include "core/lock.h"
#include "core/pack.h"
#include "core/status.h"

// Laid down by the build (embedded_images.S).
extern "C" const uint8_t ssm_embedded_pack[];
extern "C" const uint8_t ssm_embedded_pack_end[];

namespace ssm {
namespace {

ssm_image table[kMaxImages];
PackHeader headers[kMaxImages];
const uint8_t* stored_images[kMaxImages];
char units[kMaxImages][kPackUnitBytes];
int table_size = 0;
std::atomic<bool> table_ready{false};
SpinLock table_lock;

// The hash the embedded images of a unit have; 0 where there are none.
uint64_t embedded_hash(const char* unit) {
  for (int i = 0; i < table_size; ++i) {
    if (table[i].local == 0 && strcmp(table[i].unit, unit) == 0) return headers[i].source_hash;
  }
  return 0;
}

void add_pack(const uint8_t* pack, size_t size, bool local) {
  size_t offset = 0;
  PackHeader header;
  const uint8_t* stored = nullptr;
  while (table_size < kMaxImages && next_record(pack, size, &offset, &header, &stored)) {
    if (local) {
      const uint64_t expected = embedded_hash(header.unit);
      if (expected != 0 && expected != header.source_hash) continue;
    }
    memcpy(units[table_size], header.unit, kPackUnitBytes);
    headers[table_size] = header;
    stored_images[table_size] = stored;
    ssm_image& entry = table[table_size];
    entry.unit = units[table_size];
    entry.kind = static_cast<int32_t>(header.kind);
    entry.sm = static_cast<int32_t>(header.sm);
    entry.compiler = static_cast<int32_t>(header.compiler);
    entry.ptx_isa = static_cast<int32_t>(header.ptx_isa);
    entry.local = local ? 1 : 0;
    entry.unused = 0;
    entry.data = nullptr;
    entry.size_bytes = header.size_bytes;
    ++table_size;
  }
}

// The file is read into memory that is kept for the life of the process.
void add_local_pack() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&ssm_image_count), &self) == 0) return;
  const char* slash = strrchr(self.dli_fname, '/');
  const int directory_bytes = slash == nullptr ? 1 : static_cast<int>(slash - self.dli_fname);
  const char* directory = slash == nullptr ? "." : self.dli_fname;
  char path[4096];
  const int written =
      snprintf(path, sizeof path, "%.*s/local_images.pack", directory_bytes, directory);
  if (written < 0 || static_cast<size_t>(written) >= sizeof path) return;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  const off_t size = lseek(file, 0, SEEK_END);
  if (size > 0 && size < (off_t{256} << 20)) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, static_cast<size_t>(size)) == 0) {
      auto* bytes = static_cast<uint8_t*>(memory);
      size_t got = 0;
      while (got < static_cast<size_t>(size)) {
        const ssize_t step =
            pread(file, bytes + got, static_cast<size_t>(size) - got, static_cast<off_t>(got));
        if (step <= 0) break;
        got += static_cast<size_t>(step);
      }
      add_pack(bytes, got, true);
    }
  }
  close(file);
}

}  // namespace

const ssm_image* images(int* count) {
  if (!table_ready.load(std::memory_order_acquire)) {
    LockGuard guard(table_lock);
    if (!table_ready.load(std::memory_order_acquire)) {
      add_pack(ssm_embedded_pack, static_cast<size_t>(ssm_embedded_pack_end - ssm_embedded_pack),
               false);
      add_local_pack();
      table_ready.store(true, std::memory_order_release);
    }
  }
  *count = table_size;
  return table;
}

ssm_image load_image(int index) {
  LockGuard guard(table_lock);
  ssm_image& entry = table[index];
  if (entry.data == nullptr) {
    void* memory = nullptr;
    // 64: as the driver wants an ELF image to be aligned. Kept for the life of the process.
    if (posix_memalign(&memory, 64, static_cast<size_t>(entry.size_bytes)) == 0) {
      auto* image = static_cast<uint8_t*>(memory);
      bool ok = unpack_image(headers[index], stored_images[index], image);
      // PTX is handed to the driver as text.
      if (entry.kind == SSM_PTX && image[entry.size_bytes - 1] != 0) ok = false;
      if (ok) {
        entry.data = image;
      } else {
        free(memory);
      }
    }
  }
  return entry;
}

}  // namespace ssm

int32_t ssm_image_count(void) {
  int count = 0;
  ssm::images(&count);
  return count;
}

ssm_status ssm_image_info(int32_t index, ssm_image* image) {
  int count = 0;
  ssm::images(&count);
  if (index < 0 || index >= count) {
    return ssm::fail(SSM_INVALID_ARGUMENT, "index: %d, expected 0 to %d", index, count - 1);
  }
  *image = ssm::load_image(index);
  if (image->data != nullptr) return SSM_OK;
  return ssm::fail(SSM_NO_IMAGE, "image %d of %s: damaged, or no memory for %llu bytes", index,
                   image->unit, static_cast<unsigned long long>(image->size_bytes));
}

ssm_status ssm_choose_image(const char* unit, int32_t sm, int32_t driver_version, int32_t* index,
                            char* reason, size_t reason_bytes) {
  int count = 0;
  const ssm_image* images = ssm::images(&count);
  const ssm_status status =
      ssm::choose_image(images, count, unit, sm, driver_version, getenv("SSM_KERNELS_IMAGE"), index,
                        reason, reason_bytes);
  return status == SSM_OK ? SSM_OK : ssm::fail(status, "%s", reason);
}
