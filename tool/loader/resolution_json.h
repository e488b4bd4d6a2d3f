// A Resolution as JSON, described by report/schemas/resolve.schema.json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "loader/resolve.h"

namespace ssmend {

constexpr int kResolutionSchemaVersion = 1;

nlohmann::ordered_json resolution_json(const std::string& file, const LoaderContext& context,
                                       const Resolution& resolution);

}  // namespace ssmend
