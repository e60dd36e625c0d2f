#include <unistd.h>

#include <memory>
#include <mutex>
#include <utility>

#include "grove/green/descriptor.h"
#include "grove/green/internal/hub_record.h"
#include "grove/green/internal/process_mutex.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/timeout.h"

// What becomes of hubs and greenlets in a forked child.
namespace grove::green_internal {
namespace {

// Of the list of all schedulers. Never destroyed: hubs may end after static objects.
ProcessMutex& ListMutex() {
  static auto* const mutex = new ProcessMutex;
  return *mutex;
}

}  // namespace

void Scheduler::List(Scheduler* s) {
  std::lock_guard lock(ListMutex());
  s->next_ = first;
  if (s->next_) s->next_->previous_ = s;
  first = s;
}

void Scheduler::Unlist(Scheduler* s) {
  std::lock_guard lock(ListMutex());
  (s->previous_ ? s->previous_->next_ : first) = s->next_;
  if (s->next_) s->next_->previous_ = s->previous_;
}

void Scheduler::LiveOnInChild() {
  Scheduler* self = current_scheduler;
  if (++process_park_mark == 0) ++process_park_mark;  // 0: does not wait
  if (self != nullptr) self->park_mark_ = process_park_mark;
  for (Scheduler* s = first; s; s = s->next_) {
    if (s == self) continue;
    s->hub_->CloseInChild();
    s->ended_.store(true, std::memory_order_release);
  }
  first = self;
  std::shared_ptr<HubRecord> record = HubRecord::ReplaceAllInChild(self);
  if (self == nullptr) return;
  self->record_ = std::move(record);
  self->previous_ = self->next_ = nullptr;
  self->ForgetOthersInChild();
}

void Scheduler::ForgetOthersInChild() {
  Core* const self = current_;
  const auto forget = [self](Core* core) {
    if (core == self) return;
    // Out of the line that it stands in, so that nothing is given to it.
    if (core->parked) core->waiting_on->Abandon();
    core->parked = 0;
    core->special &= ~kPending;
    core->killed = !core->finished;
    core->finished = true;
  };
  ForEach(forget);
  forget(main_);
  while (Visitor* v = visitors_) {
    RemoveVisitor(v);
    v->Forget();
  }
  hub_->timers().CancelAllBut([self](const Timer* timer) {
    for (const Timeout* t = self->timeouts; t; t = t->outer_) {
      if (timer == &t->timer_) return true;
    }
    return false;
  });
  ForgetDescriptorWaitsInChild();
  hub_->ForgetInChild();

  all_ = self == main_ ? nullptr : self;
  live_ = 0;  // the main one does not count
  self->all_prev = self->all_next = nullptr;
  if (self == main_) return;
  main_ = self;
  if (!self->extras) self->extras = std::make_unique<Extras>();
  self->extras->links.push_back(
      {.id = self->extras->next_link_id++, .on = LinkOn::kAlways, .fn = [](Core* core) {
         _exit(core->error || core->killed ? 1 : 0);
       }});
}

}  // namespace grove::green_internal
