#include "grove/net/testing/memory_stream.h"

#include <errno.h>

#include <algorithm>
#include <deque>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/core.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/wait_in.h"

namespace grove::net {
namespace {

using green_internal::ListedWaiter;
using green_internal::Scheduler;
using green_internal::WaiterList;

constexpr MonotonicNanos kNever = std::numeric_limits<MonotonicNanos>::max();

class StreamWaiter final : public ListedWaiter {
 public:
  StreamWaiter(Scheduler& s, WaiterList* list, std::string what)
      : ListedWaiter(s.current(), list), what_(std::move(what)) {}
  std::string Describe() const override { return what_; }

 private:
  const std::string what_;
};

}  // namespace

// Both ends, and what is on the way between them.
class MemoryStream::Connection {
 public:
  explicit Connection(MemoryStreamOptions options)
      : options_(std::move(options)), random_(options_.seed.value_or(0)) {
    GROVE_CHECK(options_.capacity > 0, "a MemoryStreamPair without capacity");
    GROVE_CHECK(options_.max_piece > 0, "a MemoryStreamPair of pieces of 0 bytes");
    GROVE_CHECK(options_.seed || options_.fault_chance == 0,
                "a MemoryStreamPair's fault_chance needs a seed");
    home_->Retain();
  }
  ~Connection() { home_->Release(); }

  // What a read that does not wait comes to; nullopt if there is nothing now.
  absl::StatusOr<std::optional<size_t>> Read(int side, absl::Span<char> buffer);
  // How much was taken; 0 if there is no room.
  absl::StatusOr<size_t> Write(int side, absl::string_view data);
  // Whether Read() would have something to say.
  bool Readable(int side) const;

  // False once the deadline has passed. May return early.
  bool WaitToRead(int side, Deadline deadline);
  bool WaitToWrite(int side, Deadline deadline);

  void Close(int side, bool abort);
  void ShutdownWrite(int side) { EndDirection(ends_[side], ends_[1 - side]); }
  void ShutdownRead(int side);
  void FailReads(int side, absl::Status status) {
    ends_[side].read_failure = std::move(status);
    ends_[side].readers.NotifyAll();
  }
  void FailWrites(int side, absl::Status status) {
    ends_[side].write_failure = std::move(status);
    ends_[side].writers.NotifyAll();
  }
  void Break(StreamFault fault);

  bool random() const { return options_.seed.has_value(); }
  // Between two pieces.
  void MaybeYield() {
    if (random() && random_() % 4 == 0) Yield();
  }
  std::string PeerOf(int side) const {
    return absl::StrCat(options_.name, side == 0 ? ".far" : ".near");
  }
  size_t unread(int side) const { return ends_[side].bytes; }
  Activity activity(int side) const {
    const End& end = ends_[side];
    return {end.read, end.written, !end.readers.empty(), !end.writers.empty()};
  }

 private:
  struct Piece {
    MonotonicNanos arrives;
    std::string bytes;
  };
  // One end, with what is on its way to it.
  struct End {
    std::deque<Piece> pieces;
    size_t taken = 0;             // of the first piece
    size_t bytes = 0;             // in all pieces, those taken not counted
    MonotonicNanos end = kNever;  // when the peer's ShutdownWrite() arrives
    MonotonicNanos last = 0;      // when the last that was sent arrives
    uint64_t read = 0;
    uint64_t written = 0;
    bool write_shut = false;  // nothing more is sent from here
    bool read_shut = false;   // nothing more arrives here
    bool closed = false;
    std::string closed_by;
    absl::Status read_failure;
    absl::Status write_failure;
    WaiterList readers;  // at most one each
    WaiterList writers;
  };

  size_t Cut(size_t n);
  MonotonicNanos ArrivalAt(End& to);
  void EndDirection(End& from, End& to);
  void Drop(End& end);
  void MaybeBreak();
  absl::Status Failure(absl::string_view verb, int side, int error) const {
    return ErrnoStatus(error, absl::StrCat(verb, PeerOf(side)));
  }
  absl::Status ClosedHere(absl::string_view verb, const End& end) const {
    return absl::CancelledError(absl::StrCat(verb, ": closed by ", end.closed_by));
  }
  bool Wait(WaiterList& list, int side, const char* what, Deadline deadline);

  const MemoryStreamOptions options_;
  Scheduler* const home_ = &Scheduler::Get();
  std::mt19937_64 random_;
  End ends_[2];
  uint64_t written_ = 0;
  int broken_ = 0;  // the errno of a reset
  bool cut_ = false;
};

// --- what is on the way --------------------------------------------------------------

// A size up to `n`: as likely below 2 as between 1024 and 2048.
size_t MemoryStream::Connection::Cut(size_t n) {
  n = std::min(n, options_.max_piece);
  if (!random()) return n;
  const size_t bound = std::min<size_t>(n, size_t{1} << random_() % 17);
  return 1 + random_() % bound;
}

MonotonicNanos MemoryStream::Connection::ArrivalAt(End& to) {
  absl::Duration delay = options_.min_delay;
  if (random() && options_.max_delay > delay) {
    const auto range = absl::ToInt64Nanoseconds(options_.max_delay - delay);
    delay += absl::Nanoseconds(random_() % (static_cast<uint64_t>(range) + 1));
  }
  const MonotonicNanos now = home_->hub().Now();
  return to.last = std::max(to.last, now + absl::ToInt64Nanoseconds(delay));
}

void MemoryStream::Connection::Drop(End& end) {
  end.pieces.clear();
  end.taken = 0;
  end.bytes = 0;
}

void MemoryStream::Connection::EndDirection(End& from, End& to) {
  if (std::exchange(from.write_shut, true)) return;
  to.end = ArrivalAt(to);
  to.readers.NotifyAll();
  from.writers.NotifyAll();
}

// --- what goes wrong -----------------------------------------------------------------

void MemoryStream::Connection::Break(StreamFault fault) {
  if (broken_ != 0 || cut_) return;
  if (fault == StreamFault::kEnd) {
    cut_ = true;
    EndDirection(ends_[0], ends_[1]);
    EndDirection(ends_[1], ends_[0]);
    return;
  }
  broken_ = fault == StreamFault::kReset ? ECONNRESET : ETIMEDOUT;
  for (End& end : ends_) {
    Drop(end);
    end.readers.NotifyAll();
    end.writers.NotifyAll();
  }
}

void MemoryStream::Connection::MaybeBreak() {
  if (options_.fault_after && written_ >= *options_.fault_after) Break(options_.fault);
  if (options_.fault_chance > 0 &&
      std::bernoulli_distribution(options_.fault_chance)(random_)) {
    Break(options_.fault);
  }
}

void MemoryStream::Connection::Close(int side, bool abort) {
  if (home_->ended()) return;
  End& end = ends_[side];
  End& peer = ends_[1 - side];
  end.closed = true;
  end.closed_by = home_->current()->Label();
  if (!peer.closed && (abort || end.bytes > 0)) Break(StreamFault::kReset);
  Drop(end);
  EndDirection(end, peer);
  end.readers.NotifyAll();
  end.writers.NotifyAll();
  peer.writers.NotifyAll();
}

void MemoryStream::Connection::ShutdownRead(int side) {
  End& end = ends_[side];
  if (std::exchange(end.read_shut, true)) return;
  const MonotonicNanos now = home_->hub().Now();
  while (!end.pieces.empty() && end.pieces.back().arrives > now) {
    end.bytes -= end.pieces.back().bytes.size();
    end.pieces.pop_back();
  }
  end.readers.NotifyAll();
  ends_[1 - side].writers.NotifyAll();
}

// --- reading and writing -------------------------------------------------------------

bool MemoryStream::Connection::Readable(int side) const {
  const End& end = ends_[side];
  if (end.closed || broken_ != 0 || !end.read_failure.ok()) return true;
  const MonotonicNanos now = home_->hub().Now();
  if (!end.pieces.empty()) return end.pieces.front().arrives <= now;
  return end.read_shut || end.end <= now;
}

absl::StatusOr<std::optional<size_t>> MemoryStream::Connection::Read(
    int side, absl::Span<char> buffer) {
  End& end = ends_[side];
  if (end.closed) return ClosedHere("read", end);
  if (buffer.empty()) return 0;
  MaybeBreak();
  if (!end.read_failure.ok()) return end.read_failure;
  if (broken_ != 0) return Failure("read from ", side, broken_);
  if (!Readable(side)) return std::nullopt;
  if (end.pieces.empty()) return 0;
  const size_t wanted = Cut(buffer.size());
  const MonotonicNanos now = home_->hub().Now();
  size_t done = 0;
  while (done < wanted && !end.pieces.empty() && end.pieces.front().arrives <= now) {
    const std::string& bytes = end.pieces.front().bytes;
    const size_t n = std::min(wanted - done, bytes.size() - end.taken);
    std::copy_n(bytes.data() + end.taken, n, buffer.data() + done);
    done += n;
    end.taken += n;
    if (end.taken < bytes.size()) break;
    end.pieces.pop_front();
    end.taken = 0;
  }
  end.bytes -= done;
  end.read += done;
  ends_[1 - side].writers.NotifyAll();
  return done;
}

absl::StatusOr<size_t> MemoryStream::Connection::Write(int side, absl::string_view data) {
  End& end = ends_[side];
  End& peer = ends_[1 - side];
  if (end.closed) return ClosedHere("write", end);
  if (data.empty()) return 0;
  MaybeBreak();
  if (!end.write_failure.ok()) return end.write_failure;
  if (broken_ != 0) return Failure("write to ", side, broken_);
  if (end.write_shut || peer.closed) return Failure("write to ", side, EPIPE);
  size_t n = Cut(data.size());
  if (!peer.read_shut) n = std::min(n, options_.capacity - peer.bytes);
  if (options_.fault_after) n = std::min<size_t>(n, *options_.fault_after - written_);
  if (n == 0) return 0;
  written_ += n;
  end.written += n;
  if (!peer.read_shut) {
    peer.pieces.push_back({ArrivalAt(peer), std::string(data.substr(0, n))});
    peer.bytes += n;
    peer.readers.NotifyAll();
  }
  if (written_ == options_.fault_after) Break(options_.fault);
  return n;
}

bool MemoryStream::Connection::Wait(WaiterList& list, int side, const char* what,
                                    Deadline deadline) {
  GROVE_CHECK(&Scheduler::Get() == home_, "a MemoryStream of hub '", home_->hub_name(),
              "' is used on hub '", Scheduler::Get().hub_name(), "'");
  GROVE_CHECK(list.empty(), "two greenlets wait to ", what, PeerOf(side), ": ",
              list.front()->Who(), " and ", home_->current()->Label());
  StreamWaiter waiter(*home_, &list, absl::StrCat(what, PeerOf(side)));
  return home_->ParkUntil(&waiter, deadline);
}

bool MemoryStream::Connection::WaitToRead(int side, Deadline deadline) {
  End& end = ends_[side];
  const MonotonicNanos arrives =
      end.pieces.empty() ? end.end : end.pieces.front().arrives;
  if (arrives >= deadline.when()) {
    return Wait(end.readers, side, "read from ", deadline);
  }
  (void)Wait(end.readers, side, "read from ", Deadline::At(arrives));
  return true;
}

bool MemoryStream::Connection::WaitToWrite(int side, Deadline deadline) {
  return Wait(ends_[side].writers, side, "write to ", deadline);
}

// --- MemoryStream --------------------------------------------------------------------

namespace {

absl::Status NotOpen(absl::string_view verb) {
  return absl::CancelledError(absl::StrCat(verb, ": the stream is closed"));
}

absl::Status Late(absl::string_view verb, absl::string_view peer) {
  return absl::DeadlineExceededError(absl::StrCat(verb, peer, ": the deadline passed"));
}

}  // namespace

MemoryStream::MemoryStream(std::shared_ptr<Connection> connection, int side)
    : connection_(std::move(connection)), side_(side) {}

MemoryStream& MemoryStream::operator=(MemoryStream&& other) noexcept {
  if (this != &other) {
    Close();
    set_timeout(other.timeout());
    connection_ = std::move(other.connection_);
    side_ = other.side_;
  }
  return *this;
}

MemoryStream::~MemoryStream() { Close(); }

void MemoryStream::Close() {
  if (auto c = std::exchange(connection_, nullptr)) c->Close(side_, /*abort=*/false);
}

void MemoryStream::Abort() {
  if (auto c = std::exchange(connection_, nullptr)) c->Close(side_, /*abort=*/true);
}

void MemoryStream::FailReads(absl::Status status) {
  if (connection_) connection_->FailReads(side_, std::move(status));
}

void MemoryStream::FailWrites(absl::Status status) {
  if (connection_) connection_->FailWrites(side_, std::move(status));
}

size_t MemoryStream::unread() const {
  return connection_ ? connection_->unread(side_) : 0;
}

std::string MemoryStream::Describe() const {
  return connection_ ? connection_->PeerOf(side_) : "a closed memory stream";
}

Stream::Activity MemoryStream::activity() const {
  return connection_ ? connection_->activity(side_) : Activity();
}

absl::Status MemoryStream::ShutdownWrite() {
  if (!connection_) return NotOpen("shut down writing");
  connection_->ShutdownWrite(side_);
  return absl::OkStatus();
}

absl::Status MemoryStream::ShutdownRead() {
  if (!connection_) return NotOpen("shut down reading");
  connection_->ShutdownRead(side_);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<size_t>> MemoryStream::TryRead(absl::Span<char> buffer) {
  if (!connection_) return NotOpen("read");
  return connection_->Read(side_, buffer);
}

absl::StatusOr<size_t> MemoryStream::TryWrite(absl::string_view data) {
  if (!connection_) return NotOpen("write");
  return connection_->Write(side_, data);
}

absl::Status MemoryStream::DoWaitReadable(Deadline deadline) {
  const std::shared_ptr<Connection> c = connection_;
  const int side = side_;
  if (!c) return NotOpen("read");
  Scheduler::Get().CountOperation();
  while (!c->Readable(side)) {
    if (!c->WaitToRead(side, deadline)) return Late("read from ", c->PeerOf(side));
  }
  // Closed by somebody else: that is what the read would say.
  absl::StatusOr<std::optional<size_t>> closed = c->Read(side, {});
  return closed.status();
}

absl::StatusOr<size_t> MemoryStream::DoRead(absl::Span<char> buffer, Deadline deadline) {
  const std::shared_ptr<Connection> c = connection_;
  const int side = side_;
  if (!c) return NotOpen("read");
  if (buffer.empty()) return 0;
  Scheduler::Get().CountOperation();
  for (;;) {
    absl::StatusOr<std::optional<size_t>> n = c->Read(side, buffer);
    if (!n.ok()) return n.status();
    if (n->has_value()) return **n;
    if (!c->WaitToRead(side, deadline)) return Late("read from ", c->PeerOf(side));
  }
}

absl::StatusOr<size_t> MemoryStream::DoReadScatter(
    absl::Span<const absl::Span<char>> buffers, Deadline deadline) {
  const std::shared_ptr<Connection> c = connection_;
  const int side = side_;
  size_t done = 0;
  for (const absl::Span<char>& buffer : buffers) {
    if (buffer.empty()) continue;
    if (done == 0) {
      absl::StatusOr<size_t> n = DoRead(buffer, deadline);
      if (!n.ok() || *n == 0) return n;
      done = *n;
      if (done < buffer.size()) return done;
      continue;
    }
    // What else is there at once; an error or the end is for the next call.
    const absl::StatusOr<std::optional<size_t>> n = c->Read(side, buffer);
    if (!n.ok() || n->value_or(0) == 0) return done;
    done += **n;
    if (**n < buffer.size()) return done;
  }
  return done;
}

absl::Status MemoryStream::DoWrite(absl::string_view data, Deadline deadline) {
  const std::shared_ptr<Connection> c = connection_;
  const int side = side_;
  if (!c) return NotOpen("write");
  size_t done = 0;
  while (done < data.size()) {
    Scheduler::Get().CountOperation();
    absl::StatusOr<size_t> n = c->Write(side, data.substr(done));
    if (!n.ok()) return WithBytesMoved(std::move(n).status(), done);
    done += *n;
    if (*n > 0) {
      if (done < data.size()) c->MaybeYield();
    } else if (!c->WaitToWrite(side, deadline)) {
      return WithBytesMoved(Late("write to ", c->PeerOf(side)), done);
    }
  }
  return absl::OkStatus();
}

absl::Status MemoryStream::DoWriteGather(absl::Span<const absl::string_view> pieces,
                                         Deadline deadline) {
  std::string all;
  for (absl::string_view piece : pieces) all.append(piece.data(), piece.size());
  return DoWrite(all, deadline);
}

// --- MemoryStreamPair ----------------------------------------------------------------

MemoryStreamPair::MemoryStreamPair(MemoryStreamOptions options) {
  auto connection = std::make_shared<MemoryStream::Connection>(std::move(options));
  connection_ = connection;
  near = MemoryStream(connection, 0);
  far = MemoryStream(std::move(connection), 1);
}

void MemoryStreamPair::Break(StreamFault fault) {
  if (auto c = connection_.lock()) c->Break(fault);
}

}  // namespace grove::net
