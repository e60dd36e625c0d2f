// The soak: ./tools/bazel run --config=opt //tools/soak -- --seconds=120
// --greenlets=100000

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <random>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/time/time.h"
#include "grove/green/dump.h"
#include "tools/soak/soak.h"

ABSL_FLAG(int, seconds, 120, "how long");
ABSL_FLAG(int, greenlets, 100'000, "about how many are alive at once");
ABSL_FLAG(uint64_t, seed, 0, "what is done, and who is killed; 0 draws one");
ABSL_FLAG(std::string, only, "", "only scenarios whose name contains this");

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Uses all of grove at once, kills greenlets at random, and looks for what is lost, "
      "hangs or is left.");
  absl::ParseCommandLine(argc, argv);
  grove::soak::Options options;
  options.seed = absl::GetFlag(FLAGS_seed);
  while (options.seed == 0) options.seed = std::random_device()();
  options.greenlets = absl::GetFlag(FLAGS_greenlets);
  options.time = absl::Seconds(absl::GetFlag(FLAGS_seconds));
  options.only = absl::GetFlag(FLAGS_only);
  options.progress = true;
  printf("soak: seed %llu\n", static_cast<unsigned long long>(options.seed));
  fflush(stdout);
  grove::DumpOnSignal(SIGQUIT, STDERR_FILENO);  // should one hang: who waits for what

  const grove::soak::Summary summary = grove::soak::Run(options);
  for (const std::string& broken : summary.broken) printf("BROKEN %s\n", broken.c_str());
  for (const std::string& held : summary.held) printf("soak: %s\n", held.c_str());
  for (const std::string& leak : summary.leaks) printf("LEAK %s\n", leak.c_str());
  printf("soak: %s\nsoak: seed %llu %s\n", summary.ToString().c_str(),
         static_cast<unsigned long long>(options.seed),
         summary.ok() ? "ended well" : "FAILED");
  return summary.ok() ? 0 : 1;
}
