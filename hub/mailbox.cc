#include "grove/hub/mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

// How many nodes wait for who posts next, at most; a thread that posts has taken as many.
constexpr size_t kMaxSpent = 512;

void DeleteAll(Letter* letter, void (*destroy)(Letter*)) {
  while (letter) destroy(std::exchange(letter, letter->next));
}

}  // namespace

struct Mailbox::FunctionLetter : Letter {
  FunctionLetter() : Letter(&DeliverFunction) {}

  // A node from those that were used before, or a new one.
  static FunctionLetter* Take(Mailbox* mailbox) {
    // What this thread has taken of them, which are of no mailbox any more. Something may
    // still be posted when the thread's variables have been destroyed: these two have no
    // destructor, and nothing is taken from then on.
    static constinit thread_local Letter* taken = nullptr;
    static constinit thread_local bool thread_ends = false;
    struct AtThreadEnd {
      ~AtThreadEnd() {
        thread_ends = true;
        DeleteAll(std::exchange(taken, nullptr), &Destroy);
      }
    };
    if (taken == nullptr && !thread_ends &&
        mailbox->spent_.load(std::memory_order_relaxed) != nullptr) {
      static thread_local const AtThreadEnd at_thread_end;
      taken = mailbox->spent_.exchange(nullptr, std::memory_order_acquire);
    }
    if (taken == nullptr) return new FunctionLetter;
    return static_cast<FunctionLetter*>(std::exchange(taken, taken->next));
  }

  static void Destroy(Letter* letter) { delete static_cast<FunctionLetter*>(letter); }

  static void DeliverFunction(Letter* letter, bool hub_alive) {
    auto* self = static_cast<FunctionLetter*>(letter);
    if (hub_alive) self->fn();
    self->fn = nullptr;
    Mailbox* mailbox = self->mailbox;
    if (!hub_alive || mailbox->spent_count_ == kMaxSpent) return Destroy(self);
    self->next = mailbox->spent_here_;
    mailbox->spent_here_ = self;
    ++mailbox->spent_count_;
  }

  absl::AnyInvocable<void()> fn;
  Mailbox* mailbox = nullptr;
};

Mailbox::Mailbox(std::string hub_name)
    : hub_name_(std::move(hub_name)), wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  GROVE_CHECK(wake_fd_ >= 0, "no eventfd for the mailbox of hub '", hub_name_,
              "': ", strerror(errno));
}

Mailbox::~Mailbox() {
  DeleteAll(spent_here_, &FunctionLetter::Destroy);
  DeleteAll(spent_.load(std::memory_order_acquire), &FunctionLetter::Destroy);
  close(wake_fd_);
}

absl::Status Mailbox::Post(absl::AnyInvocable<void()> fn) {
  FunctionLetter* letter = FunctionLetter::Take(this);
  letter->fn = std::move(fn);
  letter->mailbox = this;
  if (!PostLetter(letter)) {
    FunctionLetter::Destroy(letter);
    return absl::FailedPreconditionError(
        absl::StrCat("post: hub '", hub_name_, "' has ended"));
  }
  return absl::OkStatus();
}

bool Mailbox::PostLetter(Letter* letter) {
  // Who finds it closed sees what the hub did before that.
  Letter* head = head_.load(std::memory_order_acquire);
  do {
    if (head == Closed()) return false;
    letter->next = head;
    // Sequentially consistent, as is the read below: with PrepareToSleep() either the
    // hub sees the letter or the sender sees the hub asleep.
  } while (!head_.compare_exchange_weak(head, letter, std::memory_order_seq_cst,
                                        std::memory_order_acquire));
  // Whoever posted the first letter of a burst has seen to the wakeup.
  if (head == nullptr && asleep_.load(std::memory_order_seq_cst)) {
    const int saved_errno = errno;
    const uint64_t one = 1;
    // The only error there could be is EAGAIN, after 2^64 wakeups without a read.
    [[maybe_unused]] const ssize_t n = write(wake_fd_, &one, sizeof one);
    errno = saved_errno;
  }
  return true;
}

bool Mailbox::PrepareToSleep() {
  asleep_.store(true, std::memory_order_seq_cst);
  if (head_.load(std::memory_order_seq_cst) == nullptr) return true;
  FinishSleep();
  return false;
}

void Mailbox::OnWakeup() {
  // Without mail it is late, or the loop tells of it again, as one that was made anew
  // may: then it would go on and on.
  if (wakes_once_ && !empty()) return;
  uint64_t count;
  [[maybe_unused]] const ssize_t n = read(wake_fd_, &count, sizeof count);
}

Letter* Mailbox::InOrder(Letter* newest_first) {
  Letter* oldest_first = nullptr;
  while (newest_first) {
    Letter* next = newest_first->next;
    newest_first->next = oldest_first;
    oldest_first = newest_first;
    newest_first = next;
  }
  return oldest_first;
}

void Mailbox::DeliverAll() {
  // What an outer call has not delivered yet comes first: a letter's function may ask for
  // its mail.
  DeliverTaken();
  if (empty() || closed()) return;
  taken_ = InOrder(head_.exchange(nullptr, std::memory_order_acquire));
  DeliverTaken();
}

void Mailbox::DeliverTaken() {
  while (Letter* letter = taken_) {
    taken_ = letter->next;
    if (hub_alive_) ++delivered_;
    letter->deliver(letter, hub_alive_);
  }
  if (spent_here_ != nullptr) PublishSpent();
}

void Mailbox::PublishSpent() {
  // Not yet, if nobody has posted since.
  if (spent_.load(std::memory_order_relaxed) != nullptr) return;
  spent_.store(std::exchange(spent_here_, nullptr), std::memory_order_release);
  spent_count_ = 0;
}

void Mailbox::ForgetInChild() {
  head_.store(nullptr, std::memory_order_relaxed);
  taken_ = nullptr;
  FinishSleep();
  const int fresh = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  GROVE_CHECK(fresh >= 0, "no eventfd for the mailbox of hub '", hub_name_,
              "' in a forked child: ", strerror(errno));
  // Under the same number, unless that is above a limit that was lowered since (dup(2)).
  if (dup3(fresh, wake_fd_, O_CLOEXEC) >= 0) {
    close(fresh);
  } else {
    close(wake_fd_);
    wake_fd_ = fresh;
  }
}

void Mailbox::Close() {
  if (closed()) return;
  hub_alive_ = false;
  // One that is returned may ask for the others: see DeliverAll().
  taken_ = InOrder(head_.exchange(Closed(), std::memory_order_acq_rel));
  DeliverTaken();
}

}  // namespace grove
