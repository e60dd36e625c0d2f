#ifndef GROVE_NET_TLS_H_
#define GROVE_NET_TLS_H_

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"
#include "grove/net/stream.h"
#include "grove/net/tls_certificate.h"
#include "grove/net/tls_context.h"

namespace grove::net {

namespace tls_internal {
class Session;
}

// TlsStream
//
// TLS over any Stream, which it owns: a client or a server, by the context it is given.
// See Stream for what reading and writing promise.
//
//   absl::StatusOr<TcpStream> tcp = TcpStream::Connect(address, {.deadline = deadline});
//   TlsStream stream(*std::move(tcp), tls, "example.com");
//   if (absl::Status s = stream.Handshake(deadline); !s.ok()) return s;
//   absl::Status w = stream.Write("GET / HTTP/1.1\r\n...");
//
// The first call that waits does the handshake, if Handshake() was not called: a server
// may hand the stream to its handler as it is. TryRead() and TryWrite() do nothing
// before.
//
// The end. Read() returns 0 once the peer has said that it sends no more (close_notify).
// A connection that ends without is kDataLoss: somebody may have cut it. ShutdownWrite()
// says it here, and reading goes on; Close() says it too, where that needs no waiting.
//
// One greenlet may read while another writes, or does the handshake, whatever TLS itself
// has to send or to receive for either.
//
// What differs from a plain stream:
// - What is written is sent in records of up to 16 KiB. BytesMoved(status) of a write
//   counts what is in records; of those the last may be on its way still, and goes first
//   when something is written again. What TryWrite() took and the transport did not is
//   sent in the background; Close() drops it, ShutdownWrite() does not.
// - A write that was ended by an exception (a kill, a Timeout) while it waited may have
//   left half a record on the wire. Nothing more is written then: writes return kAborted,
//   and the peer sees kDataLoss. Reading goes on.
// - After a record that is wrong nothing is read or written any more.
// - Renegotiation is refused, and early data is never sent nor taken.
//
// Errors: the operation, the peer and the host in the message, and
//   kUnauthenticated     who answered is not to be trusted, or does not trust us:
//                        expired, another name, self-signed, ...
//   kFailedPrecondition  no version, cipher or protocol (ALPN) that both speak
//   kDataLoss            cut off, or not TLS
//   others               the transport's own
class TlsStream final : public Stream {
 public:
  // TlsStream::TlsStream()
  //
  // A client, which expects a certificate for `host`: a name, or an address ("192.0.2.1",
  // "::1"). Does not block; a name that is none is an error of the handshake.
  TlsStream(std::unique_ptr<Stream> transport, const TlsClientContext& context,
            absl::string_view host);
  // A server.
  TlsStream(std::unique_ptr<Stream> transport, const TlsServerContext& context);

  // The same over a stream that is moved from.
  template <std::derived_from<Stream> S>
  TlsStream(S transport, const TlsClientContext& context, absl::string_view host)
      : TlsStream(std::unique_ptr<Stream>(std::make_unique<S>(std::move(transport))),
                  context, host) {}
  template <std::derived_from<Stream> S>
  TlsStream(S transport, const TlsServerContext& context)
      : TlsStream(std::unique_ptr<Stream>(std::make_unique<S>(std::move(transport))),
                  context) {}

  TlsStream(TlsStream&& other) noexcept;
  TlsStream& operator=(TlsStream&& other) noexcept;
  // Closes.
  ~TlsStream() override;

  // TlsStream::Handshake()
  //
  // Returns at once if it is done.
  //
  // Blocks: until both sides are sure of each other.
  // Deadline: the argument, the stream's timeout or the context's handshake_timeout,
  //     whichever is earliest; returns kDeadlineExceeded. It may be tried again.
  // Kill: throws; the stream can only be closed then.
  absl::Status Handshake(Deadline deadline = {});

  // What the handshake has come to. Empty, or false, before it is done.
  bool handshaken() const;
  bool resumed() const;             // a session of before
  TlsVersion version() const;       // after the handshake only
  std::string cipher() const;       // "TLS_AES_128_GCM_SHA256"
  std::string alpn() const;         // the protocol that both speak
  std::string server_name() const;  // that the client asked for
  // The peer's own; nullopt if it has shown none.
  std::optional<TlsCertificate> peer_certificate() const;
  // All that it has shown, its own first, in DER.
  std::vector<std::string> peer_chain() const;

  // TlsStream::transport()
  //
  // What carries it, for options and addresses. Do not read or write there.
  Stream& transport() const;

  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer) override;
  absl::StatusOr<size_t> TryWrite(absl::string_view data) override;
  bool has_unsent() const override;
  absl::Status ShutdownWrite() override;
  absl::Status ShutdownRead() override;
  void Close() override;
  // The transport's: no close_notify is sent.
  void Abort() override;
  bool closed() const override;
  std::string Describe() const override;
  // The transport's: with what TLS adds.
  Activity activity() const override;

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char> buffer, Deadline deadline) override;
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>> buffers,
                                       Deadline deadline) override;
  absl::Status DoWaitReadable(Deadline deadline) override;
  absl::Status DoWrite(absl::string_view data, Deadline deadline) override;
  absl::Status DoWriteGather(absl::Span<const absl::string_view> pieces,
                             Deadline deadline) override;

  // Shared with who waits, since the stream may be gone by then.
  std::shared_ptr<tls_internal::Session> session_;
};

// CheckNothingArrived()
//
// For protocols that go over to TLS in the midst of a connection (STARTTLS): whoever sits
// in between may have put commands in clear text behind the one that begins it, which
// would then be taken for ones that came under TLS's protection.
//
// kFailedPrecondition if there are any: in `rest`, which is what Stream::ReadUntil() has
// read too much, or on `stream`; close that then. A client calls it when it has read the
// answer, a server before it writes it.
//
//   ReadUntil("\r\n", rest, ...) == "STARTTLS\r\n":
//   if (absl::Status s = CheckNothingArrived(tcp, rest); !s.ok()) return s;
//   tcp.Write("220 go ahead\r\n");
//   TlsStream stream(StreamRef(tcp), tls);
//
// Does not block.
absl::Status CheckNothingArrived(Stream& stream, absl::string_view rest);

}  // namespace grove::net

#endif  // GROVE_NET_TLS_H_
