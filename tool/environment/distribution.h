// Installed distributions of one import directory: *.dist-info and *.egg-info with METADATA (or
// PKG-INFO), RECORD, INSTALLER and direct_url.json. All of it is untrusted text with size limits.
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"
#include "environment/environment.h"

namespace ssmend {

// Appends those of `site_directory`, by folder name; one that an earlier directory has already is
// marked as shadowed.
void add_distributions(const Disk& disk, const std::string& site_directory,
                       std::vector<Distribution>* distributions);

}  // namespace ssmend
