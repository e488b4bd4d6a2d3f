// RECORD files of the distributions that a repair changes (PyPA: recording installed packages): the
// rows of changed files get the new hash and size, rows of files that go are dropped; every other
// byte of the file stays.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "environment/environment.h"
#include "repair/plan.h"

namespace ssmend {

// "name,sha256=...,size": one row without its line end; the name quoted where CSV needs it.
std::string record_row(std::string_view name, std::string_view content);

// The first column of a row, unquoted.
std::string record_name(std::string_view row);

// `text` with the rows of `changes` brought up to date. Paths of rows are relative to
// `site_directory`.
std::string updated_record(std::string_view text, const std::string& site_directory,
                           const std::vector<const FileChange*>& changes);

// One change for every RECORD that lists a file which the plan's actions change or move aside. The
// rows of distributions that the plan installs are part of the installation, not of this.
std::vector<FileChange> record_changes(const Disk& disk, const Environment& environment,
                                       const Plan& plan);

// Index of the distribution that lists this file, -1 for none.
int owner_of(const Environment& environment, const std::string& path);

}  // namespace ssmend
