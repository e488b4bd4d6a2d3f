#include "compile/jobs.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

namespace ssm {
namespace {

constexpr size_t kMostProcesses = 4;

struct CloseFile {
  void operator()(FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, CloseFile>;

bool write_text(FILE* file, const std::string& text) {
  const uint64_t size = text.size();
  return std::fwrite(&size, sizeof size, 1, file) == 1 &&
         std::fwrite(text.data(), 1, text.size(), file) == text.size();
}

bool read_text(FILE* file, std::string* text) {
  uint64_t size = 0;
  constexpr uint64_t kMostBytes = uint64_t{1} << 30;
  if (std::fread(&size, sizeof size, 1, file) != 1 || size > kMostBytes) return false;
  text->resize(size);
  return std::fread(text->data(), 1, size, file) == size;
}

// A child that runs a job and leaves the result in `file`, which has no name.
pid_t start(const std::function<JobResult(size_t)>& job, size_t index, FILE* file) {
  const pid_t child = fork();
  if (child != 0) return child;
  const JobResult result = job(index);
  const bool written = write_text(file, result.output) && write_text(file, result.log) &&
                       write_text(file, result.error) && std::fflush(file) == 0;
  _exit(written ? 0 : 1);
}

JobResult finished(int status, FILE* file) {
  JobResult result;
  if (WIFSIGNALED(status)) {
    result.error =
        std::string("the compiling process ended by signal: ") + strsignal(WTERMSIG(status));
    return result;
  }
  std::rewind(file);
  if (WEXITSTATUS(status) != 0 || !read_text(file, &result.output) ||
      !read_text(file, &result.log) || !read_text(file, &result.error)) {
    result = JobResult{"", "", "the compiling process could not write its result"};
  }
  return result;
}

}  // namespace

std::vector<JobResult> run_jobs(size_t count, const std::function<JobResult(size_t)>& job) {
  std::vector<JobResult> results(count);
  const size_t processors = std::max(1u, std::thread::hardware_concurrency());
  const size_t most = std::min({processors, kMostProcesses, count});
  if (most <= 1) {
    for (size_t i = 0; i < count; ++i) results[i] = job(i);
    return results;
  }
  struct Running {
    pid_t child;
    size_t index;
    File file;
  };
  std::vector<Running> running;
  size_t next = 0;
  while (next < count || !running.empty()) {
    if (next < count && running.size() < most) {
      File file(std::tmpfile());
      const pid_t child = file == nullptr ? -1 : start(job, next, file.get());
      if (child < 0) {
        results[next] = job(next);  // no file or no process: here, then
      } else {
        running.push_back(Running{child, next, std::move(file)});
      }
      ++next;
      continue;
    }
    int status = 0;
    pid_t ended = -1;
    do {
      ended = waitpid(running.front().child, &status, 0);
    } while (ended < 0 && errno == EINTR);
    // In their order: the first started is seldom the last to end.
    Running& first = running.front();
    if (ended < 0) {
      results[first.index].error = std::string("waitpid: ") + strerror(errno);
    } else {
      results[first.index] = finished(status, first.file.get());
    }
    running.erase(running.begin());
  }
  return results;
}

}  // namespace ssm
