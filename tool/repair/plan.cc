#include "repair/plan.h"

namespace ssmend {

const char* action_kind_name(Action::Kind kind) {
  switch (kind) {
    case Action::Kind::kPatch:
      return "patch";
    case Action::Kind::kInstall:
      return "install";
    case Action::Kind::kMoveAside:
      return "move aside";
    case Action::Kind::kShim:
      return "shim";
  }
  return "unknown";
}

}  // namespace ssmend
