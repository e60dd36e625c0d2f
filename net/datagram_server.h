#ifndef GROVE_NET_DATAGRAM_SERVER_H_
#define GROVE_NET_DATAGRAM_SERVER_H_

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/green/timeout.h"
#include "grove/hub/deadline.h"
#include "grove/net/address.h"
#include "grove/net/internal/datagram_server_base.h"
#include "grove/net/udp.h"
#include "grove/sync/mutex.h"

namespace grove::net {

// How a DatagramServer receives from a socket of some kind, which has a WaitReadable() as
// UdpSocket has. For others than that, specialise it:
//
//   using Peer = ...;                               what SendTo() takes
//   DatagramReceiver(size_t batch, size_t max_bytes);
//   absl::StatusOr<bool> Receive(Socket& socket, fn);
//
// Receive() calls fn(data, peer, truncated) for those that are there, without waiting,
// and says whether there may be more; kDeadlineExceeded if there were none.
template <typename Socket>
class DatagramReceiver;

template <>
class DatagramReceiver<UdpSocket> {
 public:
  using Peer = Address;
  DatagramReceiver(size_t batch, size_t max_bytes) : batch_(batch, max_bytes) {}
  template <typename Fn>
  absl::StatusOr<bool> Receive(UdpSocket& socket, Fn fn) {
    absl::StatusOr<size_t> n = socket.ReceiveBatch(batch_, Deadline::Passed());
    if (!n.ok()) return std::move(n).status();
    for (size_t i = 0; i < *n; ++i) {
      fn(batch_.data(i), batch_.peer(i), batch_.truncated(i));
    }
    return *n == batch_.capacity();
  }

 private:
  DatagramBatch batch_;
};

// BasicDatagramServer
//
// Receives datagrams and runs a handler for each, in a greenlet of its own. For UDP it is
// DatagramServer:
//
//   DatagramServer server(*UdpSocket::Bind(address),
//                         [](absl::string_view data, const Address& peer,
//                            DatagramServer::Sender& socket) {
//                           socket.SendTo(Answer(data), peer).IgnoreError();
//                         });
//   server.Start();
//   ...
//   server.Stop(absl::Seconds(5));
//
// They are received in batches. What comes while as many handlers run as may is dropped,
// and counted: who sends datagrams has to send them again anyway. A handler that only
// answers at once costs less as a loop over UdpSocket::ReceiveBatch().
//
// An exception that leaves a handler is reported, and ends nothing else.
//
// Threads: the hub that made it. For several hubs make one on each, with sockets of
// UdpOptions::reuse_port.
template <typename Socket>
class BasicDatagramServer final : public net_internal::DatagramServerBase {
 public:
  using Peer = typename DatagramReceiver<Socket>::Peer;
  class Sender;
  // `data` is good until the handler returns.
  using Handler = std::function<void(absl::string_view data, const Peer& peer, Sender&)>;

  BasicDatagramServer(Socket socket, Handler handler, DatagramServerOptions options = {})
      : DatagramServerBase(std::move(options)),
        handler_(std::move(handler)),
        sender_(std::move(socket)),
        receiver_(this->options().batch, this->options().max_bytes) {}
  // Stops without grace.
  ~BasicDatagramServer() {
    Shield shield;
    Stop();
  }

  // Also for what is no answer.
  Sender& sender() { return sender_; }

 private:
  absl::Status WaitForSome() override { return sender_.socket_.WaitReadable(); }
  absl::StatusOr<bool> ReceiveSome() override {
    return receiver_.Receive(sender_.socket_, [this](absl::string_view data,
                                                     const Peer& peer, bool truncated) {
      if (!Admit(truncated)) return;
      Spawn([this, slot = Slot(this), data = std::string(data), peer] {
        if (!handlers().killed()) {
          const Handling handling(&handlers());
          handler_(data, peer, sender_);
        }
      });
    });
  }
  void CloseSocket() override { sender_.socket_.Close(); }

  const Handler handler_;
  Sender sender_;
  DatagramReceiver<Socket> receiver_;
};

// Sender
//
// The server's socket, for handlers: several may send at once.
template <typename Socket>
class BasicDatagramServer<Socket>::Sender {
 public:
  // Contract as the socket's.
  absl::Status SendTo(absl::string_view data, const Peer& peer, Deadline deadline = {}) {
    // One who waits for its peer keeps no other waiting.
    if constexpr (requires { Socket::kManyMaySend; }) {
      return socket_.SendTo(data, peer, deadline);
    }
    if (!mutex_.try_lock_until(deadline)) {
      return absl::DeadlineExceededError("send a datagram: others were sending");
    }
    const std::lock_guard lock(mutex_, std::adopt_lock);
    return socket_.SendTo(data, peer, deadline);
  }
  // For options and addresses.
  Socket& socket() { return socket_; }

 private:
  friend class BasicDatagramServer;
  explicit Sender(Socket socket) : socket_(std::move(socket)) {}

  Socket socket_;
  Mutex mutex_;
};

using DatagramServer = BasicDatagramServer<UdpSocket>;

}  // namespace grove::net

#endif  // GROVE_NET_DATAGRAM_SERVER_H_
