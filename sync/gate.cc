#include "grove/sync/gate.h"

namespace grove {

using sync_internal::NameOf;

void Gate::Leave() {
  home_.Do([this] {
    GROVE_CHECK(inside_ > 0, "somebody leaves ", NameOf("Gate", this),
                ", in which nobody is");
    inside_ -= 1;
    if (inside_ == 0) line_.NotifyAll();
  });
}

void Gate::DestroyedWhileUsed() {
  if (sync_internal::Scheduler::process_exits()) return;
  home_.Settle();
  sync_internal::CheckDestroy(home_, line_, "Gate", this);
  GROVE_CHECK(inside_ == 0, NameOf("Gate", this), " is destroyed with ", inside_ + 0,
              " inside: Close() it first");
}

}  // namespace grove
