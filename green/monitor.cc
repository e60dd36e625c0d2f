#include "grove/green/monitor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/backtrace.h"
#include "grove/green/internal/cores.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/hub_record.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/internal/unpatched.h"
#include "grove/hub/config.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

using green_internal::CapturedStack;
using green_internal::HubRecord;
using green_internal::QuietThread;
using green_internal::Scheduler;
using green_internal::StackCapture;

constinit Setting<absl::Duration> blocking_time_setting(
    "max_blocking_time", "GROVE_MAX_BLOCKING_TIME", "100ms",
    "How long something may run on a hub before a monitor tells; inf: it never does.",
    {.min = absl::Microseconds(1)});
constinit Setting<Bytes> memory_usage_setting(
    "max_memory_usage", "GROVE_MAX_MEMORY_USAGE", "0",
    "How much memory the program may use before a monitor tells; 0: it does not look.");
constinit Setting<absl::Duration> memory_period_setting(
    "memory_monitor_period", "GROVE_MEMORY_MONITOR_PERIOD", "5s",
    "How often a monitor looks at the memory.", {.min = absl::Milliseconds(1)});
constinit Setting<bool> print_setting(
    "print_blocking_reports", "GROVE_PRINT_BLOCKING_REPORTS", "true",
    "Whether a monitor prints what it tells its subscribers.");
const bool declared = Config::Declare({&blocking_time_setting, &memory_usage_setting,
                                       &memory_period_setting, &print_setting});

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "its thread is in the kernel (state D, in nfs_wait)", as far as the kernel tells.
std::string WhereInTheKernel(pid_t tid) {
  const std::string base = absl::StrCat("/proc/self/task/", tid, "/");
  const std::string stat = FirstLine(base + "stat");
  const size_t name_end = stat.rfind(')');
  std::string state = "unknown";
  if (name_end != std::string::npos && name_end + 2 < stat.size()) {
    state = stat.substr(name_end + 2, 1);
  }
  const std::string channel = FirstLine(base + "wchan");
  return absl::StrCat(
      "state ", state,
      channel.empty() || channel == "0" ? "" : absl::StrCat(", in ", channel));
}

// What a monitor knows of a hub.
struct Watch {
  Hub::Progress progress;
  MonotonicNanos since = 0;  // when that was first seen
  bool told = false;
  bool seen = false;  // in this round; else the hub has ended
};

}  // namespace

// --- events -------------------------------------------------------------------------

std::string EventLoopBlocked::ToString() const {
  std::string out = absl::StrCat(
      "grove: hub '", hub, "' is held up: ", label,
      *spawn_site.file == '\0'
          ? ""
          : absl::StrCat(", spawned at ", spawn_site.file, ":", spawn_site.line, ","),
      " has run for ", absl::FormatDuration(at_least),
      " or longer without letting others run\n");
  for (const std::string& frame : stack) absl::StrAppend(&out, "  @ ", frame, "\n");
  if (!no_stack.empty()) absl::StrAppend(&out, "  no stack: ", no_stack, "\n");
  return out;
}

std::string MemoryUsageThresholdExceeded::ToString() const {
  return absl::StrCat("grove: memory usage is ", usage, " bytes, more than ", max_usage,
                      "\n");
}

std::string MemoryUsageUnderThreshold::ToString() const {
  return absl::StrCat("grove: memory usage is ", usage, " bytes, no longer more than ",
                      max_usage, "; it was ", last_exceeded, "\n");
}

absl::Duration MonitorOptions::MaxBlockingTime() { return blocking_time_setting.Get(); }
size_t MonitorOptions::MaxMemoryUsage() { return memory_usage_setting.Get().count; }
absl::Duration MonitorOptions::MemoryPeriod() { return memory_period_setting.Get(); }
bool MonitorOptions::PrintsReports() { return print_setting.Get(); }

size_t MemoryUsage() {
  size_t size = 0;
  size_t resident = 0;
  size_t shared = 0;
  std::ifstream("/proc/self/statm") >> size >> resident >> shared;
  return (resident - std::min(shared, resident)) *
         static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// --- Monitor ------------------------------------------------------------------------

class Monitor::Impl {
 public:
  explicit Impl(MonitorOptions options) : options_(std::move(options)) {
    GROVE_CHECK(options_.max_blocking_time > absl::ZeroDuration(),
                "Monitor: max_blocking_time must be positive");
    GROVE_CHECK(options_.memory_period > absl::ZeroDuration(),
                "Monitor: memory_period must be positive");
    if (LooksAtHubs()) StackCapture::InstallHandler(options_.signal);
    memory_.period = options_.memory_period;
    memory_.due = Now();
  }

  ~Impl() {
    if (!thread_.joinable()) return;
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  bool BelongsToParent() const { return thread_.joinable() && process_ != getpid(); }

  void Start() {
    GROVE_CHECK(!thread_.joinable(), "a Monitor is started twice");
    const green_internal::Unpatched native;
    process_ = getpid();
    try {
      thread_ = std::thread([this] { Run(); });
    } catch (const std::system_error& e) {
      GROVE_FATAL("a Monitor cannot start its thread: ", strerror(e.code().value()));
    }
  }

  uint64_t Subscribe(Subscriber subscriber) {
    std::lock_guard lock(mutex_);
    subscribers_[++last_id_] = std::make_shared<Subscriber>(std::move(subscriber));
    StayQuiet();
    return last_id_;
  }

  bool Unsubscribe(uint64_t id) {
    std::lock_guard lock(mutex_);
    const bool found = subscribers_.erase(id) > 0;
    StayQuiet();
    return found;
  }

  uint64_t AddFunction(absl::Duration period, Function function) {
    GROVE_CHECK(period > absl::ZeroDuration(), "Monitor::AddFunction: a period of ",
                absl::FormatDuration(period));
    std::lock_guard lock(mutex_);
    auto added = std::make_shared<Periodic>();
    added->period = period;
    added->due = After(Now(), period);
    added->function = std::move(function);
    functions_[++last_id_] = std::move(added);
    StayQuiet();
    wake_.notify_all();
    return last_id_;
  }

  bool RemoveFunction(uint64_t id) {
    std::lock_guard lock(mutex_);
    const bool found = functions_.erase(id) > 0;
    StayQuiet();
    return found;
  }

  void CheckNow() {
    std::lock_guard lock(mutex_);
    if (LooksAtHubs()) CheckHubs();
    if (options_.max_memory_usage > 0 && IsDue(memory_)) CheckMemory();
    // Copies: one may remove itself, or others.
    const auto functions = functions_;
    for (const auto& [id, f] : functions) {
      if (functions_.count(id) == 0 || !IsDue(*f)) continue;
      Guarded("function", [&f = *f] { f.function(AllHubStatistics()); });
    }
  }

 private:
  struct Periodic {
    absl::Duration period;
    MonotonicNanos due = 0;
    Function function;
  };

  MonotonicNanos Now() const { return options_.clock->Now(); }
  static MonotonicNanos After(MonotonicNanos now, absl::Duration period) {
    constexpr auto kNever = std::numeric_limits<MonotonicNanos>::max();
    const int64_t nanos = absl::ToInt64Nanoseconds(period);
    return nanos > kNever - now ? kNever : now + nanos;
  }
  bool LooksAtHubs() const {
    return options_.max_blocking_time != absl::InfiniteDuration();
  }

  bool IsDue(Periodic& p) const {
    const MonotonicNanos now = Now();
    if (now < p.due) return false;
    // From now on, and not what was missed.
    p.due = After(now, p.period);
    return true;
  }

  void Run() {
    green_internal::LeaveTheCore();
    std::unique_lock lock(mutex_);
    runs_ = true;
    StayQuiet();
    Tell(MonitorThreadStarted());
    while (!stop_) {
      CheckNow();
      if (!stop_) wake_.wait_for(lock, absl::ToChronoNanoseconds(UntilNext()));
    }
    quiet_.reset();
  }

  absl::Duration UntilNext() const {
    const MonotonicNanos now = Now();
    absl::Duration wait = absl::Hours(1);
    if (LooksAtHubs()) wait = std::min(wait, options_.max_blocking_time / 2);
    const auto until = [&](const Periodic& p) {
      wait = std::min(wait, absl::Nanoseconds(p.due - now));
    };
    if (options_.max_memory_usage > 0) until(memory_);
    for (const auto& [id, f] : functions_) until(*f);
    return std::max(wait, absl::Milliseconds(1));
  }

  // Whether the thread could still wake a hub is up to those whom it calls.
  void StayQuiet() {
    if (!runs_ || !subscribers_.empty() || !functions_.empty()) {
      quiet_.reset();
    } else if (!quiet_) {
      quiet_.emplace();
    }
  }

  void CheckHubs() {
    for (auto& [record, watch] : watches_) watch.seen = false;
    for (const auto& record : HubRecord::All()) {
      Watch& watch = watches_[record];
      watch.seen = true;
      if (std::optional<EventLoopBlocked> event = CheckHub(*record, watch)) {
        Tell(*std::move(event));
      }
    }
    std::erase_if(watches_, [](const auto& w) { return !w.second.seen; });
  }

  std::optional<EventLoopBlocked> CheckHub(HubRecord& record, Watch& watch) {
    const MonotonicNanos now = Now();
    const HubRecord::Look look(record);
    if (!look) return std::nullopt;
    const Scheduler::Outside outside = look.See();
    const Hub::Progress progress = outside.hub.progress();
    if (progress != watch.progress || watch.since == 0 || outside.hub.asleep() ||
        record.is_a_pools() || record.Ignores(outside.current)) {
      watch.progress = progress;
      watch.since = now;
      watch.told = false;
      return std::nullopt;
    }
    const absl::Duration blocked = absl::Nanoseconds(now - watch.since);
    if (watch.told || blocked < options_.max_blocking_time) return std::nullopt;
    watch.told = true;
    EventLoopBlocked event;
    event.hub = record.name();
    event.at_least = blocked;
    event.label = outside.on_loop_stack ? "a loop callback" : "a greenlet";
    CapturedStack captured;
    if (!record.Capture(options_.signal, options_.stack_limit, &captured)) {
      event.no_stack = absl::StrCat(
          "its thread ", record.tid(), " has not answered signal ", options_.signal,
          " for ", absl::FormatDuration(options_.stack_limit),
          ": it blocks it, gets no processor, or is in a system call that nothing "
          "interrupts (",
          WhereInTheKernel(record.tid()), ")");
    } else if (captured.progress != progress) {
      event.no_stack = "something else ran already when it was taken";
    } else {
      event.label = captured.Label();
      event.greenlet_id = captured.id;
      event.spawn_site = captured.site;
      for (int i = 0; i < captured.count; ++i) {
        event.stack.push_back(green_internal::SymbolOf(captured.pcs[i]));
      }
    }
    return event;
  }

  void CheckMemory() {
    const size_t usage = options_.memory_meter();
    const size_t max = options_.max_memory_usage;
    if (usage > max) {
      const bool grows = usage > exceeded_;
      exceeded_ = usage;
      if (grows) Tell(MemoryUsageThresholdExceeded{usage, max});
    } else if (exceeded_ > 0) {
      Tell(MemoryUsageUnderThreshold{usage, max, std::exchange(exceeded_, 0)});
    }
  }

  void Tell(const MonitorEvent& event) {
    const auto subscribers = subscribers_;
    for (const auto& subscriber : subscribers) {
      if (subscribers_.count(subscriber.first) == 0) continue;
      Guarded("subscriber", [&] { (*subscriber.second)(event); });
    }
    if (!options_.print || std::holds_alternative<MonitorThreadStarted>(event)) return;
    const std::string text =
        std::visit([](const auto& e) { return e.ToString(); }, event);
    fputs(text.c_str(), stderr);
  }

  template <typename F>
  static void Guarded(const char* what, F call) {
    try {
      call();
    } catch (...) {
      fprintf(stderr, "grove: a monitor's %s failed: %s\n", what,
              green_internal::DescribeException(std::current_exception()).c_str());
    }
  }

  const MonitorOptions options_;
  // Recursive, since whom the monitor calls may subscribe and so on.
  std::recursive_mutex mutex_;
  std::condition_variable_any wake_;
  bool stop_ = false;
  bool runs_ = false;
  std::optional<QuietThread> quiet_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, std::shared_ptr<Subscriber>> subscribers_;
  std::map<uint64_t, std::shared_ptr<Periodic>> functions_;
  std::map<std::shared_ptr<HubRecord>, Watch> watches_;
  Periodic memory_;
  size_t exceeded_ = 0;
  std::thread thread_;
  pid_t process_ = 0;  // that has it
};

Monitor::Monitor(MonitorOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
Monitor::~Monitor() {
  // In a forked child there is no such thread to join, and its locks are as it left them.
  if (impl_->BelongsToParent()) (void)impl_.release();
}
void Monitor::Start() { impl_->Start(); }
uint64_t Monitor::Subscribe(Subscriber s) { return impl_->Subscribe(std::move(s)); }
bool Monitor::Unsubscribe(uint64_t id) { return impl_->Unsubscribe(id); }
uint64_t Monitor::AddFunction(absl::Duration period, Function function) {
  return impl_->AddFunction(period, std::move(function));
}
bool Monitor::RemoveFunction(uint64_t id) { return impl_->RemoveFunction(id); }
void Monitor::CheckNow() { impl_->CheckNow(); }

Monitor& StartMonitor(MonitorOptions options) {
  static std::atomic<Monitor*> the_monitor{nullptr};
  auto* monitor = new Monitor(std::move(options));
  Monitor* none = nullptr;
  GROVE_CHECK(the_monitor.compare_exchange_strong(none, monitor),
              "StartMonitor() is called a second time");
  monitor->Start();
  return *monitor;
}

// --- IgnoreBlocking -------------------------------------------------------------------

IgnoreBlocking::IgnoreBlocking() : core_(Scheduler::Get().current()) {
  core_->scheduler->record().Ignore(core_);
}

IgnoreBlocking::~IgnoreBlocking() { core_->scheduler->record().StopIgnoring(core_); }

}  // namespace grove
