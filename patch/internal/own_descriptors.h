#ifndef GROVE_PATCH_INTERNAL_OWN_DESCRIPTORS_H_
#define GROVE_PATCH_INTERNAL_OWN_DESCRIPTORS_H_

#include <cstddef>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"

// The descriptors of the hub, in a program that knows of none: one that closes all there
// are, as daemons do, would cut all its threads off from the kernel.

namespace grove::patch::patch_internal {

// OutOfTheWay
//
// While there is one, what is opened has a number that no program takes for its own:
// those from 3 on stay as they would be without a hub, for scripts name them.
class OutOfTheWay {
 public:
  OutOfTheWay();
  OutOfTheWay(const OutOfTheWay&) = delete;
  OutOfTheWay& operator=(const OutOfTheWay&) = delete;
  ~OutOfTheWay();

 private:
  std::vector<int> in_the_way_;
};

// Descriptors that are open, in order. Empty without /proc.
std::vector<int> OpenDescriptors();

// Runs `make`; what it opens, and does not close, is the hub's. While there is one
// thread.
void OwnWhatIsOpened(absl::FunctionRef<void()> make);

// In a forked child, whose hub has opened some anew: those that are not in `before`,
// which is what was open when it began.
void OwnAgainInChild(const std::vector<int>& before);

// In order; those of a hub that was made before the patch are not known. Without memory
// of the heap, as it is called in children of vfork(2).
constexpr size_t kMostOwned = 8;
absl::InlinedVector<int, kMostOwned> Owned();
bool IsOwned(int fd);

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_OWN_DESCRIPTORS_H_
