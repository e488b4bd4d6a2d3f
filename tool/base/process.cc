#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/text.h"

extern char** environ;

namespace ssmend {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  std::array<int, 2> ends = {-1, -1};
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  bool open() { return ::pipe2(ends.data(), O_CLOEXEC) == 0; }
  void close_end(int end) {
    if (ends[end] >= 0) ::close(ends[end]);
    ends[end] = -1;
  }
};

std::vector<std::string> child_environment(const ProcessRequest& request) {
  std::vector<std::string> kept;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    bool dropped = false;
    for (const std::string& unset : request.unset_environment) dropped |= name == unset;
    for (const std::string& extra : request.extra_environment) {
      dropped |= name == std::string_view(extra).substr(0, extra.find('='));
    }
    if (!dropped) kept.emplace_back(text);
  }
  kept.insert(kept.end(), request.extra_environment.begin(), request.extra_environment.end());
  return kept;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

// Hands each complete line of `text` from `reported` on to the caller.
void report_lines(const ProcessRequest& request, const std::string& text, size_t& reported) {
  if (!request.on_line) return;
  for (size_t end; (end = text.find('\n', reported)) != std::string::npos; reported = end + 1) {
    request.on_line(std::string_view(text).substr(reported, end - reported));
  }
}

class SystemProcess : public Process {
 public:
  Result<ProcessResult> run(const ProcessRequest& request) override;
};

struct Streams {
  Pipe in;
  Pipe out;
  Pipe err;
};

Result<pid_t> start(const ProcessRequest& request, Streams& streams) {
  std::vector<std::string> arguments = request.argv;
  std::vector<std::string> environment = child_environment(request);
  std::vector<char*> argv = pointers(arguments);
  std::vector<char*> envp = pointers(environment);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, streams.in.ends[0], 0);
  posix_spawn_file_actions_adddup2(&actions, streams.out.ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, streams.err.ends[1], 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A group of its own, so that a timeout ends its children with it.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t child = 0;
  const int status =
      ::posix_spawn(&child, argv[0], &actions, &attributes, argv.data(), envp.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (status != 0) {
    return Error(printable(request.argv[0]) + ": cannot be started: " + std::strerror(status),
                 status);
  }
  return child;
}

// Moves what a stream has into `text`; false at its end.
bool drain(int descriptor, std::string& text, uint64_t limit) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  if (got == 0) return false;
  if (text.size() < limit) text.append(buffer.data(), static_cast<size_t>(got));
  return true;
}

Result<ProcessResult> SystemProcess::run(const ProcessRequest& request) {
  if (request.argv.empty()) return Error("process: empty argument vector");
  Streams streams;
  if (!streams.in.open() || !streams.out.open() || !streams.err.open()) {
    return Error(std::string("pipe: ") + std::strerror(errno), errno);
  }
  ::signal(SIGPIPE, SIG_IGN);  // a child that does not read its input must not end us
  const Clock::time_point begin = Clock::now();
  const Result<pid_t> child = start(request, streams);
  if (!child.ok()) return child.error();
  streams.in.close_end(0);
  streams.out.close_end(1);
  streams.err.close_end(1);
  ::fcntl(streams.in.ends[1], F_SETFL, O_NONBLOCK);

  ProcessResult result;
  size_t written = 0;
  size_t reported = 0;
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  if (request.standard_input.empty()) streams.in.close_end(1);
  while (streams.out.ends[0] >= 0 || streams.err.ends[0] >= 0) {
    const double left = request.timeout_seconds - elapsed();
    if (left <= 0) {
      result.timed_out = true;
      ::kill(-*child, SIGKILL);
      break;
    }
    std::array<pollfd, 3> watched = {pollfd{streams.out.ends[0], POLLIN, 0},
                                     pollfd{streams.err.ends[0], POLLIN, 0},
                                     pollfd{streams.in.ends[1], POLLOUT, 0}};
    ::poll(watched.data(), watched.size(), static_cast<int>(left * 1000) + 1);
    if (watched[2].revents != 0) {
      const ssize_t put = ::write(streams.in.ends[1], request.standard_input.data() + written,
                                  request.standard_input.size() - written);
      if (put > 0) written += static_cast<size_t>(put);
      const bool broken = put < 0 && errno != EAGAIN && errno != EINTR;
      if (broken || written == request.standard_input.size()) streams.in.close_end(1);
    }
    if (watched[0].revents != 0 &&
        !drain(streams.out.ends[0], result.standard_output, request.output_limit_bytes)) {
      streams.out.close_end(0);
    }
    if (watched[1].revents != 0 &&
        !drain(streams.err.ends[0], result.standard_error, request.output_limit_bytes)) {
      streams.err.close_end(0);
    }
    report_lines(request, result.standard_output, reported);
  }
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  result.seconds = elapsed();
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

}  // namespace

std::unique_ptr<Process> open_system_process() { return std::make_unique<SystemProcess>(); }

}  // namespace ssmend
