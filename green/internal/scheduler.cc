#include "grove/green/internal/scheduler.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/stack_overflow.h"
#include "grove/green/interrupt.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

// The main greenlet runs on the thread's own stack, and the loop on one of the hub's.
class BareCore : public Core {
 public:
  using Core::Core;
  void Invoke() override {}
  void DropFunction() override {}
};

std::string FatalContext() {
  Scheduler* s = Scheduler::GetIfExists();
  if (s == nullptr) return "";
  return absl::StrCat("  in ",
                      s->on_loop_stack() ? "a loop callback" : s->current()->Label(),
                      " of hub '", s->hub().name(), "'\n");
}

// Whether nobody but this thread could post to a hub: it is the process's only one.
bool ProcessHasOneThread() {
  DIR* dir = opendir("/proc/self/task");
  if (dir == nullptr) return false;
  int threads = 0;
  while (const dirent* entry = readdir(dir)) threads += entry->d_name[0] != '.';
  closedir(dir);
  return threads <= 1 + GROVE_TSAN;  // TSan has a thread of its own
}

// Destroys the scheduler that a thread's first blocking call made, when the thread ends.
struct ThreadEnd {
  Scheduler* scheduler = nullptr;
  ~ThreadEnd() {
    // Not if exit() was called by a greenlet, on whose stack this then runs.
    if (scheduler && Scheduler::GetIfExists() == scheduler &&
        scheduler->current() == scheduler->main()) {
      Scheduler::Destroy(scheduler);
    }
  }
};
thread_local ThreadEnd thread_end;

}  // namespace

#if !GROVE_ASAN && !GROVE_TSAN
// One cache line is all that a switch touches of a control block.
static_assert(sizeof(Runnable) == 16 && sizeof(Context) == 24);
#endif

constinit thread_local Scheduler* Scheduler::current_scheduler = nullptr;

// --- life ---------------------------------------------------------------------------

Scheduler::Scheduler(HubOptions options)
    : exception_state_(reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals())),
      errno_(&errno),
      operations_per_turn_(options.operations_per_turn),
      operations_left_(options.operations_per_turn),
      hub_(std::make_unique<Hub>(std::move(options))),
      handle_(hub_->handle()) {
  hub_internal::SetFatalContext(&FatalContext);
  InstallOverflowReport();
  main_ = new BareCore(this);
  main_->SetName("main");
  main_->started = true;
  main_->refs = 1;
  ++blocks_;
  SanitizerAdoptThread(&main_->context.sanitizer);
  current_ = main_;
  // The loop's own stack: libev's frames, and whatever callbacks need.
  const Stack stack = TakeStack(0);
  loop_ = new BareCore(this);
  loop_->stack = stack;
  SanitizerNewStack(&loop_->context.sanitizer, stack.usable_low(),
                    stack.top() - stack.usable_low());
  MakeContext(
      &loop_->context, stack.top(),
      [](void* self) { static_cast<Scheduler*>(self)->LoopMain(); }, this);
}

Scheduler::~Scheduler() = default;

Scheduler& Scheduler::MakeImplicit() {
  Scheduler& s = Make({});
  // The hub of the process's first thread ends with the process: what is still on main's
  // stack when it exits, or static, may use it to the last.
  if (getpid() != gettid()) thread_end.scheduler = &s;
  return s;
}

Scheduler& Scheduler::Make(HubOptions options) {
  current_scheduler = new Scheduler(std::move(options));
  return *current_scheduler;
}

void Scheduler::Destroy(Scheduler* s) {
  GROVE_CHECK(current_scheduler == s && s->current_ == s->main_,
              "a hub is ended from another thread or greenlet");
  for (auto& fn : s->at_end_) fn();
  // Those that were killed before they began have ended, but stand in the queue.
  RunQueue left = s->hub_->TakeReadyQueue();
  while (!left.empty()) {
    Runnable* r = left.PopFront();
    if (r->run != &Core::RunOnHub) {
      s->hub_->MakeReady(r);
    } else if (Core* core = static_cast<Core*>(r); core->cancelled) {
      Unref(core);
    }
  }
  SanitizerDropStack(&s->loop_->context.sanitizer);
  s->stacks_.Give(s->loop_->stack);
  delete s->loop_;
  // From here on handles free their greenlets by themselves.
  Unref(s->main_);
  s->hub_.reset();
  current_scheduler = nullptr;
  // Greenlets that never ended are neither run nor unwound, and handles may be left: both
  // refer to this object. The last of them deletes it.
  s->CountFreed(-static_cast<int64_t>(s->blocks_));
}

void Scheduler::CountFreed(int64_t n) {
  // Above zero while the hub lives; from its end on, minus what is still to be freed.
  if (freed_elsewhere_.fetch_add(n, std::memory_order_acq_rel) + n == 0) delete this;
}

void Scheduler::LoopMain() {
  SanitizerFirstEntry(&main_->context.sanitizer);
  *exception_state_ = {};
  for (;;) {
    if (!hub_->Turn()) RanDry();
  }
}

void Scheduler::RanDry() {
  if (!dry_waiters.empty()) {
    while (ListedWaiter* w = dry_waiters.PopFront()) Wake(w->core());
    return;
  }
  const LoopExitPolicy policy = hub_->options().loop_exit;
  if (policy == LoopExitPolicy::kNever ||
      (policy == LoopExitPolicy::kWhenCertain && !ProcessHasOneThread())) {
    // Look again now and then: the thread that could have posted may have ended.
    hub_->WaitForMail(absl::Seconds(1));
    return;
  }
  // The last other thread may have posted before it ended.
  if (hub_->HasMail()) return;
  loop_exit_report_ = absl::StrCat("LoopExit: nothing can wake hub '", hub_->name(),
                                   "' any more\n", Report());
  GROVE_CHECK(main_->parked && main_->interruptible,
              "the main greenlet waits for ever, and may not be interrupted. ",
              loop_exit_report_);
  main_->pending |= kPendingLoopExit;
  Interrupt(main_);
}

Stack Scheduler::TakeStackSlow(size_t size) {
  absl::StatusOr<Stack> stack = stacks_.Take(size == 0 ? kDefaultStackSize : size);
  GROVE_CHECK(stack.ok(), stack.status().message(), "; ", live_,
              " greenlets live on hub '", hub_->name(), "'");
  return *stack;
}

void Scheduler::Adopt(Core* core, const Stack& stack, SpawnSite site) {
  core->stack = stack;
  core->site = site;
  core->id = next_id_++;
  core->parent_id = current_->id;
  core->all_next = all_;
  if (all_) all_->all_prev = core;
  all_ = core;
  ++live_;
  ++blocks_;
  SanitizerNewStack(&core->context.sanitizer, stack.usable_low(),
                    reinterpret_cast<char*>(core) - stack.usable_low());
  MakeContext(&core->context, core, &GreenletMain, core);
}

[[gnu::always_inline]] inline void Scheduler::Finish(Core* core) {
  SanitizerDropStack(&core->context.sanitizer);
  Unref(core);
  // The stack may be in the pool by now, but nobody takes it before we are gone.
  Context nowhere;
#if GROVE_TSAN
  nowhere.sanitizer = {};
#endif
  Core* next = Next();
  current_ = next;
  SwitchContext(&nowhere, &next->context, /*last=*/true);
  __builtin_unreachable();
}

void Scheduler::GreenletMain(void* argument) {
  Core* core = static_cast<Core*>(argument);
  Scheduler* s = core->scheduler;
  SanitizerFirstEntry(nullptr);
  *s->exception_state_ = {};
  if (!core->cancelled) {
    core->started = true;
    try {
      core->Invoke();
    } catch (const GreenletExit&) {
      core->killed = true;
    } catch (...) {
      core->error = std::current_exception();
      s->HandleError(core, core->error);
    }
    s->MarkFinished(core);
  }
  s->Finish(core);
}

void Scheduler::MarkFinished(Core* core) {
  // What the function captured may block in its destructor: nothing is thrown there. This
  // may run in whoever killed a greenlet that had not begun.
  ++current_->shields;
  core->DropFunction();
  --current_->shields;
  core->finished = true;
  core->pending = 0;
  (core->all_prev ? core->all_prev->all_next : all_) = core->all_next;
  if (core->all_next) core->all_next->all_prev = core->all_prev;
  --live_;
  while (ListedWaiter* w = core->joiners.PopFront()) Wake(w->core());
  RunLinks(core);
}

void Scheduler::FinishUnstarted(Core* core, std::exception_ptr error) {
  // Its captures may block when they end, and its turn in the queue come meanwhile.
  AddRef(core);
  core->cancelled = true;
  core->killed = error == nullptr;
  core->error = error;
  const bool queued = !core->extras || !core->extras->start_timer;
  if (!queued) core->extras->start_timer.reset();
  MarkFinished(core);
  if (error) HandleError(core, error);
  if (!queued) {
    SanitizerDropStack(&core->context.sanitizer);
    Unref(core);  // the greenlet's own, which else it gives up when its turn comes
  }
  Unref(core);
}

void Scheduler::RunLinks(Core* core) {
  if (!core->extras || core->extras->links.empty()) return;
  // Let go of with the callback, be it called or not.
  struct Ref {
    explicit Ref(Core* c) : core(c) { AddRef(core); }
    Ref(Ref&& other) noexcept : core(std::exchange(other.core, nullptr)) {}
    ~Ref() {
      if (core) Unref(core);
    }
    Core* core;
  };
  hub_->RunCallback([this, ref = Ref(core)] {
    Core* core = ref.core;
    // A link may remove later ones, or add some.
    auto& links = core->extras->links;
    while (!links.empty()) {
      Extras::Link link = std::move(links.front());
      links.erase(links.begin());
      const bool failed = core->error != nullptr;
      if (link.on == LinkOn::kAlways || (link.on == LinkOn::kException) == failed) {
        try {
          link.fn(core);
        } catch (...) {
          HandleError(core, std::current_exception());
        }
      }
    }
  });
}

void Scheduler::Free(Core* core) {
  Scheduler* s = core->scheduler;
  if (s->on_home_thread()) {
    s->FreeAtHome(core);
    return;
  }
  // Its hub may be running the last instructions on that very stack: it frees it.
  struct FreeLetter : Letter {
    explicit FreeLetter(Core* c) : Letter(&Deliver), core(c) {}
    static void Deliver(Letter* letter, bool) {
      std::unique_ptr<FreeLetter> self(static_cast<FreeLetter*>(letter));
      self->core->scheduler->FreeAtHome(self->core);
    }
    Core* core;
  };
  auto letter = std::make_unique<FreeLetter>(core);
  if (s->handle_.PostLetter(letter.get())) {
    letter.release();
  } else {
    // That hub has ended, and with it whatever ran there.
    const Stack stack = core->stack;
    if (stack.valid()) {
      core->~Core();
      GiveToSharedPool(stack);
    } else {
      delete core;  // a main greenlet's
    }
    s->CountFreed(1);
  }
}

void Scheduler::FreeAtHome(Core* core) {
  --blocks_;
  if (core == main_) {
    delete core;
    return;
  }
  const Stack stack = core->stack;
  core->~Core();
  stacks_.Give(stack);
}

// --- interrupts -----------------------------------------------------------------------

void Scheduler::Interrupt(Core* core) {
  if (!core->parked || !core->interruptible) return;
  core->waiting_on->Cancel();
  core->interrupted = true;
  Wake(core);
}

void Scheduler::Kill(Core* core, std::exception_ptr error) {
  if (core->finished || core->cancelled) return;
  if (!core->started) {
    FinishUnstarted(core, std::move(error));
    return;
  }
  if (!(core->pending & kPendingKill)) core->kill_error = std::move(error);
  core->pending |= kPendingKill;
  Interrupt(core);
}

void Scheduler::ThrowPending() {
  Core* self = current_;
  if (self->pending & kPendingKill) {  // sticky: the bit stays
    // One that swallows it again and again must not keep the others from running.
    if (self->kill_thrown) YieldUninterrupted();
    self->kill_thrown = true;
    if (self->kill_error) std::rethrow_exception(self->kill_error);
    throw GreenletExit();
  }
  if (self->pending & kPendingThrow) {
    self->pending &= ~kPendingThrow;
    std::rethrow_exception(std::exchange(self->thrown, nullptr));
  }
  if (self->pending & kPendingTimeout) Timeout::ThrowExpired();
  self->pending &= ~kPendingLoopExit;
  throw LoopExit(std::move(loop_exit_report_));
}

void Scheduler::YieldUninterrupted() {
  hub_->MakeReady(current_);
  Switch(Next());
}

void Scheduler::BlockedOnLoopStack(const Waiter* waiter) {
  GROVE_FATAL("a blocking call (", waiter ? waiter->Describe() : "Yield",
              ") inside a loop callback of hub '", hub_->name(),
              "', where nothing may block; spawn a greenlet for it");
}

// --- parking
// ----------------------------------------------------------------------------

bool Scheduler::ParkUntil(Waiter* waiter, Deadline deadline, bool ref) {
  if (deadline.infinite()) {
    Park(waiter);
    return true;
  }
  struct ParkTimer : Timer {
    explicit ParkTimer(Core* c) : Timer(&OnFire), core(c) {}
    static void OnFire(Timer* timer) {
      Core* core = static_cast<ParkTimer*>(timer)->core;
      if (!core->parked) return;
      core->waiting_on->Cancel();
      core->timed_out = true;
      core->scheduler->Wake(core);
    }
    Core* core;
  };
  Core* self = current_;
  ParkTimer timer(self);
  hub_->timers().Arm(&timer, deadline.when(), ref);
  self->timed_out = false;
  Park(waiter);
  return !self->timed_out;
}

// --- looking inside
// -----------------------------------------------------------------------

void Scheduler::HandleError(Core* core, std::exception_ptr error) {
  if (const ErrorHandler handler = error_handler_) {  // a copy: it may set another
    try {
      handler(core, error);
      return;
    } catch (...) {
      // A handler that fails must not take the hub with it.
      fprintf(stderr, "grove: the error handler of hub '%s' failed: %s\n",
              hub_->name().c_str(), DescribeException(std::current_exception()).c_str());
    }
  }
  fprintf(stderr, "grove: %s, spawned at %s:%d, ended by an exception: %s\n",
          core->Label().c_str(), core->site.file, core->site.line,
          DescribeException(error).c_str());
}

void Scheduler::ForEach(const std::function<void(Core*)>& fn) const {
  for (Core* c = all_; c;) {
    Core* next = c->all_next;
    fn(c);
    c = next;
  }
}

std::string Scheduler::Report() const {
  std::string out;
  const auto line = [&out, this](Core* c) {
    absl::StrAppend(&out, "  ", c->Label());
    if (c != main_)
      absl::StrAppend(&out, ", spawned at ", c->site.file, ":", c->site.line);
    absl::StrAppend(&out, ": ",
                    c->parked ? absl::StrCat("waits for ", c->waiting_on->Describe())
                    : c == current_ ? std::string("runs")
                    : c->started    ? std::string("is ready")
                                    : std::string("has not started"),
                    "\n");
  };
  line(main_);
  ForEach(line);
  return out;
}

void Core::RunOnHub(Runnable* r) {
  Core* core = static_cast<Core*>(r);
  core->scheduler->Switch(core);
}

void Core::SetName(std::string n) {
  if (!extras) extras = std::make_unique<Extras>();
  extras->name = std::move(n);
}

std::string Core::name() const {
  if (extras && !extras->name.empty()) return extras->name;
  return absl::StrCat("greenlet-", id);
}

std::string Core::Label() const {
  if (id == 0) return absl::StrCat("greenlet '", name(), "'");
  return absl::StrCat("greenlet '", name(), "' (#", id, ")");
}

}  // namespace grove::green_internal
