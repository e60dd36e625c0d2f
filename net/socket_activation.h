#ifndef GROVE_NET_SOCKET_ACTIVATION_H_
#define GROVE_NET_SOCKET_ACTIVATION_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/net/tcp.h"
#include "grove/net/udp.h"
#include "grove/net/unix.h"

// Sockets that a supervisor has opened for this process, as systemd does
// (sd_listen_fds(3)): they exist before the service runs and while it restarts, and may
// be privileged ones. And telling the supervisor how it goes (sd_notify(3)).
namespace grove::net {

// ActivatedSockets
//
// What was passed in LISTEN_FDS, by the names that LISTEN_FDNAMES gives:
//
//   # web.socket                       int main() {
//   [Socket]                             auto sockets = ActivatedSockets::Take();
//   ListenStream=443                     if (!sockets.ok()) ...
//   FileDescriptorName=web               auto web = sockets->TakeTcpListener("web");
//
// Descriptors that are not taken out are closed at its end.
//
// Threads: where a listener is taken out, that hub is its.
class ActivatedSockets {
 public:
  // None.
  ActivatedSockets() = default;
  ActivatedSockets(ActivatedSockets&& other) noexcept;
  ActivatedSockets& operator=(ActivatedSockets&& other) noexcept;
  ~ActivatedSockets();

  // ActivatedSockets::Take()
  //
  // What was passed to this process: none, if LISTEN_FDS is not set, or LISTEN_PID is
  // another process. They are made close-on-exec, and the variables are removed from the
  // environment, so that no child takes them for its own; a second call finds none.
  // Call it at the beginning of main(): other threads must not look at the environment
  // meanwhile. Does not block.
  //
  // kInvalidArgument if a variable is no number, or there are not as many names as
  // descriptors; what the system says if one of them is not open. Then nothing was
  // changed.
  static absl::StatusOr<ActivatedSockets> Take();

  size_t size() const { return sockets_.size(); }
  bool empty() const { return sockets_.empty(); }
  // In the order in which they were passed; "unknown" are those without a name.
  std::vector<std::string> names() const;

  // ActivatedSockets::TakeTcpListener() and the like
  //
  // Takes out the first of that name; of an empty name, the first of that kind. kNotFound
  // if there is none; kFailedPrecondition, saying what it is, if the name is something
  // else. It stays there then.
  absl::StatusOr<TcpListener> TakeTcpListener(absl::string_view name = "");
  absl::StatusOr<UnixListener> TakeUnixListener(absl::string_view name = "");
  absl::StatusOr<UdpSocket> TakeUdpSocket(absl::string_view name = "");
  // Whatever it is: the caller closes it. The name is not empty.
  absl::StatusOr<int> TakeDescriptor(absl::string_view name);

 private:
  // What a descriptor is, as far as it matters here.
  enum class Kind { kTcpListener, kUnixListener, kUdp, kOther };
  struct Socket {
    int fd;
    std::string name;
    Kind kind;
    std::string description;  // "a UDP socket"
  };

  static Socket Examine(int fd, std::string name);
  absl::StatusOr<size_t> Find(absl::string_view name, Kind kind,
                              absl::string_view wanted) const;
  template <typename T>
  absl::StatusOr<T> TakeAs(absl::string_view name, Kind kind, absl::string_view wanted);

  std::vector<Socket> sockets_;
};

// NotifySupervisor()
//
// Tells the supervisor ($NOTIFY_SOCKET) how it goes: "READY=1" once the service serves,
// "STOPPING=1", "STATUS=draining", "WATCHDOG=1"; several by lines. OK if there is no
// supervisor. The variable stays: it is no descriptor, and children may be allowed to
// notify too.
//
//   server.Start();
//   NotifySupervisor("READY=1").IgnoreError();
//
// Does not block: kUnavailable if the supervisor does not read.
absl::Status NotifySupervisor(absl::string_view state);

}  // namespace grove::net

#endif  // GROVE_NET_SOCKET_ACTIVATION_H_
