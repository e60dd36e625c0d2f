#include "grove/green/internal/native_task.h"

#include <sched.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/pool_core.h"
#include "grove/hub/internal/per_thread.h"

namespace grove::green_internal {
namespace {

// What this thread's hub waits for, the last one first.
struct Expectations {
  NativeTask* first = nullptr;
  Scheduler* scheduler = nullptr;  // that tells of its end
};
constinit thread_local hub_internal::PerThread<Expectations> expectations;

Expectations& Expected() { return expectations; }

// In Scheduler::native_posts.
constexpr uint32_t kEnded = uint32_t{1} << 31;

}  // namespace

void NativeTask::Expect() {
  Expectations& all = Expected();
  if (all.scheduler != home_) {
    all.scheduler = home_;
    // Whoever comes home later finds nobody, and these may be gone by then.
    home_->AtEnd([s = home_] {
      while (NativeTask* task = Expected().first) task->ExpectNoMore();
      Expected().scheduler = nullptr;
      s->native_posts.fetch_or(kEnded, std::memory_order_acq_rel);
      while (s->native_posts.load(std::memory_order_acquire) != kEnded) sched_yield();
    });
  }
  expected_previous_ = nullptr;
  expected_next_ = all.first;
  if (all.first) all.first->expected_previous_ = this;
  all.first = this;
  home_->hub().AddWaker();
}

void NativeTask::ExpectNoMore() {
  (expected_previous_ ? expected_previous_->expected_next_ : Expected().first) =
      expected_next_;
  if (expected_next_) expected_next_->expected_previous_ = expected_previous_;
  home_->hub().RemoveWaker();
}

absl::Status NativeTask::SubmitTo(PoolCore* pool, bool* admitted) {
  pool_ = pool;
  Expect();
  absl::Status status = pool->Submit(this, admitted);
  if (!status.ok()) ExpectNoMore();
  return status;
}

bool NativeTask::Withdraw(absl::Status status, bool unless_admitted) {
  if (ended_ || !pool_->Remove(this, unless_admitted)) return false;
  status_ = std::move(status);
  EndAtHome();
  return true;
}

// Once it has the letter, the hub may be about to end, and to take with it what this
// thread is still using: it waits. (A copy of its handle would do, but for the hub's
// descriptors, which tests count when it has ended.)
bool NativeTask::PostHome(Scheduler* home, Letter* letter) {
  const uint32_t posts = home->native_posts.fetch_add(1, std::memory_order_acq_rel);
  const bool posted = (posts & kEnded) == 0 && home->handle().PostLetter(letter);
  home->native_posts.fetch_sub(1, std::memory_order_release);
  return posted;
}

void NativeTask::SendHome(absl::Status status) {
  status_ = std::move(status);
  if (PostHome(home_, this)) return;
  pool_->TaskCameHome();
  OnOrphaned();
}

void NativeTask::Deliver(Letter* letter, bool hub_alive) {
  NativeTask* task = static_cast<NativeTask*>(letter);
  if (hub_alive) {
    task->EndAtHome();
  } else {
    task->pool_->TaskCameHome();
    task->OnOrphaned();
  }
}

void NativeTask::EndAtHome() {
  ExpectNoMore();
  ended_ = true;
  pool_->TaskCameHome();
  OnEnd();  // there may be no task any more
}

// Ends what was lost if the hub, on its way to a new life in the child, tells its
// visitors to go, and forgets its callbacks and its mail.
class NativeTask::Loss final : public Scheduler::Visitor {
 public:
  void HubEnds() override {
    EndLost();
    delete this;
  }
};

void NativeTask::LoseAll() {
  Scheduler* s = Scheduler::GetIfExists();
  if (s == nullptr) return;
  s->native_posts.store(0, std::memory_order_relaxed);  // their threads are the parent's
  if (Expected().first == nullptr) return;
  for (NativeTask* task = Expected().first; task; task = task->expected_next_) {
    task->lost_ = true;
    task->pool_->CountAgain();
  }
  auto* loss = new Loss;
  s->AddVisitor(loss);
  s->hub().RunCallback([s, loss] {
    s->RemoveVisitor(loss);
    delete loss;
    s->hub().DeliverMail();
    EndLost();
  });
}

void NativeTask::EndLost() {
  std::vector<NativeTask*> lost;
  for (NativeTask* task = Expected().first; task; task = task->expected_next_) {
    if (task->lost_) lost.push_back(task);
  }
  for (NativeTask* task : lost) {
    task->status_ = absl::AbortedError(
        absl::StrCat("thread pool '", task->pool_->name(),
                     "': this process was forked off while a task was under way, which "
                     "goes on in its parent only"));
    task->EndAtHome();
  }
}

}  // namespace grove::green_internal
