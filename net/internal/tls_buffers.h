#ifndef GROVE_NET_INTERNAL_TLS_BUFFERS_H_
#define GROVE_NET_INTERNAL_TLS_BUFFERS_H_

#include <cstddef>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grove::net::tls_internal {

// What one record carries at most, and how many are sealed before they are sent: a system
// call for each costs more than to put four side by side.
constexpr size_t kRecordSize = 16384;
constexpr size_t kRecordOverhead = 256;  // the most that BoringSSL may add
constexpr int kRecordsAtOnce = 4;

// BufferLease
//
// Buffers of the hub, from here to the end of the block, within which no switch may
// happen. All TLS connections of the hub share them, so that an idle one needs none.
// Leases nest: TLS may be the transport of TLS.
class BufferLease {
 public:
  BufferLease();
  BufferLease(const BufferLease&) = delete;
  BufferLease& operator=(const BufferLease&) = delete;
  ~BufferLease();

  absl::Span<char> encrypted() { return buffers_->encrypted; }
  absl::Span<char> plain() { return buffers_->plain; }

  struct Buffers {
    char encrypted[kRecordsAtOnce * (kRecordSize + kRecordOverhead)];
    char plain[kRecordSize];
    std::unique_ptr<Buffers> next;  // of those that nobody uses
  };

 private:
  std::unique_ptr<Buffers> buffers_;
};

// PieceCursor
//
// Goes through pieces, a record's worth at a time.
class PieceCursor {
 public:
  explicit PieceCursor(absl::Span<const absl::string_view> pieces) : pieces_(pieces) {
    SkipEmpty();
  }

  bool done() const { return pieces_.empty(); }

  // What comes next, up to a record's worth: where it lies, or out of several pieces
  // gathered in `room`.
  absl::string_view Peek(absl::Span<char> room) const;
  void Take(size_t size);

 private:
  void SkipEmpty() {
    while (!pieces_.empty() && taken_ == pieces_.front().size()) {
      pieces_.remove_prefix(1);
      taken_ = 0;
    }
  }

  absl::Span<const absl::string_view> pieces_;
  size_t taken_ = 0;  // of the first
};

}  // namespace grove::net::tls_internal

#endif  // GROVE_NET_INTERNAL_TLS_BUFFERS_H_
