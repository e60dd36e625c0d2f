#ifndef GROVE_HUB_MAILBOX_H_
#define GROVE_HUB_MAILBOX_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "grove/hub/internal/relaxed.h"

namespace grove {
namespace green_internal {
struct DebuggerTable;
}

// Letter
//
// What can be posted to a hub without an allocation: the node lies in the sender's
// object, which must live until `deliver` is called. `deliver` is called exactly once
// per accepted post: on the hub's stack, with `hub_alive` true; or, if the hub ends
// first, on the thread that ends it, with `hub_alive` false.
//
//   struct Done : Letter {
//     Done() : Letter(&Deliver) {}
//     static void Deliver(Letter* l, bool hub_alive) { ... static_cast<Done*>(l) ... }
//   };
//   Done done;                                       // lives until it has arrived
//   if (!hub.PostLetter(&done)) ...                  // that hub has ended
struct Letter {
  using Deliver = void (*)(Letter*, bool hub_alive);

  explicit constexpr Letter(Deliver d) : deliver(d) {}

  Deliver deliver;
  Letter* next = nullptr;
};

// Mailbox
//
// How other threads and signal handlers reach a hub: a lock-free stack that many push
// to and one takes whole (Treiber 1986; there is no pop, hence no ABA), and an eventfd
// that is written only when the hub sleeps. A burst costs one wakeup. It outlives its
// hub for as long as somebody holds it, so that posting to a hub that has ended is an
// error and not a crash.
class Mailbox {
 public:
  Mailbox(std::string hub_name);
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;
  ~Mailbox();

  // Mailbox::Post()
  //
  // Runs `fn` on the hub's stack soon; `fn` must neither block nor throw. Letters of
  // one sender are delivered in the order in which they were posted.
  //
  // Blocks: never.
  // Threads: any thread. Not from a signal handler: it allocates.
  // Returns kFailedPrecondition, naming the hub, if the hub has ended; `fn` is then
  // destroyed without a call, as it is if the hub ends before its turn comes.
  absl::Status Post(absl::AnyInvocable<void()> fn);

  // Mailbox::PostLetter()
  //
  // As Post(), with the caller's own node. False if the hub has ended: the letter was
  // not taken.
  //
  // Threads: any thread, and signal handlers. errno is kept.
  bool PostLetter(Letter* letter);

  // Mailbox::closed()
  //
  // Whether nothing is taken any more, as the hub has ended or is about to.
  //
  // Threads: any.
  bool closed() const { return head_.load(std::memory_order_acquire) == Closed(); }

  const std::string& hub_name() const { return hub_name_; }

  // Mailbox::delivered()
  //
  // How many letters have been delivered.
  //
  // Threads: any.
  uint64_t delivered() const { return delivered_; }

 private:
  friend class Hub;
  friend struct green_internal::DebuggerTable;

  // The rest is for the hub itself.
  int wake_fd() const { return wake_fd_; }
  bool empty() const { return head_.load(std::memory_order_relaxed) == nullptr; }
  // Call before sleeping; false if there is mail and the hub must not sleep.
  bool PrepareToSleep();
  void FinishSleep() { asleep_.store(false, std::memory_order_relaxed); }
  // The loop has told of a wakeup; with `wakes_once` it does so once for each.
  void OnWakeup();
  void set_wakes_once(bool wakes_once) { wakes_once_ = wakes_once; }
  void DeliverAll();
  void DeliverTaken();
  void PublishSpent();
  // Refuses what comes from now on, and returns what is there to its senders. No effect if
  // it is closed.
  void Close();
  // In a forked child. What is there is the parent's: it is forgotten. The hub that lives
  // on has a new eventfd, which it watches anew; all other hubs are closed.
  void ForgetInChild();
  void CloseInChild() { head_.store(Closed(), std::memory_order_release); }

  struct FunctionLetter;
  static Letter* InOrder(Letter* newest_first);
  static Letter* Closed() { return reinterpret_cast<Letter*>(1); }

  const std::string hub_name_;
  int wake_fd_;
  bool wakes_once_ = false;
  bool hub_alive_ = true;
  hub_internal::Relaxed<uint64_t> delivered_{0};
  Letter* taken_ = nullptr;  // taken from the stack, in order, and not delivered yet
  // The nodes of Post() that were delivered, for who posts next: the memory of nodes that
  // one thread takes from malloc() and another gives back costs many times as much as the
  // post itself.
  Letter* spent_here_ = nullptr;  // the hub's, not published yet
  size_t spent_count_ = 0;        // of those
  // What senders write is kept apart from what only the hub reads.
  alignas(64) std::atomic<Letter*> head_{nullptr};
  std::atomic<bool> asleep_{false};
  std::atomic<Letter*> spent_{nullptr};
};

}  // namespace grove

#endif  // GROVE_HUB_MAILBOX_H_
