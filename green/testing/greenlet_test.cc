#include "grove/green/testing/greenlet_test.h"

#include <errno.h>
#include <stdio.h>

#include <exception>
#include <string>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/interrupt.h"
#include "grove/green/testing/internal/leaks.h"
#include "grove/green/testing/internal/time_limit.h"
#include "grove/hub/config.h"

namespace grove {
namespace {

using testing_internal::OpenDescriptors;
using testing_internal::StacksInUse;

// How long greenlets that are killed may take, on the hub's clock.
constexpr absl::Duration kGrace = absl::Seconds(10);

std::string CurrentTest() {
  const ::testing::TestInfo* info =
      ::testing::UnitTest::GetInstance()->current_test_info();
  return info ? absl::StrCat(info->test_suite_name(), ".", info->name()) : "no test";
}

// How many failures the current test has had: more than whether it had any.
int Failures() {
  const ::testing::TestInfo* info =
      ::testing::UnitTest::GetInstance()->current_test_info();
  int failures = 0;
  for (int i = 0; info && i < info->result()->total_part_count(); ++i) {
    failures += info->result()->GetTestPartResult(i).failed();
  }
  return failures;
}

constinit Setting<std::optional<uint64_t>> test_seed(
    "test_seed", "GROVE_TEST_SEED", "",
    "The seed of the hubs that tests run on: each test runs with that one alone.");

constinit Setting<std::optional<uint64_t>> test_seeds(
    "test_seeds", "GROVE_TEST_SEEDS", "",
    "With how many seeds, from 1 on, each test runs.");

const bool declared = Config::Declare({&test_seed, &test_seeds});

// Which seeds a body is to run with, first to last.
struct Seeds {
  uint64_t first = 1;
  uint64_t last = 0;
};

// None: once, without a seed.
std::optional<Seeds> SeedsInEnvironment() {
  if (const auto seed = test_seed.Get()) return Seeds{*seed, *seed};
  if (const auto count = test_seeds.Get()) return Seeds{1, *count};
  return std::nullopt;
}

// Until the first that fails, whose failures say so.
void RunSeeds(Seeds seeds, SpawnSite site, absl::FunctionRef<void(uint64_t)> run) {
  const std::string replay =
      absl::StrCat(program_invocation_short_name, " --gtest_filter=", CurrentTest());
  const int failures = Failures();
  for (uint64_t seed = seeds.first; seed <= seeds.last; ++seed) {
    {
      const ::testing::ScopedTrace trace(
          site.file, site.line,
          absl::StrCat("with seed ", seed, "; to replay it: GROVE_TEST_SEED=", seed, " ",
                       replay));
      run(seed);
    }
    if (Failures() > failures) {
      // Once more, for failures on threads that know of no trace.
      fprintf(stderr, "grove: %s failed with seed %llu\n", CurrentTest().c_str(),
              static_cast<unsigned long long>(seed));
      break;
    }
    if (seed == seeds.last || ::testing::Test::IsSkipped()) break;  // seed may be 2^64-1
  }
}

void CheckStacks(size_t before, SpawnSite site) {
  const size_t now = StacksInUse();
  if (now <= before) return;
  ADD_FAILURE_AT(site.file, site.line) << now - before
                                       << " stack(s) left in use: those of greenlets "
                                          "that have ended, to which handles are "
                                          "kept somewhere";
}

// One hub, on which the parts of a test run.
class HubRun {
 public:
  HubRun(const GreenletTestOptions& options, ManualClock* own_clock,
         std::optional<uint64_t> seed, SpawnSite site)
      : options_(options),
        site_(site),
        name_(seed ? absl::StrCat(CurrentTest(), " with seed ", *seed) : CurrentTest()),
        scope_({.name = name_,
                .clock = options.clock ? options.clock : own_clock,
                .slice = options.slice,
                .operations_per_turn = options.operations_per_turn,
                .loop_exit = options.loop_exit,
                .seed = seed}),
        watchers_(scope_.hub().loop().active_watchers()),
        limit_(options.time_limit, name_) {}

  // Runs `fn` in a greenlet to its end. False if it did not return.
  bool Run(const char* part, absl::FunctionRef<void()> fn) {
    bool returned = false;
    const auto guarded = [&] {
      try {
        fn();
        returned = true;
      } catch (const GreenletExit&) {
        throw;
      } catch (...) {
        ADD_FAILURE_AT(site_.file, site_.line)
            << part << " threw "
            << green_internal::DescribeException(std::current_exception());
      }
    };
    const Greenlet<> g =
        Spawn({.name = part, .stack_size = options_.stack_size}, guarded, site_);
    std::string deadlock;
    try {
      g.Join();
    } catch (const LoopExit& e) {
      deadlock = e.ToString();
    }
    if (!deadlock.empty()) {
      ADD_FAILURE_AT(site_.file, site_.line)
          << "a deadlock in " << part << ". (If another thread was to wake it: hold a "
          << "KeepAlive.) " << deadlock;
      deadlocked_ = true;
      g.Kill({.deadline = kGrace});
    } else if (g.killed()) {
      ADD_FAILURE_AT(site_.file, site_.line) << part << " was killed";
    }
    return returned;
  }

  // What is left is a failure, and is ended.
  void Finish() {
    testing_internal::Settle();
    const std::string greenlets = testing_internal::LiveGreenletLines();
    // Those of a deadlock have been named.
    if (!greenlets.empty() && !deadlocked_) {
      ADD_FAILURE_AT(site_.file, site_.line) << "greenlets left, which are killed:\n"
                                             << greenlets;
    }
    Shutdown(kGrace);
    testing_internal::Settle();
    const std::string left = testing_internal::LeftOnHub(watchers_);
    if (!left.empty()) {
      ADD_FAILURE_AT(site_.file, site_.line) << "left on the hub:\n" << left;
    }
  }

 private:
  const GreenletTestOptions& options_;
  const SpawnSite site_;
  const std::string name_;
  HubScope scope_;
  const int watchers_;
  const testing_internal::TimeLimit limit_;
  bool deadlocked_ = false;
};

void CheckDescriptors(const OpenDescriptors& before, SpawnSite site) {
  const std::string left = before.NewOnes();
  if (!left.empty()) {
    ADD_FAILURE_AT(site.file, site.line) << "descriptors left open:\n" << left;
  }
}

// Whether an object made now is one for a single seed.
bool within_a_test = false;

}  // namespace

GreenletTest::GreenletTest() {
  if (within_a_test) return;
  within_a_test = true;
  descriptors_ = std::make_unique<OpenDescriptors>();
  stacks_ = StacksInUse();
}

GreenletTest::~GreenletTest() {
  if (descriptors_ == nullptr) return;
  within_a_test = false;
  CheckStacks(stacks_, site_);
  if (check_descriptors_) CheckDescriptors(*descriptors_, site_);
}

void GreenletTest::TestBody() {
  site_ = Site();
  const std::optional<Seeds> seeds = SeedsInEnvironment();
  if (!seeds) {
    RunOnce(std::nullopt);
    return;
  }
  check_descriptors_ = Options().check_descriptors;
  RunSeeds(*seeds, site_, [this](uint64_t seed) {
    const size_t stacks = StacksInUse();
    MakeAnother()->RunOnce(seed);
    CheckStacks(stacks, site_);
  });
}

void GreenletTest::RunOnce(std::optional<uint64_t> seed) {
  const GreenletTestOptions options = Options();
  check_descriptors_ = options.check_descriptors;
  HubRun run(options, &clock_, seed, Site());
  start_ = ThisHub().Now();
  const bool set_up = run.Run("SetUp()", [this] { SetUpInGreenlet(); });
  if (set_up && !HasFatalFailure() && !IsSkipped()) {
    run.Run("the body", [this] { BodyInGreenlet(); });
  }
  run.Run("TearDown()", [this] { TearDownInGreenlet(); });
  run.Finish();
}

void ForEachSeed(uint64_t count, absl::FunctionRef<void()> body,
                 const GreenletTestOptions& options, SpawnSite site) {
  const OpenDescriptors descriptors;
  RunSeeds(SeedsInEnvironment().value_or(Seeds{1, count}), site, [&](uint64_t seed) {
    const size_t stacks = StacksInUse();
    {
      ManualClock clock;
      HubRun run(options, &clock, seed, site);
      run.Run("the body", body);
      run.Finish();
    }
    CheckStacks(stacks, site);
  });
  if (options.check_descriptors) CheckDescriptors(descriptors, site);
}

}  // namespace grove
