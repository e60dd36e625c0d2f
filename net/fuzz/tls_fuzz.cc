#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/hub/internal/check.h"
#include "grove/net/stream.h"
#include "grove/net/testing/tls_certificates.h"
#include "grove/net/tls.h"

// What a peer may send, to a client and to a server: any bytes at all, and a real
// handshake in which some were changed. Nothing but what a peer has encrypted may come
// out of a read, and everything has to come to an end.
namespace grove::net {
namespace {

// One direction of a connection in memory, in which bytes may be changed on the way.
struct Direction {
  std::string bytes;
  bool ended = false;
};

// Waits by letting others run, a bounded number of times: after that it has ended.
class MemoryStream final : public Stream {
 public:
  MemoryStream(std::shared_ptr<Direction> in, std::shared_ptr<Direction> out,
               size_t chunk)
      : in_(std::move(in)), out_(std::move(out)), chunk_(chunk) {}

  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> b) override {
    if (closed_) return absl::CancelledError("closed");
    if (in_->bytes.empty()) {
      if (in_->ended) return 0;
      return std::nullopt;
    }
    const size_t n = std::min({b.size(), in_->bytes.size(), chunk_});
    in_->bytes.copy(b.data(), n);
    in_->bytes.erase(0, n);
    return n;
  }
  absl::StatusOr<size_t> TryWrite(absl::string_view data) override {
    if (closed_) return absl::CancelledError("closed");
    const size_t n = std::min(data.size(), chunk_);
    out_->bytes.append(data.data(), n);
    return n;
  }
  absl::Status ShutdownWrite() override {
    out_->ended = true;
    return absl::OkStatus();
  }
  absl::Status ShutdownRead() override { return absl::OkStatus(); }
  void Close() override {
    closed_ = true;
    out_->ended = true;
  }
  bool closed() const override { return closed_; }
  std::string Describe() const override { return "memory"; }

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char>, Deadline) override {
    GROVE_FATAL("TLS does not read so");
  }
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>>,
                                       Deadline) override {
    GROVE_FATAL("TLS does not read so");
  }
  absl::Status DoWaitReadable(Deadline) override {
    for (int i = 0; i < 100 && !closed_ && in_->bytes.empty() && !in_->ended; ++i)
      Yield();
    if (closed_) return absl::CancelledError("closed");
    if (in_->bytes.empty()) in_->ended = true;
    return absl::OkStatus();
  }
  absl::Status DoWrite(absl::string_view data, Deadline) override {
    if (closed_) return absl::CancelledError("closed");
    out_->bytes.append(data.data(), data.size());
    Yield();
    return absl::OkStatus();
  }
  absl::Status DoWriteGather(absl::Span<const absl::string_view>, Deadline) override {
    GROVE_FATAL("TLS does not write so");
  }

  const std::shared_ptr<Direction> in_, out_;
  const size_t chunk_;
  bool closed_ = false;
};

const TestAuthority& Authority() {
  static const TestAuthority* const authority = new TestAuthority;
  return *authority;
}
const TlsServerContext& ServerContext() {
  static const auto* const context = new TlsServerContext(*TlsServerContext::Make(
      {.identities = {Authority().Issue({.dns_names = {"a.test"}})},
       .client_certificates = ClientCertificates::kRequested,
       .client_roots = Authority().root(),
       .alpn = {"h2"}}));
  return *context;
}
const TlsClientContext& ClientContext() {
  static const auto* const context = new TlsClientContext(
      *TlsClientContext::Make({.system_roots = false,
                               .roots = Authority().root(),
                               .identity = Authority().Issue({.common_name = "client"}),
                               .alpn = {"h2"}}));
  return *context;
}

constexpr absl::string_view kSecret = "what is said under TLS's protection";

// Reads to the end, of whatever kind. What comes out can only be what the peer sent.
void ReadToEnd(TlsStream& stream) {
  std::string got;
  char buffer[64];
  for (;;) {
    const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
    if (!n.ok() || *n == 0) break;
    got.append(buffer, *n);
  }
  GROVE_CHECK(kSecret.substr(0, got.size()) == got, "something else came out");
}

// Any bytes.
void FuzzRaw(bool client, size_t chunk, absl::string_view bytes) {
  auto in = std::make_shared<Direction>();
  in->bytes = std::string(bytes);
  in->ended = true;
  auto transport =
      std::make_unique<MemoryStream>(in, std::make_shared<Direction>(), chunk);
  TlsStream stream = client ? TlsStream(std::move(transport), ClientContext(), "a.test")
                            : TlsStream(std::move(transport), ServerContext());
  GROVE_CHECK(!stream.Handshake().ok(), "it cannot know our keys");
  ReadToEnd(stream);
}

// A handshake, and something said, with bytes changed on their way: at what is written as
// a distance and a mask, again and again.
void FuzzChanged(bool to_client, size_t chunk, absl::string_view changes) {
  auto up = std::make_shared<Direction>(), down = std::make_shared<Direction>();
  TlsStream client(MemoryStream(down, up, chunk), ClientContext(), "a.test");
  TlsStream server(MemoryStream(up, down, chunk), ServerContext());
  const auto talk = [](TlsStream& stream) {
    if (stream.Write(kSecret).ok()) stream.ShutdownWrite().IgnoreError();
    ReadToEnd(stream);
  };
  const Greenlet<> one = Spawn([&] { talk(client); });
  const Greenlet<> two = Spawn([&] { talk(server); });
  Direction& changed = to_client ? *down : *up;
  while (!one.ready() || !two.ready()) {
    if (changes.size() >= 2 && !changed.bytes.empty()) {
      changed.bytes[static_cast<uint8_t>(changes[0]) % changed.bytes.size()] ^=
          changes[1];
      changes.remove_prefix(2);
    }
    Yield();
  }
}

void Fuzz(absl::string_view input) {
  if (input.empty()) return;
  const uint8_t mode = static_cast<uint8_t>(input[0]);
  input.remove_prefix(1);
  const size_t chunk = mode & 4 ? 1 : mode & 8 ? 7 : 100000;
  if (mode & 2) {
    FuzzChanged(mode & 1, chunk, input);
  } else {
    FuzzRaw(mode & 1, chunk, input);
  }
}

}  // namespace
}  // namespace grove::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  grove::net::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
