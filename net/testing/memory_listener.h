#ifndef GROVE_NET_TESTING_MEMORY_LISTENER_H_
#define GROVE_NET_TESTING_MEMORY_LISTENER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/hub/deadline.h"
#include "grove/net/testing/memory_stream.h"

namespace grove::net {

// MemoryListener
//
// Where MemoryStreams are connected to: what a StreamServer accepts from in a test.
// Copies are the same listener.
//
//   MemoryListener listener;
//   StreamServer server(listener, [](Stream& s) { Serve(s); });
//   server.Start();
//   MemoryStream client = *listener.Connect();
//
// Threads: the hub that made it.
class MemoryListener {
 public:
  // Of each connection; `name` is the listener's too.
  explicit MemoryListener(MemoryStreamOptions options = {});

  // MemoryListener::Connect()
  //
  // The client's end of a new connection; its peer waits in the backlog. Does not block.
  // ECONNREFUSED once the listener is closed.
  absl::StatusOr<MemoryStream> Connect();

  // MemoryListener::FailAccepts()
  //
  // From now on accepting fails with this error, such as EMFILE; 0 ends that.
  void FailAccepts(int error);
  // How many times somebody has tried to accept.
  uint64_t tries() const;
  size_t backlog() const;

  // Contracts as TcpListener's. Those in the backlog are reset by Close().
  absl::StatusOr<MemoryStream> Accept(Deadline deadline = {});
  absl::StatusOr<MemoryStream> TryAccept();
  absl::Status WaitForConnection(Deadline deadline = {});
  bool closed() const;
  void Close();

  struct Name {
    std::string text;
    std::string ToString() const { return text; }
  };
  Name address() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace grove::net

#endif  // GROVE_NET_TESTING_MEMORY_LISTENER_H_
