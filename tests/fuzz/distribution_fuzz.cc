// Any bytes as the METADATA, RECORD and direct_url.json of an installed distribution, one after the
// other with a record separator (0x1e) between them. No path may lead out of the environment.
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <string_view>

#include "base/text.h"
#include "environment/distribution.h"
#include "environment/record.h"

namespace {

const std::string kPrefix = "/opt/venv";
const std::string kSite = kPrefix + "/lib/python3.12/site-packages";

std::string make_folder() {
  const char* memory = "/dev/shm";
  struct stat state {};
  std::string folder =
      std::string(::stat(memory, &state) == 0 ? memory : "/tmp") + "/ssmend-fuzz-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) std::abort();
  // As deep as a real site directory, so that "../" has somewhere to climb to.
  for (const char* part : {"/lib", "/python3.12", "/site-packages", "/p-1.0.dist-info"}) {
    folder += part;
    if (::mkdir(folder.c_str(), 0700) != 0) std::abort();
  }
  return folder;
}

std::string_view next_part(std::string_view* rest) {
  const size_t end = rest->find('\x1e');
  const std::string_view part = rest->substr(0, end);
  *rest = end == std::string_view::npos ? std::string_view() : rest->substr(end + 1);
  return part;
}

void write(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary)
      .write(content.data(), static_cast<std::streamsize>(content.size()));
}

void check_inside(const std::vector<ssmend::RecordEntry>& entries, const std::string& prefix) {
  for (const ssmend::RecordEntry& entry : entries) {
    if (entry.raw.empty() || entry.path.find("/../") != std::string::npos ||
        !ssmend::is_inside(entry.path, prefix)) {
      std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  static const std::unique_ptr<ssmend::Disk> disk = ssmend::open_system_disk();
  static const std::string folder = make_folder();
  static const std::string site = folder.substr(0, folder.rfind('/'));
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const std::string_view metadata = next_part(&rest);
  const std::string_view record = next_part(&rest);
  write(folder + "/METADATA", metadata);
  write(folder + "/RECORD", record);
  write(folder + "/direct_url.json", rest);

  check_inside(ssmend::parse_record(record, kSite, kPrefix).entries, kPrefix);
  std::vector<ssmend::Distribution> found;
  ssmend::add_distributions(*disk, site, &found);
  const std::string prefix = site.substr(0, site.rfind("/lib/"));
  for (const ssmend::Distribution& distribution : found) check_inside(distribution.files, prefix);
  return 0;
}
