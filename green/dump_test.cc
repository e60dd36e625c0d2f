#include "grove/green/dump.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/descriptor.h"
#include "grove/green/greenlet.h"
#include "grove/green/monitor_test_util.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove {
namespace {

using test_util::HubThread;
using test_util::Stall;
using test_util::ThreadPipe;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

// Limits that no machine is too slow for.
const DumpOptions kPatient = {.limit = absl::Minutes(10),
                              .stack_limit = absl::Minutes(10)};

class DumpTest : public GreenletTest {
 protected:
  // The symbolizer keeps the files of the program open.
  GreenletTestOptions Options() const override { return {.check_descriptors = false}; }
};

[[gnu::noinline]] void WaitsForever() {
  Sleep(absl::InfiniteDuration());
  asm volatile("");
}

GREENLET_TEST_F(DumpTest, GreenletsWithTheSameStackAreListedTogether) {
  std::vector<Greenlet<>> waiting;
  for (int i = 0; i < 37; ++i) waiting.push_back(Spawn([] { WaitsForever(); }));
  Yield();
  const auto ready = Spawn([] {});
  const std::string dump = DumpHub();
  EXPECT_THAT(dump, HasSubstr("\n37 greenlets:\n"));
  EXPECT_THAT(dump, HasSubstr("  and 27 more\n"));
  EXPECT_THAT(dump, ContainsRegex("  @ .*WaitsForever"));
  EXPECT_THAT(dump,
              ContainsRegex("spawned at .*dump_test.cc:[0-9]+: waits for the end of "
                            "a sleep.*, for 0; [0-9]+ of [0-9]+ KiB of stack touched\n"));
  EXPECT_THAT(dump, HasSubstr("has not started; "));
  EXPECT_THAT(dump, HasSubstr(": runs"));
  EXPECT_THAT(dump, HasSubstr("greenlet 'main': waits for "));
  EXPECT_THAT(dump, HasSubstr("\nspawn tree:\n"));
  // Once, with the stack of all.
  EXPECT_EQ(dump.find("WaitsForever"), dump.rfind("WaitsForever"));
  for (const auto& g : waiting) g.Kill();
}

GREENLET_TEST_F(DumpTest, SaysForHowLongEachHasWaitedTheLongestFirst) {
  const auto first = Spawn({.name = "first"}, [] { WaitsForever(); });
  Sleep(absl::Hours(1));
  const auto second = Spawn({.name = "second"}, [] { WaitsForever(); });
  Sleep(absl::Minutes(30));
  const std::string dump = DumpHub();
  EXPECT_THAT(dump, ContainsRegex("'first'.*: waits for .*, for 1h30m"));
  EXPECT_THAT(dump, ContainsRegex("'second'.*: waits for .*, for 30m"));
  EXPECT_LT(dump.find("'first'"), dump.find("'second'"));
  first.Kill();
  second.Kill();
}

[[gnu::noinline]] void UseALot() {
  volatile char room[100 * 1024];
  for (size_t i = 0; i < sizeof room; i += 512) room[i] = 1;
}

GREENLET_TEST_F(DumpTest, SaysHowMuchOfItsStackEachHasTouched) {
  const auto touched = [](const std::string& dump, const std::string& name) {
    const size_t at = dump.find("; ", dump.find("'" + name + "'"));
    return at == dump.npos ? -1 : atoi(dump.c_str() + at + 2);
  };
  const Greenlet<> little = Spawn({.name = "little"}, [] { WaitsForever(); });
  const Greenlet<> much = Spawn({.name = "much"}, [] {
    UseALot();
    WaitsForever();
  });
  Yield();
  const std::string dump = DumpHub();
  EXPECT_GE(touched(dump, "little"), 4) << dump;
  EXPECT_GE(touched(dump, "much"), 100) << dump;
  little.Kill();
  much.Kill();
}

GREENLET_TEST_F(DumpTest, OfManyGreenletsIsShort) {
  constexpr int kMany = 5'000;  // ThreadSanitizer has room for 8,000
  int ended = 0;
  std::vector<Greenlet<>> waiting;
  for (int i = 0; i < kMany; ++i) {
    waiting.push_back(Spawn({.stack_size = 32 * 1024}, [&] {
      WaitsForever();
      ++ended;
    }));
  }
  Yield();
  const std::string dump = DumpHub();
  EXPECT_THAT(dump, HasSubstr("\n5000 greenlets:\n"));
  EXPECT_THAT(dump, HasSubstr("spawn tree: left out, more than 200 greenlets\n"));
  EXPECT_LT(std::count(dump.begin(), dump.end(), '\n'), 200);
  for (const auto& g : waiting) g.KillSoon();
  for (const auto& g : waiting) g.Join();
}

GREENLET_TEST_F(DumpTest, ListsAllOfThemIfToldTo) {
  std::vector<Greenlet<>> waiting;
  for (int i = 0; i < 250; ++i) waiting.push_back(Spawn([] { WaitsForever(); }));
  Yield();
  const std::string dump = DumpHub({.listed = 1000, .largest_tree = 1000});
  const size_t tree = dump.find("\nspawn tree:\n");
  ASSERT_NE(tree, std::string::npos) << "it is not left out";
  for (const auto& g : waiting) {
    const std::string label = absl::StrCat("(#", g.id(), ")");
    EXPECT_LT(dump.find(label), tree) << label;
    EXPECT_NE(dump.find(label, tree), std::string::npos) << label;
  }
  for (const auto& g : waiting) g.Kill();
}

GREENLET_TEST_F(DumpTest, IsWrittenToADescriptor) {
  const std::string path = testing::TempDir() + "dump";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  const auto waits = Spawn({.name = "waits"}, [] { WaitsForever(); });
  Yield();
  DumpAllTo(fd, kPatient);
  close(fd);
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_THAT(text.str(), HasSubstr("\n  greenlet 'waits' (#"));
  waits.Kill();
}

// A diagnosis does not end the program, and comes whole.
GREENLET_TEST_F(DumpTest, WhoReadsItMayBeGoneOrSlow) {
  std::vector<Greenlet<>> waiting;
  for (int i = 0; i < 100; ++i) {
    waiting.push_back(Spawn({.name = absl::StrCat("number ", i, "!")}, &WaitsForever));
  }
  Yield();
  DumpOptions all = kPatient;
  all.listed = 1000;
  ASSERT_GT(DumpAll(all).size(), 4096u);
  for (const bool reads : {false, true}) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    ASSERT_EQ(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    ASSERT_GE(fcntl(ends[1], F_SETPIPE_SZ, 4096), 4096);
    std::string text;
    std::thread reader([&] {
      char buffer[1000];
      for (ssize_t n; reads && (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
        text.append(buffer, static_cast<size_t>(n));
      }
      close(ends[0]);
    });
    if (!reads) reader.join();
    DumpAllTo(ends[1], all);
    close(ends[1]);
    if (reads) {
      reader.join();
      EXPECT_THAT(text, HasSubstr("number 99!"));
    }
  }
  for (const auto& g : waiting) g.Kill();
}

TEST(DumpHub, OfAThreadWithoutAHubIsEmpty) { EXPECT_EQ(DumpHub(), ""); }

// Another hub, on which greenlet 'sleeper' waits, until it is let go.
class OtherHub {
 public:
  OtherHub()
      : thread_([this] {
          home_ = ThisHub().handle();
          const KeepAlive alive(&ThisHub());
          const auto sleeper = Spawn({.name = "sleeper"}, [] { WaitsForever(); });
          sleeper_ = sleeper;
          ThisHub().RunCallback([this] { begun_.Tell(); });
          sleeper.Join();
        }) {
    begun_.Await();
  }
  ~OtherHub() {
    EXPECT_TRUE(home_.Post([this] { std::exchange(sleeper_, {}).KillSoon(); }).ok());
  }
  const HubHandle& home() const { return home_; }

 private:
  ThreadPipe begun_;
  HubHandle home_;
  Greenlet<> sleeper_;
  HubThread thread_;
};

TEST(DumpAll, FromAThreadWithoutAHub) {
  OtherHub other;
  const std::string dump = DumpAll(kPatient);
  EXPECT_THAT(dump, HasSubstr("hub 'other', 1 greenlet beside the main one\n"));
  EXPECT_THAT(dump, ContainsRegex("greenlet 'sleeper'.*: waits for .*, for "));
  EXPECT_THAT(dump, ContainsRegex("  @ .*WaitsForever"));
}

TEST(DumpAll, FromAGreenletAndFromACallback) {
  OtherHub other;
  std::string of_greenlet;
  std::string of_callback;
  {
    HubThread thread(
        [&] {
          of_greenlet = DumpAll(kPatient);
          ThisHub().RunCallback([&] { of_callback = DumpAll(kPatient); });
          Yield();
        },
        {.name = "asks"});
  }
  EXPECT_THAT(of_greenlet, HasSubstr("greenlet 'sleeper'"));
  EXPECT_THAT(of_greenlet, HasSubstr("greenlet 'main': waits for a dump, for "));
  EXPECT_THAT(of_callback, HasSubstr("greenlet 'sleeper'"));
  EXPECT_THAT(of_callback, HasSubstr("greenlet 'main': is ready"));
}

TEST(DumpAll, TwoHubsMayAskAtTheSameTime) {
  std::string dumps[2];
  {
    ThreadPipe there[2];
    const auto ask = [&](int i) {
      there[1 - i].Tell();
      there[i].Await();
      dumps[i] = DumpAll(kPatient);
      there[1 - i].Tell();
      // The other one's hub answers until it has its dump, too.
      EXPECT_EQ(Descriptor(dup(there[i].read_end())).WaitReadable(), WaitResult::kReady);
    };
    HubThread a([&] { ask(0); }, {.name = "a"});
    HubThread b([&] { ask(1); }, {.name = "b"});
  }
  for (const std::string& dump : dumps) {
    EXPECT_THAT(dump, AllOf(HasSubstr("hub 'a', 0"), HasSubstr("hub 'b', 0")));
    EXPECT_THAT(dump, Not(HasSubstr("does not answer")));
  }
}

TEST(DumpAll, AHubThatIsHeldUpIsShownWithTheStackOfWhoDoesIt) {
  OtherHub other;
  Stall stall;
  HubThread blocked(
      [&] { Spawn({.name = "hog"}, [&] { stall.HoldsUpTheThread(); }).Join(); },
      {.name = "blocked"});
  stall.AwaitBegin();
  // It never answers, however long one waits.
  DumpOptions options = kPatient;
  options.limit = absl::Milliseconds(1);
  const std::string dump = DumpAll(options);
  EXPECT_THAT(dump, HasSubstr("hub 'blocked', 1 greenlet beside the main one, does not "
                              "answer\ngreenlet 'hog' (#1) runs:\n"));
  EXPECT_THAT(dump, HasSubstr("HoldsUpTheThread"));
  stall.End();
}

TEST(DumpOnSignal, WritesADumpOfAllHubs) {
  OtherHub other;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  DumpOnSignal(SIGQUIT, ends[1], kPatient);
  for (int times = 0; times < 2; ++times) {
    raise(SIGQUIT);
    std::string dump;
    while (dump.find("spawn tree:") == std::string::npos) {
      char buffer[4096];
      const ssize_t n = read(ends[0], buffer, sizeof buffer);
      ASSERT_GT(n, 0);
      dump.append(buffer, static_cast<size_t>(n));
    }
    EXPECT_THAT(dump, HasSubstr("greenlet 'sleeper'"));
    EXPECT_THAT(dump, HasSubstr("WaitsForever"));
    // The rest of it.
    while (dump.find("\n\n") == std::string::npos) {
      char byte;
      ASSERT_EQ(read(ends[0], &byte, 1), 1);
      dump += byte;
    }
  }
}

}  // namespace
}  // namespace grove
