// What hubs that are over leave behind in a forked child: greenlets in line, which must
// not run.

#include "grove/green/os/fork.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <thread>

#include "absl/status/statusor.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/os/process_test_util.h"
#include "grove/green/sleep.h"
#include "grove/green/wait.h"
#include "grove/hub/hub.h"
#include "grove/sync/event.h"
#include "grove/sync/select.h"
#include "grove/sync/semaphore.h"

namespace grove {
namespace {

// A greenlet of another thread's hub that waits for an event of that hub.
class WaitsElsewhere {
 public:
  WaitsElsewhere() {
    while (!in_line_) std::this_thread::yield();
  }
  ~WaitsElsewhere() {
    event_->Set();
    thread_.join();
    EXPECT_TRUE(ran_);
  }

  Event& event() { return *event_; }
  bool ran() const { return ran_; }

 private:
  std::optional<Event> event_;  // made over there, whose it is
  std::atomic<bool> in_line_{false};
  std::atomic<bool> ran_{false};
  std::thread thread_{[this] {
    HubScope scope;
    const KeepAlive alive(&scope.hub());
    event_.emplace();
    const Greenlet<> waits = Spawn([this] {
      event_->Wait();
      ran_ = true;
    });
    Yield();
    in_line_ = true;
    waits.Join();
  }};
};

int ExitCodeOf(pid_t pid) {
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -status;
}

class SyncForkTest : public ProcessTest {};

GREENLET_TEST_F(SyncForkTest, AnEventOfAHubThatIsOverWakesNobodyOfThatHub) {
  SKIP_UNDER_TSAN();
  WaitsElsewhere elsewhere;
  const absl::StatusOr<pid_t> child = Fork();
  ASSERT_TRUE(child.ok()) << child.status();
  if (*child == 0) {
    elsewhere.event().Set();
    Idle();  // all that is ready has run
    if (elsewhere.ran()) _exit(1);
    // It is an object of this hub from now on.
    elsewhere.event().Clear();
    const Greenlet<> mine = Spawn([&] { elsewhere.event().Wait(); });
    Yield();
    elsewhere.event().Set();
    mine.Join();
    _exit(0);
  }
  EXPECT_EQ(ExitCodeOf(*child), 0);
}

GREENLET_TEST_F(SyncForkTest, NorDoesItInAChildThatHasNoHub) {
  SKIP_UNDER_TSAN();
  WaitsElsewhere elsewhere;
  std::thread([&] {
    const absl::StatusOr<pid_t> child = Fork();
    ASSERT_TRUE(child.ok()) << child.status();
    if (*child == 0) {
      elsewhere.event().Set();
      _exit(elsewhere.ran() ? 1 : 0);
    }
    EXPECT_EQ(ExitCodeOf(*child), 0);
  }).join();
}

// The wakeup of a hub in a child is an edge of the child's own eventfd.
GREENLET_TEST_F(SyncForkTest, AChildsHubIsWokenFromItsSleep) {
  SKIP_UNDER_TSAN();
  const absl::StatusOr<pid_t> child = Fork();
  ASSERT_TRUE(child.ok()) << child.status();
  if (*child == 0) {
    Event event;
    std::atomic<int> cleared{0};
    const KeepAlive alive(&ThisHub());
    std::thread sender([&, hub = &ThisHub()] {
      for (int i = 0; i < 3; ++i) {
        while (cleared < i || !hub->asleep()) std::this_thread::yield();
        event.Set();
      }
    });
    for (int i = 0; i < 3; ++i) {
      event.Wait();
      event.Clear();
      ++cleared;
    }
    sender.join();
    _exit(0);
  }
  EXPECT_EQ(ExitCodeOf(*child), 0);
}

// Else to destroy what they wait for would be a fatal error.
GREENLET_TEST_F(SyncForkTest, WhoWaitsForSeveralThingsIsInNoLineOfTheChild) {
  SKIP_UNDER_TSAN();
  std::optional<Event> one, other;
  std::optional<Semaphore> semaphore(0);
  one.emplace();
  other.emplace();
  const Greenlet<> waits = Spawn([&] {
    (void)Wait({one->AsWaitable(), other->AsWaitable()});
  });
  const Greenlet<> selects = Spawn([&] {
    WaitCase wait(*one);
    AcquireCase acquire(*semaphore);
    (void)Select({wait, acquire});
  });
  Yield();
  const absl::StatusOr<pid_t> child = Fork();
  ASSERT_TRUE(child.ok()) << child.status();
  if (*child == 0) {
    one.reset();
    other.reset();
    semaphore.reset();
    _exit(0);
  }
  EXPECT_EQ(ExitCodeOf(*child), 0);
  waits.Kill();
  selects.Kill();
}

}  // namespace
}  // namespace grove
