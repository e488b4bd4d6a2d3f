// Result<T>: a value, or the Error that says why ssmend could not do its own work.
//
// What is wrong with the user's machine is a Finding (diagnose/finding.h), never an Error. An error
// text is lower case, has no full stop, names its subject first, then the value found and the value
// expected: "libx.so: section 12 ends at 0x5f0, file has 0x400 bytes".
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ssmend {

struct Error {
  std::string message;
  std::vector<std::string> causes;  // from the nearest to the root cause
  int system_errno = 0;             // errno of the failed system call, 0 where there was none

  Error() = default;
  explicit Error(std::string text, int errno_value = 0)
      : message(std::move(text)), system_errno(errno_value) {}

  // The same failure seen one level up: `context` becomes the message, the old message a cause.
  [[nodiscard]] Error with_context(std::string context) && {
    causes.insert(causes.begin(), std::move(message));
    message = std::move(context);
    return std::move(*this);
  }
};

// "message\n  caused by: ...\n  caused by: ...", without a final newline.
std::string format_error(const Error& error);

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }

  T& value() & {
    assert(ok());
    return *value_;
  }
  const T& value() const& {
    assert(ok());
    return *value_;
  }
  T&& value() && {
    assert(ok());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T value_or(T fallback) && { return ok() ? std::move(*value_) : std::move(fallback); }

  const Error& error() const& {
    assert(!ok());
    return error_;
  }
  Error&& error() && {
    assert(!ok());
    return std::move(error_);
  }

 private:
  std::optional<T> value_;
  Error error_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }

  const Error& error() const& {
    assert(!ok());
    return *error_;
  }
  Error&& error() && {
    assert(!ok());
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

}  // namespace ssmend
