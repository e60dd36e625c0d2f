#include <errno.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/status.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/socket.h"
#include "grove/net/internal/tls_buffers.h"
#include "grove/net/internal/tls_error.h"
#include "grove/net/internal/tls_session.h"
#include "openssl/err.h"

// A connection that stands: reading, writing, and its end.
namespace grove::net::tls_internal {
namespace {

using green_internal::Core;
using green_internal::Scheduler;
using net_internal::TimedOut;

// Of what a peer goes on sending to who closes.
constexpr int kMostDropped = 16;
constexpr int kMostReadsAtOnce = 4;
// Of a read, before its deadline counts though there is something to read.
constexpr int kRoundsInAnyCase = 16;

// One greenlet in each direction.
class Turn {
 public:
  Turn(Core*& holder, const char* verb, const Stream& stream) : holder_(holder) {
    Core* const self = Scheduler::Get().current();
    GROVE_CHECK(holder == nullptr, "two greenlets ", verb, " ", stream.Describe(),
                " at once: ", holder->Label(), " and ", self->Label());
    holder_ = self;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { holder_ = nullptr; }

 private:
  Core*& holder_;
};

}  // namespace

absl::Status Session::Closed(absl::string_view operation) {
  return absl::CancelledError(absl::StrCat(operation, ": the stream is closed"));
}

// --- reading ---

absl::StatusOr<size_t> Session::Read(absl::Span<const absl::Span<char>> buffers,
                                     Deadline deadline) {
  while (!buffers.empty() && buffers.front().empty()) buffers.remove_prefix(1);
  if (buffers.empty()) return 0;
  const Turn turn(reader_, "read from", *transport_);
  if (absl::Status s = Handshake(deadline); !s.ok()) return s;
  for (int rounds = 0;; ++rounds) {
    if (rounds > 0) {
      // What comes may have no data, over and over: tickets, or a record in pieces.
      Scheduler::Get().CountOperation();
      if (rounds >= kRoundsInAnyCase && deadline.HasPassed()) {
        return TimedOut("read from " + Describe());
      }
    }
    if (closed_) return Closed("read from " + Describe());
    if (!HasInput()) {
      if (absl::Status s = transport_->WaitReadable(deadline); !s.ok()) return s;
    }
    const absl::StatusOr<std::optional<size_t>> first = TryRead(buffers.front());
    if (!first.ok()) return first.status();
    if (!first->has_value()) continue;
    // What else is here goes to the other buffers.
    size_t total = **first;
    size_t last = **first;
    for (size_t i = 1; last > 0 && last == buffers[i - 1].size() && i < buffers.size();
         ++i) {
      const absl::StatusOr<std::optional<size_t>> more = DecryptKept(buffers[i]);
      if (!more.ok() || !more->has_value()) break;  // an error comes again
      last = **more;
      total += last;
    }
    return total;
  }
}

absl::Status Session::WaitReadable(Deadline deadline) {
  const Turn turn(reader_, "read from", *transport_);
  if (absl::Status s = Handshake(deadline); !s.ok()) return s;
  if (closed_) return Closed("read from " + Describe());
  return HasInput() ? absl::OkStatus() : transport_->WaitReadable(deadline);
}

absl::StatusOr<std::optional<size_t>> Session::TryRead(absl::Span<char> buffer) {
  if (closed_) return Closed("read from " + Describe());
  if (!failure_.ok()) return failure_;
  if (!handshaken_) return std::nullopt;
  if (buffer.empty()) return 0;
  absl::StatusOr<std::optional<size_t>> result = DecryptKept(buffer);
  // A few times: what comes may have no data, over and over, and the caller lets others
  // run in between.
  for (int reads = 0; reads < kMostReadsAtOnce && result.ok() && !result->has_value();
       ++reads) {
    // About what the buffer will hold: what comes beyond has to be kept, and copied.
    BufferLease buffers;
    const absl::Span<char> room = buffers.encrypted();
    const size_t records = buffer.size() / kRecordSize + 1;
    const size_t wanted =
        std::max(buffer.size(), kRecordSize) + records * kRecordOverhead;
    const absl::StatusOr<std::optional<size_t>> n =
        transport_->TryRead(room.first(std::min(wanted, room.size())));
    if (!n.ok()) return n.status();
    if (!n->has_value()) return std::nullopt;
    eof_ = **n == 0;
    input_ = room.first(**n);
    result = Decrypt(buffer);
    KeepInput();
  }
  return result;
}

// Out of what was received before.
absl::StatusOr<std::optional<size_t>> Session::DecryptKept(absl::Span<char> buffer) {
  if (!HasInput()) return std::nullopt;
  input_ = Kept();
  absl::StatusOr<std::optional<size_t>> result = Decrypt(buffer);
  KeepInput();
  return result;
}

// What BoringSSL has left of input_ stays for the next time.
void Session::KeepInput() {
  if (input_.empty()) {
    if (!in_.empty()) std::string().swap(in_);  // and its memory goes
    in_start_ = 0;
  } else if (input_.data() + input_.size() == in_.data() + in_.size()) {
    in_start_ = in_.size() - input_.size();
  } else {
    in_.assign(input_.data(), input_.size());
    in_start_ = 0;
  }
  input_ = {};
}

// As many records of input_ as there are, and as the buffer has room for.
absl::StatusOr<std::optional<size_t>> Session::Decrypt(absl::Span<char> buffer) {
  SSL* const ssl = ssl_.get();
  size_t done = 0;
  int n = 0;
  ERR_clear_error();
  do {
    n = SSL_read(ssl, buffer.data() + done,
                 static_cast<int>(std::min(buffer.size() - done, kMostAtOnce)));
    if (n <= 0) break;
    done += n;
  } while (done < buffer.size() && (!input_.empty() || SSL_pending(ssl) > 0));
  if (ABSL_PREDICT_TRUE(done > 0)) {
    // An end or an error comes again; no need to wait for the transport then.
    read_done_ = n <= 0 && SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ;
    return done;
  }
  return NothingDecrypted(SSL_get_error(ssl, n));
}

absl::StatusOr<std::optional<size_t>> Session::NothingDecrypted(int error) {
  switch (error) {
    case SSL_ERROR_ZERO_RETURN:
      read_done_ = true;
      return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_SYSCALL:
      if (!eof_) return std::nullopt;
      if (read_shut_) return 0;
      return absl::DataLossError(
          absl::StrCat("read from ", Describe(),
                       ": the connection was cut: it ended without close_notify"));
    default:
      failure_ = TakeError("read from " + Describe(), ssl_.get());
      TryFlush();  // the alert that tells the peer why
      return failure_;
  }
}

absl::Status Session::ShutdownRead() {
  if (closed_) return Closed("shut down reading from " + Describe());
  read_shut_ = true;
  return transport_->ShutdownRead();
}

// --- writing ---

// Collects what BoringSSL has to send in the hub's buffer, from here to the end of the
// block, and hands it to the transport: no switch in between. What the transport does not
// take at once goes to out_.
class Session::Output {
 public:
  explicit Output(Session* session) : session_(session) { session_->output_ = this; }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() { session_->output_ = nullptr; }

  bool Add(const char* data, size_t size) {
    const absl::Span<char> room = buffers_.encrypted().subspan(used_);
    if (size > room.size()) return false;
    memcpy(room.data(), data, size);
    used_ += size;
    return true;
  }
  // Where to gather what goes into one record.
  absl::Span<char> plain() { return buffers_.plain(); }

  absl::Status Send() {
    const absl::string_view data(buffers_.encrypted().data(), used_);
    const absl::StatusOr<size_t> sent = session_->transport_->TryWrite(data);
    if (!sent.ok()) return session_->write_failure_ = sent.status();
    if (ABSL_PREDICT_FALSE(*sent < data.size())) {
      const absl::string_view rest = data.substr(*sent);
      session_->out_.insert(0, rest.data(), rest.size());
    }
    return absl::OkStatus();
  }

 private:
  Session* const session_;
  BufferLease buffers_;
  size_t used_ = 0;
};

void Session::Emit(const char* data, size_t size) {
  // What goes to out_ comes after it, so once there is something all else goes there.
  if (output_ != nullptr && out_.empty() && output_->Add(data, size)) return;
  out_.append(data, size);
}

absl::Status Session::Write(absl::Span<const absl::string_view> pieces,
                            Deadline deadline) {
  PieceCursor cursor(pieces);
  const Turn turn(writer_, "write to", *transport_);
  size_t done = 0;
  absl::Status status = Handshake(deadline);
  while (status.ok() && !cursor.done()) {
    Scheduler::Get().CountOperation();
    status = Drain(deadline);
    if (status.ok()) status = MayWrite();
    if (!status.ok()) break;
    // No switch from here ...
    Output output(this);
    for (int i = 0; i < kRecordsAtOnce && !cursor.done(); ++i) {
      const absl::StatusOr<size_t> n = Seal(cursor.Peek(output.plain()));
      if (!n.ok()) {
        status = n.status();
        break;
      }
      cursor.Take(*n);
      done += *n;
    }
    const absl::Status sent = output.Send();
    // ... to here.
    if (status.ok()) status = sent;
  }
  if (status.ok()) status = Drain(deadline);
  return ABSL_PREDICT_TRUE(status.ok()) ? status
                                        : WithBytesMoved(std::move(status), done);
}

absl::StatusOr<size_t> Session::TryWrite(absl::string_view data) {
  if (absl::Status s = MayWrite(); !s.ok()) return s;
  if (!handshaken_ || data.empty()) return 0;
  TryFlush();
  if (BeingFlushed() || !out_.empty()) return 0;
  size_t done = 0;
  // A batch at a time, as long as the transport takes them whole.
  while (done < data.size() && out_.empty()) {
    Output output(this);
    for (int i = 0; i < kRecordsAtOnce && done < data.size(); ++i) {
      const absl::StatusOr<size_t> n = Seal(data.substr(done, kRecordSize));
      if (!n.ok()) return n.status();
      done += *n;
    }
    if (absl::Status s = output.Send(); !s.ok()) return s;
  }
  if (!out_.empty()) FlushInBackground();
  return done;
}

absl::Status Session::MayWrite() const {
  if (closed_) return Closed("write to " + Describe());
  if (!failure_.ok()) return failure_;
  if (!write_failure_.ok()) return write_failure_;
  if (write_shut_) return ErrnoStatus(EPIPE, "write to " + Describe());
  return absl::OkStatus();
}

// One record.
absl::StatusOr<size_t> Session::Seal(absl::string_view data) {
  ERR_clear_error();
  const int n = SSL_write(ssl_.get(), data.data(), static_cast<int>(data.size()));
  if (ABSL_PREDICT_TRUE(n > 0)) return static_cast<size_t>(n);
  return failure_ = TakeError("write to " + Describe());
}

absl::Status Session::Drain(Deadline deadline) {
  // Others may have something to say while this waits: ShutdownWrite(), a reader's alert.
  for (;;) {
    if (ABSL_PREDICT_FALSE(flusher_)) {
      const Greenlet<> flusher = flusher_;
      if (!flusher.Join(deadline)) return TimedOut("write to " + Describe());
      if (flusher_.ready()) flusher_ = {};
    } else if (ABSL_PREDICT_FALSE(!out_.empty() && write_failure_.ok())) {
      if (absl::Status s = Flush(deadline); !s.ok()) return s;
    } else if (ABSL_PREDICT_FALSE(transport_->has_unsent())) {
      if (absl::Status s = DrainTransport(deadline); !s.ok()) return s;
    } else {
      return write_failure_;
    }
  }
}

// A transport that is TLS itself may have taken more than it has sent.
absl::Status Session::DrainTransport(Deadline deadline) {
  struct Draining {
    explicit Draining(Session* s) : session(s) { session->flushing_ = true; }
    ~Draining() {
      session->flushing_ = false;
      // What came meanwhile, if this greenlet does not stay for it.
      if (!done && !session->out_.empty()) session->FlushInBackground();
    }
    Session* const session;
    bool done = false;
  } draining(this);
  absl::Status status = transport_->Write({}, deadline);
  draining.done = status.ok();
  return status;
}

absl::Status Session::Flush(Deadline deadline) {
  struct Flushing {
    explicit Flushing(Session* s) : session(s) { session->flushing_ = true; }
    ~Flushing() {
      session->flushing_ = false;
      if (!interrupted) return;
      // Nobody knows how much went out: what came behind would be garbage to the peer.
      session->write_failure_ = absl::AbortedError(
          absl::StrCat("write to ", session->Describe(),
                       ": a greenlet was stopped in the midst of a write"));
      session->out_.clear();
    }
    Session* const session;
    bool interrupted = true;
  } flushing(this);
  while (!out_.empty() && write_failure_.ok()) {
    const std::string data = std::exchange(out_, {});
    const absl::Status status = transport_->Write(data, deadline);
    if (absl::IsDeadlineExceeded(status)) {
      out_.insert(0, data, BytesMoved(status), std::string::npos);
      flushing.interrupted = false;
      return status;
    }
    if (!status.ok()) write_failure_ = status;
  }
  flushing.interrupted = false;
  if (!write_failure_.ok()) out_.clear();
  return write_failure_;
}

void Session::TryFlush() {
  if (out_.empty() || BeingFlushed() || !write_failure_.ok()) return;
  const absl::StatusOr<size_t> sent = transport_->TryWrite(out_);
  if (!sent.ok()) {
    write_failure_ = sent.status();
    out_.clear();
  } else if (*sent == out_.size()) {
    std::string().swap(out_);
  } else {
    out_.erase(0, *sent);
  }
}

void Session::FlushInBackground() {
  if (BeingFlushed()) return;
  if (!CanSpawn()) {
    write_failure_ = absl::ResourceExhaustedError(
        absl::StrCat("write to ", Describe(), ": no stack for what is left to send"));
    out_.clear();
    return;
  }
  // It is not the caller's deadline by which that has to be done.
  WithoutDeadline([this] {
    flusher_ = Spawn({.name = absl::StrCat("TLS writer of ", Describe())},
                     [self = shared_from_this()] { self->Flush({}).IgnoreError(); });
  });
}

// --- the end ---

absl::Status Session::ShutdownWrite() {
  const std::string operation = "shut down writing to " + Describe();
  if (closed_) return Closed(operation);
  if (!failure_.ok()) return failure_;
  if (!handshaken_) {
    return absl::FailedPreconditionError(operation + ": the handshake is not done");
  }
  if (std::exchange(write_shut_, true)) return absl::OkStatus();
  ERR_clear_error();
  if (SSL_shutdown(ssl_.get()) < 0) return failure_ = TakeError(operation);
  TryFlush();
  if (!out_.empty()) FlushInBackground();
  return write_failure_;
}

void Session::Close() {
  if (std::exchange(closed_, true)) return;
  const bool can_tell = handshaken_ && failure_.ok() && write_failure_.ok() &&
                        !write_shut_ && !BeingFlushed() && out_.empty();
  if (can_tell) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
    TryFlush();
  }
  if (client_ != nullptr && handshaken_ && reader_ == nullptr) DropWhatHasArrived();
  transport_->Close();
}

// A TCP socket that is closed with something unread resets the connection, and what was
// written last is lost. A client that only writes has never read its session's tickets.
void Session::DropWhatHasArrived() {
  std::array<char, 4096> dropped;
  for (int i = 0; i < kMostDropped; ++i) {
    const absl::StatusOr<std::optional<size_t>> n =
        transport_->TryRead(absl::MakeSpan(dropped));
    if (!n.ok() || !n->has_value() || **n == 0) return;
  }
}

}  // namespace grove::net::tls_internal
