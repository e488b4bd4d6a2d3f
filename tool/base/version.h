// Versions: PEP 440 for Python distributions, dotted numbers for glibc, CUDA and drivers.
#pragma once

#include <string>
#include <string_view>

namespace ssmend {

// <0, 0, >0. PEP 440 order (epoch, release, pre, post, dev; a local part makes it greater than the
// same version without one). Text that is no PEP 440 version sorts before every one that is.
int compare_pep440(std::string_view left, std::string_view right);

// True where `version` satisfies every comma-separated clause of a PEP 440 specifier such as
// ">=2.0.3,<2.3" or "==1.5.*" or "!=2.1". As in pip, `==2.5` matches "2.5+cu121". An empty
// specifier matches everything. Pre-releases count as versions ("2.5.0a0+nv" satisfies ">=2.4").
bool satisfies_pep440(std::string_view version, std::string_view specifier);
bool is_valid_specifier(std::string_view specifier);

// Dotted numbers compared as numbers, missing parts as 0: "2.9" < "2.31"; "12" == "12.0".
int compare_dotted(std::string_view left, std::string_view right);

// Runs of '-', '_' and '.' become "-", letters lower case (PEP 503): "Mamba_SSM" -> "mamba-ssm".
std::string normalized_distribution_name(std::string_view name);

}  // namespace ssmend
