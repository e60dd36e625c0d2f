#include <mutex>

#include "grove/green/call.h"
#include "grove/sync/async_result.h"
#include "grove/sync/event.h"
#include "grove/sync/hub_channel.h"
#include "grove/sync/mutex.h"
#include "grove/sync/queue.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

// What runs on the other hub draws no lots from the scene: those are the first hub's.
class FarPause {
 public:
  explicit FarPause(Scene& s) : lots_(s.lots.Next()) {}
  void operator()() {
    if (lots_.OneIn(3)) Yield();
    if (lots_.OneIn(6)) Sleep(absl::Microseconds(lots_.Below(1000)));
  }
  bool OneIn(uint64_t n) { return lots_.OneIn(n); }

 private:
  Lots lots_;
};

void Stir(Scene& s, Crowd& crowd, RemoteCrowd& remote) {
  crowd.Stir();
  if (s.kills()) {
    for (uint64_t i = s.lots.Below(4); i > 0; --i) remote.KillOne();
  }
}

void ChannelBetweenHubs(Scene& s) {
  std::atomic<int64_t> tokens = 0;
  {
    HubChannel<Token> there(1 + s.lots.Below(3));
    HubChannel<Token> back(1 + s.lots.Below(3));
    int64_t sent = 0;
    int64_t got = 0;
    std::atomic<int64_t> far_got = 0;
    std::atomic<int64_t> far_sent = 0;
    Crowd crowd(s);
    RemoteCrowd remote(s);
    for (int i = 0; i < 2; ++i) {
      remote.Add([&, pause = FarPause(s)]() mutable {
        for (;;) {
          absl::StatusOr<Token> token = there.Receive();
          if (!token.ok()) return;
          ++far_got;
          pause();
          if (back.Send(*std::move(token)).ok()) ++far_sent;
        }
      });
    }
    for (int i = s.Workers(); i > 0; --i) {
      crowd.Add([&, rounds = s.Rounds(), sends = i % 2 == 0] {
        for (int r = 0; r < rounds; ++r) {
          if (sends) {
            if (there.Send(Token(&tokens), s.SoonOrNever()).ok()) ++sent;
          } else if (back.Receive(s.SoonOrNever()).ok()) {
            ++got;
          }
          s.Pause();
        }
      });
    }
    Stir(s, crowd, remote);
    there.Close();
    back.Close();
    crowd.Join();
    remote.Join();
    int64_t left = 0;
    while (there.TryReceive()) ++left;
    s.Check(sent == far_got + left, "what was sent was received over there, or is left");
    while (back.TryReceive()) ++got;
    s.Check(got == far_sent, "what came back was received once");
  }
  s.Check(tokens == 0, "nothing is left");
}

void MutexOfTwoHubs(Scene& s) {
  Mutex mutex;
  std::atomic<int> inside = 0;
  Crowd crowd(s);
  RemoteCrowd remote(s);
  for (int i = 0; i < 4; ++i) {
    remote.Add([&, rounds = s.Rounds(), pause = FarPause(s)]() mutable {
      for (int r = 0; r < rounds; ++r) {
        const std::lock_guard hold(mutex);
        const Inside in(s, inside, 1, "two hold it");
        pause();
      }
    });
    crowd.Add([&, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        const std::lock_guard hold(mutex);
        const Inside in(s, inside, 1, "two hold it");
        s.Pause();
      }
    });
  }
  Stir(s, crowd, remote);
  crowd.Join();
  remote.Join();
  s.Check(!mutex.locked(), "nobody holds it in the end");
}

void QueueOfTwoHubs(Scene& s) {
  std::atomic<int64_t> tokens = 0;
  {
    Queue<Token> queue(2);
    std::atomic<int64_t> put = 0;
    std::atomic<int64_t> got = 0;
    const auto put_one = [&](Deadline deadline) {
      if (queue.Put(Token(&tokens), deadline).ok()) ++put;
    };
    const auto get_one = [&](Deadline deadline) {
      if (queue.Get(deadline).ok()) ++got;
    };
    Crowd crowd(s);
    RemoteCrowd remote(s);
    for (int i = 0; i < 4; ++i) {
      remote.Add([&, i, rounds = s.Rounds(), pause = FarPause(s)]() mutable {
        for (int r = 0; r < rounds; ++r) {
          const Deadline deadline =
              pause.OneIn(2) ? Deadline(absl::Milliseconds(1)) : Deadline();
          i % 2 ? put_one(deadline) : get_one(deadline);
          pause();
        }
      });
      crowd.Add([&, i, rounds = s.Rounds()] {
        for (int r = 0; r < rounds; ++r) {
          i % 2 ? put_one(s.SoonOrNever()) : get_one(s.SoonOrNever());
          s.Pause();
        }
      });
    }
    Stir(s, crowd, remote);
    queue.Shutdown();
    crowd.Join();
    remote.Join();
    while (queue.TryGet()) ++got;
    s.Check(put == got, "what was put was taken once");
  }
  s.Check(tokens == 0, "nothing is left");
}

void ResultFromElsewhere(Scene& s) {
  AsyncResult<int> result;
  Event begun;
  Crowd crowd(s);
  RemoteCrowd remote(s);
  remote.Add([&, pause = FarPause(s)]() mutable {
    begun.Wait();
    pause();
    result.Set(7);
  });
  for (int i = 0; i < 3; ++i) {
    crowd.Add([&] {
      begun.Set();
      const absl::StatusOr<int> got = result.Get();
      s.Check(got.ok() && *got == 7, "all get what was set over there");
    });
  }
  crowd.Stir();
  begun.Set();
  remote.Join();
  crowd.Join();
}

void CallsToTheOtherHub(Scene& s) {
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, i, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        const uint64_t nap = s.lots.Below(1000);
        const Deadline deadline = s.SoonOrNever();
        const int asked = i * 100 + r;
        int seen = 0;  // there, where this greenlet waits for it to end
        const absl::StatusOr<int> got = Call(
            s.world().other,
            [&] {
              Sleep(absl::Microseconds(nap));
              seen = asked;
              return asked;
            },
            deadline);
        s.Check(got.ok() ? *got == asked && seen == asked
                         : !deadline.infinite() && absl::IsDeadlineExceeded(got.status()),
                "a call returns what was returned there, or ends at its deadline");
        s.Pause();
      }
    });
  }
  crowd.Stir();
  crowd.Join();
}

void SpawnedOverThere(Scene& s) {
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, i, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        const int asked = i * 100 + r;
        ++s.world().summary.greenlets;
        // It may outlive the scene, if this greenlet is killed.
        const absl::StatusOr<Greenlet<int>> there = SpawnOn(
            s.world().other, [asked, nap = absl::Microseconds(s.lots.Below(1000))] {
              Sleep(nap);
              return asked;
            });
        s.Check(there.ok(), "a hub that runs takes greenlets");
        if (!there.ok()) return;
        const bool killed = s.kills() && s.lots.OneIn(4);
        if (killed) there->KillSoon();
        const Deadline deadline = s.SoonOrNever();
        const absl::StatusOr<int> got = there->Get(deadline);
        s.Check(got.ok() ? *got == asked : killed || !deadline.infinite(),
                "what it returned there is had here");
        s.Pause();
      }
    });
  }
  crowd.Stir();
  crowd.Join();
}

}  // namespace

std::vector<Scenario> HubScenarios() {
  return {
      {"hub_channel", &ChannelBetweenHubs}, {"hubs_mutex", &MutexOfTwoHubs},
      {"hubs_queue", &QueueOfTwoHubs},      {"hubs_async_result", &ResultFromElsewhere},
      {"hubs_call", &CallsToTheOtherHub},   {"hubs_spawn", &SpawnedOverThere}};
}

}  // namespace grove::soak
