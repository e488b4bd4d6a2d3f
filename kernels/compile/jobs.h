// Pieces of one piece of work in processes of their own, because NVRTC compiles one program at a
// time in a process whatever the number of threads.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace ssm {

struct JobResult {
  std::string output;
  std::string log;
  std::string error;  // empty where the job was done
};

// Runs job(0) to job(count - 1), as many at a time as there are processors, up to four (each needs
// some 200 MB). Results come back in their order. A job runs in a copy of this process: what it
// changes in memory is lost. Not to be called from a program with several threads.
std::vector<JobResult> run_jobs(size_t count, const std::function<JobResult(size_t)>& job);

}  // namespace ssm
