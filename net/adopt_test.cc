#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/socket_options.h"
#include "grove/net/tcp.h"
#include "grove/net/udp.h"
#include "grove/net/unix.h"
#include "grove/net/unix_datagram.h"
#include "grove/net/unix_seqpacket.h"

// What may be adopted by what.
namespace grove::net {
namespace {

using ::testing::HasSubstr;

struct Adopter {
  const char* name;
  std::function<absl::Status(int fd)> adopt;  // releases it again
};

template <typename Socket>
Adopter AdopterOf(const char* name) {
  return {name, [](int fd) -> absl::Status {
            absl::StatusOr<Socket> s = Socket::Adopt(fd);
            if (!s.ok()) return s.status();
            EXPECT_EQ(s->Release(), fd);
            return absl::OkStatus();
          }};
}

struct Candidate {
  const char* kind;  // who takes it
  const char* what;  // what others call it
  int fd;
};

// As those that are made here.
GREENLET_TEST(Adopt, SmallWritesAreSentAtOnce) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(listen(fd, 10), 0);
  TcpListener listener = *TcpListener::Adopt(fd);
  TcpStream client = *TcpStream::Connect(Address::Loopback(listener.address().port()));
  TcpStream accepted = *listener.Accept();
  EXPECT_TRUE(GetOption<TcpNoDelay>(accepted)->on);
  const int plain = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const Address address = Address::Loopback(listener.address().port());
  ASSERT_EQ(connect(plain, address.raw(), address.raw_size()), 0);
  EXPECT_TRUE(GetOption<TcpNoDelay>(*TcpStream::Adopt(plain))->on);
}

GREENLET_TEST(Adopt, EachTakesItsOwnKindAndSaysWhatOthersAre) {
  const std::vector<Adopter> adopters = {
      AdopterOf<TcpStream>("a TCP connection"),
      AdopterOf<TcpListener>("a TCP listener"),
      AdopterOf<UdpSocket>("a UDP socket"),
      AdopterOf<UnixStream>("a Unix stream"),
      AdopterOf<UnixListener>("a Unix listener"),
      AdopterOf<UnixDatagramSocket>("a Unix datagram socket"),
      AdopterOf<UnixSeqPacket>("a Unix seqpacket connection"),
      AdopterOf<UnixSeqPacketListener>("a Unix seqpacket listener"),
  };
  TcpListener tcp_listener = *TcpListener::Listen(Address::Loopback(0));
  TcpStream tcp = *TcpStream::Connect(tcp_listener.address());
  UdpSocket udp = *UdpSocket::Bind(*Address::Parse("[::1]:0"));
  auto [a, b] = *UnixStream::Pair();
  auto [c, d] = *UnixSeqPacket::Pair();
  UnixListener unix_listener = *UnixListener::Listen(UnixAddress());
  UnixDatagramSocket datagram = *UnixDatagramSocket::Bind(UnixAddress());
  UnixSeqPacketListener packets = *UnixSeqPacketListener::Listen(UnixAddress());
  const std::vector<Candidate> candidates = {
      {"a TCP connection", "an IPv4 stream socket that does not listen", tcp.Release()},
      {"a TCP listener", "an IPv4 stream socket that listens", tcp_listener.Release()},
      {"a UDP socket", "an IPv6 datagram socket", udp.Release()},
      {"a Unix stream", "a Unix stream socket that does not listen", a.Release()},
      {"a Unix listener", "a Unix stream socket that listens", unix_listener.Release()},
      {"a Unix datagram socket", "a Unix datagram socket", datagram.Release()},
      {"a Unix seqpacket connection", "a Unix seqpacket socket that does not listen",
       c.Release()},
      {"a Unix seqpacket listener", "a Unix seqpacket socket that listens",
       packets.Release()},
  };
  for (const Candidate& candidate : candidates) {
    // As others give them.
    ASSERT_EQ(fcntl(candidate.fd, F_SETFL, 0), 0);
    for (const Adopter& adopter : adopters) {
      const absl::Status s = adopter.adopt(candidate.fd);
      const int flags = fcntl(candidate.fd, F_GETFL);
      if (absl::string_view(adopter.name) == candidate.kind) {
        EXPECT_TRUE(s.ok()) << s;
        EXPECT_NE(flags & O_NONBLOCK, 0);
        ASSERT_EQ(fcntl(candidate.fd, F_SETFL, 0), 0);
        continue;
      }
      EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument) << s;
      EXPECT_EQ(s.message(), absl::StrCat("adopt fd ", candidate.fd, " as ", adopter.name,
                                          ": it is ", candidate.what));
      EXPECT_EQ(flags & O_NONBLOCK, 0) << "left as it was";
    }
  }
  for (const Candidate& candidate : candidates) EXPECT_EQ(close(candidate.fd), 0);
  // What is no socket at all, or not open, or not connected.
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  for (const Adopter& adopter : adopters) {
    EXPECT_EQ(ErrnoOf(adopter.adopt(pipe_fds[0])), ENOTSOCK);
    EXPECT_EQ(ErrnoOf(adopter.adopt(-1)), EBADF);
    EXPECT_THAT(std::string(adopter.adopt(-1).message()), HasSubstr(adopter.name));
  }
  for (int fd : pipe_fds) close(fd);
  const int unconnected = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(ErrnoOf(TcpStream::Adopt(unconnected).status()), ENOTCONN);
  EXPECT_EQ(close(unconnected), 0) << "it is still ours";
}

}  // namespace
}  // namespace grove::net
