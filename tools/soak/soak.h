#ifndef GROVE_TOOLS_SOAK_SOAK_H_
#define GROVE_TOOLS_SOAK_SOAK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

// The soak: thousands of greenlets use everything at once, some of them are killed at
// random, and in the end nothing is lost, nothing hangs and nothing is left.
namespace grove::soak {

// Options
struct Options {
  // Decides what is done and who is killed. The order in which things happen depends on
  // time as well, so the same number gives the same work, not the same run.
  uint64_t seed = 1;
  // About how many are alive at once.
  int greenlets = 2000;
  // It ends when so many scenarios have begun, or after so long.
  uint64_t scenarios = UINT64_MAX;
  absl::Duration time = absl::InfiniteDuration();
  // Only scenarios whose name contains this.
  std::string only = "";
  // Says on stderr every ten seconds how far it is.
  bool progress = false;
};

// Summary
struct Summary {
  uint64_t scenarios = 0;
  uint64_t greenlets = 0;
  uint64_t kills = 0;
  uint64_t peak = 0;  // greenlets alive at once
  uint64_t broken_promises = 0;
  // The first few that did not hold: "mutex with seed 17: two hold it".
  std::vector<std::string> broken;
  // What there was before and after, and of that what is left: threads, stacks,
  // descriptors, memory.
  std::vector<std::string> held;
  std::vector<std::string> leaks;

  bool ok() const { return broken.empty() && leaks.empty(); }
  std::string ToString() const;
};

// Run()
//
// On a thread without a hub. Blocks the thread until the end.
Summary Run(const Options& options);

}  // namespace grove::soak

#endif  // GROVE_TOOLS_SOAK_SOAK_H_
