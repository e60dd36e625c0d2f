#include "grove/green/os/internal/signal_subscription.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#include <array>
#include <atomic>
#include <mutex>
#include <utility>

#include "grove/green/internal/own_sigaction.h"
#include "grove/green/internal/process_mutex.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/internal/per_thread.h"

namespace grove::green_internal {

// A subscription as the signal handler sees it: a letter that goes to the hub. One that
// is on its way when the subscription ends is deleted where it arrives.
struct SignalEntry : Letter {
  SignalEntry(int n, Scheduler* s, std::function<void(const SignalInfo&)> fn)
      : Letter(&Deliver), signum(n), home(s), hub(s->handle()), callback(std::move(fn)) {}

  static void Deliver(Letter* letter, bool hub_alive) {
    SignalEntry* entry = static_cast<SignalEntry*>(letter);
    if (entry->orphan) {
      delete entry;
      return;
    }
    const SignalInfo info = entry->info;
    entry->on_its_way.store(false, std::memory_order_release);
    if (hub_alive) entry->callback(info);
  }

  const int signum;
  Scheduler* const home;
  const HubHandle hub;
  const std::function<void(const SignalInfo&)> callback;
  std::atomic<SignalEntry*> next{nullptr};
  // Whoever sets it writes `info` and posts the letter.
  std::atomic<bool> on_its_way{false};
  SignalInfo info;
  bool linked = false;  // under the lock
  bool orphan = false;  // at home
};

namespace {

struct Table {
  ProcessMutex mutex;  // for changes; the handler takes no lock
  std::array<std::atomic<SignalEntry*>, NSIG> first{};
  std::array<struct sigaction, NSIG> before{};
  std::atomic<int> handlers{0};  // how many run
};

Table& TheTable() {
  static Table* const table = new Table;
  return *table;
}
// For the handler, which must not be the one to make it.
constinit std::atomic<Table*> the_table{nullptr};

// Whose hub's end has been seen to. Each hub tells when it ends, since the greenlets of a
// hub that ends with its thread are not unwound.
constinit thread_local hub_internal::PerThread<Scheduler*> watched;

void OnSignal(int signum, siginfo_t* info, void*) {
  const int saved_errno = errno;
  Table& table = *the_table.load(std::memory_order_relaxed);
  table.handlers.fetch_add(1, std::memory_order_seq_cst);
  for (SignalEntry* e = table.first[signum].load(std::memory_order_seq_cst); e;
       e = e->next.load(std::memory_order_acquire)) {
    if (e->on_its_way.exchange(true, std::memory_order_acq_rel)) continue;
    e->info = {.signum = signum,
               .code = info->si_code,
               .pid = info->si_pid,
               .uid = info->si_uid,
               .status = info->si_status};
    if (!e->hub.PostLetter(e)) e->on_its_way.store(false, std::memory_order_release);
  }
  table.handlers.fetch_sub(1, std::memory_order_seq_cst);
  errno = saved_errno;
}

void PutBack(Table& table, int signum) {
  OwnSigaction(signum, &table.before[signum], nullptr);
}

// Under the lock.
void Unlink(Table& table, SignalEntry* entry) {
  if (!entry->linked) return;
  entry->linked = false;
  std::atomic<SignalEntry*>* link = &table.first[entry->signum];
  while (link->load(std::memory_order_relaxed) != entry) {
    link = &link->load(std::memory_order_relaxed)->next;
  }
  link->store(entry->next.load(std::memory_order_relaxed), std::memory_order_seq_cst);
  if (table.first[entry->signum].load(std::memory_order_relaxed) == nullptr) {
    PutBack(table, entry->signum);
  }
}

void AwaitHandlers(Table& table) {
  while (table.handlers.load(std::memory_order_seq_cst) != 0) sched_yield();
}

void WatchEnd(Scheduler* s) {
  if (watched == s) return;
  watched = s;
  s->AtEnd([s] {
    watched = nullptr;
    Table& table = TheTable();
    {
      std::lock_guard lock(table.mutex);
      for (auto& first : table.first) {
        SignalEntry* next;
        for (SignalEntry* e = first.load(std::memory_order_relaxed); e; e = next) {
          next = e->next.load(std::memory_order_relaxed);
          if (e->home == s) Unlink(table, e);
        }
      }
    }
    AwaitHandlers(table);
  });
}

bool MayBeListenedTo(int signum) {
  switch (signum) {
    case SIGKILL:
    case SIGSTOP:
    // A handler that returns from one of these makes it come again at once.
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
      return false;
    default:
      return signum > 0 && signum < NSIG;
  }
}

}  // namespace

SignalSubscription::SignalSubscription(int signum,
                                       std::function<void(const SignalInfo&)> callback)
    : entry_(new SignalEntry(signum, &Scheduler::Get(), std::move(callback))) {
  GROVE_CHECK(MayBeListenedTo(signum), "signal ", signum, " cannot be listened to");
  Table& table = TheTable();
  the_table.store(&table, std::memory_order_relaxed);
  WatchEnd(entry_->home);
  std::lock_guard lock(table.mutex);
  SignalEntry* first = table.first[signum].load(std::memory_order_relaxed);
  entry_->next.store(first, std::memory_order_relaxed);
  entry_->linked = true;
  table.first[signum].store(entry_, std::memory_order_seq_cst);
  if (first != nullptr) return;
  struct sigaction action = {};
  action.sa_sigaction = &OnSignal;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  const int error = OwnSigaction(signum, &action, &table.before[signum]) != 0 ? errno : 0;
  GROVE_CHECK(error == 0, "signal ", signum, " cannot be listened to: ", strerror(error));
}

SignalSubscription::~SignalSubscription() {
  Table& table = TheTable();
  {
    std::lock_guard lock(table.mutex);
    Unlink(table, entry_);
  }
  AwaitHandlers(table);
  if (entry_->on_its_way.load(std::memory_order_acquire)) {
    entry_->orphan = true;
  } else {
    delete entry_;
  }
}

void DropSubscriptionsInChild() {
  Table& table = TheTable();
  for (int signum = 1; signum < NSIG; ++signum) {
    SignalEntry* e = table.first[signum].exchange(nullptr, std::memory_order_relaxed);
    if (e != nullptr) PutBack(table, signum);
    for (; e; e = e->next.load(std::memory_order_relaxed)) e->linked = false;
  }
  // Those of other threads are not in the child.
  table.handlers.store(0, std::memory_order_relaxed);
}

}  // namespace grove::green_internal
