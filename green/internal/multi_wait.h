#ifndef GROVE_GREEN_INTERNAL_MULTI_WAIT_H_
#define GROVE_GREEN_INTERNAL_MULTI_WAIT_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/internal/elsewhere.h"
#include "grove/green/internal/lone_waiter.h"
#include "grove/green/internal/operation.h"
#include "grove/hub/deadline.h"

// One greenlet's wait for many operations. All of them are at home on its hub, or a
// ForeignJoin, and none is given twice.
namespace grove::green_internal {

// MultiWait
//
// Many operations that are waited for at the same time and taken as they are fulfilled.
// They stay in line between one Next() and the next, so that who takes them may do other
// things meanwhile. On what Wait() and JoinAll() stand.
//
//   MultiWait wait;
//   for (size_t i = 0; i < n; ++i) wait.Add(&operations[i], /*tag=*/i);
//   while (Operation* done = wait.Next(deadline)) Use(done->tag);
//   for (size_t i = n; i-- > 0;) MultiWait::Remove(&operations[i]);
//
// Threads: its hub's.
class MultiWait : public Observer {
 public:
  MultiWait() : core_(Scheduler::Get().current()) {}
  MultiWait(const MultiWait&) = delete;
  MultiWait& operator=(const MultiWait&) = delete;

  // Does it at once if that is possible, else lets it stand in line.
  void Add(Operation* operation, size_t tag) {
    operation->tag = tag;
    if (operation->Try()) {
      operation->WaitsFor(static_cast<Observer*>(nullptr));
      done_.PushBack(operation);
      return;
    }
    operation->WaitsFor(this);
    operation->Enlist();
    operation->before = last_;
    last_ = operation;
  }

  // Takes it out of its line, if it stands there. All of them, the last first, so that
  // none is let go of by another's going.
  static void Remove(Operation* operation) {
    if (operation->observer() == nullptr) return;
    operation->WaitsFor(static_cast<Observer*>(nullptr));
    operation->Cancel();
  }

  // The next that has been fulfilled; null on the deadline.
  //
  // Blocks: until there is one. Deadline: returns null. Kill: throws; nothing is lost.
  Operation* Next(Deadline deadline);

  void Fulfilled(ListedWaiter* w) override;
  std::string Who() const override { return core_->Label(); }

 private:
  class NextWaiter final : public LoneWaiter {
   public:
    explicit NextWaiter(const MultiWait* wait) : wait_(wait) {}
    std::string Describe() const override;
    void Abandon() override { wait_->AbandonAll(); }

   private:
    const MultiWait* const wait_;
  };

  void AbandonAll() const;

  Core* const core_;           // who made it
  WaiterList done_;            // fulfilled, and not taken yet
  Operation* last_ = nullptr;  // the last one that had to stand in line
  NextWaiter waiter_{this};
};

// JoinSet
//
// A wait for the ends of many greenlets, which are kept alive by who makes it. They are
// known by their numbers: the first that is added is 0.
class JoinSet {
 public:
  // At most `size` of them.
  explicit JoinSet(size_t size) { joins_.reserve(size); }
  JoinSet(const JoinSet&) = delete;
  JoinSet& operator=(const JoinSet&) = delete;
  ~JoinSet() {
    for (; !foreign_.empty(); foreign_.pop_back()) {
      MultiWait::Remove(foreign_.back().get());
    }
    for (; !joins_.empty(); joins_.pop_back()) MultiWait::Remove(&joins_.back());
  }

  // The current and the main one are fatal errors.
  void Add(Core* core);

  // The number of the next that has ended; kNone on the deadline. Contract as
  // MultiWait::Next().
  static constexpr size_t kNone = static_cast<size_t>(-1);
  size_t Next(Deadline deadline) {
    const Operation* done = wait_.Next(deadline);
    return done ? done->tag : kNone;
  }

 private:
  MultiWait wait_;
  // Their addresses must stay: it never grows beyond what was reserved.
  std::vector<JoinOperation> joins_;
  std::vector<std::unique_ptr<ForeignJoin>> foreign_;
};

// EndWatch
//
// Tells an observer of a greenlet's end, before those are woken who join it later.
class EndWatch : public Operation {
 public:
  EndWatch() : Operation(nullptr) {}
  // Takes it back.
  ~EndWatch() { Stop(); }

  // The watch needs no handle: it ends before the block does. If `core` has ended (a
  // spawn hook may have killed it), the observer is told at once.
  void Start(Core* core, Observer* observer) {
    target_ = core;
    list_ = &core->joiners;
    WaitsFor(observer);
    if (core->finished) {
      observer->Fulfilled(this);
    } else {
      Enlist();
    }
  }
  void Stop() {
    if (target_ != nullptr) Cancel();
    target_ = nullptr;
  }
  // For the observer, once it has been told. From then on there is nothing to stop.
  Core* Take() { return std::exchange(target_, nullptr); }

  Core* target() const { return target_; }
  bool Try() override { return target_->finished; }
  std::string Describe() const override { return "the end of " + target_->Label(); }

 private:
  Core* target_ = nullptr;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_MULTI_WAIT_H_
