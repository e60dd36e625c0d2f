#include "grove/green/internal/scheduler.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/crossing.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/hub_record.h"
#include "grove/green/internal/local_slots.h"
#include "grove/green/internal/stack_overflow.h"
#include "grove/green/interrupt.h"
#include "grove/green/timeout.h"
#include "grove/hub/config.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

constinit Setting<Bytes> stack_size(
    "stack_size", "GROVE_STACK_SIZE", "256kb",
    "The stack of greenlets that ask for none, rounded up to a power of two, with 16 kb "
    "of guard: addresses, of which only touched pages cost memory.",
    {.min = kMinStackSize, .max = kMaxStackSize / kStackFactor});

constinit Setting<int64_t> warm_stacks(
    "warm_stacks", "GROVE_WARM_STACKS", "1024",
    "How many idle stacks a hub keeps with their memory; that of others goes back to the "
    "system.",
    {.min = 1});

const bool declared = Config::Declare({&stack_size, &warm_stacks});

std::string FatalContext() {
  Scheduler* s = Scheduler::GetIfExists();
  if (s == nullptr) return "";
  return absl::StrCat("  in ",
                      s->on_loop_stack() ? "a loop callback" : s->current()->Label(),
                      " of hub '", s->hub().name(), "'\n");
}

// Whether nobody but this thread could post to a hub: it is the process's only one, but
// for those that are known not to.
bool OnlyThisThreadPosts() {
  DIR* dir = opendir("/proc/self/task");
  if (dir == nullptr) return false;
  int threads = 0;
  while (const dirent* entry = readdir(dir)) threads += entry->d_name[0] != '.';
  closedir(dir);
  return threads <=
         1 + QuietThread::Count() + GROVE_TSAN;  // TSan has a thread of its own
}

// Destroys the scheduler that a thread's first blocking call made, when the thread ends.
struct ThreadEnd {
  Scheduler* scheduler = nullptr;
  ~ThreadEnd() {
    // Not if exit() was called by a greenlet, on whose stack this then runs.
    if (scheduler && Scheduler::GetIfExists() == scheduler &&
        scheduler->current() == scheduler->main() && scheduler->main()->body == nullptr) {
      Scheduler::Destroy(scheduler);
    }
  }
};
thread_local ThreadEnd thread_end;

// exit() calls handlers and destroys static objects, the last one first: one that is
// registered with the first hub comes before what was there when main() began.
std::atomic<bool> exiting{false};

void WatchExit() {
  [[maybe_unused]] static const int registered =
      atexit([] { exiting.store(true, std::memory_order_relaxed); });
}

}  // namespace

#if !GROVE_ASAN && !GROVE_TSAN
// One cache line is all that a wait and a switch touch of a control block.
static_assert(sizeof(WaitNode) == 24 && sizeof(Context) == 24);
#endif

constinit thread_local Scheduler* Scheduler::current_scheduler = nullptr;
constinit uint8_t Scheduler::process_park_mark = 1;

// --- life ---------------------------------------------------------------------------

Scheduler::Scheduler(HubOptions options)
    : exception_state_(reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals())),
      errno_(&errno),
      operations_per_turn_(options.operations_per_turn),
      operations_left_(options.operations_per_turn),
      park_mark_(process_park_mark),
      hub_(std::in_place, std::move(options)),
      stacks_(stack_size.Get().count, static_cast<size_t>(warm_stacks.Get())),
      handle_(hub_->handle()) {
  hub_internal::SetFatalContext(&FatalContext);
  InstallOverflowReport();
  WatchExit();
  // The main greenlet runs on the thread's own stack, and the loop on one of the hub's.
  main_ = new (cores_.Take()) Core(this, nullptr);
  main_->SetName("main");
  main_->started = true;
  main_->refs = 0;
  ++blocks_;
  SanitizerAdoptThread(&main_->context.sanitizer);
  current_ = main_;
  // The loop's own stack: libev's frames, and whatever callbacks need.
  const Stack stack = TakeStack(0);
  loop_ = new (cores_.Take()) Core(this, nullptr);
  loop_->special = kLoop;
  loop_->stack = stack;
  SanitizerNewStack(&loop_->context.sanitizer, stack.usable_low(),
                    stack.top() - stack.usable_low());
  MakeContext(
      &loop_->context, stack.top(),
      [](void* self) { static_cast<Scheduler*>(self)->LoopMain(); }, this);
  record_ = HubRecord::Add(this);
}

Scheduler::~Scheduler() = default;

bool Scheduler::process_exits() { return exiting.load(std::memory_order_relaxed); }

Scheduler& Scheduler::MakeImplicit() {
  Scheduler& s = Make({});
  // The hub of the process's first thread ends with the process: what is still on main's
  // stack when it exits, or static, may use it to the last.
  if (getpid() != gettid()) thread_end.scheduler = &s;
  return s;
}

Scheduler& Scheduler::Make(HubOptions options) {
  current_scheduler = new Scheduler(std::move(options));
  List(current_scheduler);
  return *current_scheduler;
}

void Scheduler::Destroy(Scheduler* s) {
  GROVE_CHECK(current_scheduler == s && s->current_ == s->main_,
              "a hub is ended from another thread or greenlet");
  GROVE_CHECK(s->main_->locks == 0, "hub '", s->hub_name(),
              "' ends while its main greenlet holds ", s->main_->locks, " lock(s)");
  Unlist(s);
  s->record_->Remove();
  DropLocals(s->main_);
  DropLocals(s->loop_);
  // Who still waits never goes on: out of the lines, so that nothing is given to them.
  s->ForEach([](Core* core) {
    if (!core->parked) return;
    core->parked = 0;
    core->waiting_on->Abandon();
  });
  for (auto& fn : s->at_end_) fn();
  while (Visitor* v = s->visitors_) {
    s->RemoveVisitor(v);
    v->HubEnds();
  }
  // What was posted and not delivered ends as it would in a callback: it cannot block. It
  // may be the last to refer to something, and that use what is here.
  s->current_ = s->loop_;
  s->hub_->CloseMailbox();
  s->current_ = s->main_;
  // Those that were killed before they began have ended, but stand in the queue.
  RunQueue left = s->hub_->TakeReadyQueue();
  while (!left.empty()) {
    Runnable* r = left.PopFront();
    if (r->run != &Core::RunOnHub) {
      s->hub_->MakeReady(r);
    } else if (Core* core = static_cast<Core*>(r); core->cancelled && core->finished) {
      s->Disown(core);
    }
  }
  SanitizerDropStack(&s->loop_->context.sanitizer);
  s->stacks_.Give(s->loop_->stack);
  s->loop_->~Core();
  s->cores_.Give(s->loop_);
  s->stacks_.Clear();  // and not when the last handle goes
  s->Disown(s->main_);
  s->current_ = s->loop_;
  s->hub_.reset();
  current_scheduler = nullptr;
  s->ended_.store(true, std::memory_order_release);
  // Greenlets that never ended are neither run nor unwound, and handles may be left: both
  // refer to this object. The last of them deletes it.
  s->CountFreed(-static_cast<int64_t>(s->blocks_) - kHubLives);
}

void Scheduler::AddVisitor(Visitor* v) {
  v->prev_ = nullptr;
  v->next_ = visitors_;
  if (visitors_) visitors_->prev_ = v;
  visitors_ = v;
}

void Scheduler::RemoveVisitor(Visitor* v) {
  (v->prev_ ? v->prev_->next_ : visitors_) = v->next_;
  if (v->next_) v->next_->prev_ = v->prev_;
}

void Scheduler::CountFreed(int64_t n) {
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
    dry_waiters.NotifyAll();
    return;
  }
  const LoopExitPolicy policy = hub_->options().loop_exit;
  if (policy == LoopExitPolicy::kNever ||
      (policy == LoopExitPolicy::kWhenCertain && !OnlyThisThreadPosts())) {
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
  main_->special |= kPendingLoopExit;
  Interrupt(main_);
}

Stack Scheduler::TakeStackSlow(size_t size) {
  absl::StatusOr<Stack> stack = stacks_.Take(size == 0 ? stacks_.default_size() : size);
  GROVE_CHECK(stack.ok(), stack.status().message(), "; ", live(),
              " greenlets live on hub '", hub_->name(), "'");
  return *stack;
}

Core* Scheduler::Adopt(Body* body, Stack stack, SpawnSite site) {
  Core* core = new (cores_.Take()) Core(this, body);
  core->stack = stack;
  core->site = site;
  core->id = next_id_;
  ++next_id_;
  core->parent_id = current_->id;
  if (ABSL_PREDICT_FALSE(current_->inherited)) {
    core->inherited = current_->inherited;
    core->bounded = !core->inherited->deadline.infinite();
  }
  core->all_next = all_;
  if (all_) all_->all_prev = core;
  all_ = core;
  ++live_;
  ++blocks_;
  SanitizerNewStack(&core->context.sanitizer, stack.usable_low(),
                    reinterpret_cast<char*>(body) - stack.usable_low());
  MakeContext(&core->context, body, &GreenletMain, core);
  return core;
}

uint64_t Scheduler::AddSpawnHook(SpawnHooks::When when,
                                 absl::AnyInvocable<void(Core*)> fn) {
  // Kept when the last hook goes: it may run, and ids are not used again.
  if (!all_hooks_) all_hooks_ = std::make_unique<SpawnHooks>();
  hooks_ = all_hooks_.get();
  return hooks_->Add(when, std::move(fn));
}

bool Scheduler::RemoveSpawnHook(uint64_t id) {
  if (hooks_ == nullptr || !hooks_->Remove(id)) return false;
  if (hooks_->empty()) hooks_ = nullptr;
  return true;
}

[[gnu::always_inline]] inline void Scheduler::Finish(Core* core) {
  SanitizerDropStack(&core->context.sanitizer);
  Disown(core);
  // A thread that is ended from within a handler leaves something.
  *exception_state_ = {};
  // The stack may be in the pool by now, but nobody takes it before we are gone.
  Context nowhere;
#if GROVE_TSAN
  nowhere.sanitizer = {};
#endif
  Core* next = Next();
  current_ = next;
  SwitchContext(&nowhere, &next->context, this, errno_, /*last=*/true);
  __builtin_unreachable();
}

// Under a deadline, the function runs in a scope of the greenlet's own.
[[gnu::noinline]] void Scheduler::InvokeUntil(Core* core, Deadline deadline) {
  Timeout timeout(deadline);
  try {
    core->body->Invoke();
  } catch (const TimeoutExpired& e) {
    if (e.scope() != &timeout) throw;
    core->expired = true;
    core->error = std::make_exception_ptr(TimeoutExpired(nullptr, e.after()));
  }
}

void Scheduler::GreenletMain(void* argument) {
  Core* core = static_cast<Core*>(argument);
  Scheduler* s = core->scheduler;
  SanitizerFirstEntry(nullptr);
  if (!core->cancelled) {
    core->started = true;
    try {
      if (ABSL_PREDICT_TRUE(!core->bounded)) {
        core->body->Invoke();
      } else {
        InvokeUntil(core, core->inherited->deadline);
      }
    } catch (const GreenletExit&) {
      core->killed = true;
    } catch (...) {
      core->error = std::current_exception();
      if (!core->watched) s->HandleError(core, core->error);
    }
    s->MarkFinished(core);
  } else if (core->ends_unstarted) {
    s->MarkFinished(core);
  }
  s->Finish(core);
}

namespace {

// Out of line: what makes text takes room on the stack of who calls it.
[[noreturn, gnu::noinline, gnu::cold]] void EndedWithLocks(const Core* core) {
  GROVE_FATAL(core->Label(), ", spawned at ", core->site.file, ":", core->site.line,
              ", has ended and still holds ", core->locks, " lock(s)");
}

}  // namespace

void Scheduler::MarkFinished(Core* core) {
  // What the function captured may block in its destructor: nothing is thrown there. This
  // may run in whoever killed a greenlet that had not begun.
  if (core->body->destroys.function || core->extras || core->inherited) {
    ++current_->shields;
    core->body->DropFunction();
    if (core->extras || core->inherited) {
      DropLocals(core);
      core->inherited = {};
    }
    --current_->shields;
  }
  if (ABSL_PREDICT_FALSE(core->locks != 0)) EndedWithLocks(core);
  // Its links want the result, which from now on the last handle may move out (IsShared()).
  const bool linked = core->extras && !core->extras->links.empty();
  if (ABSL_PREDICT_FALSE(linked)) AddRef(core);
  core->finished.store(true, std::memory_order_release);
  core->special &= ~kPending;
  (core->all_prev ? core->all_prev->all_next : all_) = core->all_next;
  if (core->all_next) core->all_next->all_prev = core->all_prev;
  --live_;
  if (ABSL_PREDICT_FALSE(hooks_ != nullptr)) hooks_->Run(SpawnHooks::When::kEnd, core);
  core->joiners.NotifyAll();
  if (ABSL_PREDICT_FALSE(core->extras != nullptr)) {
    // Those that hooks have made, and destructors of what this end has ended.
    ++current_->shields;
    DropLocals(core);
    --current_->shields;
    RunLinks(core);
  }
  if (ABSL_PREDICT_FALSE(linked)) Unref(core);
}

void Scheduler::FinishUnstarted(Core* core, std::exception_ptr error) {
  // Its captures may block when they end, and its turn in the queue come meanwhile.
  AddRef(core);
  core->cancelled = true;
  core->killed = error == nullptr;
  core->error = error;
  const bool queued = !core->extras || !core->extras->start_timer;
  if (!queued) core->extras->start_timer.reset();
  if (on_loop_stack() && core->body->destroys.function) {
    // A callback must not block: they end in the greenlet itself, when its turn comes.
    core->ends_unstarted = true;
    if (error && !core->watched) HandleError(core, error);
    if (!queued) hub_->MakeReady(core);
    Unref(core);
    return;
  }
  MarkFinished(core);
  if (error && !core->watched) HandleError(core, error);
  if (!queued) {
    SanitizerDropStack(&core->context.sanitizer);
    Disown(core);  // else when its turn comes
  }
  Unref(core);
}

void Scheduler::RunLinks(Core* core) {
  if (core->extras->links.empty()) return;
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
      if (Wants(link.on, core)) {
        try {
          link.fn(core);
        } catch (...) {
          HandleError(core, std::current_exception());
        }
      }
    }
  });
}

void Scheduler::UnrefSlow(Core* core) {
  // A last handle's letter, on its way home: the greenlet may be running there.
  constexpr uint32_t kLetter = uint32_t{1} << 31;
  struct FreeLetter : Letter {
    explicit FreeLetter(Core* c) : Letter(&Deliver), core(c) {}
    static void Deliver(Letter* letter, bool) {
      std::unique_ptr<FreeLetter> self(static_cast<FreeLetter*>(letter));
      Core* core = self->core;
      // It may have been handed out anew meanwhile.
      const uint32_t refs = core->refs.fetch_and(~kLetter, std::memory_order_acq_rel);
      if (refs == kLetter && !core->owns_itself) core->scheduler->Free(core);
    }
    Core* const core;
  };
  Scheduler* s = core->scheduler;
  const bool home = s->on_home_thread();
  uint32_t refs = core->refs.load(std::memory_order_relaxed);
  uint32_t left;
  do {
    left = refs - 1;
    if (left == 0 && !home) left = kLetter;
  } while (!core->refs.compare_exchange_weak(refs, left, std::memory_order_acq_rel,
                                             std::memory_order_relaxed));
  if (left == 0) {
    if (!core->owns_itself) s->Free(core);
  } else if (left == kLetter && refs == 1) {
    auto letter = std::make_unique<FreeLetter>(core);
    if (PostTo(s, letter.get())) {
      letter.release();
      return;
    }
    // Its mailbox is closed; a moment later that hub has ended, and with it whatever ran
    // there. Until then this counts as a handle.
    while (!s->ended()) sched_yield();
    if (core->refs.fetch_and(~kLetter, std::memory_order_acq_rel) == kLetter &&
        !core->owns_itself) {
      const Stack stack = core->stack;
      core->~Core();
      if (stack.valid()) GiveToSharedPool(stack);  // else a main greenlet's
      s->CountFreed(1);
    }
  }
}

void Scheduler::Free(Core* core) {
  --blocks_;
  const Stack stack = core->stack;
  // What the result's destructor does is not done by a greenlet that has ended.
  if (current_ == core) current_ = loop_;
  core->~Core();
  cores_.Give(core);
  if (stack.valid()) stacks_.Give(stack);  // else the main greenlet's
}

// --- interrupts -----------------------------------------------------------------------

void Scheduler::Interrupt(Core* core) {
  if (!core->parked || !core->interruptible) return;
  core->waiting_on->Cancel();
  core->special |= kInterrupted;
  Wake(core);
}

void Scheduler::Kill(Core* core, std::exception_ptr error) {
  if (core->finished || core->cancelled) return;
  if (!core->started) {
    FinishUnstarted(core, std::move(error));
    return;
  }
  if (!(core->special & kPendingKill)) core->kill_error = std::move(error);
  core->special |= kPendingKill;
  Interrupt(core);
}

void Scheduler::ThrowPending() {
  Core* self = current_;
  if (self->special & kPendingKill) {  // sticky: the bit stays
    // One that swallows it again and again must not keep the others from running.
    if (self->kill_thrown) YieldUninterrupted();
    self->kill_thrown = true;
    if (self->kill_error) std::rethrow_exception(self->kill_error);
    throw GreenletExit();
  }
  if (self->special & kPendingThrow) {
    self->special &= ~kPendingThrow;
    std::rethrow_exception(std::exchange(self->thrown, nullptr));
  }
  if (self->special & kPendingTimeout) Timeout::ThrowExpired();
  self->special &= ~kPendingLoopExit;
  throw LoopExit(std::move(loop_exit_report_));
}

// --- the special ones -------------------------------------------------------------

[[gnu::noinline]] Scheduler::Resumed Scheduler::SwitchInHandler(Core* self, Core* next) {
  const ExceptionState state = std::exchange(*exception_state_, {});
  const Resumed now = SwitchOutsideOfHandlers(self, next);
  *now.scheduler->exception_state_ = state;
  return now;
}

void Scheduler::Switch(Core* self, Core* next) {
  if (next == self) return;
  // Between greenlets the thread pointer is the hub's.
  if (self->has_own_thread_pointer()) SetThreadPointer(thread_pointer_);
  self = SwitchPlainly(self, next).self;
  if (self->has_own_thread_pointer()) SetThreadPointer(self->thread_pointer);
}

bool Scheduler::GoOn() {
  Core* self = current_;
  if (self->has_own_thread_pointer()) SetThreadPointer(self->thread_pointer);
  const bool interrupted = (self->special & kInterrupted) != 0;
  self->special &= ~kInterrupted;
  return interrupted;
}

bool Scheduler::ParkSpecial(Waiter* waiter) {
  Core* self = current_;
  if (self == loop_) BlockedOnLoopStack(waiter);
  self->interruptible = MayThrow();
  if (self->pending() != 0 && self->interruptible) {
    waiter->Cancel();
    return true;
  }
  BeginWait(self, waiter);
  if (self->has_own_thread_pointer()) SetThreadPointer(thread_pointer_);
  return SwitchPlainly(self, Next()).scheduler->GoOn();
}

void Scheduler::YieldSpecial() {
  if (current_ == loop_) BlockedOnLoopStack(nullptr);
  DeliverPending();
  YieldUninterrupted();
  current_scheduler->DeliverPending();
}

void Scheduler::YieldUninterrupted() {
  operations_left_ = operations_per_turn_;
  hub_->MakeReady(current_);
  Switch(current_, Next());
}

void Scheduler::EndOperations() {
  if (on_loop_stack()) {  // a callback, which cannot yield, and does not go on for long
    operations_left_ = operations_per_turn_;
  } else {
    Yield();
  }
}

void Scheduler::BlockedOnLoopStack(const Waiter* waiter) {
  GROVE_FATAL("a blocking call (", waiter ? waiter->Describe() : "Yield",
              ") inside a loop callback of hub '", hub_->name(),
              "', where nothing may block; spawn a greenlet for it");
}

// --- parking ----------------------------------------------------------------------

namespace {

// Ends the wait of a greenlet at a moment.
struct ParkTimer : Timer {
  explicit ParkTimer(Core* c) : Timer(&OnFire), core(c) { core->timed_out = false; }
  static void OnFire(Timer* timer) {
    Core* core = static_cast<ParkTimer*>(timer)->core;
    if (!core->parked) return;
    core->waiting_on->Cancel();
    core->timed_out = true;
    core->scheduler->Wake(core);
  }
  Core* const core;
};

}  // namespace

bool Scheduler::ParkUntil(Waiter* waiter, Deadline deadline, bool ref) {
  if (deadline.infinite()) {
    Park(waiter);
    return true;
  }
  Core* self = current_;
  ParkTimer timer(self);
  hub_->timers().Arm(&timer, deadline.when(), ref);
  Park(waiter);
  return !self->timed_out;
}

Scheduler::ParkEnd Scheduler::ParkQuietly(Waiter* waiter, Deadline deadline) {
  Core* self = current_;
  ParkTimer timer(self);
  if (!deadline.infinite()) hub_->timers().Arm(&timer, deadline.when());
  if (ParkUnlessPending(waiter)) return ParkEnd::kInterrupted;
  return self->timed_out ? ParkEnd::kTimedOut : ParkEnd::kWoken;
}

std::string ListedWaiter::Who() const {
  return core() ? core()->Label() : observer_->Who();
}

// --- looking inside ---------------------------------------------------------------

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

Core* Scheduler::Find(uint64_t id) const {
  if (id == main_->id) return main_;
  Core* c = all_;
  while (c && c->id != id) c = c->all_next;
  return c;
}

std::string Scheduler::Describe(const Core* c) const {
  return absl::StrCat(
      c->Label(),
      c == main_ ? "" : absl::StrCat(", spawned at ", c->site.file, ":", c->site.line),
      ": ",
      c->parked       ? absl::StrCat("waits for ", c->waiting_on->Describe())
      : c == current_ ? "runs"
      : c->started    ? "is ready"
                      : "has not started");
}

std::string Scheduler::Report() const {
  std::string out;
  const auto line = [&out, this](Core* c) {
    absl::StrAppend(&out, "  ", Describe(c), "\n");
  };
  line(main_);
  ForEach(line);
  return out;
}

void Core::RunOnHub(Runnable* r) {
  Core* core = static_cast<Core*>(r);
  core->scheduler->Switch(core->scheduler->current_, core);
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
