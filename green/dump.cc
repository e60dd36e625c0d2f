#include "grove/green/dump.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "grove/green/internal/backtrace.h"
#include "grove/green/internal/cores.h"
#include "grove/green/internal/hub_record.h"
#include "grove/green/internal/own_sigaction.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/internal/unpatched.h"
#include "grove/green/os/internal/no_sigpipe.h"
#include "grove/green/spawn_tree.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

using green_internal::CapturedStack;
using green_internal::Core;
using green_internal::HubRecord;
using green_internal::QuietThread;
using green_internal::Scheduler;
using green_internal::StackCapture;
using green_internal::Waiter;

constexpr int kMaxFrames = CapturedStack::kMaxFrames;

// --- cycles ---------------------------------------------------------------------------

// A greenlet that waits for what one other holds. Of one that waits on another hub, its
// own hub knows who it is, but not for what it waits: then `holder` is null.
struct Wait {
  const Core* waiter;
  std::string label;
  std::string what;
  const Core* holder;
};

// Each greenlet waits for at most one other: from each that was not seen yet, along the
// edges until there is none, or one that was seen. If that was on this very walk, it is
// part of a cycle.
std::string FormatCycles(const std::vector<Wait>& waits) {
  std::unordered_map<const Core*, Wait> by_waiter;
  for (const Wait& w : waits) {
    Wait& whole = by_waiter.try_emplace(w.waiter, w).first->second;
    if (w.holder == nullptr) {
      whole.label = w.label;
    } else {
      whole.what = w.what;
      whole.holder = w.holder;
    }
  }
  std::string out;
  std::unordered_map<const Core*, size_t> seen;
  for (size_t walk = 0; walk < waits.size(); ++walk) {
    auto at = by_waiter.find(waits[walk].waiter);
    while (at != by_waiter.end() && seen.emplace(at->first, walk).second) {
      at = by_waiter.find(at->second.holder);
    }
    if (at == by_waiter.end() || seen[at->first] != walk) continue;
    out += "cycle:\n";
    const Core* const first = at->first;
    do {
      absl::StrAppend(&out, "  ", at->second.label, " waits for ", at->second.what, "\n");
      at = by_waiter.find(at->second.holder);
    } while (at->first != first);
  }
  return out;
}

// --- one hub, on its own thread -------------------------------------------------------

struct Part {
  std::string text;  // empty as long as there is none
  std::vector<Wait> waits;
};

class HubDump {
 public:
  HubDump(Scheduler& s, const DumpOptions& options)
      : s_(s), options_(options), now_(s.hub().Now()) {}

  Part Make() {
    absl::StrAppend(&out_, "hub '", s_.hub_name(), "', ", s_.live(),
                    s_.live() == 1 ? " greenlet" : " greenlets",
                    " beside the main one\n");
    Add(s_.main());
    s_.ForEach([this](Core* c) { Add(c); });
    s_.ForEachVisitor([this](const Scheduler::Visitor& v) {
      const Scheduler::Visitor::Wait wait = v.GetWait();
      if (wait.holder) waits_.push_back({wait.waiter, wait.who, wait.what, wait.holder});
    });
    FormatGroups();
    FormatTree();
    return {std::move(out_), std::move(waits_)};
  }

 private:
  using Stack = std::vector<void*>;
  using Members = std::vector<Core*>;

  void Add(Core* c) {
    AddWait(c);
    void* pcs[kMaxFrames];
    int count = 0;
    if (c->started && c != s_.current()) {
      if (c->stack.valid()) {
        count =
            FramesOf(c->context, c->stack.usable_low(), c->stack.top(), pcs, kMaxFrames);
      }
      if (count == 0) count = BacktraceOf(c->context, pcs, kMaxFrames);
    }
    groups_[Stack(pcs, pcs + count)].push_back(c);
  }

  void AddWait(const Core* c) {
    if (!c->parked) return;
    if (const Core* holder = c->waiting_on->HeldBy()) {
      waits_.push_back({c, c->Label(), c->waiting_on->Describe(), holder});
    } else if (c->waiting_on->IsHeldElsewhere()) {
      waits_.push_back({c, c->Label(), "", nullptr});
    }
  }

  // From when on it has waited; what does not wait comes last.
  static MonotonicNanos Since(const Core* c) {
    return c->parked ? c->waiting_on->since()
                     : std::numeric_limits<MonotonicNanos>::max();
  }

  void FormatGroups() {
    std::vector<std::pair<const Stack*, Members*>> sorted;
    for (auto& [stack, members] : groups_) sorted.emplace_back(&stack, &members);
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
      return a.second->size() > b.second->size();
    });
    for (const auto& [stack, members] : sorted) {
      absl::StrAppend(&out_, members->size(),
                      members->size() == 1 ? " greenlet:\n" : " greenlets:\n");
      FormatMembers(members);
      for (void* pc : *stack) absl::StrAppend(&out_, "  @ ", Symbol(pc), "\n");
    }
  }

  void FormatMembers(Members* members) {
    const size_t listed = std::min(options_.listed, members->size());
    std::partial_sort(members->begin(), members->begin() + static_cast<ptrdiff_t>(listed),
                      members->end(), [](const Core* a, const Core* b) {
                        return std::make_pair(Since(a), a->id) <
                               std::make_pair(Since(b), b->id);
                      });
    for (size_t i = 0; i < listed; ++i) {
      const Core* c = (*members)[i];
      absl::StrAppend(&out_, "  ", s_.Describe(c));
      if (c->parked) {
        absl::StrAppend(&out_, ", for ",
                        absl::FormatDuration(absl::Trunc(
                            absl::Nanoseconds(now_ - Since(c)), absl::Milliseconds(1))));
      }
      if (c->stack.valid()) {
        absl::StrAppend(&out_, "; ", green_internal::TouchedBytes(c->stack) / 1024,
                        " of ", (c->stack.top() - c->stack.usable_low()) / 1024,
                        " KiB of stack touched");
      }
      out_ += '\n';
    }
    if (listed < members->size()) {
      absl::StrAppend(&out_, "  and ", members->size() - listed, " more\n");
    }
  }

  const std::string& Symbol(void* pc) {
    std::string& symbol = symbols_[pc];
    if (symbol.empty()) symbol = green_internal::SymbolOf(pc);
    return symbol;
  }

  void FormatTree() {
    if (s_.live() > options_.largest_tree) {
      absl::StrAppend(&out_, "spawn tree: left out, more than ", options_.largest_tree,
                      " greenlets\n");
      return;
    }
    out_ += "spawn tree:\n";
    for (absl::string_view line : absl::StrSplit(FormatSpawnTree(), '\n')) {
      if (!line.empty()) absl::StrAppend(&out_, "  ", line, "\n");
    }
  }

  Scheduler& s_;
  const DumpOptions& options_;
  const MonotonicNanos now_;
  std::vector<Wait> waits_;
  std::map<Stack, Members> groups_;
  std::map<void*, std::string> symbols_;
  std::string out_;
};

// Nothing if there is none.
Part PartOfThisHub(const DumpOptions& options) {
  Scheduler* s = Scheduler::GetIfExists();
  return s ? HubDump(*s, options).Make() : Part();
}

// --- all hubs, from one thread --------------------------------------------------------

// What hubs answer. Late answers find that nobody reads them.
struct Answers {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Part> parts;  // by hub
  size_t missing = 0;
};

// Of a pool's thread that waits for work: it answers when it has some.
std::string RestOf(const HubRecord& record, uint64_t live) {
  return absl::StrCat("hub '", record.name(), "', ", live,
                      live == 1 ? " greenlet" : " greenlets",
                      " beside the main one: its thread ", record.tid(),
                      " is a pool's, and waits for work\n");
}

using Clock = std::chrono::steady_clock;

// `until` is when stacks have to be there, of all hubs together.
std::string DumpOfBlocked(HubRecord& record, const DumpOptions& options,
                          Clock::time_point until) {
  const HubRecord::Look look(record);
  if (!look) return "";  // it has ended meanwhile
  const uint64_t live = look.See().live;
  if (record.rests()) return RestOf(record, live);
  std::string out = absl::StrCat("hub '", record.name(), "', ", live,
                                 live == 1 ? " greenlet" : " greenlets",
                                 " beside the main one, does not answer\n");
  if (record.is_a_pools()) {
    absl::StrAppend(&out, "its thread ", record.tid(),
                    " is a pool's, and at work: no signal reaches it\n");
    return out;
  }
  CapturedStack captured;
  const absl::Duration left = absl::FromChrono(until - Clock::now());
  if (!record.Capture(options.signal, std::max(left, absl::Milliseconds(1)), &captured)) {
    absl::StrAppend(&out, "its thread ", record.tid(), " does not either\n");
    return out;
  }
  absl::StrAppend(&out, captured.Label(), " runs:\n");
  for (int i = 0; i < captured.count; ++i) {
    absl::StrAppend(&out, "  @ ", green_internal::SymbolOf(captured.pcs[i]), "\n");
  }
  return out;
}

// Blocks this thread.
std::string Collect(const DumpOptions& options) {
  StackCapture::InstallHandler(options.signal);
  const auto after = [](absl::Duration limit) {
    return Clock::now() + absl::ToChronoNanoseconds(std::min(limit, absl::Hours(1)));
  };
  const Clock::time_point until = after(options.limit);
  Scheduler* here = Scheduler::GetIfExists();
  const std::vector<std::shared_ptr<HubRecord>> records = HubRecord::All();
  const auto answers = std::make_shared<Answers>();
  answers->parts.resize(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    if (here != nullptr && &here->record() == records[i].get()) {
      answers->parts[i] = PartOfThisHub(options);
      continue;
    }
    if (records[i]->rests()) continue;  // see DumpOfBlocked()
    {
      std::lock_guard lock(answers->mutex);
      ++answers->missing;
    }
    const absl::Status posted = records[i]->handle().Post([answers, i, options] {
      Part part = PartOfThisHub(options);
      std::lock_guard lock(answers->mutex);
      answers->parts[i] = std::move(part);
      --answers->missing;
      answers->changed.notify_one();
    });
    if (!posted.ok()) {  // it ends
      std::lock_guard lock(answers->mutex);
      --answers->missing;
    }
  }
  std::vector<Part> parts;
  {
    std::unique_lock lock(answers->mutex);
    while (answers->missing > 0 &&
           answers->changed.wait_until(lock, until) == std::cv_status::no_timeout) {
    }
    parts = answers->parts;
  }
  std::string out;
  std::vector<Wait> waits;
  const Clock::time_point stacks_until = after(options.stack_limit);
  for (size_t i = 0; i < records.size(); ++i) {
    out += parts[i].text.empty() ? DumpOfBlocked(*records[i], options, stacks_until)
                                 : parts[i].text;
    out += '\n';
    waits.insert(waits.end(), parts[i].waits.begin(), parts[i].waits.end());
  }
  return out + FormatCycles(waits);
}

// A greenlet waits for a thread that collects, so that its hub can answer, too.
class CollectingThread {
 public:
  explicit CollectingThread(const DumpOptions& options)
      : scheduler_(Scheduler::Get()), core_(scheduler_.current()) {
    const green_internal::Unpatched native;
    thread_ = std::thread([this, options] {
      const QuietThread quiet;
      green_internal::LeaveTheCore();
      text_ = Collect(options);
      scheduler_.handle().PostLetter(&done_letter_);
    });
  }

  std::string Await() {
    const KeepAlive alive(&scheduler_.hub());
    DumpWaiter waiter;
    ++core_->shields;
    while (!done_) scheduler_.Park(&waiter);
    --core_->shields;
    thread_.join();
    return std::move(text_);
  }

 private:
  struct DumpWaiter final : Waiter {
    void Cancel() override {}
    std::string Describe() const override { return "a dump"; }
  };
  struct DoneLetter : Letter {
    explicit DoneLetter(CollectingThread* c) : Letter(&Deliver), collecting(c) {}
    static void Deliver(Letter* letter, bool) {
      CollectingThread* c = static_cast<DoneLetter*>(letter)->collecting;
      c->done_ = true;
      c->scheduler_.Wake(c->core_);
    }
    CollectingThread* const collecting;
  };

  Scheduler& scheduler_;
  Core* const core_;
  bool done_ = false;
  std::string text_;
  DoneLetter done_letter_{this};
  std::thread thread_;
};

// For how long (in milliseconds) nobody reads, at most.
constexpr int kReaderIsGone = 5000;

void WriteAll(int fd, const std::string& text) {
  const char* at = text.data();
  size_t left = text.size();
  // Who reads it may have gone, or be slow.
  green_internal::NoSigpipe no_sigpipe;
  while (left > 0) {
    const ssize_t n = no_sigpipe.Wrote(write(fd, at, left), left);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      pollfd writable = {.fd = fd, .events = POLLOUT, .revents = 0};
      if (poll(&writable, 1, kReaderIsGone) == 0) return;
      continue;
    }
    if (n <= 0) return;
    at += n;
    left -= static_cast<size_t>(n);
  }
}

// Posted by the signal's handler.
sem_t dump_wanted;

}  // namespace

std::string DumpHub(const DumpOptions& options) {
  const Part part = PartOfThisHub(options);
  return part.text + FormatCycles(part.waits);
}

std::string DumpAll(const DumpOptions& options) {
  Scheduler* s = Scheduler::GetIfExists();
  if (s == nullptr || s->on_loop_stack()) return Collect(options);
  try {
    return CollectingThread(options).Await();
  } catch (const std::system_error&) {  // there can be no more threads
    return Collect(options);
  }
}

void DumpAllTo(int fd, const DumpOptions& options) { WriteAll(fd, DumpAll(options)); }

void DumpOnSignal(int signum, int fd, const DumpOptions& options) {
  static std::atomic<bool> called{false};
  GROVE_CHECK(!called.exchange(true), "DumpOnSignal() is called a second time");
  sem_init(&dump_wanted, 0, 0);
  const green_internal::Unpatched native;
  try {
    std::thread([fd, options] {
      const QuietThread quiet;
      green_internal::LeaveTheCore();
      for (;;) {
        while (sem_wait(&dump_wanted) != 0) {
        }
        WriteAll(fd, Collect(options));
      }
    }).detach();
  } catch (const std::system_error& e) {
    GROVE_FATAL("DumpOnSignal() cannot start its thread: ", strerror(e.code().value()));
  }
  struct sigaction action {};
  action.sa_handler = [](int) {
    const int saved_errno = errno;
    sem_post(&dump_wanted);
    errno = saved_errno;
  };
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  GROVE_CHECK(green_internal::OwnSigaction(signum, &action, nullptr) == 0,
              "no handler can be set for signal ", signum, ": ", strerror(errno));
}

}  // namespace grove
