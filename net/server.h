#ifndef GROVE_NET_SERVER_H_
#define GROVE_NET_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/net/tcp.h"

namespace grove::net {

// StreamServerOptions
struct StreamServerOptions {
  // While so many are open no more are accepted: they wait in the backlog. 0: no limit.
  size_t max_connections = 0;
  // How many may be accepted in a row before others run.
  int accept_budget = 100;
  // When accepting fails for want of descriptors or memory, it is tried again after
  // min_delay, then after twice as long each time, up to max_delay.
  absl::Duration min_delay = absl::Milliseconds(10);
  absl::Duration max_delay = absl::Seconds(1);
  // Called for each open connection when a drain begins: tells its handler to come to an
  // end. It must not block. The default ends reading: what has arrived is still read,
  // then the handler sees the end of the stream.
  std::function<void(TcpStream&)> on_drain = nullptr;
  // Names the greenlets.
  std::string name = "server";
};

// StreamServer
//
// Accepts connections and runs a handler for each, in a greenlet of its own.
//
//   StreamServer server(std::move(listener), [](TcpStream& s) { Echo(s); });
//   server.Start();
//   ...
//   server.Stop(absl::Seconds(5));
//
// When the handler returns, its connection is closed. An exception that leaves it is
// reported, ends that connection, and nothing else.
//
// Threads: the hub that made it. For several hubs make one server on each, with a
// listener out of TcpListener::ListenMany().
class StreamServer {
 public:
  using Handler = std::function<void(TcpStream&)>;

  StreamServer(TcpListener listener, Handler handler, StreamServerOptions options = {});
  StreamServer(const StreamServer&) = delete;
  StreamServer& operator=(const StreamServer&) = delete;
  // Stops without grace.
  ~StreamServer();

  // StreamServer::Start()
  //
  // Begins to accept. Does not block. No effect if started or stopped.
  void Start();

  // What a stop had to do.
  struct StopReport {
    size_t finished = 0;  // connections that came to their end
    size_t cut = 0;       // handlers that had to be killed
  };

  // StreamServer::Stop()
  //
  // Accepts no more and closes the listener; tells each connection (on_drain); waits for
  // the handlers up to `grace`; kills those that are left and waits for them. May be
  // called before Start(), twice, and by several greenlets: all wait for the same end.
  //
  // Blocks: until no handler runs.
  // Kill: throws; the stop goes on when somebody calls it again.
  StopReport Stop(absl::Duration grace = absl::ZeroDuration());

  // StreamServer::Serve()
  //
  // Start(), then waits for the end of a Stop() by somebody else.
  //
  // Blocks: until then. Returns why, if it was not Stop(): the listener failed for good.
  // Kill: stops without grace, then throws.
  absl::Status Serve();

  const Address& address() const { return address_; }
  size_t active() const { return active_; }
  uint64_t accepted() const { return accepted_; }
  bool accepting() const { return acceptor_ && !acceptor_.ready(); }

 private:
  struct Connection;
  class Slot;

  void AcceptLoop();
  void Run(TcpStream& stream);
  void Drain(TcpStream& stream);
  void StopAccepting();
  bool WaitUntilIdle(Deadline deadline);

  const Handler handler_;
  const StreamServerOptions options_;
  TcpListener listener_;
  const Address address_;
  Greenlet<> acceptor_;
  absl::Status failure_;
  Connection* connections_ = nullptr;  // each lies on its handler's stack
  size_t active_ = 0;
  uint64_t accepted_ = 0;
  bool stopping_ = false;
  bool stopped_ = false;
  StopReport report_;
  green_internal::WaiterList slot_waiters_;  // the acceptor, while all slots are taken
  green_internal::WaiterList idle_waiters_;  // for the last handler's end
  green_internal::WaiterList stop_waiters_;  // for the end of a stop
};

}  // namespace grove::net

#endif  // GROVE_NET_SERVER_H_
