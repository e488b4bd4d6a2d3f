// A JSON document against a JSON Schema: the part of draft 2020-12 that the schemas of this
// repository use (type, enum, const, pattern, minLength, required, properties, propertyNames,
// additionalProperties, items, minItems, minimum, anyOf, $ref to $defs of the same file). A keyword
// that is not known is itself a problem, so that no schema promises more than is checked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ssmend {

// Everything that is wrong, as "edits[2].where: unknown key `iss`"; empty: the document is valid.
std::vector<std::string> check_json(std::string_view schema, std::string_view document);

}  // namespace ssmend
