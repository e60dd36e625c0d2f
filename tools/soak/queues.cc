#include <optional>

#include "grove/sync/broadcast.h"
#include "grove/sync/channel.h"
#include "grove/sync/event.h"
#include "grove/sync/queue.h"
#include "grove/sync/select.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

// Put or Send, Get or Receive: queues and channels have their own words.
template <typename Q>
absl::Status Put(Q& q, Token token, Deadline deadline) {
  if constexpr (requires { q.Put(std::move(token), deadline); }) {
    return q.Put(std::move(token), deadline);
  } else {
    return q.Send(std::move(token), deadline);
  }
}
template <typename Q>
absl::StatusOr<Token> Get(Q& q, Deadline deadline) {
  if constexpr (requires { q.Get(deadline); }) {
    return q.Get(deadline);
  } else {
    return q.Receive(deadline);
  }
}
template <typename Q>
std::optional<Token> TryGet(Q& q) {
  if constexpr (requires { q.TryGet(); }) {
    return q.TryGet();
  } else {
    return q.TryReceive();
  }
}
template <typename Q>
void Close(Q& q) {
  if constexpr (requires { q.Shutdown(); }) {
    q.Shutdown();
  } else {
    q.Close();
  }
}

template <typename Q>
void Conservation(Scene& s) {
  std::atomic<int64_t> tokens = 0;
  {
    int64_t put = 0;
    int64_t got = 0;
    Q queue(1 + s.lots.Below(3));
    Crowd crowd(s);
    for (int i = s.Workers(); i > 0; --i) {
      crowd.Add([&, rounds = 2 * s.Rounds(), puts = i % 2 == 0] {
        for (int r = 0; r < rounds; ++r) {
          if (puts) {
            const absl::Status status = Put(queue, Token(&tokens), s.SoonOrNever());
            if (status.ok()) ++put;
            if (absl::IsFailedPrecondition(status)) return;
          } else {
            const absl::StatusOr<Token> token = Get(queue, s.SoonOrNever());
            if (token.ok()) ++got;
            if (absl::IsOutOfRange(token.status())) return;
          }
          s.Pause();
        }
      });
    }
    crowd.Stir();
    Close(queue);
    crowd.Join();
    while (TryGet(queue)) ++got;
    s.Check(put == got, "what was put was taken once");
    s.Check(tokens == 0, "nothing is left of what was taken");
  }
  s.Check(tokens == 0, "nothing outlives the queue");
}

void Subscriptions(Scene& s) {
  Broadcast<uint64_t> broadcast(1 + s.lots.Below(4));
  uint64_t next = 0;
  Crowd crowd(s);
  crowd.Add([&, rounds = 4 * s.Rounds()] {
    for (int r = 0; r < rounds; ++r) {
      if (broadcast.Send(next, s.SoonOrNever()).ok()) ++next;
      s.Pause();
    }
  });
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&] {
      s.Pause();
      BroadcastSubscription<uint64_t> subscription(broadcast);
      std::optional<uint64_t> last;
      for (;;) {
        const absl::StatusOr<uint64_t> value = subscription.Receive(s.SoonOrNever());
        if (absl::IsDeadlineExceeded(value.status())) continue;
        if (!value.ok()) return;
        s.Check(!last || *value == *last + 1, "a subscriber gets each value in turn");
        last = *value;
        s.Pause();
      }
    });
  }
  crowd.Stir();
  broadcast.Close();
  crowd.Join();
  s.Check(broadcast.subscribers() == 0, "no subscription is left");
}

void Selecting(Scene& s) {
  std::atomic<int64_t> tokens = 0;
  {
    Channel<Token> channel(s.lots.Below(2));
    Queue<Token> queue(2);
    Event over;
    int64_t put = 0;
    int64_t got = 0;
    Crowd crowd(s);
    for (int i = s.Workers(); i > 0; --i) {
      crowd.Add([&, puts = i % 2 == 0] {
        for (;;) {
          WaitCase<Event> end(over);
          if (puts) {
            SendCase<Channel<Token>> to_channel(channel, Token(&tokens));
            SendCase<Queue<Token>> to_queue(queue, Token(&tokens));
            const int which = Select({to_channel, to_queue, end}, s.SoonOrNever());
            if (which == 2) return;
            if (which != kSelectTimedOut) ++put;
          } else {
            ReceiveCase<Channel<Token>> from_channel(channel);
            ReceiveCase<Queue<Token>> from_queue(queue);
            const int which = Select({from_channel, from_queue, end}, s.SoonOrNever());
            if (which == 2) return;
            if (which != kSelectTimedOut) ++got;
          }
          s.Pause();
        }
      });
    }
    crowd.Stir();
    over.Set();
    crowd.Join();
    while (channel.TryReceive()) ++got;
    while (queue.TryGet()) ++got;
    s.Check(put == got, "what was put was taken once");
  }
  s.Check(tokens == 0, "nothing is left");
}

}  // namespace

std::vector<Scenario> QueueScenarios() {
  return {{"queue", &Conservation<Queue<Token>>},
          {"lifo_queue", &Conservation<LifoQueue<Token>>},
          {"priority_queue", &Conservation<PriorityQueue<Token>>},
          {"channel", &Conservation<Channel<Token>>},
          {"broadcast", &Subscriptions},
          {"select", &Selecting}};
}

}  // namespace grove::soak
