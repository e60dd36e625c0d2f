#ifndef GROVE_NET_INTERNAL_TLS_SESSION_H_
#define GROVE_NET_INTERNAL_TLS_SESSION_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/green/greenlet.h"
#include "grove/hub/deadline.h"
#include "grove/net/internal/tls_state.h"
#include "grove/net/stream.h"
#include "grove/sync/mutex.h"
#include "openssl/ssl.h"

namespace grove::net::tls_internal {

// Session
//
// One TLS connection: BoringSSL's state, the stream that carries it, and the encrypted
// bytes between the two.
//
// BoringSSL sees buffers only. What has arrived is put before it (`input_`), what it has
// to send is collected (Emit()), and both are carried to and from the transport outside
// of its calls. So no call of BoringSSL's ever switches to another greenlet, and one that
// reads and one that writes take turns there without a lock.
//
// What is on its way lies in the hub's buffers, which belong to whoever runs between two
// switches; only what is left when a switch comes is kept by the connection: `in_` and
// `out_`, which are empty as a rule. An idle connection has no buffer.
//
// Shared by the TlsStream and by whoever waits, who may outlive it.
class Session final : public std::enable_shared_from_this<Session> {
 public:
  Session(std::unique_ptr<Stream> transport, std::shared_ptr<ClientState> client,
          absl::string_view host);
  Session(std::unique_ptr<Stream> transport, std::shared_ptr<ServerState> server);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // What TlsStream promises.
  absl::Status Handshake(Deadline deadline) {
    return ABSL_PREDICT_TRUE(handshaken_) ? absl::OkStatus() : DoHandshake(deadline);
  }
  absl::StatusOr<size_t> Read(absl::Span<const absl::Span<char>> buffers,
                              Deadline deadline);
  absl::Status WaitReadable(Deadline deadline);
  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer);
  absl::Status Write(absl::Span<const absl::string_view> pieces, Deadline deadline);
  absl::StatusOr<size_t> TryWrite(absl::string_view data);
  bool has_unsent() const {
    return !out_.empty() || BeingFlushed() || transport_->has_unsent();
  }
  absl::Status ShutdownWrite();
  absl::Status ShutdownRead();
  void Close();

  bool closed() const { return closed_; }
  bool handshaken() const { return handshaken_; }
  Stream& transport() const { return *transport_; }
  const SSL* ssl() const { return ssl_.get(); }
  std::string Describe() const { return transport_->Describe(); }

 private:
  class Output;

  // BoringSSL counts in ints.
  static constexpr size_t kMostAtOnce = size_t{1} << 30;

  static absl::Status Closed(absl::string_view operation);
  void Init(SSL_CTX* context);
  absl::Status NameServer();

  // --- the handshake ---
  // clang does not see that a std::unique_lock has adopted it.
  absl::Status DoHandshake(Deadline deadline) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  absl::Status RunHandshake(Deadline deadline);
  int HandshakeStep(absl::Span<const char> input);
  absl::Status ReceiveForHandshake(Deadline deadline, int& error);
  absl::Status HandshakeFailed(int error);
  std::string HandshakeWithPeer() const;

  // --- reading ---
  // Whether a read would find something without the transport.
  bool HasInput() const {
    return !in_.empty() || eof_ || read_done_ || !failure_.ok() ||
           SSL_pending(ssl_.get()) > 0;
  }
  // What was received, and BoringSSL has not looked at yet.
  absl::Span<const char> Kept() const {
    return absl::MakeConstSpan(in_).subspan(in_start_);
  }
  void KeepInput();
  absl::StatusOr<std::optional<size_t>> DecryptKept(absl::Span<char> buffer);
  absl::StatusOr<std::optional<size_t>> Decrypt(absl::Span<char> buffer);
  absl::StatusOr<std::optional<size_t>> NothingDecrypted(int error);

  // --- writing ---
  absl::Status MayWrite() const;
  absl::StatusOr<size_t> Seal(absl::string_view data);
  // All that was collected goes to the transport: waits for who does it, or does it.
  absl::Status Drain(Deadline deadline);
  absl::Status DrainTransport(Deadline deadline);
  absl::Status Flush(Deadline deadline);
  // As much of it as goes without waiting.
  void TryFlush();
  // The rest of it, by a greenlet.
  void FlushInBackground();
  void DropWhatHasArrived();
  bool BeingFlushed() const { return flushing_ || (flusher_ && !flusher_.ready()); }

  // --- what BoringSSL reads and writes: memory ---
  static const BIO_METHOD* Method();
  static int BioRead(BIO* bio, char* out, int size);
  static int BioWrite(BIO* bio, const char* data, int size);
  static long BioControl(BIO* bio, int command, long argument, void* pointer);
  void Emit(const char* data, size_t size);

  const std::unique_ptr<Stream> transport_;
  const std::shared_ptr<ClientState> client_;  // one of these two
  const std::shared_ptr<ServerState> server_;
  std::string host_;  // of a client
  ConnectionData data_;
  std::shared_ptr<const CertificateTable> certificates_;  // until the handshake is done
  bssl::UniquePtr<SSL> ssl_;

  Mutex handshake_;       // held by who does the handshake
  absl::Status failure_;  // of the handshake, or a wrong record: nothing goes any more
  absl::Status write_failure_;    // half a record may be on the wire
  absl::Span<const char> input_;  // during a call of BoringSSL's
  std::string in_;                // received, and not looked at yet; from in_start_ on
  size_t in_start_ = 0;
  std::string out_;           // to be sent, after what Flush() is sending
  Output* output_ = nullptr;  // where Emit() collects, in place of out_
  Greenlet<> flusher_;
  green_internal::Core* reader_ = nullptr;  // who is in Read(), or waits for it
  green_internal::Core* writer_ = nullptr;
  bool handshaken_ = false;
  bool flushing_ = false;   // a greenlet writes to the transport
  bool eof_ = false;        // the transport has ended
  bool read_done_ = false;  // BoringSSL has come to the end, or to an error
  bool read_shut_ = false;
  bool write_shut_ = false;  // close_notify was said
  bool closed_ = false;
};

}  // namespace grove::net::tls_internal

#endif  // GROVE_NET_INTERNAL_TLS_SESSION_H_
