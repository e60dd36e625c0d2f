#include "grove/green/shutdown.h"

#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/kill_others.h"
#include "grove/green/internal/lone_waiter.h"
#include "grove/green/internal/process_mutex.h"
#include "grove/green/internal/second_signal.h"
#include "grove/green/interrupt.h"
#include "grove/green/os/signals.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove {

using green_internal::Core;
using green_internal::HookState;
using green_internal::Scheduler;
using green_internal::SecondSignal;
using green_internal::ShutdownSequence;
using Outcome = ShutdownReport::Outcome;

struct green_internal::HookState {
  const ShutdownPhase phase;
  const std::string name;
  absl::AnyInvocable<absl::Status(Deadline)> hook;
  const HubHandle home;
  // At home:
  bool removed = false;
  AnyGreenlet runner = {};
  // Set by who carries out the end, once: nobody waits for it any more.
  std::atomic<bool> given_up = false;
};

namespace {

constexpr ShutdownPhase kPhases[] = {ShutdownPhase::kStopAccepting, ShutdownPhase::kDrain,
                                     ShutdownPhase::kClose, ShutdownPhase::kFlush};

const char* NameOf(ShutdownPhase phase) {
  switch (phase) {
    case ShutdownPhase::kStopAccepting:
      return "stop accepting";
    case ShutdownPhase::kDrain:
      return "drain";
    case ShutdownPhase::kClose:
      return "close";
    case ShutdownPhase::kFlush:
      return "flush";
  }
  return "";
}

struct Request {
  int exit_code = 0;
  int signal = 0;
};

struct HookEnd {
  Outcome outcome;
  std::string error;
};

// One call of a hook, seen from the hub of who carries out the end.
struct HookRun {
  std::shared_ptr<HookState> state;
  std::shared_ptr<std::optional<HookEnd>> end;
};

// What the process has one of.
struct Registry {
  green_internal::ProcessMutex lock;
  std::vector<std::shared_ptr<HookState>> hooks;  // in the order of their coming
  // Those that came when their phase had begun.
  std::vector<HookRun> late;
  std::optional<Request> request;
  std::shared_ptr<ShutdownSequence> sequence;  // of the ShutdownScope
  std::optional<ShutdownPhase> begun;          // the last phase that has
  absl::Duration overtime;
  // Whose it is: a forked child's hooks and its end are its own.
  std::atomic<uint8_t> process{Scheduler::process_mark()};

  static Registry& Get() {
    // Never destroyed: hooks may be static.
    static Registry* const registry = new Registry;
    if (registry->process.load(std::memory_order_acquire) != Scheduler::process_mark()) {
      registry->BeginInChild();
    }
    return *registry;
  }

  void BeginInChild() {
    const std::lock_guard guard(lock);
    if (process.load(std::memory_order_relaxed) == Scheduler::process_mark()) return;
    hooks.clear();
    late.clear();
    request.reset();
    sequence.reset();
    begun.reset();
    process.store(Scheduler::process_mark(), std::memory_order_release);
  }

  // The last one that came first. Those that come later are late.
  std::vector<std::shared_ptr<HookState>> Begin(ShutdownPhase phase) {
    const std::lock_guard guard(lock);
    begun = phase;
    std::vector<std::shared_ptr<HookState>> found;
    for (auto h = hooks.rbegin(); h != hooks.rend(); ++h) {
      if ((*h)->phase == phase) found.push_back(*h);
    }
    return found;
  }

  std::vector<HookRun> TakeLate() {
    const std::lock_guard guard(lock);
    return std::exchange(late, {});
  }

  std::optional<Request> Requested() {
    const std::lock_guard guard(lock);
    return request;
  }
};

// `by` after the deadline, and after now.
Deadline Later(Deadline deadline, absl::Duration by) {
  if (deadline.infinite() || by == absl::InfiniteDuration()) return {};
  return Deadline::At(std::max(deadline.when(), ThisHub().Now()) +
                      absl::ToInt64Nanoseconds(by));
}

}  // namespace

// ShutdownSequence
//
// What the greenlet that carries out the end waits for. Whoever works for it elsewhere
// keeps it alive.
class green_internal::ShutdownSequence final : public LoneWaiter {
 public:
  explicit ShutdownSequence(HubHandle h) : home(std::move(h)) {}
  std::string Describe() const override { return waits_for; }

  const HubHandle home;
  std::string waits_for = "a reason to end the program";
  bool used = false;
};

namespace {

// Carries a T home when it is destroyed, wherever and for whatever reason that is: also
// if what was to work on it never ran.
template <typename T>
class Reply {
 public:
  Reply(std::shared_ptr<ShutdownSequence> sequence, std::shared_ptr<std::optional<T>> to,
        T initial)
      : value(std::move(initial)), sequence_(std::move(sequence)), to_(std::move(to)) {}
  Reply(Reply&&) = default;
  ~Reply() {
    if (sequence_ == nullptr) return;
    // The hub that waited for it may have ended: then nobody needs it.
    sequence_->home
        .Post([s = sequence_, to = std::move(to_), v = std::move(value)]() mutable {
          *to = std::move(v);
          s->Wake();
        })
        .IgnoreError();
  }

  T value;

 private:
  std::shared_ptr<ShutdownSequence> sequence_;
  std::shared_ptr<std::optional<T>> to_;
};

// --- hooks --------------------------------------------------------------------------

void RunHook(HookState& state, absl::Duration within, HookEnd& end) {
  try {
    const absl::Status status = state.hook(within);
    end = status.ok() ? HookEnd{Outcome::kFinished, ""}
                      : HookEnd{Outcome::kFailed, status.ToString()};
  } catch (const GreenletExit&) {
    end = {Outcome::kCut, "killed"};
    throw;
  } catch (...) {
    end = {Outcome::kFailed, green_internal::DescribeException(std::current_exception())};
  }
}

// At home.
void SpawnHook(const std::shared_ptr<HookState>& state, absl::Duration within,
               Reply<HookEnd> reply) {
  if (state->removed) {  // what it was for has ended by itself
    reply.value = {Outcome::kFinished, ""};
    return;
  }
  reply.value.error = "killed before it ran";
  state->runner = Spawn({.name = absl::StrCat("shutdown hook ", state->name)},
                        [state, within, reply = std::move(reply)]() mutable {
                          RunHook(*state, within, reply.value);
                        });
}

HookRun StartHook(std::shared_ptr<HookState> state, absl::Duration within,
                  const std::shared_ptr<ShutdownSequence>& sequence) {
  HookRun run{std::move(state), std::make_shared<std::optional<HookEnd>>()};
  Reply<HookEnd> reply(sequence, run.end, {Outcome::kCut, "its hub has ended"});
  run.state->home
      .Post([state = run.state, within, reply = std::move(reply)]() mutable {
        SpawnHook(state, within, std::move(reply));
      })
      .IgnoreError();
  return run;
}

// Hooks of one phase, to their end or beyond it.
class Phase {
 public:
  Phase(ShutdownPhase phase, Deadline grace, const ShutdownOptions& options,
        const std::shared_ptr<ShutdownSequence>& sequence, SecondSignal& second)
      : phase_(phase),
        options_(options),
        sequence_(sequence),
        second_(second),
        start_(ThisHub().Now()),
        deadline_(std::max(grace, Deadline(std::min(options.overtime, options.grace)))) {}

  void Run(std::vector<std::shared_ptr<HookState>> hooks,
           std::vector<ShutdownReport::Hook>* report) {
    std::vector<HookRun> runs;
    for (auto& state : hooks) {
      runs.push_back(StartHook(std::move(state), deadline_.Remaining(), sequence_));
    }
    Await(std::move(runs), report);
  }

  // For those that have begun.
  void Await(std::vector<HookRun> runs, std::vector<ShutdownReport::Hook>* report) {
    runs_ = std::move(runs);
    took_.resize(runs_.size());
    if (runs_.empty()) return;
    sequence_->waits_for = absl::StrCat("the hooks of phase '", NameOf(phase_), "'");
    const auto ended = [this] { return LookAtEnds(); };
    if (!sequence_->Await(ended, Later(deadline_, options_.overtime))) {
      for (const HookRun& run : runs_) {
        if (*run.end) continue;
        run.state->home
            .Post([state = run.state] {
              if (state->runner) state->runner.KillSoon();
            })
            .IgnoreError();
      }
      (void)sequence_->Await(ended, options_.overtime);
    }
    for (size_t i = 0; i < runs_.size(); ++i) report->push_back(Report(i));
  }

 private:
  // True if there is none left that runs.
  bool LookAtEnds() {
    std::vector<std::string> running;
    for (size_t i = 0; i < runs_.size(); ++i) {
      if (!*runs_[i].end) {
        running.push_back(absl::StrCat("'", runs_[i].state->name, "'"));
      } else if (!took_[i]) {
        took_[i] = absl::Nanoseconds(ThisHub().Now() - start_);
      }
    }
    if (running.empty()) return true;
    second_.SetText(absl::StrCat("grove: second signal, ends at once; cut off: hook",
                                 running.size() == 1 ? " " : "s ",
                                 absl::StrJoin(running, ", "), " (", NameOf(phase_),
                                 ")\n"));
    return false;
  }

  ShutdownReport::Hook Report(size_t i) {
    HookState& state = *runs_[i].state;
    const bool refused = !*runs_[i].end;
    if (refused) state.given_up.store(true);
    return {.name = state.name,
            .phase = state.phase,
            .hub = state.home.name(),
            .outcome = refused ? Outcome::kRefused : (*runs_[i].end)->outcome,
            .error = refused ? "killed, and does not end" : (*runs_[i].end)->error,
            .took = took_[i].value_or(absl::Nanoseconds(ThisHub().Now() - start_))};
  }

  const ShutdownPhase phase_;
  const ShutdownOptions& options_;
  const std::shared_ptr<ShutdownSequence>& sequence_;
  SecondSignal& second_;
  const MonotonicNanos start_;
  const Deadline deadline_;
  std::vector<HookRun> runs_;
  std::vector<std::optional<absl::Duration>> took_;
};

// --- greenlets that are left --------------------------------------------------------

struct Rest {
  std::vector<std::string> killed;
  std::vector<std::string> refused;
};

void KillRest(absl::Duration within, Rest& rest) {
  // What the hooks have told to end may only have to run to do so.
  constexpr int kTurns = 1000;
  Scheduler& s = Scheduler::Get();
  for (int i = 0; i < kTurns && s.hub().HasReady(); ++i) s.Yield();
  const auto describe = [&s](const Core* core) {
    return absl::StrCat(s.Describe(core), ", on hub '", s.hub_name(), "'");
  };
  const auto left = green_internal::KillOthers(
      within, [&](const Core* core) { rest.killed.push_back(describe(core)); });
  for (const AnyGreenlet& g : left) rest.refused.push_back(describe(g.core()));
}

void KillRestOfAll(const std::vector<HubHandle>& others, absl::Duration within,
                   const std::shared_ptr<ShutdownSequence>& sequence,
                   ShutdownReport* report) {
  std::vector<std::shared_ptr<std::optional<Rest>>> rests;
  for (const HubHandle& hub : others) {
    rests.push_back(std::make_shared<std::optional<Rest>>());
    hub.Post([within, reply = Reply<Rest>(sequence, rests.back(), {})]() mutable {
         Spawn({.name = "shutdown"}, [within, reply = std::move(reply)]() mutable {
           KillRest(within, reply.value);
         });
       })
        .IgnoreError();
  }
  Rest here;
  KillRest(within, here);
  sequence->waits_for = "the end of the greenlets of other hubs";
  const auto all = [&rests] {
    return std::all_of(rests.begin(), rests.end(),
                       [](const auto& rest) { return rest->has_value(); });
  };
  // They began later, and need a moment to answer.
  (void)sequence->Await(all, 2 * within);
  const auto add = [report](Rest& rest) {
    std::move(rest.killed.begin(), rest.killed.end(), std::back_inserter(report->killed));
    std::move(rest.refused.begin(), rest.refused.end(),
              std::back_inserter(report->refused));
  };
  add(here);
  for (size_t i = 0; i < rests.size(); ++i) {
    if (*rests[i]) {
      add(**rests[i]);
    } else {
      report->refused.push_back(
          absl::StrCat("hub '", others[i].name(), "' does not answer"));
    }
  }
}

void Ask(Request request) {
  Registry& r = Registry::Get();
  std::shared_ptr<ShutdownSequence> sequence;
  {
    const std::lock_guard guard(r.lock);
    if (!r.request) r.request = request;
    sequence = r.sequence;
  }
  if (sequence) sequence->home.Post([sequence] { sequence->Wake(); }).IgnoreError();
}

// Greenlets that wait for signals, while somebody waits for the end.
class SignalWaits {
 public:
  SignalWaits(const std::vector<std::unique_ptr<SignalListener>>& listeners) {
    for (const auto& listener : listeners) {
      greenlets_.push_back(Spawn({.name = "shutdown signals"},
                                 [l = listener.get()] { Ask({.signal = *l->Wait()}); }));
    }
  }
  ~SignalWaits() {
    Shield shield;
    for (const Greenlet<>& g : greenlets_) g.Kill();
  }

 private:
  std::vector<Greenlet<>> greenlets_;
};

}  // namespace

// --- the public face ----------------------------------------------------------------

ShutdownHook green_internal::AddHook(ShutdownPhase phase, std::string name,
                                     absl::AnyInvocable<absl::Status(Deadline)> hook) {
  auto state = std::shared_ptr<HookState>(
      new HookState{phase, std::move(name), std::move(hook), ThisHub().handle()});
  Registry& r = Registry::Get();
  const std::lock_guard guard(r.lock);
  r.hooks.push_back(state);
  if (r.sequence && r.begun && phase <= *r.begun) {
    HookRun run{state, std::make_shared<std::optional<HookEnd>>()};
    SpawnHook(state, r.overtime,
              Reply<HookEnd>(r.sequence, run.end, {Outcome::kCut, "its hub has ended"}));
    r.late.push_back(std::move(run));
  }
  return ShutdownHook(std::move(state));
}

void ShutdownHook::Reset() {
  if (state_ == nullptr) return;
  {
    Registry& r = Registry::Get();
    const std::lock_guard guard(r.lock);
    std::erase(r.hooks, state_);
  }
  state_->removed = true;
  const std::shared_ptr<HookState> state = std::move(state_);
  // It stays where a kill finds it while it runs, and no longer.
  struct Forget {
    ~Forget() { state.runner = AnyGreenlet(); }
    HookState& state;
  } const forget{*state};
  const AnyGreenlet runner = state->runner;
  if (!runner || runner.core()->scheduler->ended()) return;
  if (runner.core() == Scheduler::Get().current()) return;
  Shield shield;
  // Who gives it up is on another hub, and does not know that somebody waits.
  constexpr absl::Duration kLookAgain = absl::Milliseconds(50);
  while (!state->given_up.load() && !runner.Join(kLookAgain)) {
  }
}

void RequestShutdown(int exit_code) { Ask({.exit_code = exit_code}); }

bool ShutdownRequested() { return Registry::Get().Requested().has_value(); }

ShutdownScope::ShutdownScope(ShutdownOptions options)
    : options_(std::move(options)),
      sequence_(std::make_shared<ShutdownSequence>(ThisHub().handle())) {
  for (const int signum : options_.signals) {
    listeners_.push_back(
        std::make_unique<SignalListener>(std::initializer_list<int>{signum}));
  }
  second_ = std::make_unique<SecondSignal>(options_.signals);
  Registry& r = Registry::Get();
  const std::lock_guard guard(r.lock);
  GROVE_CHECK(r.sequence == nullptr, "there are two ShutdownScopes, on hub '",
              r.sequence->home.name(), "' and on hub '", sequence_->home.name(), "'");
  r.sequence = sequence_;
  r.overtime = options_.overtime;
}

ShutdownScope::~ShutdownScope() {
  Registry& r = Registry::Get();
  const std::lock_guard guard(r.lock);
  if (r.sequence != sequence_) return;  // its parent's, in a forked child
  r.sequence = nullptr;
  r.request.reset();
  r.begun.reset();
  r.late.clear();
}

ShutdownReport ShutdownScope::Wait() {
  GROVE_CHECK(!std::exchange(sequence_->used, true),
              "a second Wait() of a ShutdownScope");
  Registry& registry = Registry::Get();
  const KeepAlive alive(&ThisHub());
  {
    const SignalWaits signals(listeners_);
    (void)sequence_->Await([&] { return registry.Requested().has_value(); });
  }
  const Request request = *registry.Requested();
  const MonotonicNanos start = ThisHub().Now();
  ShutdownReport report;
  report.exit_code = request.exit_code;
  report.signal = request.signal;
  const Deadline grace = options_.grace;
  std::vector<HubHandle> others;  // that have hooks
  const auto has_hook = [&](const HookState& state) {
    if (state.home == sequence_->home) return;
    if (std::find(others.begin(), others.end(), state.home) == others.end()) {
      others.push_back(state.home);
    }
  };
  for (const ShutdownPhase phase : kPhases) {
    std::vector<std::shared_ptr<HookState>> hooks = registry.Begin(phase);
    for (const auto& state : hooks) has_hook(*state);
    Phase(phase, grace, options_, sequence_, *second_)
        .Run(std::move(hooks), &report.hooks);
  }
  const Deadline late_until = options_.overtime;
  do {
    std::vector<HookRun> late = registry.TakeLate();
    if (late.empty()) break;
    for (const HookRun& run : late) has_hook(*run.state);
    Phase(ShutdownPhase::kFlush, late_until, options_, sequence_, *second_)
        .Await(std::move(late), &report.hooks);
  } while (!late_until.HasPassed());
  second_->SetText(
      "grove: second signal, ends at once; cut off: the greenlets that were left\n");
  KillRestOfAll(others, options_.overtime, sequence_, &report);
  report.took = absl::Nanoseconds(ThisHub().Now() - start);
  return report;
}

int ShutdownScope::Run() {
  const ShutdownReport report = Wait();
  if (!report.clean()) fprintf(stderr, "grove: %s", report.ToString().c_str());
  return report.exit_code;
}

// --- the report ---------------------------------------------------------------------

bool ShutdownReport::clean() const {
  return killed.empty() && refused.empty() &&
         std::all_of(hooks.begin(), hooks.end(),
                     [](const Hook& h) { return h.outcome == Outcome::kFinished; });
}

std::string ShutdownReport::ToString() const {
  std::string out = absl::StrCat(
      "shutdown by ",
      signal ? absl::StrCat("SIG", sigabbrev_np(signal)) : std::string("request"),
      " took ", absl::FormatDuration(took), ": ", hooks.size(), " hooks, ", killed.size(),
      " greenlets killed, ", refused.size(), " refused to end\n");
  for (const Hook& h : hooks) {
    if (h.outcome == Outcome::kFinished) continue;
    absl::StrAppend(&out, "  hook '", h.name, "' (", NameOf(h.phase), ", on hub '", h.hub,
                    "') ", h.outcome == Outcome::kFailed ? "failed" : "was cut",
                    " after ", absl::FormatDuration(h.took), ": ", h.error, "\n");
  }
  const auto list = [&out](const char* what, const std::vector<std::string>& all) {
    constexpr size_t kShown = 20;
    for (size_t i = 0; i < std::min(all.size(), kShown); ++i) {
      absl::StrAppend(&out, "  ", what, ": ", all[i], "\n");
    }
    if (all.size() > kShown) {
      absl::StrAppend(&out, "  ", what, ": and ", all.size() - kShown, " more\n");
    }
  };
  list("killed", killed);
  list("does not end", refused);
  return out;
}

}  // namespace grove
