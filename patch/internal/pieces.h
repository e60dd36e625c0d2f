#ifndef GROVE_PATCH_INTERNAL_PIECES_H_
#define GROVE_PATCH_INTERNAL_PIECES_H_

#include <sys/uio.h>

#include <cstddef>

#include "absl/container/inlined_vector.h"

namespace grove::patch::patch_internal {

// Pieces
//
// What is left of a vector of buffers, after some calls have done a part of it each.
class Pieces {
 public:
  Pieces(const iovec* pieces, size_t count) : pieces_(pieces, pieces + count) {
    for (const iovec& p : pieces_) left_ += p.iov_len;
  }

  void Advance(size_t done) {
    left_ -= done;
    while (done > 0 && done >= pieces_[first_].iov_len) done -= pieces_[first_++].iov_len;
    if (done == 0) return;
    pieces_[first_].iov_base = static_cast<char*>(pieces_[first_].iov_base) + done;
    pieces_[first_].iov_len -= done;
  }

  size_t left() const { return left_; }
  iovec* data() { return pieces_.data() + first_; }
  size_t size() const { return pieces_.size() - first_; }

 private:
  absl::InlinedVector<iovec, 8> pieces_;
  size_t first_ = 0;
  size_t left_ = 0;
};

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_PIECES_H_
