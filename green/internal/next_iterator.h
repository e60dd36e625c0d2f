#ifndef GROVE_GREEN_INTERNAL_NEXT_ITERATOR_H_
#define GROVE_GREEN_INTERNAL_NEXT_ITERATOR_H_

#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>

namespace grove::green_internal {

// NextIterator
//
// An input iterator over what a `std::optional<value_type> Source::Next()` returns. If
// Next() throws, so does the increment, and the iterator can be incremented again.
template <typename Source>
class NextIterator {
 public:
  using value_type = typename Source::value_type;
  using difference_type = std::ptrdiff_t;
  using iterator_concept = std::input_iterator_tag;

  explicit NextIterator(Source* source) : source_(source) { ++*this; }
  NextIterator(NextIterator&&) = default;
  NextIterator& operator=(NextIterator&&) = default;

  value_type& operator*() const { return *value_; }
  value_type* operator->() const { return &*value_; }
  NextIterator& operator++() {
    value_.reset();
    if (auto next = source_->Next()) value_.emplace(*std::move(next));
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const NextIterator& i, std::default_sentinel_t) {
    return !i.value_.has_value();
  }

 private:
  Source* source_;
  mutable std::optional<value_type> value_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_NEXT_ITERATOR_H_
