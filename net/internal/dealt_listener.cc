#include "grove/net/internal/dealt_listener.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "grove/green/status.h"
#include "grove/net/internal/socket.h"
#include "grove/net/internal/wait_in.h"

namespace grove::net::net_internal {
namespace {

// How many may wait at one hub for being accepted there. It accepts at once, unless it is
// full or busy: then they wait in the listener's backlog.
constexpr size_t kMaxPending = 64;

}  // namespace

Parcel::~Parcel() {
  if (fd_ >= 0) close(fd_);
}

// --- DealtQueue ----------------------------------------------------------------------

bool DealtQueue::Send(const std::shared_ptr<DealtQueue>& queue,
                      const std::shared_ptr<Parcel>& parcel) {
  ++queue->pending_;
  if (queue->hub_.Post([queue, parcel] { queue->Arrived(std::move(*parcel)); }).ok()) {
    return true;
  }
  --queue->pending_;
  return false;
}

void DealtQueue::TellWhenTaken(HubHandle dealer, std::function<void()> fn) {
  if (dealer_waits_) return;
  dealer_ = std::move(dealer);
  tell_dealer_ = std::move(fn);
  dealer_waits_ = true;
}

void DealtQueue::Arrived(Parcel parcel) {
  if (closed_) {
    --pending_;
    TellDealer();
    return;
  }
  parcels_.push_back(std::move(parcel));
  waiters_.NotifyAll();
}

absl::StatusOr<Parcel> DealtQueue::Take() {
  if (closed_) return ErrnoStatus(EBADF, "accept what was dealt");
  if (parcels_.empty()) return NobodyThere();
  Parcel parcel = std::move(parcels_.front());
  parcels_.pop_front();
  --pending_;
  TellDealer();
  return parcel;
}

void DealtQueue::TellDealer() {
  if (!dealer_waits_) return;
  const HubHandle dealer = std::move(dealer_);
  const std::function<void()> tell = std::move(tell_dealer_);
  dealer_waits_ = false;
  dealer.Post(tell).IgnoreError();
}

absl::Status DealtQueue::Wait(Deadline deadline) {
  while (!closed_ && parcels_.empty()) {
    if (!WaitIn(waiters_, "a connection that is dealt", deadline)) {
      return absl::DeadlineExceededError("accept what was dealt: the deadline passed");
    }
  }
  if (!closed_) return absl::OkStatus();
  return absl::CancelledError("accept what was dealt: closed");
}

void DealtQueue::Close() {
  closed_ = true;
  pending_ -= parcels_.size();
  parcels_.clear();
  waiters_.NotifyAll();
  TellDealer();
}

// --- Dealer --------------------------------------------------------------------------

Dealer::Dealer(HubGroup& hubs) : hubs_(hubs) {
  for (int i = 0; i < hubs.size(); ++i) {
    queues_.push_back(std::make_shared<DealtQueue>(hubs.handle(i)));
  }
}

int Dealer::Best() const {
  int best = -1;
  size_t least = std::numeric_limits<size_t>::max();
  for (int i = 0; i < hubs_.size(); ++i) {
    const size_t pending = queues_[i]->pending();
    const size_t load = hubs_.load(i) + pending;
    if (!queues_[i]->closed() && pending < kMaxPending && load < least) {
      least = load;
      best = i;
    }
  }
  return best;
}

bool Dealer::Deal(Parcel parcel) {
  // At the end of a server there may be no room: then any hub does.
  const int best = std::max(Best(), 0);
  const auto sent = std::make_shared<Parcel>(std::move(parcel));
  for (int i = 0; i < hubs_.size(); ++i) {
    if (DealtQueue::Send(queues_[(best + i) % hubs_.size()], sent)) return true;
  }
  return false;
}

void Dealer::WaitForRoom() {
  while (Best() < 0) {
    const HubHandle here = Hub::Current()->handle();
    for (const auto& queue : queues_) {
      queue->TellWhenTaken(here, [waiters = room_waiters_] { waiters->NotifyAll(); });
    }
    if (Best() >= 0) return;
    WaitIn(*room_waiters_, "a hub with room for connections");
  }
}

}  // namespace grove::net::net_internal
