#include <memory>

#include "grove/sync/async_result.h"
#include "grove/sync/event.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

void Flag(Scene& s) {
  Event event;
  bool over = false;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        switch (s.lots.Below(4)) {
          case 0:
            event.Set();
            break;
          case 1:
            if (!over) event.Clear();
            break;
          default:
            (void)event.Wait(absl::Microseconds(s.lots.Below(3000)));
        }
        s.Pause();
      }
      event.Wait();
    });
  }
  crowd.Stir();
  over = true;
  event.Set();
  crowd.Join();
}

void Turnstile(Scene& s) {
  AutoResetEvent event;
  int64_t sets = 0;
  int64_t passed = 0;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds(), sets_it = i % 2 == 0] {
      for (int r = 0; r < rounds; ++r) {
        if (sets_it) {
          ++sets;
          event.Set();
        } else if (event.Wait(absl::Microseconds(s.lots.Below(3000)))) {
          ++passed;
        }
        s.Pause();
      }
    });
  }
  crowd.Stir();
  crowd.Join();
  s.Check(passed + event.IsSet() <= sets, "each Set() lets one pass at most");
}

void Promise(Scene& s) {
  AsyncResult<uint64_t> result;
  const uint64_t value = s.lots.Next();
  Crowd crowd(s);
  crowd.Add([&] {
    s.Pause();
    s.Pause();
    result.Set(value);
  });
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&] {
      absl::StatusOr<uint64_t> got = result.Get(s.SoonOrNever());
      if (!got.ok()) got = result.Get();
      s.Check(got.ok() && *got == value, "all get what was set");
    });
  }
  crowd.Stir();
  if (!result.ready()) {
    (void)crowd.all().front().Join(absl::Minutes(5));
    if (!result.ready()) result.Set(value);  // it was killed
  }
  crowd.Join();
}

void CountingDown(Scene& s) {
  WaitGroup group;
  struct Done {
    void operator()(WaitGroup* g) const { g->Done(); }
  };
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    group.Add();
    crowd.Add([&s, done = std::unique_ptr<WaitGroup, Done>(&group)] {
      s.Pause();
      s.Pause();
    });
  }
  Latch latch(2);
  Crowd waiters(s);
  for (int i = 0; i < 2; ++i) {
    waiters.Add([&] {
      group.Wait();
      s.Check(group.count() == 0, "none is left when Wait() returns");
      latch.count_down();
    });
  }
  crowd.Stir();
  crowd.Join();
  s.Check(latch.wait(absl::Minutes(5)), "all are counted, killed or not");
  waiters.Join();
}

}  // namespace

std::vector<Scenario> EventScenarios() {
  return {{"event", &Flag},
          {"auto_reset_event", &Turnstile},
          {"async_result", &Promise},
          {"wait_group", &CountingDown}};
}

}  // namespace grove::soak
