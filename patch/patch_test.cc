#include "grove/patch/patch.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <link.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/patch/report.h"

// Patches are for good, so the cases of this file build on one another: each of them runs
// in a process of its own when GoogleTest is given its name, and finds out what it needs.
namespace grove::patch {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const PatchReport::Function* Find(const PatchReport& report, const std::string& name) {
  for (const auto& f : report.functions) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

using SleepFunction = int(unsigned);
using PollFunction = int (*)(pollfd*, nfds_t, int);

int FakeFChOwn(int fd, uid_t owner, gid_t group) {
  return fd == -77 ? 77 : GetOriginal<int(int, uid_t, gid_t)>("fchown")(fd, owner, group);
}

// --- before anything is patched ---

TEST(ImportPatched, PatchesThatLibraryAlone) {
  ASSERT_FALSE(IsModulePatched(Module::kTime));
  const auto handle = ImportPatched("./patch/testing/library_lazy.so");
  ASSERT_TRUE(handle.ok()) << handle.status();
  EXPECT_TRUE(IsObjectPatched("library_lazy.so", "usleep"));
  EXPECT_FALSE(IsModulePatched(Module::kTime));
  const auto start = Clock::ReadMonotonic();
  ManualClock clock;
  {
    HubScope hub({.clock = &clock});
    auto* library_sleep =
        reinterpret_cast<SleepFunction*>(dlsym(*handle, "LibrarySleep"));
    const MonotonicNanos before = clock.Now();
    EXPECT_EQ(library_sleep(900'000'000), 0);
    EXPECT_GE(clock.Now() - before, 900'000'000'000) << "slept on the hub's clock";
  }
  EXPECT_LT(Clock::ReadMonotonic() - start, 900'000'000'000);
}

TEST(ImportPatched, SaysWhyALibraryCannotBeLoaded) {
  const auto handle = ImportPatched("./no_such_library.so");
  EXPECT_EQ(handle.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(handle.status().message()), HasSubstr("no_such_library.so"));
}

TEST(PatchEvents, ASubscriberMayVetoAllOrOneModule) {
  {
    const Subscription veto = Subscribe([](PatchEvent& e) {
      if (e.kind() == PatchEvent::Kind::kWillPatchAll) e.DoNotPatch();
    });
    EXPECT_EQ(PatchAll(), PatchResult::kVetoed);
  }
  {
    const Subscription veto = Subscribe([](PatchEvent& e) {
      if (e.kind() == PatchEvent::Kind::kWillPatchModule) e.DoNotPatch();
    });
    EXPECT_EQ(PatchTime(), PatchResult::kVetoed);
  }
  EXPECT_FALSE(IsModulePatched(Module::kTime));
}

TEST(PatchEvents, ComeInOrder) {
  std::vector<std::string> told;
  const Subscription subscription = Subscribe([&](PatchEvent& e) {
    switch (e.kind()) {
      case PatchEvent::Kind::kWillPatchAll:
        told.push_back("will");
        break;
      case PatchEvent::Kind::kWillPatchModule:
        told.push_back("will " + std::string(e.name()));
        break;
      case PatchEvent::Kind::kDidPatchModule:
        told.push_back("did " + std::string(e.name()));
        break;
      case PatchEvent::Kind::kDidPatchAll:
        told.push_back("did");
        break;
    }
  });
  EXPECT_EQ(
      PatchAll(
          {.os = false, .thread = false, .socket = false, .dns = false, .select = false}),
      PatchResult::kPatched);
  EXPECT_THAT(told, ElementsAre("will", "will time", "did time", "will subprocess",
                                "did subprocess", "will signal", "did signal",
                                "will stdio", "did stdio", "did"));
}

TEST(PatchEvents, ASubscriberMayAddPatchesOfItsOwn) {
  const Replacement table[] = {{"fchown", reinterpret_cast<void*>(&FakeFChOwn)}};
  {
    // What was vetoed is as if it had never been asked for.
    const Subscription veto = Subscribe([](PatchEvent& e) {
      if (e.kind() == PatchEvent::Kind::kWillPatchModule) e.DoNotPatch();
    });
    EXPECT_EQ(PatchModule("owners", table), PatchResult::kVetoed);
    EXPECT_EQ(fchown(-77, 0, 0), -1);
  }
  const Subscription adds = Subscribe([&](PatchEvent& e) {
    if (e.kind() == PatchEvent::Kind::kDidPatchModule && e.name() == "os") {
      EXPECT_EQ(PatchModule("owners", table), PatchResult::kPatched);
    }
  });
  EXPECT_EQ(PatchOs(), PatchResult::kPatched);
  EXPECT_EQ(fchown(-77, 0, 0), 77);
  EXPECT_EQ(PatchModule("owners", table), PatchResult::kNothingNew);
}

// A copy of a library is another one for the dynamic linker.
std::string CopyOfLibrary(const std::string& name, const std::string& copy) {
  const std::string path = testing::TempDir() + copy;
  std::filesystem::copy_file("patch/testing/" + name, path,
                             std::filesystem::copy_options::overwrite_existing);
  return path;
}

TEST(PatchTooLate, WhatALibraryHasCalledIsReported) {
  const std::string path = CopyOfLibrary("library_lazy.so", "library_early.so");
  void* const library = dlopen(path.c_str(), RTLD_LAZY);
  ASSERT_NE(library, nullptr) << dlerror();
  EXPECT_EQ(reinterpret_cast<int (*)()>(dlsym(library, "LibraryLock"))(), 0);
  std::promise<void> patched;
  std::thread early([&] { patched.get_future().wait(); });
  EXPECT_EQ(PatchThread(), PatchResult::kPatched);
  patched.set_value();
  early.join();
  EXPECT_THAT(Report().warnings,
              Contains(AllOf(HasSubstr("the process has "), HasSubstr(" threads already"),
                             HasSubstr("Patch first, in main()."))));
  EXPECT_TRUE(IsObjectPatched("library_early.so", "pthread_mutex_lock"));
  EXPECT_THAT(Report().warnings,
              Contains(HasSubstr("library_early.so has called pthread_mutex_lock before "
                                 "that was patched")));
}

TEST(PatchExclude, WhatIsExcludedIsLeftAlone) {
  PatchAll({.exclude = {"library_left", "library_later.so"}});
  for (const char* name : {"library_left.so.1", "library_later.so"}) {
    ASSERT_NE(dlopen(CopyOfLibrary("library_now.so", name).c_str(), RTLD_NOW), nullptr);
  }
  EXPECT_FALSE(IsObjectPatched("library_left.so.1"));
  EXPECT_FALSE(IsObjectPatched("library_later.so"));
  EXPECT_TRUE(IsObjectPatched("patch_test"));
  int excluded = 0;
  for (const auto& object : Report().objects) {
    if (object.path.find("library_l") == std::string::npos || !object.excluded) continue;
    ++excluded;
    EXPECT_EQ(object.slots, 0u);
  }
  EXPECT_EQ(excluded, 2);
}

// --- after ---

class Patched : public GreenletTest {
 public:
  static void SetUpTestSuite() { PatchAll(); }
};

GREENLET_TEST_F(Patched, TheSecondTimeThereIsNothingNew) {
  std::vector<std::string> told;
  const Subscription subscription =
      Subscribe([&](PatchEvent&) { told.push_back("told"); });
  EXPECT_EQ(PatchAll(), PatchResult::kNothingNew);
  EXPECT_EQ(PatchSocket(), PatchResult::kNothingNew);
  EXPECT_THAT(told, ElementsAre());
  for (const auto& one : {&PatchOs, &PatchThread, &PatchTime, &PatchDns, &PatchSelect,
                          &PatchSubprocess, &PatchSignal, &PatchStdio}) {
    EXPECT_EQ(one(), PatchResult::kNothingNew);
  }
  for (const Module m :
       {Module::kOs, Module::kThread, Module::kTime, Module::kSocket, Module::kDns,
        Module::kSelect, Module::kSubprocess, Module::kSignal, Module::kStdio}) {
    EXPECT_TRUE(IsModulePatched(m)) << NameOf(m);
  }
}

GREENLET_TEST_F(Patched, LibrariesThatAreLoadedLaterArePatched) {
  // With lazy binding, with a table of slots that is read-only, and without a PLT.
  for (const char* name : {"library_lazy.so", "library_now.so", "library_no_plt.so"}) {
    // And again: it comes to lie where it lay.
    for (int times = 0; times < 2; ++times) {
      void* handle = dlopen((std::string("./patch/testing/") + name).c_str(), RTLD_NOW);
      ASSERT_NE(handle, nullptr) << dlerror();
      EXPECT_TRUE(IsObjectPatched(name, "usleep")) << name;
      EXPECT_TRUE(IsObjectPatched(name, "poll")) << name << ", by its address";
      const absl::Duration before = Elapsed();
      EXPECT_EQ(
          reinterpret_cast<SleepFunction*>(dlsym(handle, "LibrarySleep"))(3'000'000), 0);
      EXPECT_GE(Elapsed() - before, absl::Seconds(3)) << name << ", time " << times;
      (*static_cast<PollFunction*>(dlsym(handle, "library_poll")))(nullptr, 0, 2000);
      EXPECT_GE(Elapsed() - before, absl::Seconds(5)) << name << ", time " << times;
      ASSERT_EQ(dlclose(handle), 0);
      ASSERT_EQ(dlopen(name, RTLD_NOW | RTLD_NOLOAD), nullptr) << "it is unloaded";
    }
  }
}

// While one thread looks for what is new, others are in the middle of loading it.
GREENLET_TEST_F(Patched, LibrariesThatAreLoadedByManyThreadsAtOnce) {
  constexpr int kThreads = 4, kLibraries = 10;
  std::vector<std::string> paths;
  for (int i = 0; i < kThreads * kLibraries; ++i) {
    paths.push_back(CopyOfLibrary(i % 2 ? "library_lazy.so" : "library_no_plt.so",
                                  "library_" + std::to_string(i) + ".so"));
  }
  std::vector<std::thread> threads;
  {
    const Unpatched unpatched;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = t; i < kThreads * kLibraries; i += kThreads) {
          void* const library = dlopen(paths[i].c_str(), RTLD_LAZY);
          ASSERT_NE(library, nullptr) << dlerror();
          EXPECT_EQ(reinterpret_cast<int (*)()>(dlsym(library, "LibraryLock"))(), 0);
        }
      });
    }
    for (std::thread& t : threads) t.join();
  }
  for (const std::string& path : paths) {
    EXPECT_TRUE(IsObjectPatched(path, "usleep")) << path;
  }
}

// The pages of the process's memory from `from` on, up to `to`: are they writable?
std::vector<bool> AreWritable(uintptr_t from, uintptr_t to) {
  std::vector<bool> writable;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    char rights[5] = {};
    if (sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, rights) != 3) continue;
    // A sanitizer's mappings are terabytes.
    begin = std::max<unsigned long>(begin, from);
    end = std::min<unsigned long>(end, to);
    for (; begin < end; begin += 4096) writable.push_back(rights[1] == 'w');
  }
  return writable;
}

GREENLET_TEST_F(Patched, WhatTheLinkerMadeReadOnlyIsSoAgain) {
  void* const library = dlopen("./patch/testing/library_now.so", RTLD_NOW);
  ASSERT_NE(library, nullptr) << dlerror();
  ASSERT_TRUE(IsObjectPatched("library_now.so", "usleep"));
  const auto find = [](dl_phdr_info* info, size_t, void* found) {
    if (std::string(info->dlpi_name).find("library_now.so") == std::string::npos)
      return 0;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      const ElfW(Phdr)& segment = info->dlpi_phdr[i];
      if (segment.p_type != PT_GNU_RELRO) continue;
      const uintptr_t at = info->dlpi_addr + segment.p_vaddr;
      *static_cast<std::vector<bool>*>(found) =
          AreWritable(at & ~uintptr_t{4095}, (at + segment.p_memsz) & ~uintptr_t{4095});
    }
    return 1;
  };
  std::vector<bool> writable;
  dl_iterate_phdr(find, &writable);
  EXPECT_THAT(writable, AllOf(Not(IsEmpty()), Each(false)));
  EXPECT_EQ(dlclose(library), 0);
}

GREENLET_TEST_F(Patched, TheOriginalIsToBeHad) {
  auto* real_getpid = GetOriginal<int()>("getpid");  // one that nobody patches
  EXPECT_EQ(real_getpid(), getpid());
  auto* real_usleep = GetOriginal<int(unsigned)>("usleep");
  const absl::Duration before = Elapsed();
  EXPECT_EQ(real_usleep(1), 0);
  EXPECT_EQ(Elapsed(), before) << "the hub's clock has not moved";
  EXPECT_EQ(GetOriginal("no_such_function"), nullptr);
}

GREENLET_TEST_F(Patched, InsideOfUnpatchedTheOriginalsAreCalled) {
  const absl::Duration before = Elapsed();
  {
    const Unpatched unpatched;
    usleep(1);
    Spawn([&] { usleep(1000); }).Join();  // another greenlet's are not
    EXPECT_GE(Elapsed() - before, absl::Milliseconds(1));
  }
  usleep(1000);
  EXPECT_GE(Elapsed() - before, absl::Milliseconds(2));
}

GREENLET_TEST_F(Patched, AThreadWithoutAHubCallsTheOriginals) {
  const auto usleep_of = [](const PatchReport& report) {
    return *Find(report, "usleep");
  };
  const PatchReport::Function before = usleep_of(Report());
  {
    const Unpatched unpatched;  // else it would be a greenlet
    std::thread([] { usleep(1); }).join();
    usleep(1);
  }
  const PatchReport report = Report();
  EXPECT_EQ(usleep_of(report).calls, before.calls);
  EXPECT_EQ(usleep_of(report).passed, before.passed + 2);
  EXPECT_THAT(report.ToString(), HasSubstr(" passed through\n"));
}

GREENLET_TEST_F(Patched, TheReportCountsCallsAndWaits) {
  const PatchReport before = Report();
  usleep(0);
  usleep(10);
  const PatchReport after = Report();
  ASSERT_NE(Find(before, "usleep"), nullptr);
  EXPECT_EQ(Find(after, "usleep")->calls, Find(before, "usleep")->calls + 2);
  EXPECT_EQ(Find(after, "usleep")->waits, Find(before, "usleep")->waits + 1);
  EXPECT_GE(Find(after, "usleep")->slots, 1u);
}

GREENLET_TEST_F(Patched, TheReportNamesWhatIsNotCovered) {
  // This program's own imports, and libc's, which is left alone.
  passwd* (*volatile const imported)(const char*) = &getpwnam;
  ASSERT_NE(imported, nullptr);
  const PatchReport report = Report();
  ASSERT_FALSE(report.objects.empty());
  EXPECT_THAT(report.objects.front().not_covered, Contains("getpwnam"));
  bool saw_libc = false;
  for (const auto& object : report.objects) {
    if (object.path.find("libc.so") == std::string::npos) continue;
    saw_libc = true;
    EXPECT_TRUE(object.excluded);
    EXPECT_EQ(object.slots, 0u);
  }
  EXPECT_TRUE(saw_libc);
  EXPECT_THAT(report.ToString(), HasSubstr("not covered: "));
}

mode_t changed = 0;
int FakeFChMod(int fd, mode_t mode) {
  changed = mode;
  return fd == 77 ? 0 : GetOriginal<int(int, mode_t)>("fchmod")(fd, mode);
}

GREENLET_TEST_F(Patched, AUsersOwnTableIsPatchedToo) {
  const Replacement table[] = {{"fchmod", reinterpret_cast<void*>(&FakeFChMod)},
                               {"usleep", reinterpret_cast<void*>(&FakeFChMod)}};
  EXPECT_EQ(PatchModule("modes", table), PatchResult::kPatched);
  EXPECT_EQ(fchmod(77, 0600), 0);
  EXPECT_EQ(changed, 0600u);
  EXPECT_EQ(fchmod(-1, 0600), -1);
  EXPECT_THAT(
      Report().warnings,
      Contains("module 'modes' has usleep(), for which there is a patch already"));
}

}  // namespace
}  // namespace grove::patch
