#include "grove/net/internal/ares_channel.h"

#include <ares.h>
#include <netinet/in.h>
#include <string.h>

#include <mutex>
#include <utility>

#include "grove/green/hub_scope.h"
#include "grove/hub/internal/check.h"

namespace grove::net::net_internal {
namespace {

constexpr int kClassIn = 1;
// Of c-ares' own; it looks only when a socket is ready. Long enough never to come before
// ours, and short enough that what is lost does not pile up on a channel that is always
// busy.
constexpr int kGiveUpMilliseconds = 60'000;

void InitLibrary() {
  static std::once_flag once;
  std::call_once(once, [] { ares_library_init(ARES_LIB_INIT_ALL); });
}

ares_addr_port_node NodeOf(const Address& server) {
  ares_addr_port_node node = {};
  node.udp_port = node.tcp_port = server.port();
  if (server.is_v6()) {
    node.family = AF_INET6;
    memcpy(&node.addr.addr6,
           &reinterpret_cast<const sockaddr_in6*>(server.raw())->sin6_addr, 16);
  } else {
    node.family = AF_INET;
    memcpy(&node.addr.addr4,
           &reinterpret_cast<const sockaddr_in*>(server.raw())->sin_addr, 4);
  }
  return node;
}

}  // namespace

// What c-ares has a pointer to. It outlives whoever waited.
struct AresChannel::Query {
  AresChannel* const channel;
  AresQuery* waiter;
};

struct AresChannel::Socket {
  Socket(AresChannel* c, int number) : channel(c), fd(number) {}

  AresChannel* const channel;
  const int fd;
  IoWatcher watcher;

  static void OnReady(void* self, int events) {
    // c-ares may close the socket, and so destroy this.
    const Socket* s = static_cast<Socket*>(self);
    ares_process_fd(s->channel->channel_, (events & kReadable) ? s->fd : ARES_SOCKET_BAD,
                    (events & kWritable) ? s->fd : ARES_SOCKET_BAD);
  }
};

AresChannel::AresChannel(const Address& server, bool tcp) : server_(server), tcp_(tcp) {}

AresChannel::~AresChannel() {
  GROVE_CHECK(!busy(), "the end of a resolver that ", waiters_.size(),
              " lookups are waiting for");
  if (scheduler_ != nullptr) scheduler_->RemoveVisitor(this);
  Drop();
}

ares_channeldata* AresChannel::Channel() {
  if (channel_ != nullptr) return channel_;
  InitLibrary();
  ares_options options = {};
  options.flags = ARES_FLAG_NOCHECKRESP;  // SERVFAIL is an answer, too
  if (tcp_) options.flags |= ARES_FLAG_USEVC;
  options.timeout = kGiveUpMilliseconds;
  options.tries = 1;
  options.sock_state_cb = &OnSocket;
  options.sock_state_cb_data = this;
  // The rest is set so that c-ares reads neither files nor the environment for it.
  options.ndots = 1;
  options.lookups = const_cast<char*>("b");
  options.resolvconf_path = const_cast<char*>("/dev/null");
  const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                   ARES_OPT_SOCK_STATE_CB | ARES_OPT_NDOTS | ARES_OPT_LOOKUPS |
                   ARES_OPT_RESOLVCONF | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST |
                   ARES_OPT_SERVERS | ARES_OPT_NOROTATE;
  ares_channel channel;
  if (ares_init_options(&channel, &options, mask) != ARES_SUCCESS) return nullptr;
  ares_addr_port_node node = NodeOf(server_);
  if (ares_set_servers_ports(channel, &node) != ARES_SUCCESS) {
    ares_destroy(channel);
    return nullptr;
  }
  scheduler_ = &green_internal::Scheduler::Get();
  scheduler_->AddVisitor(this);
  return channel_ = channel;
}

void AresChannel::Drop() {
  scheduler_ = nullptr;
  if (ares_channel channel = std::exchange(channel_, nullptr)) ares_destroy(channel);
  sockets_.clear();
}

// Whoever waited is no more, or will never run again.
void AresChannel::HubEnds() {
  for (AresQuery* waiter : waiters_) {
    if (waiter->query_ != nullptr) waiter->query_->waiter = nullptr;
  }
  waiters_.clear();
  Drop();
}

void AresChannel::OnSocket(void* self, int fd, int readable, int writable) {
  AresChannel* const c = static_cast<AresChannel*>(self);
  c->sockets_.erase(fd);
  if (!readable && !writable) return;  // it is about to be closed
  auto& socket = c->sockets_[fd];
  socket = std::make_unique<Socket>(c, fd);
  socket->watcher.Set(&c->scheduler_->hub().loop(), fd,
                      (readable ? kReadable : 0) | (writable ? kWritable : 0),
                      &Socket::OnReady, socket.get());
  GROVE_CHECK(socket->watcher.Start(), "c-ares watches a socket that is not open");
}

void AresChannel::OnAnswer(void* arg, int status, int /*timeouts*/,
                           unsigned char* message, int size) {
  const std::unique_ptr<Query> query(static_cast<Query*>(arg));
  --query->channel->queries_;
  AresQuery* const waiter = query->waiter;
  if (waiter == nullptr) return;
  if (message == nullptr || size <= 0) {
    // Whatever has stood in the way; nobody listening is the usual reason.
    waiter->refused_ = status == ARES_ECONNREFUSED;
    return waiter->End(status == ARES_ECONNREFUSED ? "cannot be reached"
                                                   : ares_strerror(status));
  }
  waiter->message_.assign(reinterpret_cast<const char*>(message),
                          static_cast<size_t>(size));
  waiter->End({});
}

// The kernel reports once that nobody listens there, to whichever call comes next. If
// that is one that sends, c-ares tells only whose query it was.
void AresChannel::FailAll(const std::string& error) {
  for (AresQuery* waiter : waiters_) {
    if (waiter->query_ == nullptr) continue;
    waiter->query_->waiter = nullptr;
    waiter->refused_ = true;
    waiter->End(error);
  }
}

// When nobody waits any more, what is still under way is forgotten.
void AresChannel::Leave(AresQuery* waiter) {
  waiters_.erase(waiter);
  if (!busy() && queries_ > 0 && channel_ != nullptr) ares_cancel(channel_);
}

AresQuery::AresQuery(AresChannel* channel, const std::string& name, RecordType type)
    : channel_(channel), keep_alive_(&ThisHub()) {
  channel_->waiters_.insert(this);
  ares_channel ares = channel_->Channel();
  if (ares == nullptr) {
    End("cannot be asked: no memory");
    return;
  }
  ++channel_->queries_;
  query_ = new AresChannel::Query{.channel = channel, .waiter = this};
  errno = 0;
  ares_query(ares, name.c_str(), kClassIn, static_cast<int>(type), &AresChannel::OnAnswer,
             query_);
  const int error = errno;
  if (query_ != nullptr || !refused_) return;
  // c-ares calls it the server's fault also if there can be no socket.
  if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
    refused_ = false;
    error_ = absl::StrCat("cannot be asked: ", strerror(error));
  } else {
    channel_->FailAll(error_);
  }
}

AresQuery::~AresQuery() {
  if (query_ != nullptr) query_->waiter = nullptr;
  channel_->Leave(this);
}

void AresQuery::End(std::string error) {
  query_ = nullptr;
  error_ = std::move(error);
  done_.Set();
}

}  // namespace grove::net::net_internal
