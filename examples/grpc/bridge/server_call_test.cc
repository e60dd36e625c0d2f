// What the bridge does between threads, with plain threads in gRPC's place, so that
// ThreadSanitizer sees all of it: it does not see into the distribution's gRPC.

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "grove/examples/grpc/bridge/completion.h"
#include "grove/examples/grpc/bridge/server.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/sleep.h"
#include "grove/green/spawn_hook.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/hub/clock.h"
#include "gtest/gtest.h"

namespace grove::bridge {
namespace {

// gRPC's part: OnDone() comes on another thread, when Finish() was called and a thread
// that cancels is through with that.
struct FakeGrpc {
  std::atomic<int> finished{0};
  std::atomic<int> alive{0};
};

class FakeCall final : public ServerCall {
 public:
  FakeCall(FakeGrpc* grpc, const HubHandle& hub, std::function<void(FakeCall&)> handler)
      : ServerCall(&fake_context_, hub), grpc_(grpc), handler_(std::move(handler)) {
    ++grpc_->alive;
  }

  // On a thread of "gRPC's": the call comes in, may be cancelled, and is done.
  static grpc::StatusCode Play(FakeCall* call, bool cancel) {
    const std::shared_ptr<Ended> ended = call->ended_;
    call->Begin();
    if (cancel) call->Cancelled();
    ended->finished.wait(false, std::memory_order_acquire);
    const grpc::StatusCode code = call->code_;
    call->Unref();  // OnDone()
    return code;
  }

  Completion completion{this};

 private:
  struct Ended {
    std::atomic<bool> finished{false};
  };

  ~FakeCall() override { --grpc_->alive; }
  grpc::Status Handle() override {
    handler_(*this);
    return grpc::Status::OK;
  }
  void Finish(grpc::Status status) override {
    code_ = status.error_code();
    ++grpc_->finished;
    // From here on this may be gone.
    const std::shared_ptr<Ended> ended = ended_;
    ended->finished.store(true, std::memory_order_release);
    ended->finished.notify_all();
  }

  grpc::CallbackServerContext fake_context_;
  FakeGrpc* const grpc_;
  const std::function<void(FakeCall&)> handler_;
  const std::shared_ptr<Ended> ended_ = std::make_shared<Ended>();
  grpc::StatusCode code_ = grpc::StatusCode::DO_NOT_USE;
};

constexpr int kThreads = 4;
constexpr int kCalls = 500;  // of each thread

// Returns how often each status came, and says that nothing was left.
std::vector<int> PlayMany(const std::vector<HubHandle>& hubs, bool cancel,
                          const std::function<void(FakeCall&)>& handler) {
  FakeGrpc grpc;
  std::vector<std::atomic<int>> codes(17);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        auto* call = new FakeCall(&grpc, hubs[(t + i) % hubs.size()], handler);
        ++codes[FakeCall::Play(call, cancel && i % 2 == 0)];
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(grpc.finished, kThreads * kCalls);
  // The last one to let go may be a hub.
  while (grpc.alive > 0) std::this_thread::yield();
  return {codes.begin(), codes.end()};
}

std::vector<HubHandle> HubsOf(const HubGroup& group) {
  std::vector<HubHandle> hubs;
  for (int i = 0; i < group.size(); ++i) hubs.push_back(group.handle(i));
  return hubs;
}

TEST(ServerCall, EachEndsOnce) {
  HubGroup group({.hubs = 2, .pin = false});
  const std::vector<int> codes =
      PlayMany(HubsOf(group), false, [](FakeCall&) { Yield(); });
  EXPECT_EQ(codes[grpc::StatusCode::OK], kThreads * kCalls);
  group.Drain();
}

TEST(ServerCall, ACancelMayComeAtAnyMoment) {
  HubGroup group({.hubs = 2, .pin = false});
  const std::vector<int> codes = PlayMany(HubsOf(group), true, [](FakeCall&) {
    for (int i = 0; i < 3; ++i) Yield();
  });
  EXPECT_EQ(codes[grpc::StatusCode::OK] + codes[grpc::StatusCode::CANCELLED],
            kThreads * kCalls);
  EXPECT_GE(codes[grpc::StatusCode::OK], kThreads * kCalls / 2);
  group.Drain();
}

TEST(ServerCall, ACancelEndsWhatWouldWaitForEver) {
  HubGroup group({.hubs = 1, .pin = false});
  FakeGrpc grpc;
  for (int i = 0; i < 200; ++i) {
    auto* call = new FakeCall(&grpc, group.handle(0), [](FakeCall& c) {
      EXPECT_FALSE(c.cancelled());
      for (;;) Sleep(absl::Hours(1));
    });
    EXPECT_EQ(FakeCall::Play(call, true), grpc::StatusCode::CANCELLED);
  }
  group.Drain();
  EXPECT_EQ(grpc.alive, 0);
}

TEST(ServerCall, WithoutAHubItIsUnavailable) {
  HubGroup group({.hubs = 2, .pin = false});
  const std::vector<HubHandle> hubs = HubsOf(group);
  group.Drain();
  const std::vector<int> codes = PlayMany(hubs, true, [](FakeCall&) {});
  EXPECT_EQ(codes[grpc::StatusCode::UNAVAILABLE], kThreads * kCalls);
}

TEST(ServerCall, AHubThatEndsEndsThem) {
  HubGroup group({.hubs = 1, .pin = false});
  FakeGrpc grpc;
  std::atomic<int> began{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      auto* call = new FakeCall(&grpc, group.handle(0), [&](FakeCall&) {
        ++began;
        for (;;) Sleep(absl::Hours(1));
      });
      EXPECT_EQ(FakeCall::Play(call, false), grpc::StatusCode::UNAVAILABLE);
    });
  }
  while (began < kThreads) std::this_thread::yield();
  group.Drain(absl::ZeroDuration());
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(grpc.alive, 0);
}

// Its end comes as soon as the spawn has returned, and OnDone() maybe too.
TEST(ServerCall, ASpawnHookMayKillIt) {
  HubGroup group({.hubs = 1, .pin = false});
  group.Spawn(0, [] { AddSpawnHook([](const AnyGreenlet& g) { g.KillSoon(); }); })
      ->Join();
  const std::vector<int> codes =
      PlayMany(HubsOf(group), true, [](FakeCall&) { ADD_FAILURE() << "it has run"; });
  EXPECT_EQ(codes[grpc::StatusCode::UNAVAILABLE] + codes[grpc::StatusCode::CANCELLED],
            kThreads * kCalls)
      << "or the client's cancel was first";
  group.Drain();
}

// An operation that is done when nobody waits for it any more, and its call is over.
TEST(ServerCall, ACompletionMayComeAfterTheGreenlet) {
  HubGroup group({.hubs = 2, .pin = false});
  const std::vector<int> codes = PlayMany(HubsOf(group), false, [](FakeCall& call) {
    call.completion.Arm();
    std::thread([&call] { call.completion.Done(true); }).join();
    WithTimeout(absl::ZeroDuration(), [&] { call.completion.Wait(); }).IgnoreError();
  });
  EXPECT_EQ(codes[grpc::StatusCode::OK], kThreads * kCalls);
  group.Drain();
}

TEST(Completion, EndsTheWaitOfAGreenlet) {
  HubGroup group({.hubs = 1, .pin = false});
  const std::vector<int> codes = PlayMany(HubsOf(group), false, [](FakeCall& call) {
    call.completion.Arm();
    std::thread done([&call] { call.completion.Done(false); });
    EXPECT_FALSE(call.completion.Wait());
    EXPECT_FALSE(call.completion.armed());
    done.join();
  });
  EXPECT_EQ(codes[grpc::StatusCode::OK], kThreads * kCalls);
  group.Drain();
}

// The thread that brings the news is not through with that when the hub ends.
TEST(Completion, MayBeTheLastThingOfItsHub) {
  for (int i = 0; i < 200; ++i) {
    std::thread done;
    HubGroup group({.hubs = 1, .pin = false}, [&](int) {
      Completion completion(nullptr);
      completion.Arm();
      done = std::thread([&completion] { completion.Done(true); });
      EXPECT_TRUE(completion.Wait());
    });
    group.Join();
    done.join();
  }
}

}  // namespace
}  // namespace grove::bridge
