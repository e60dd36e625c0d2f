#ifndef GROVE_NET_DNS_SERVER_TEST_UTIL_H_
#define GROVE_NET_DNS_SERVER_TEST_UTIL_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "grove/green/greenlet.h"
#include "grove/net/tcp.h"
#include "grove/net/udp.h"

// Name servers for tests, which say what they are told to, or nothing.
namespace grove::net {

// --- messages ---

inline std::string U16(int n) {
  return {static_cast<char>(n >> 8 & 0xff), static_cast<char>(n & 0xff)};
}
inline std::string U32(uint32_t n) {
  return U16(static_cast<int>(n >> 16)) + U16(static_cast<int>(n & 0xffff));
}
inline std::string WireName(absl::string_view name) {
  std::string wire;
  for (const absl::string_view label : absl::StrSplit(name, '.', absl::SkipEmpty())) {
    absl::StrAppend(&wire, std::string(1, static_cast<char>(label.size())), label);
  }
  return wire + std::string(1, '\0');
}

struct TestRecord {
  std::string name;
  int type;
  std::string data;
  uint32_t ttl = 60;

  std::string Wire() const {
    return absl::StrCat(WireName(name), U16(type), U16(1), U32(ttl),
                        U16(static_cast<int>(data.size())), data);
  }
};

inline TestRecord TestA(absl::string_view name, const char* ip, uint32_t ttl = 60) {
  char bytes[4];
  EXPECT_EQ(inet_pton(AF_INET, ip, bytes), 1);
  return {std::string(name), 1, std::string(bytes, 4), ttl};
}
inline TestRecord TestAaaa(absl::string_view name, const char* ip, uint32_t ttl = 60) {
  char bytes[16];
  EXPECT_EQ(inet_pton(AF_INET6, ip, bytes), 1);
  return {std::string(name), 28, std::string(bytes, 16), ttl};
}
inline TestRecord TestCname(absl::string_view name, absl::string_view target,
                            uint32_t ttl = 60) {
  return {std::string(name), 5, WireName(target), ttl};
}
inline TestRecord TestSoa(absl::string_view zone, uint32_t ttl, uint32_t minimum) {
  return {std::string(zone), 6,
          absl::StrCat(WireName("ns"), WireName("root"), U32(1), U32(2), U32(3), U32(4),
                       U32(minimum)),
          ttl};
}

struct TestQuery {
  uint16_t id = 0;
  std::string name;
  int type = 0;
  bool tcp = false;
  Address from;
};

struct TestReply {
  int code = 0;
  std::vector<TestRecord> answers = {};
  std::vector<TestRecord> authorities = {};
  bool truncated = false;

  std::string To(const TestQuery& query) const {
    std::string m = absl::StrCat(
        U16(query.id), U16(0x8180 | code | (truncated ? 0x200 : 0)), U16(1),
        U16(static_cast<int>(answers.size())), U16(static_cast<int>(authorities.size())),
        U16(0), WireName(query.name), U16(query.type), U16(1));
    for (const TestRecord& r : answers) m += r.Wire();
    for (const TestRecord& r : authorities) m += r.Wire();
    return m;
  }
};

inline TestQuery ParseQuery(absl::string_view message) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(message[i]); };
  TestQuery query;
  query.id = static_cast<uint16_t>(byte(0) << 8 | byte(1));
  size_t at = 12;
  while (byte(at) != 0) {
    absl::StrAppend(&query.name, query.name.empty() ? "" : ".",
                    message.substr(at + 1, byte(at)));
    at += byte(at) + 1u;
  }
  query.type = byte(at + 1) << 8 | byte(at + 2);
  return query;
}

// --- the server ---

// Answers by what `handler` returns, whole messages, each of which is sent; it may send
// what it likes by itself, and advance the clock. TCP at the same port.
class TestDnsServer {
 public:
  using Handler = std::function<std::vector<std::string>(const TestQuery&)>;

  explicit TestDnsServer(Handler handler) : handler_(std::move(handler)) {
    do {
      udp_ = *UdpSocket::Bind(Address::Loopback(0));
      address_ = *udp_.local_address();
      auto tcp = TcpListener::Listen(address_);
      if (tcp.ok()) tcp_ = *std::move(tcp);
    } while (tcp_.closed());  // the port is somebody else's for TCP
    udp_server_ = Spawn([this] { ServeUdp(); });
    tcp_server_ = Spawn([this] { ServeTcp(); });
  }
  ~TestDnsServer() { Die(); }

  // Closes its sockets: from now on nobody listens there.
  void Die() {
    udp_server_.Kill();
    tcp_server_.Kill();
    udp_.Close();
    tcp_.Close();
  }

  // Nobody listens for TCP any more.
  void CloseTcp() {
    tcp_server_.Kill();
    tcp_.Close();
  }

  const Address& address() const { return address_; }
  UdpSocket& udp() { return udp_; }
  const std::vector<TestQuery>& queries() const { return queries_; }
  int tcp_queries() const { return tcp_queries_; }

 private:
  void ServeUdp() {
    std::string buffer(4096, '\0');
    for (;;) {
      auto d = udp_.ReceiveFrom(absl::MakeSpan(&buffer[0], buffer.size()));
      if (!d.ok()) continue;
      TestQuery query = ParseQuery({buffer.data(), d->bytes});
      query.from = d->peer;
      queries_.push_back(query);
      for (const std::string& m : handler_(query)) {
        udp_.SendTo(m, d->peer).IgnoreError();
      }
    }
  }
  void ServeTcp() {
    for (;;) {
      absl::StatusOr<TcpStream> stream = tcp_.Accept();
      if (!stream.ok()) return;
      std::string size(2, '\0');
      while (stream->ReadExactly(absl::MakeSpan(&size[0], 2)).ok()) {
        std::string message(static_cast<size_t>(static_cast<uint8_t>(size[0]) << 8 |
                                                static_cast<uint8_t>(size[1])),
                            '\0');
        if (!stream->ReadExactly(absl::MakeSpan(&message[0], message.size())).ok()) break;
        TestQuery query = ParseQuery(message);
        query.tcp = true;
        queries_.push_back(query);
        ++tcp_queries_;
        for (const std::string& m : handler_(query)) {
          stream->Write(U16(static_cast<int>(m.size())) + m).IgnoreError();
        }
      }
    }
  }

  const Handler handler_;
  UdpSocket udp_;
  TcpListener tcp_;
  Address address_;
  std::vector<TestQuery> queries_;
  int tcp_queries_ = 0;
  Greenlet<> udp_server_;
  Greenlet<> tcp_server_;
};

}  // namespace grove::net

#endif  // GROVE_NET_DNS_SERVER_TEST_UTIL_H_
