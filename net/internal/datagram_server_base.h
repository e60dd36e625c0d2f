#ifndef GROVE_NET_INTERNAL_DATAGRAM_SERVER_BASE_H_
#define GROVE_NET_INTERNAL_DATAGRAM_SERVER_BASE_H_

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/net/internal/running_handlers.h"
#include "grove/net/server_options.h"

namespace grove::net::net_internal {

// DatagramServerBase
//
// What datagram servers have, whatever their socket.
class DatagramServerBase {
 public:
  DatagramServerBase(const DatagramServerBase&) = delete;
  DatagramServerBase& operator=(const DatagramServerBase&) = delete;

  // Start()
  //
  // Begins to receive. Does not block. No effect if started or stopped.
  void Start();

  // Stop()
  //
  // Takes what has arrived, if there is a grace, and receives no more; waits for the
  // handlers up to `grace`, which may still send; kills those that are left, waits for
  // them, and closes the socket. May be called before Start(), twice, and by several
  // greenlets.
  //
  // Blocks: until no handler runs. In a handler it would wait for itself: a fatal error.
  // Spawn what stops it there. Kill: throws; the stop goes on when somebody calls it
  // again.
  StopReport Stop(absl::Duration grace = absl::ZeroDuration());

  // Serve()
  //
  // Start(), then waits for the end of a Stop() by somebody else.
  //
  // Blocks: until then. Returns why, if it was not Stop(): the socket failed for good.
  // Kill: stops without grace, then throws.
  absl::Status Serve();

  // PauseReceiving(), ResumeReceiving()
  //
  // Meanwhile datagrams wait in the socket's buffer, as far as there is room. Do not
  // block.
  void PauseReceiving() { paused_ = true; }
  void ResumeReceiving();

  const DatagramServerStatistics& statistics() const { return statistics_; }

 protected:
  // A handler that has begun or will, in the greenlet that it runs in.
  class Slot {
   public:
    explicit Slot(DatagramServerBase* server) : server_(server) {
      ++server->statistics_.in_flight;
    }
    Slot(Slot&& other) noexcept : server_(std::exchange(other.server_, nullptr)) {}
    ~Slot() {
      if (server_ != nullptr) server_->Left();
    }

   private:
    DatagramServerBase* server_;
  };
  using Handling = RunningHandlers::Running;

  explicit DatagramServerBase(DatagramServerOptions options);
  ~DatagramServerBase();

  const DatagramServerOptions& options() const { return options_; }
  // Counts one that was received; false if it is to be dropped.
  bool Admit(bool truncated);
  RunningHandlers& handlers() { return handlers_; }

 private:
  virtual absl::Status WaitForSome() = 0;
  // Begins to handle those that are there. Whether there may be more; kDeadlineExceeded
  // if there were none.
  virtual absl::StatusOr<bool> ReceiveSome() = 0;
  virtual void CloseSocket() = 0;

  void ReceiveLoop();
  void Left();

  const DatagramServerOptions options_;
  DatagramServerStatistics statistics_;
  RunningHandlers handlers_{options_.name, statistics_.in_flight};
  Greenlet<> receiver_;
  bool paused_ = false;
  green_internal::WaiterList resume_waiters_;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_DATAGRAM_SERVER_BASE_H_
