#ifndef GROVE_SYNC_CHANNEL_H_
#define GROVE_SYNC_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/hub/deadline.h"
#include "grove/sync/internal/exchange.h"
#include "grove/sync/queue.h"

namespace grove {

// Channel
//
// Passes values between greenlets. Without a capacity, from hand to hand: Send() returns
// once somebody has received. With one, it waits only while that many lie in between.
//
//   Channel<int> numbers;
//   Spawn([&] {
//     for (int i = 0; i < 3; ++i) numbers.Send(i).IgnoreError();
//     numbers.Close();
//   });
//   for (int n : numbers) Use(n);
//
// Both sides are served in the order in which they came. To wait for several, see
// Select().
//
// Errors: Send() on a closed channel returns kFailedPrecondition, Receive() once it is
// also empty kOutOfRange; a deadline that passes kDeadlineExceeded.
//
// Threads: any; see docs/sync.md. Between hubs each call is a message there and one back;
// for a stream of values use HubChannel.
template <typename Value>
class Channel {
  using Exchange = sync_internal::Exchange<sync_internal::FifoStore<Value>>;

 public:
  using T = Value;
  using GetOperation = typename Exchange::GetOperation;
  using PutOperation = typename Exchange::PutOperation;
  using iterator = sync_internal::ExchangeIterator<Exchange>;

  explicit Channel(size_t capacity = 0) : exchange_("Channel", capacity) {}

  // Channel::Send()
  //
  // Passes `value` on. If it fails, `value` was not moved from.
  //
  // Blocks: until somebody receives it, or it has room in between.
  // Deadline: returns kDeadlineExceeded; nobody has received it.
  // Kill: throws; nobody has received it.
  [[gnu::always_inline]] absl::Status Send(T&& value, Deadline deadline = {}) {
    return exchange_.Put(std::move(value), deadline);
  }
  [[gnu::always_inline]] absl::Status Send(const T& value, Deadline deadline = {}) {
    return exchange_.Put(T(value), deadline);
  }
  // Whether it could be passed on at once.
  bool TrySend(T&& value) {
    PutOperation op(&exchange_, &value);
    return exchange_.home().Perform(&op, Deadline::Passed()) && !op.closed;
  }
  bool TrySend(const T& value) { return TrySend(T(value)); }

  // Channel::Receive()
  //
  // Blocks: until there is a value.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws; nothing was received.
  [[gnu::always_inline]] absl::StatusOr<T> Receive(Deadline deadline = {}) {
    return exchange_.Get(deadline);
  }
  std::optional<T> TryReceive() {
    GetOperation op(&exchange_);
    if (!exchange_.home().Perform(&op, Deadline::Passed())) return std::nullopt;
    return std::move(op.item);
  }

  // Receives until the channel is closed and empty.
  iterator begin() { return iterator(&exchange_); }
  iterator end() { return iterator(); }

  // Channel::Close()
  //
  // Nothing can be sent any more, and those who wait to send fail; what lies in between
  // can be received. Again: no effect. Does not block.
  void Close() { exchange_.Close(/*drop=*/false); }

  // As seen from here: at home exact, from elsewhere when the answer was on its way.
  bool closed() {
    return Look([](Exchange& x) { return x.closed(); });
  }
  size_t size() {
    return Look([](Exchange& x) { return x.store().size(); });
  }
  size_t capacity() const { return exchange_.bound(); }
  // Those who wait to send, minus those who wait to receive.
  int64_t balance() {
    return Look([](Exchange& x) {
      return static_cast<int64_t>(x.CountWaiting(false)) -
             static_cast<int64_t>(x.CountWaiting(true));
    });
  }

  // For the layers above, and for Select().
  Exchange& exchange() { return exchange_; }

 private:
  template <typename F>
  auto Look(F look) {
    decltype(look(exchange_)) seen;
    exchange_.home().Ask([&] { seen = look(exchange_); });
    return seen;
  }

  Exchange exchange_;
};

}  // namespace grove

#endif  // GROVE_SYNC_CHANNEL_H_
