// Native files (extension modules and shared libraries) below the import directories, and the
// distribution that owns each.
#pragma once

#include "base/disk.h"
#include "environment/environment.h"

namespace ssmend {

// Fills environment->native_files from the site directories, owners from the RECORD files. Linked
// folders are followed once, a loop of links ends.
void find_native_files(const Disk& disk, Environment* environment);

}  // namespace ssmend
