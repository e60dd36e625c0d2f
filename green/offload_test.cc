#include "grove/green/offload.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/thread_pool.h"
#include "grove/green/wait.h"

namespace grove {
namespace {

// Notes on which threads it is used, and how many use it at once.
class Db {
 public:
  explicit Db(std::string name, pid_t* destroyed_on = nullptr)
      : name_(std::move(name)), destroyed_on_(destroyed_on) {
    if (name_ == "bad") throw std::invalid_argument("no such database");
  }
  ~Db() {
    if (destroyed_on_) *destroyed_on_ = gettid();
  }

  pid_t Thread() const { return gettid(); }
  const std::string& name() const { return name_; }
  int Add(int a, int b) const { return a + b; }
  absl::StatusOr<int> Find(const std::string& key) {
    if (key != "known") return absl::NotFoundError(key);
    return 1;
  }
  void Fail() { throw std::runtime_error("failed"); }
  // How many were in here at the same time.
  int Use(std::latch* together) {
    const int now = ++users_;
    if (together) together->arrive_and_wait();
    --users_;
    return now;
  }
  void Hold(std::latch* done) { done->wait(); }

 private:
  const std::string name_;
  pid_t* const destroyed_on_;
  std::atomic<int> users_{0};
};

GREENLET_TEST(Offload, CallsMethodsOnAThread) {
  ThreadPool pool;
  Offload<Db> db = *MakeOffload<Db>(pool, "main");
  EXPECT_NE(*db.Call(&Db::Thread), gettid());
  EXPECT_EQ(*db.Call(&Db::Add, 2, 3), 5);
  EXPECT_EQ(*db.Call(&Db::name), "main") << "a reference is copied";
  EXPECT_EQ(*db.Call(&Db::Find, "known"), 1);
  EXPECT_EQ(db.Call(&Db::Find, "other").status(), absl::NotFoundError("other"));
  EXPECT_THROW(db.Call(&Db::Fail).IgnoreError(), std::runtime_error);
  EXPECT_EQ(*db.With([](Db& d) { return d.Add(d.Add(1, 1), 1); }), 3);
}

GREENLET_TEST(Offload, TheObjectIsMadeAndDestroyedOnAThread) {
  ThreadPool pool;
  pid_t destroyed_on = 0;
  {
    const absl::StatusOr<Offload<Db>> db = MakeOffload<Db>(pool, "x", &destroyed_on);
    EXPECT_TRUE(db.ok());
  }
  EXPECT_NE(destroyed_on, 0);
  EXPECT_NE(destroyed_on, gettid());
  EXPECT_THROW(MakeOffload<Db>(pool, "bad").IgnoreError(), std::invalid_argument);
}

GREENLET_TEST(Offload, CallsAreMadeOneAfterTheOther) {
  ThreadPool pool({.max_threads = 4});
  Offload<Db> db = *MakeOffload<Db>(pool, "x");
  std::vector<Greenlet<int>> all;
  for (int i = 0; i < 50; ++i) {
    all.push_back(Spawn([&] { return *db.Call(&Db::Use, nullptr); }));
  }
  for (const Greenlet<int>& g : all) EXPECT_EQ(*g.Get(), 1);
  EXPECT_EQ(pool.size(), 1) << "those that wait for their turn hold no thread";
}

GREENLET_TEST(Offload, CallsMayBeMadeAtTheSameTime) {
  ThreadPool pool({.max_threads = 2});
  Offload<Db> db(&pool, std::make_unique<Db>("x"), {.serialised = false});
  std::latch together(2);
  const Greenlet<int> a = Spawn([&] { return *db.Call(&Db::Use, &together); });
  const Greenlet<int> b = Spawn([&] { return *db.Call(&Db::Use, &together); });
  EXPECT_EQ(*a.Get() + *b.Get(), 3);
}

GREENLET_TEST(Offload, WhoWaitsForTheTurnMayGiveUp) {
  ThreadPool pool;
  Offload<Db> db = *MakeOffload<Db>(pool, "x");
  std::latch done(1);
  const Greenlet<> holds = Spawn([&] { db.Call(&Db::Hold, &done).IgnoreError(); });
  Idle();
  bool ran = false;
  EXPECT_EQ(db.With([&](Db&) { ran = true; }, absl::Seconds(2)).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  const Greenlet<> killed =
      Spawn([&] { db.With([&](Db&) { ran = true; }).IgnoreError(); });
  const Greenlet<int> next = Spawn([&] { return *db.Call(&Db::Add, 1, 1); });
  Idle();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  done.count_down();
  EXPECT_EQ(*next.Get(), 2);
  EXPECT_FALSE(ran);
}

GREENLET_TEST(Offload, AKillThatRacesWithTheTurnPassesItOn) {
  ThreadPool pool;
  Offload<Db> db = *MakeOffload<Db>(pool, "x");
  std::latch done(1);
  bool ran = false;
  AnyGreenlet killed;
  const Greenlet<> holds = Spawn([&] {
    db.Call(&Db::Hold, &done).IgnoreError();
    killed.KillSoon();  // it has been given the turn, and has not run since
  });
  Idle();
  killed = Spawn([&] { db.With([&](Db&) { ran = true; }).IgnoreError(); });
  Idle();
  done.count_down();
  killed.Join();
  EXPECT_TRUE(killed.killed());
  EXPECT_FALSE(ran);
  EXPECT_EQ(*db.Call(&Db::Add, 1, 1), 2);
}

GREENLET_TEST(Offload, MovesAndOutlivesTheServiceOfItsPool) {
  ThreadPool pool;
  pid_t destroyed_on = 0;
  {
    Offload<Db> first(&pool, std::make_unique<Db>("x", &destroyed_on));
    Offload<Db> db = std::move(first);
    EXPECT_EQ(*db.Call(&Db::Add, 1, 2), 3);
    pool.Shutdown();
    EXPECT_EQ(db.Call(&Db::Add, 1, 2).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(destroyed_on, gettid());
}

}  // namespace
}  // namespace grove
