#ifndef GROVE_NET_INTERNAL_DEALT_LISTENER_H_
#define GROVE_NET_INTERNAL_DEALT_LISTENER_H_

#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/hub_group.h"
#include "grove/green/internal/core.h"
#include "grove/hub/deadline.h"
#include "grove/net/address.h"
#include "grove/net/internal/endpoint.h"

// One that accepts for many hubs: what it accepts travels there as a descriptor.
namespace grove::net::net_internal {

// A connected socket that belongs to no hub. Closed, if nobody takes it out.
class Parcel {
 public:
  Parcel(int fd, std::optional<Address> peer) : fd_(fd), peer_(std::move(peer)) {}
  Parcel(Parcel&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), peer_(std::move(other.peer_)) {}
  Parcel& operator=(Parcel&&) = delete;
  ~Parcel();

  int Take() { return std::exchange(fd_, -1); }
  const std::optional<Address>& peer() const { return peer_; }

 private:
  int fd_;
  std::optional<Address> peer_;
};

// What has been dealt to one hub.
class DealtQueue {
 public:
  explicit DealtQueue(HubHandle hub) : hub_(std::move(hub)) {}

  // By who deals: how many are on their way or wait there; sends one more. False if that
  // hub has ended.
  size_t pending() const { return pending_; }
  bool closed() const { return closed_; }
  static bool Send(const std::shared_ptr<DealtQueue>& queue,
                   const std::shared_ptr<Parcel>& parcel);
  // Calls `fn` on the hub of who deals, soon, when one has been taken. Once.
  void TellWhenTaken(HubHandle dealer, std::function<void()> fn);

  // On the hub itself. EAGAIN if nobody is there, EBADF once closed.
  absl::StatusOr<Parcel> Take();
  absl::Status Wait(Deadline deadline);
  void Close();

 private:
  void Arrived(Parcel parcel);
  void TellDealer();

  const HubHandle hub_;
  std::atomic<size_t> pending_{0};
  std::atomic<bool> dealer_waits_{false};
  HubHandle dealer_;
  std::function<void()> tell_dealer_;
  // At home:
  std::deque<Parcel> parcels_;
  std::atomic<bool> closed_{false};
  green_internal::WaiterList waiters_;
};

// Deals to the hub that has the fewest greenlets and connections on their way.
class Dealer {
 public:
  explicit Dealer(HubGroup& hubs);

  const std::shared_ptr<DealtQueue>& queue(int hub) const { return queues_[hub]; }
  // False if no hub is left.
  bool Deal(Parcel parcel);
  // Blocks: while all hubs have as many waiting as they may. Kill: throws.
  void WaitForRoom();

 private:
  int Best() const;  // -1: none has room

  HubGroup& hubs_;
  std::vector<std::shared_ptr<DealtQueue>> queues_;
  const std::shared_ptr<green_internal::WaiterList> room_waiters_ =
      std::make_shared<green_internal::WaiterList>();
};

template <Listener L>
class DealingEndpoint final : public Endpoint {
 public:
  DealingEndpoint(L listener, std::shared_ptr<Dealer> dealer)
      : listener_(std::move(listener)), dealer_(std::move(dealer)) {}

  void WaitForRoom() override { dealer_->WaitForRoom(); }
  absl::Status AcceptOne(ServerConnections& connections) override {
    absl::StatusOr<StreamOf<L>> stream = listener_.TryAccept();
    if (!stream.ok()) return std::move(stream).status();
    connections.Admit(kNoPeer);
    std::optional<Address> peer;
    if constexpr (requires { Address(stream->peer()); }) peer = stream->peer();
    const int fd = stream->Release();
    dealer_->Deal(Parcel(fd, std::move(peer)));
    return absl::OkStatus();
  }
  absl::Status WaitForConnection() override { return listener_.WaitForConnection(); }
  void Close() override { listener_.Close(); }

 private:
  L listener_;
  const std::shared_ptr<Dealer> dealer_;
};

}  // namespace grove::net::net_internal

namespace grove::net {

// DealtListener
//
// The connections that one hub is dealt; see ServerGroup::Deal().
//
// Threads: its hub's.
template <typename S>
class DealtListener {
 public:
  struct Name {
    std::string text;
    std::string ToString() const { return text; }
  };

  DealtListener(std::shared_ptr<net_internal::DealtQueue> queue, std::string name)
      : queue_(std::move(queue)), name_{std::move(name)} {}
  DealtListener(DealtListener&&) = default;
  ~DealtListener() {
    if (queue_) Close();
  }

  absl::StatusOr<S> TryAccept() {
    absl::StatusOr<net_internal::Parcel> parcel = queue_->Take();
    if (!parcel.ok()) return std::move(parcel).status();
    if constexpr (requires { S::Adopt(0, Address()); }) {
      return S::Adopt(parcel->Take(), *parcel->peer());
    } else {
      return S::Adopt(parcel->Take());
    }
  }
  absl::Status WaitForConnection(Deadline deadline = {}) {
    return queue_->Wait(deadline);
  }
  void Close() { queue_->Close(); }
  const Name& address() const { return name_; }

 private:
  std::shared_ptr<net_internal::DealtQueue> queue_;
  Name name_;
};

}  // namespace grove::net

#endif  // GROVE_NET_INTERNAL_DEALT_LISTENER_H_
