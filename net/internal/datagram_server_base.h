#ifndef GROVE_NET_INTERNAL_DATAGRAM_SERVER_BASE_H_
#define GROVE_NET_INTERNAL_DATAGRAM_SERVER_BASE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/hub/deadline.h"
#include "grove/net/server_options.h"

namespace grove::net {

// DatagramServerOptions
struct DatagramServerOptions {
  // How many handlers may run at once; what comes meanwhile is dropped. 0: no limit.
  size_t max_in_flight = 1000;
  // How many are received by one system call, and of how many bytes at most; a longer one
  // is cut off, and counted. So much memory is held: batch * max_bytes.
  size_t batch = 32;
  size_t max_bytes = 8192;
  // Names the greenlets.
  std::string name = "datagram server";
};

// What a datagram server has done, all together.
struct DatagramServerStatistics {
  size_t in_flight = 0;    // handlers that run now
  uint64_t received = 0;   // with those that were dropped
  uint64_t dropped = 0;    // over max_in_flight
  uint64_t truncated = 0;  // longer than max_bytes
};

namespace net_internal {

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
  // One that runs.
  class Handling {
   public:
    explicit Handling(DatagramServerBase* server);
    Handling(const Handling&) = delete;
    ~Handling();

   private:
    friend class DatagramServerBase;
    DatagramServerBase* const server_;
    const AnyGreenlet greenlet_;
    Handling* previous_ = nullptr;
    Handling* next_;
  };

  explicit DatagramServerBase(DatagramServerOptions options);
  ~DatagramServerBase();

  const DatagramServerOptions& options() const { return options_; }
  // Counts one that was received; false if it is to be dropped.
  bool Admit(bool truncated);
  bool killed() const { return killed_; }

 private:
  virtual absl::Status WaitForSome() = 0;
  // Begins to handle those that are there. Whether there may be more; kDeadlineExceeded
  // if there were none.
  virtual absl::StatusOr<bool> ReceiveSome() = 0;
  virtual void CloseSocket() = 0;

  void ReceiveLoop();
  void Left();
  bool HasCurrent() const;
  bool WaitUntilNone(Deadline deadline);
  size_t KillAll();

  const DatagramServerOptions options_;
  DatagramServerStatistics statistics_;
  Greenlet<> receiver_;
  absl::Status failure_;
  Handling* first_ = nullptr;  // each lies on its handler's stack
  bool paused_ = false;
  bool stopping_ = false;
  bool stopped_ = false;
  bool killed_ = false;
  StopReport report_;
  green_internal::WaiterList resume_waiters_;
  green_internal::WaiterList idle_waiters_;
  green_internal::WaiterList stop_waiters_;
};

}  // namespace net_internal
}  // namespace grove::net

#endif  // GROVE_NET_INTERNAL_DATAGRAM_SERVER_BASE_H_
