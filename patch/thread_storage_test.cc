// thread_local variables of a program that has grove linked in and patches itself: each
// of its threads has its own, and grove's are the hub's under all of them.

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <locale.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/blocking.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/hub/hub.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {
namespace {

class ThreadStorageTest : public PatchedTest {};
using ThreadStorageDeathTest = ThreadStorageTest;

int made = 0, destroyed = 0;

struct Counted {
  Counted() { ++made; }
  ~Counted() {
    ++destroyed;
    EXPECT_EQ(text, std::string(100, 'x'));
  }
  std::string text = std::string(100, 'x');
};

thread_local Counted counted;
thread_local int number = 41;
thread_local char zeros[3000];
__thread const int* address;

GREENLET_TEST_F(ThreadStorageTest, TheReportKnowsOfNothingShared) {
  for (const std::string& warning : Report().warnings) {
    EXPECT_EQ(warning.find("thread_local"), std::string::npos) << warning;
  }
}

GREENLET_TEST_F(ThreadStorageTest, EachThreadHasItsOwnWhileOthersRun) {
  number = -1;
  std::vector<std::thread> all;
  for (int n = 0; n < 100; ++n) {
    all.emplace_back([n] {
      EXPECT_EQ(number, 41);
      EXPECT_EQ(zeros[2999], 0);
      EXPECT_EQ(address, nullptr);
      number = n;
      zeros[2999] = static_cast<char>(n);
      address = &number;
      for (int round = 0; round < 3; ++round) {
        errno = n;
        usleep(1000);
        EXPECT_EQ(errno, n);
        EXPECT_EQ(number, n);
        EXPECT_EQ(zeros[2999], static_cast<char>(n));
        EXPECT_EQ(address, &number);
      }
    });
  }
  for (std::thread& t : all) t.join();
  EXPECT_EQ(number, -1);
  number = 41;
}

// glibc asks all threads but the one that calls, and there is one more: the pool's.
GREENLET_TEST_F(ThreadStorageTest, WhoTheProcessIsIsChangedForAllThreads) {
  std::thread([] {
    number = 1;  // has its own
    addrinfo* found = nullptr;
    if (getaddrinfo("127.0.0.1", nullptr, nullptr, &found) == 0) freeaddrinfo(found);
    EXPECT_EQ(setgid(getgid()), 0);
    EXPECT_EQ(setresuid(getuid(), getuid(), getuid()), 0);
  }).join();
}

GREENLET_TEST_F(ThreadStorageTest, WhatHasADestructorIsDestroyedWithItsThread) {
  made = destroyed = 0;
  std::vector<std::thread> all;
  for (int n = 0; n < 10; ++n) {
    all.emplace_back([n] {
      if (n % 2 == 0) counted.text[0] = 'x';
      usleep(1000);
    });
  }
  for (std::thread& t : all) t.join();
  EXPECT_EQ(made, 5);
  EXPECT_EQ(destroyed, 5);
}

GREENLET_TEST_F(ThreadStorageTest, AnExceptionIsInFlightWhileOthersRun) {
  std::vector<std::thread> all;
  for (int n = 0; n < 20; ++n) {
    all.emplace_back([n] {
      try {
        try {
          throw std::runtime_error(std::to_string(n));
        } catch (const std::exception& e) {
          usleep(1000);
          EXPECT_EQ(e.what(), std::to_string(n));
          throw;
        }
      } catch (const std::runtime_error& e) {
        usleep(1000);
        EXPECT_EQ(e.what(), std::to_string(n));
      }
      EXPECT_EQ(std::uncaught_exceptions(), 0);
    });
  }
  for (std::thread& t : all) t.join();
}

GREENLET_TEST_F(ThreadStorageTest, ALocaleIsTheThreadsOwn) {
  const locale_t utf8 = newlocale(LC_ALL_MASK, "C.UTF-8", nullptr);
  ASSERT_NE(utf8, nullptr);
  const locale_t before = uselocale(utf8);
  std::thread([utf8] {
    EXPECT_EQ(uselocale(nullptr), LC_GLOBAL_LOCALE) << "as any new thread";
    EXPECT_TRUE(isalpha('a'));
    EXPECT_EQ(toupper('a'), 'A');
    EXPECT_EQ(MB_CUR_MAX, 1u);
    uselocale(utf8);
    EXPECT_EQ(MB_CUR_MAX, 6u);
    std::thread([] { EXPECT_EQ(MB_CUR_MAX, 1u); }).join();
    usleep(1000);
    EXPECT_EQ(uselocale(nullptr), utf8);
  }).join();
  EXPECT_EQ(uselocale(before), utf8);
  freelocale(utf8);
}

// libc makes these texts anew each time, and frees the thread's last one.
GREENLET_TEST_F(ThreadStorageTest, LibcsTextsAreTheThreadsOwn) {
  const std::string mine = "Unknown error 4242";
  const char* const text = strerror(4242);
  EXPECT_EQ(text, mine);
  std::thread([] {
    EXPECT_EQ(strerror(4243), std::string("Unknown error 4243"));
    EXPECT_EQ(strerror(4244), std::string("Unknown error 4244"));
  }).join();
  EXPECT_EQ(text, mine);
  EXPECT_EQ(strerror(4242), mine);

  EXPECT_EQ(dlopen("/no/such/library", RTLD_NOW), nullptr);
  std::thread([] { EXPECT_EQ(dlerror(), nullptr); }).join();
  EXPECT_NE(dlerror(), nullptr);
}

GREENLET_TEST_F(ThreadStorageTest, FreeMemoryIsKeptForTheWholeHub) {
  constexpr int kPieces = 7;  // of a size, libc's cache of a thread keeps no more
  constexpr size_t kSize = 919;
  std::vector<void*> freed(kPieces), again(kPieces);
  std::thread([&freed] {
    for (void*& p : freed) p = malloc(kSize);
    for (void* p : freed) free(p);
  }).join();
  for (void*& p : again) p = malloc(kSize);
  int same = 0;
  for (void* p : again) same += std::count(freed.begin(), freed.end(), p);
  // What ends with the thread may be of that size, too.
  EXPECT_GE(same, kPieces - 2);
  std::thread([&again] {
    for (void* p : again) free(p);
  }).join();
}

// As an object that is not patched uses them, an allocator for one.
GREENLET_TEST_F(ThreadStorageTest, LibcsOwnKeysAreEachThreadsToo) {
  static auto* const set =
      GetOriginal<int(pthread_key_t, const void*)>("pthread_setspecific");
  static auto* const get = GetOriginal<void*(pthread_key_t)>("pthread_getspecific");
  static std::vector<int> ended;
  std::vector<pthread_key_t> keys(100);
  for (pthread_key_t& key : keys) {
    ASSERT_EQ(GetOriginal<int(pthread_key_t*, void (*)(void*))>("pthread_key_create")(
                  &key, [](void* value) { ended.push_back(*static_cast<int*>(value)); }),
              0);
  }
  int main = 0, first = 1, second = 2;
  set(keys[0], &main);
  set(keys[99], &main);  // in a table that libc allocates
  for (int* n : {&first, &second}) {
    std::thread([&keys, n] {
      for (const pthread_key_t key : {keys[0], keys[99]}) {
        EXPECT_EQ(get(key), nullptr);
        set(key, n);
        usleep(1000);
        EXPECT_EQ(get(key), n);
      }
    }).join();
  }
  EXPECT_EQ(ended, std::vector<int>({1, 1, 2, 2}));
  EXPECT_EQ(get(keys[0]), &main);
  EXPECT_EQ(get(keys[99]), &main);
  for (const pthread_key_t key : keys) {
    GetOriginal<int(pthread_key_t)>("pthread_key_delete")(key);
  }
}

GREENLET_TEST_F(ThreadStorageTest, VariablesOfALibraryThatIsLoadedLater) {
  void* const library = dlopen("./patch/testing/library_now.so", RTLD_NOW);
  ASSERT_NE(library, nullptr) << dlerror();
  auto* const count =
      reinterpret_cast<int (*)()>(dlsym(library, "LibraryCountInThisThread"));
  ASSERT_NE(count, nullptr);
  EXPECT_EQ(count(), 1);
  std::thread([count] {
    EXPECT_EQ(count(), 1);
    usleep(1000);
    EXPECT_EQ(count(), 2);
  }).join();
  EXPECT_EQ(count(), 2);
  dlclose(library);
}

int seen_by_handler = 0;

GREENLET_TEST_F(ThreadStorageTest, AHandlerHasThoseOfWhomItInterrupts) {
  struct sigaction action {};
  action.sa_handler = [](int) { seen_by_handler = number; };
  struct sigaction before;
  sigaction(SIGUSR1, &action, &before);
  std::thread([] {
    number = 7;
    raise(SIGUSR1);
  }).join();
  EXPECT_EQ(seen_by_handler, 7);
  raise(SIGUSR1);
  EXPECT_EQ(seen_by_handler, 41);
  sigaction(SIGUSR1, &before, nullptr);
}

GREENLET_TEST_F(ThreadStorageTest, AForkedChildHasThoseOfWhoForked) {
  std::thread([] {
    number = 7;
    const pid_t child = fork();
    if (child == 0) {
      usleep(10);
      int of_new = 0;
      std::thread([&of_new] { of_new = number; }).join();
      _exit(number == 7 && of_new == 41 ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(number, 7);
  }).join();
}

// --- grove's own ---

GREENLET_TEST_F(ThreadStorageTest, TheHubIsTheSame) {
  Hub* const hub = Hub::Current();
  std::thread([hub] {
    EXPECT_EQ(Hub::Current(), hub);
    // By the clock of the test, on which an hour is nothing.
    EXPECT_FALSE(WithTimeout(absl::Hours(1), [] { Sleep(absl::Hours(2)); }).ok());
    int n = 0;
    Spawn([&n] {
      EXPECT_EQ(number, 41) << "a greenlet that is no thread has the hub's";
      Sleep(absl::Hours(1));
      n = 1;
    }).Join();
    EXPECT_EQ(n, 1);
  }).join();
}

// Who waits for a descriptor is found by who closes it.
GREENLET_TEST_F(ThreadStorageTest, DescriptorsAreWatchedForAllThreads) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  ssize_t got = 0;
  int error = 0;
  std::thread reader([&] {
    char c;
    got = read(pipe_ends[0], &c, 1);
    error = errno;
  });
  std::thread closer([&] {
    usleep(1000);
    close(pipe_ends[0]);
  });
  reader.join();
  closer.join();
  EXPECT_EQ(got, -1);
  EXPECT_EQ(error, EBADF);
  close(pipe_ends[1]);
}

GREENLET_TEST_F(ThreadStorageTest, ARecursiveMutexKnowsItsThread) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_t mutex;
  pthread_mutex_init(&mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
  pthread_mutex_lock(&mutex);
  std::thread([&mutex] {
    EXPECT_EQ(pthread_mutex_trylock(&mutex), EBUSY);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), EPERM);
  }).join();
  EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
  pthread_mutex_unlock(&mutex);
  pthread_mutex_unlock(&mutex);
  pthread_mutex_destroy(&mutex);
}

// The kernel tells the next owner, and knows it from a list of the thread.
GREENLET_TEST_F(ThreadStorageTest, ARobustMutexOutlivesItsProcess) {
  auto* const mutex = static_cast<pthread_mutex_t*>(
      mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE,
           MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(mutex, MAP_FAILED);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
  const pid_t child = fork();
  if (child == 0) {
    std::thread([mutex] { _exit(pthread_mutex_lock(mutex)); }).join();
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  std::thread([mutex] {
    EXPECT_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
    EXPECT_EQ(pthread_mutex_consistent(mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(mutex), 0);
  }).join();
  EXPECT_EQ(pthread_mutex_lock(mutex), 0);
  pthread_mutex_unlock(mutex);
  munmap(mutex, sizeof *mutex);
}

// What grove throws does not meet an exception that is on its way.
GREENLET_TEST_F(ThreadStorageTest, NothingIsThrownWhileAThreadUnwinds) {
  struct WaitsAtItsEnd {
    ~WaitsAtItsEnd() { Sleep(absl::Seconds(1)); }
  };
  bool unwound = false;
  pthread_t self = 0;
  std::thread thread([&] {
    try {
      WaitsAtItsEnd w;
      self = pthread_self();
      throw std::runtime_error("on its way");
    } catch (const std::runtime_error&) {
      unwound = true;
    }
  });
  Yield();
  pthread_cancel(self);  // is a kill to grove
  thread.join();
  EXPECT_TRUE(unwound);
}

// --- other hubs and threads ---

GREENLET_TEST_F(ThreadStorageTest, OnThreadsOfAPool) {
  std::thread([] {
    number = 7;
    EXPECT_EQ(*Blocking([] { return number; }), 41);
    EXPECT_EQ(number, 7);
  }).join();
}

GREENLET_TEST_F(ThreadStorageDeathTest, ExitInAThreadDestroysThoseOfThatThread) {
  EXPECT_EXIT(
      {
        PatchAll();
        std::thread([] {
          struct Tells {
            int n = 0;
            ~Tells() { fprintf(stderr, "destroyed %d\n", n); }
          };
          thread_local Tells tells;
          tells.n = 5;
          exit(3);
        }).join();
      },
      testing::ExitedWithCode(3), "^destroyed 5\n$");
}

TEST(ThreadStorageHubsTest, EachHubHasItsThreads) {
  PatchAll();
  std::vector<std::vector<int>> seen(2);
  HubGroup group({.hubs = 2}, [&seen](int index) {
    const auto hub = static_cast<size_t>(index);
    number = index * 100;
    std::vector<std::thread> all;
    for (int n = 1; n <= 20; ++n) {
      all.emplace_back([&, n] {
        number += n;
        for (int round = 0; round < 3; ++round) std::this_thread::yield();
        seen[hub].push_back(number - 41);
      });
    }
    for (std::thread& t : all) t.join();
    seen[hub].push_back(number);
  });
  group.Join();
  for (size_t hub = 0; hub < 2; ++hub) {
    ASSERT_EQ(seen[hub].size(), 21u);
    for (int n = 1; n <= 20; ++n) EXPECT_EQ(seen[hub][static_cast<size_t>(n) - 1], n);
    EXPECT_EQ(seen[hub][20], static_cast<int>(hub) * 100);
  }
}

}  // namespace
}  // namespace grove::patch
