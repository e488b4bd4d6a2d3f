// The journal of one repair: what every touched path was, and what it is to become. It is written
// and on the disk before the first change, and everything undo needs is in it.
//
// Layout, inside the environment so that a mounted root carries it along:
//   BASE/.ssmend/0001/journal.json   this struct; its presence means "changes may have begun"
//   BASE/.ssmend/0001/old/N          the old file of entry N: a hard link to the very inode where
//                                    that is possible, else a copy with the same metadata
//   BASE/.ssmend/0001/new/N          the new content of entry N until it is renamed into place
//   BASE/.ssmend/0001/committed      all changes are done
//   BASE/.ssmend/0001/undoing        somebody is giving back; whoever comes next finishes that
// BASE is the environment's prefix, or an import directory where there is no prefix of its own.
// Everything large is written (and fsynced) before the tree changes, so that a full disk is found
// out while there is nothing to give back; the changes themselves are renames and unlinks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"

namespace ssmend {

// A file or link as it was, complete enough to compare and to make again.
struct OldFile {
  FileStat::Kind kind = FileStat::Kind::kRegular;
  std::string sha256;       // hex, of the content; of the target's text for a link
  std::string link_target;  // symbolic links only
  uint64_t size_bytes = 0;
  uint64_t hard_links = 1;
  uint32_t mode = 0;
  uint32_t user_id = 0;
  uint32_t group_id = 0;
  int64_t mtime_seconds = 0;
  int64_t mtime_nanoseconds = 0;
  ExtendedAttributes attributes;
};

struct JournalEntry {
  enum class Kind {
    kWrite,          // a file is replaced, or is new where `existed` is false
    kRemove,         // a file goes (stale bytecode)
    kMoveAside,      // a file goes that would shadow what is installed; it waits in the journal
    kMakeDirectory,  // a directory that was not there
  };
  Kind kind = Kind::kWrite;
  std::string path;
  bool existed = false;
  OldFile old;             // where `existed`
  std::string new_sha256;  // kWrite
  // Where this path no longer exists, the entry's file is not given back: bytecode of a source file
  // that a reinstall changed, a module of a package that was uninstalled. Empty: no condition.
  std::string only_with;
  std::string only_with_sha256;  // and only while that path has this content; empty: any
};

// A directory whose entries change; its time is given back when its entries are what they were.
struct TouchedDirectory {
  std::string path;
  int64_t mtime_seconds = 0;
  int64_t mtime_nanoseconds = 0;
  std::string entries_sha256;  // over its entries' names
};

struct JournalAction {  // for `status`: what was done and why
  std::string kind;     // "patch", "install", "move aside", "shim"
  std::string title;
  std::string summary;
  std::vector<std::string> for_findings;
};

struct Journal {
  std::string ssmend_version;
  std::string environment;  // path to print
  std::string recipe;
  std::vector<JournalAction> actions;
  std::vector<JournalEntry> entries;  // in the order in which they are done
  std::vector<TouchedDirectory> directories;
  // Folders of bytecode that were not there: undo removes them when it leaves them empty.
  std::vector<std::string> absent_bytecode_folders;
};

std::string journal_to_json(const Journal& journal);
// `path` names the journal in error texts. A journal is checked before use: a path that is not
// absolute and normal, or an unknown kind, is an error and nothing is touched.
Result<Journal> journal_from_json(std::string_view text, const std::string& path);

const char* journal_kind_name(JournalEntry::Kind kind);

}  // namespace ssmend
