#include "grove/green/context.h"

#include "grove/green/internal/scheduler.h"
#include "grove/hub/internal/check.h"

namespace grove {

using green_internal::Inherited;
using green_internal::InheritedRef;
using green_internal::Scheduler;

const Inherited* green_internal::CurrentInherited() {
  const Scheduler* s = Scheduler::GetIfExists();
  return s ? s->current()->inherited.get() : nullptr;
}

Context Context::Current() {
  const Scheduler* s = Scheduler::GetIfExists();
  return s ? Context(s->current()->inherited) : Context();
}

ContextScope::ContextScope(uint64_t key, std::shared_ptr<const void> value)
    : core_(Scheduler::Get().current()) {
  Enter(InheritedRef::WithValue(core_->inherited, key, std::move(value)));
}

ContextScope::ContextScope(Context context) : core_(Scheduler::Get().current()) {
  Enter(context.values());
}

void ContextScope::Enter(InheritedRef values) {
  entered_ = values.get();
  before_ = std::exchange(core_->inherited, std::move(values));
}

ContextScope::~ContextScope() {
  const Scheduler* s = Scheduler::GetIfExists();
  GROVE_CHECK(s && s->current() == core_,
              "a ContextScope is ended by another greenlet than made it");
  GROVE_CHECK(core_->inherited.get() == entered_, "ContextScopes of ", core_->Label(),
              " do not end in the reverse of the order in which they began");
  core_->inherited = std::move(before_);
}

}  // namespace grove
