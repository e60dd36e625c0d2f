// connect(2), accept(2), recv(2), send(2) and their like.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <optional>

#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/non_blocking.h"
#include "grove/patch/internal/on_another_thread.h"
#include "grove/patch/internal/pieces.h"
#include "grove/patch/internal/retry.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/wait.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

int Connect(int fd, const sockaddr* address, socklen_t size);
int Accept(int fd, sockaddr* address, socklen_t* size);
int Accept4(int fd, sockaddr* address, socklen_t* size, int flags);
ssize_t Recv(int fd, void* buffer, size_t size, int flags);
ssize_t RecvChk(int fd, void* buffer, size_t size, size_t capacity, int flags);
ssize_t RecvFrom(int fd, void* buffer, size_t size, int flags, sockaddr* from,
                 socklen_t* from_size);
ssize_t RecvFromChk(int fd, void* buffer, size_t size, size_t capacity, int flags,
                    sockaddr* from, socklen_t* from_size);
ssize_t RecvMsg(int fd, msghdr* message, int flags);
int RecvMMsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout);
ssize_t Send(int fd, const void* data, size_t size, int flags);
ssize_t SendTo(int fd, const void* data, size_t size, int flags, const sockaddr* to,
               socklen_t to_size);
ssize_t SendMsg(int fd, const msghdr* message, int flags);
int SendMMsg(int fd, mmsghdr* messages, unsigned count, int flags);

constinit HookOf connect_hook("connect", Module::kSocket, &Connect);
constinit HookOf accept_hook("accept", Module::kSocket, &Accept);
constinit HookOf accept4_hook("accept4", Module::kSocket, &Accept4);
constinit HookOf recv_hook("recv", Module::kSocket, &Recv);
constinit HookOf recv_chk_hook("__recv_chk", Module::kSocket, &RecvChk);
constinit HookOf recvfrom_hook("recvfrom", Module::kSocket, &RecvFrom);
constinit HookOf recvfrom_chk_hook("__recvfrom_chk", Module::kSocket, &RecvFromChk);
constinit HookOf recvmsg_hook("recvmsg", Module::kSocket, &RecvMsg);
constinit HookOf recvmmsg_hook("recvmmsg", Module::kSocket, &RecvMMsg);
constinit HookOf send_hook("send", Module::kSocket, &Send);
constinit HookOf sendto_hook("sendto", Module::kSocket, &SendTo);
constinit HookOf sendmsg_hook("sendmsg", Module::kSocket, &SendMsg);
constinit HookOf sendmmsg_hook("sendmmsg", Module::kSocket, &SendMMsg);

Hook* const hooks[] = {&connect_hook,  &accept_hook,   &accept4_hook,      &recv_hook,
                       &recv_chk_hook, &recvfrom_hook, &recvfrom_chk_hook, &recvmsg_hook,
                       &recvmmsg_hook, &send_hook,     &sendto_hook,       &sendmsg_hook,
                       &sendmmsg_hook};

// --- connecting and accepting ---

int Connect(int fd, const sockaddr* address, socklen_t size) {
  Scheduler* s = Cooperating(connect_hook);
  if (s == nullptr) return connect_hook.Original(fd, address, size);
  connect_hook.CountCall();
  LetOthersRun(*s);
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) != 0) {
    return connect_hook.Original(fd, address, size);
  }
  int result;
  {
    const NonBlockingForOneCall now(fd, flags);
    result = connect_hook.Original(fd, address, size);
  }
  if (result == 0) return 0;
  if (errno == EAGAIN) {
    // A Unix socket whose listener's queue is full: nothing tells when it is not.
    return OnAnotherThread(connect_hook,
                           [&] { return connect_hook.Original(fd, address, size); });
  }
  // Under way: begun by this call, or by one that a signal has ended.
  const int under_way = errno;
  if (under_way != EINPROGRESS && under_way != EALREADY) return -1;
  connect_hook.CountWait();
  const Deadline deadline = SocketDeadline(fd, SO_SNDTIMEO);
  SignalWatch signal(*s, deadline.infinite() ? Restart::kByHandler : Restart::kNever);
  for (;;) {
    const WaitEnd end = Wait(*s, fd, POLLOUT, deadline, "connect", &signal);
    if (end == WaitEnd::kDeadline) {
      errno = under_way;  // socket(7), of SO_SNDTIMEO
      return -1;
    }
    if (end != WaitEnd::kReady) return Fail(end);
    if (!IsReadyNow(fd, POLLOUT)) continue;
    // Asked by SO_ERROR, the socket would go on to be one that connects: the next
    // connect() would not begin anew, nor say EISCONN.
    {
      const NonBlockingForOneCall now(fd, flags);
      result = connect_hook.Original(fd, address, size);
    }
    if (result == 0 || errno == EISCONN) return 0;
    if (errno != EALREADY && errno != EINPROGRESS) return -1;
  }
}

template <typename AcceptOnce>
int AcceptCooperatively(Scheduler& s, Hook& hook, int fd, AcceptOnce accept_once) {
  return static_cast<int>(Retry(s, hook, fd, POLLIN, [&]() -> ssize_t {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_NONBLOCK) != 0) return accept_once();
    const NonBlockingForOneCall now(fd, flags);
    return accept_once();
  }));
}

int Accept(int fd, sockaddr* address, socklen_t* size) {
  Scheduler* s = Cooperating(accept_hook);
  if (s == nullptr) return accept_hook.Original(fd, address, size);
  return AcceptCooperatively(*s, accept_hook, fd,
                             [&] { return accept_hook.Original(fd, address, size); });
}

int Accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  Scheduler* s = Cooperating(accept4_hook);
  if (s == nullptr) return accept4_hook.Original(fd, address, size, flags);
  return AcceptCooperatively(*s, accept4_hook, fd, [&] {
    return accept4_hook.Original(fd, address, size, flags);
  });
}

// --- receiving ---

// What came after `first` said that there is more to do.
template <typename Receive>
[[gnu::noinline]] ssize_t ReceiveRest(Scheduler& s, Hook& hook, int fd, size_t size,
                                      int flags, Receive receive, ssize_t first) {
  size_t done = 0;
  Patience patience(s, hook, fd, POLLIN);  // one time for all that is waited for
  const auto attempt = [&](ssize_t n) {
    while (n < 0 && errno == EAGAIN && patience.Wait()) {
      n = receive(done, flags | MSG_DONTWAIT);
    }
    return n;
  };
  first = attempt(first);
  if (first <= 0 || !(flags & MSG_WAITALL) || first == static_cast<ssize_t>(size)) {
    return first;
  }
  if (flags & (MSG_PEEK | MSG_ERRQUEUE)) return first;
  int type = 0;
  socklen_t type_size = sizeof type;
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size);
  if (type != SOCK_STREAM || IsNonBlocking(fd)) return first;
  done = static_cast<size_t>(first);
  while (done < size) {
    LetOthersRun(s);
    const ssize_t n = attempt(receive(done, flags | MSG_DONTWAIT));
    if (n <= 0) break;  // what has come so far counts more than why no more does
    done += static_cast<size_t>(n);
  }
  return static_cast<ssize_t>(done);
}

// `receive(offset, flags)` receives behind the first `offset` bytes, with recv(2)'s
// flags. With MSG_WAITALL all `size` are waited for, as far as the stream goes.
template <typename Receive>
ssize_t ReceiveCooperatively(Scheduler& s, Hook& hook, int fd, size_t size, int flags,
                             Receive receive) {
  hook.CountCall();
  LetOthersRun(s);
  ActOnCancel(s);
  const ssize_t n = receive(0, flags | MSG_DONTWAIT);
  if (ABSL_PREDICT_TRUE(n >= 0 ? !(flags & MSG_WAITALL) : errno != EAGAIN)) return n;
  return ReceiveRest(s, hook, fd, size, flags, receive, n);
}

// One that waits for nothing lets others run all the same: a loop of them would stop the
// hub. Receiving what is urgent, or an error, never waits.
bool PassesThrough(Scheduler* s, int flags) {
  if (s == nullptr) return true;
  if ((flags & MSG_DONTWAIT) == 0) return false;
  LetOthersRun(*s);
  return true;
}
bool ReceivePassesThrough(Scheduler* s, int flags) {
  const bool never_waits = (flags & (MSG_ERRQUEUE | MSG_OOB)) != 0;
  return PassesThrough(s, never_waits ? MSG_DONTWAIT : flags);
}

ssize_t Recv(int fd, void* buffer, size_t size, int flags) {
  Scheduler* s = Cooperating(recv_hook);
  if (ReceivePassesThrough(s, flags)) return recv_hook.Original(fd, buffer, size, flags);
  return ReceiveCooperatively(*s, recv_hook, fd, size, flags, [=](size_t at, int f) {
    return recv_hook.Original(fd, static_cast<char*>(buffer) + at, size - at, f);
  });
}

ssize_t RecvChk(int fd, void* buffer, size_t size, size_t capacity, int flags) {
  Scheduler* s = Cooperating(recv_chk_hook);
  if (ReceivePassesThrough(s, flags) || size > capacity) {
    return recv_chk_hook.Original(fd, buffer, size, capacity, flags);
  }
  return ReceiveCooperatively(*s, recv_chk_hook, fd, size, flags, [=](size_t at, int f) {
    return recv_chk_hook.Original(fd, static_cast<char*>(buffer) + at, size - at,
                                  capacity - at, f);
  });
}

// The address is that of the last piece, as the kernel's own is.
ssize_t RecvFrom(int fd, void* buffer, size_t size, int flags, sockaddr* from,
                 socklen_t* from_size) {
  Scheduler* s = Cooperating(recvfrom_hook);
  if (ReceivePassesThrough(s, flags)) {
    return recvfrom_hook.Original(fd, buffer, size, flags, from, from_size);
  }
  return ReceiveCooperatively(*s, recvfrom_hook, fd, size, flags, [=](size_t at, int f) {
    return recvfrom_hook.Original(fd, static_cast<char*>(buffer) + at, size - at, f, from,
                                  from_size);
  });
}

ssize_t RecvFromChk(int fd, void* buffer, size_t size, size_t capacity, int flags,
                    sockaddr* from, socklen_t* from_size) {
  Scheduler* s = Cooperating(recvfrom_chk_hook);
  if (ReceivePassesThrough(s, flags) || size > capacity) {
    return recvfrom_chk_hook.Original(fd, buffer, size, capacity, flags, from, from_size);
  }
  return ReceiveCooperatively(
      *s, recvfrom_chk_hook, fd, size, flags, [=](size_t at, int f) {
        return recvfrom_chk_hook.Original(fd, static_cast<char*>(buffer) + at, size - at,
                                          capacity - at, f, from, from_size);
      });
}

bool HasDescriptors(const msghdr& message) {
  auto* const m = const_cast<msghdr*>(&message);
  for (cmsghdr* c = CMSG_FIRSTHDR(m); c != nullptr; c = CMSG_NXTHDR(m, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) return true;
  }
  return false;
}

ssize_t RecvMsg(int fd, msghdr* message, int flags) {
  Scheduler* s = Cooperating(recvmsg_hook);
  if (ReceivePassesThrough(s, flags)) return recvmsg_hook.Original(fd, message, flags);
  size_t size = 0;
  if (flags & MSG_WAITALL) {
    for (size_t i = 0; i < message->msg_iovlen; ++i) size += message->msg_iov[i].iov_len;
  }
  const size_t control_size = message->msg_controllen;
  return ReceiveCooperatively(*s, recvmsg_hook, fd, size, flags, [=](size_t at, int f) {
    if (at == 0) return recvmsg_hook.Original(fd, message, f);
    // As in the kernel, descriptors end what is received with them.
    if (HasDescriptors(*message)) return ssize_t{0};
    Pieces rest(message->msg_iov, message->msg_iovlen);
    rest.Advance(at);
    msghdr more = {};
    more.msg_iov = rest.data();
    more.msg_iovlen = rest.size();
    more.msg_control = message->msg_control;
    more.msg_controllen = control_size;
    const ssize_t n = recvmsg_hook.Original(fd, &more, f);
    if (n < 0) return n;
    if (more.msg_controllen > 0) message->msg_controllen = more.msg_controllen;
    message->msg_flags |= more.msg_flags;
    return n;
  });
}

int RecvMMsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  Scheduler* s = Cooperating(recvmmsg_hook);
  if (ReceivePassesThrough(s, flags)) {
    return recvmmsg_hook.Original(fd, messages, count, flags, timeout);
  }
  recvmmsg_hook.CountCall();
  const Deadline deadline =
      timeout ? Deadline(absl::DurationFromTimespec(*timeout)) : Deadline();
  const int first_flags = (flags & ~MSG_WAITFORONE) | MSG_DONTWAIT;
  unsigned done = 0;
  std::optional<Patience> patience;  // each datagram has the socket's whole time
  LetOthersRun(*s);
  while (done < count) {
    const int n =
        recvmmsg_hook.Original(fd, messages + done, count - done, first_flags, nullptr);
    if (n > 0) {
      done += static_cast<unsigned>(n);
      // The manual page: the timeout is looked at after each datagram only.
      if ((flags & MSG_WAITFORONE) || deadline.HasPassed()) break;
      patience.reset();
      continue;
    }
    if (!patience) patience.emplace(*s, recvmmsg_hook, fd, POLLIN);
    if (n == 0 || errno != EAGAIN || !patience->Wait()) {
      if (done == 0) return n;
      break;
    }
  }
  return static_cast<int>(done);
}

// --- sending ---

// The rest of what a stream has taken a part of; a datagram is sent whole or not at all.
[[gnu::noinline]] ssize_t SendRest(Scheduler& s, Hook& hook, int fd,
                                   const msghdr& message, int flags, ssize_t first) {
  Pieces rest(message.msg_iov, message.msg_iovlen);
  const size_t size = rest.left();
  Patience patience(s, hook, fd, POLLOUT);
  if (first > 0) {
    rest.Advance(static_cast<size_t>(first));
    if (rest.left() == 0 || IsNonBlocking(fd)) return first;
  }
  msghdr more = message;
  if (first > 0) {  // what goes with the bytes has gone with the first ones
    more.msg_control = nullptr;
    more.msg_controllen = 0;
  }
  for (;;) {
    more.msg_iov = rest.data();
    more.msg_iovlen = rest.size();
    const ssize_t n = sendmsg_hook.Original(fd, &more, flags | MSG_DONTWAIT);
    if (n >= 0) {
      rest.Advance(static_cast<size_t>(n));
      more.msg_control = nullptr;
      more.msg_controllen = 0;
      if (rest.left() == 0) return static_cast<ssize_t>(size);
    } else if (errno != EAGAIN || !patience.Wait()) {
      const size_t done = size - rest.left();
      return done > 0 ? static_cast<ssize_t>(done) : -1;
    }
  }
}

ssize_t Send(int fd, const void* data, size_t size, int flags) {
  Scheduler* s = Cooperating(send_hook);
  if (PassesThrough(s, flags)) return send_hook.Original(fd, data, size, flags);
  send_hook.CountCall();
  LetOthersRun(*s);
  ActOnCancel(*s);
  const ssize_t n = send_hook.Original(fd, data, size, flags | MSG_DONTWAIT);
  if (ABSL_PREDICT_TRUE(n == static_cast<ssize_t>(size))) return n;
  if (n < 0 && errno != EAGAIN) return n;
  iovec piece = {const_cast<void*>(data), size};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  return SendRest(*s, send_hook, fd, message, flags, n);
}

ssize_t SendTo(int fd, const void* data, size_t size, int flags, const sockaddr* to,
               socklen_t to_size) {
  Scheduler* s = Cooperating(sendto_hook);
  if (PassesThrough(s, flags)) {
    return sendto_hook.Original(fd, data, size, flags, to, to_size);
  }
  sendto_hook.CountCall();
  LetOthersRun(*s);
  ActOnCancel(*s);
  const ssize_t n =
      sendto_hook.Original(fd, data, size, flags | MSG_DONTWAIT, to, to_size);
  if (ABSL_PREDICT_TRUE(n == static_cast<ssize_t>(size))) return n;
  if (n < 0 && errno != EAGAIN) return n;
  iovec piece = {const_cast<void*>(data), size};
  msghdr message = {};
  message.msg_name = const_cast<sockaddr*>(to);
  message.msg_namelen = to_size;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  return SendRest(*s, sendto_hook, fd, message, flags, n);
}

ssize_t SendMsg(int fd, const msghdr* message, int flags) {
  Scheduler* s = Cooperating(sendmsg_hook);
  if (PassesThrough(s, flags)) return sendmsg_hook.Original(fd, message, flags);
  sendmsg_hook.CountCall();
  LetOthersRun(*s);
  ActOnCancel(*s);
  const ssize_t n = sendmsg_hook.Original(fd, message, flags | MSG_DONTWAIT);
  if (n < 0 && errno != EAGAIN) return n;
  if (n >= 0) {
    size_t size = 0;
    for (size_t i = 0; i < message->msg_iovlen; ++i) size += message->msg_iov[i].iov_len;
    if (n == static_cast<ssize_t>(size)) return n;
  }
  return SendRest(*s, sendmsg_hook, fd, *message, flags, n);
}

int SendMMsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  Scheduler* s = Cooperating(sendmmsg_hook);
  if (PassesThrough(s, flags)) {
    return sendmmsg_hook.Original(fd, messages, count, flags);
  }
  unsigned done = 0;
  Patience patience(*s, sendmmsg_hook, fd, POLLOUT);
  sendmmsg_hook.CountCall();
  LetOthersRun(*s);
  while (done < count) {
    const int n =
        sendmmsg_hook.Original(fd, messages + done, count - done, flags | MSG_DONTWAIT);
    if (n > 0) {
      done += static_cast<unsigned>(n);
    } else if (n == 0 || errno != EAGAIN || !patience.Wait()) {
      if (done == 0) return n;
      break;
    }
  }
  return static_cast<int>(done);
}

}  // namespace

absl::Span<Hook* const> SocketHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
