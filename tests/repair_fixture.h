// A small environment with everything that a repair must keep, a plan that uses every kind of
// change on it, and a picture of a tree that is compared as a whole.
#pragma once

#include <map>
#include <string>

#include "base/disk.h"
#include "repair/transaction.h"

namespace ssmend {

// Path below `directory` -> kind, mode, owner, time, links, attributes and content hash.
// `with_base_time`: also the time of the topmost directory.
std::map<std::string, std::string> picture_of(const std::string& directory,
                                              bool with_base_time = true);
// What differs, one line a path; empty where the pictures are equal.
std::string difference(const std::map<std::string, std::string>& left,
                       const std::map<std::string, std::string>& right);

void write_file(const std::string& path, const std::string& content);
std::string read_file(const std::string& path);
std::string temporary_directory();  // new, below the build's own folder
std::string memory_directory();     // new, in memory where there is /dev/shm

// DIR/venv and DIR/cache (whose file is a hard-linked twin of one in the environment).
void make_small_environment(const std::string& directory);
RepairScope small_scope(const std::string& directory);
Plan small_plan(const std::string& directory);
// The tree after a repair, without ssmend's journal, from the content alone.
bool is_repaired(const std::string& directory);

}  // namespace ssmend
