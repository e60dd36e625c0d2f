#include "grove/green/internal/inherited.h"

namespace grove::green_internal {

void Inherited::Set(uint64_t key, std::shared_ptr<const void> value) {
  for (Value& v : values_) {
    if (v.key == key) {
      v.value = std::move(value);
      return;
    }
  }
  values_.push_back({key, std::move(value)});
}

InheritedRef InheritedRef::WithValue(const InheritedRef& base, uint64_t key,
                                     std::shared_ptr<const void> value) {
  auto block =
      base ? std::make_unique<Inherited>(*base.get()) : std::make_unique<Inherited>();
  block->Set(key, std::move(value));
  return InheritedRef(block.release());
}

InheritedRef InheritedRef::WithDeadline(const InheritedRef& base, Deadline deadline) {
  auto block =
      base ? std::make_unique<Inherited>(*base.get()) : std::make_unique<Inherited>();
  block->deadline = deadline;
  return InheritedRef(block.release());
}

uint64_t InheritedRef::NewKey() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void InheritedRef::Release(const Inherited* block) {
  if (block->refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete block;
}

}  // namespace grove::green_internal
