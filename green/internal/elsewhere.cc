#include "grove/green/internal/elsewhere.h"

#include <atomic>
#include <memory>
#include <utility>

#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

// Does something to a greenlet on its own hub, soon. It holds the greenlet's block.
class CoreLetter : public Letter {
 public:
  // Called with false, on whatever thread, if that hub has ended.
  using Function = absl::AnyInvocable<void(Core*, bool hub_alive)>;

  static void Send(Core* core, Function fn) {
    auto letter = std::unique_ptr<CoreLetter>(new CoreLetter(core, std::move(fn)));
    if (PostTo(core->scheduler, letter.get())) {
      letter.release();
    } else {
      letter->fn_(core, false);
    }
  }

 private:
  CoreLetter(Core* core, Function fn)
      : Letter(&Deliver),
        greenlet_(AnyGreenlet::FromCore(core, /*add_ref=*/true)),
        fn_(std::move(fn)) {}

  static void Deliver(Letter* letter, bool hub_alive) {
    std::unique_ptr<CoreLetter> self(static_cast<CoreLetter*>(letter));
    self->fn_(self->greenlet_.core(), hub_alive);
  }

  const AnyGreenlet greenlet_;
  Function fn_;
};

// Links from elsewhere have numbers of their own, given before their greenlet's hub has
// heard of them.
constexpr uint64_t kFromElsewhere = uint64_t{1} << 63;
std::atomic<uint64_t> next_link{1};

// Calls a link on the hub that asked for it. Nothing happens if that has ended.
void CallLink(const HubHandle& home, bool raw, absl::AnyInvocable<void(Core*)> fn,
              Core* core) {
  home.Post([raw, fn = std::move(fn),
             g = AnyGreenlet::FromCore(core, /*add_ref=*/true)]() mutable {
        if (raw) {
          try {
            fn(g.core());
          } catch (...) {
            Scheduler::Get().HandleError(g.core(), std::current_exception());
          }
        } else {
          Spawn([fn = std::move(fn), g = std::move(g)]() mutable { fn(g.core()); });
        }
      })
      .IgnoreError();
}

}  // namespace

bool JoinElsewhere(Core* core, Deadline deadline) {
  if (core->finished) return true;
  Scheduler* host = core->scheduler;
  CheckJoinable(core);
  if (deadline == Deadline::Passed()) return host->ended();
  Scheduler& here = Scheduler::Get();
  GROVE_CHECK(!here.on_loop_stack(), "Join of ", LabelAnywhere(core),
              " inside a loop callback of hub '", here.hub_name(),
              "', where nothing may block; spawn a greenlet for it");
  here.DeliverPending();
  JoinOperation join(core);
  Visit visit(&join, &here, host);
  if (!PostTo(host, visit.request())) return true;
  const Visit::End end = visit.Await(deadline);
  if (end == Visit::End::kFulfilled) return true;
  here.DeliverPending();
  return end == Visit::End::kHubEnded;
}

void KillElsewhere(Core* core, std::exception_ptr error) {
  CoreLetter::Send(core, [error = std::move(error)](Core* c, bool hub_alive) mutable {
    if (hub_alive) c->scheduler->Kill(c, std::move(error));
  });
}

void ThrowElsewhere(Core* core, std::exception_ptr error) {
  CoreLetter::Send(core, [error = std::move(error)](Core* c, bool hub_alive) mutable {
    if (hub_alive) Throw(c, std::move(error));
  });
}

uint64_t AddLinkElsewhere(Core* core, LinkOn on, bool raw,
                          absl::AnyInvocable<void(Core*)> fn) {
  Scheduler* here = Scheduler::GetIfExists();
  GROVE_CHECK(here != nullptr, "a link to ", LabelAnywhere(core),
              " from a thread without a hub, which could not call it");
  const uint64_t id = kFromElsewhere | next_link.fetch_add(1, std::memory_order_relaxed);
  CoreLetter::Send(core, [id, on, raw, fn = std::move(fn), home = here->handle()](
                             Core* c, bool hub_alive) mutable {
    auto call = [raw, fn = std::move(fn), home = std::move(home)](Core* c) mutable {
      CallLink(home, raw, std::move(fn), c);
    };
    if (hub_alive) {
      LinkWithId(c, id, on, std::move(call));
    } else if (Wants(on, c)) {
      call(c);
    }
  });
  return id;
}

bool RemoveLinkElsewhere(Core* core, uint64_t id) {
  bool removed = false;
  AskHub(core->scheduler->handle(),
         [&](bool hub_alive) { removed = hub_alive && RemoveLink(core, id); });
  return removed;
}

// --- ForeignJoin ----------------------------------------------------------------------

void ForeignJoin::Enlist() {
  Operation::Enlist();
  if (watching_) return;
  watching_ = PostTo(target_->scheduler, visit_.request());
  if (watching_) {
    alive_.emplace(&Scheduler::Get().hub());
  } else {
    IsOver();
  }
}

void ForeignJoin::IsOver() {
  over_ = true;
  watching_ = false;
  alive_.reset();
  if (ListedWaiter* w = line_.PopFront()) w->Notify();
}

}  // namespace grove::green_internal
