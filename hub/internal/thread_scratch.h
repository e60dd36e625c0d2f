#ifndef GROVE_HUB_INTERNAL_THREAD_SCRATCH_H_
#define GROVE_HUB_INTERNAL_THREAD_SCRATCH_H_

#include <utility>

namespace grove::hub_internal {

// ThreadScratch
//
// A T of each thread, for what is done between two switches of greenlets: it stays in the
// processor's caches, and nobody who waits has one. Its contents are anything. `Owner`
// tells those of one type apart.
//
//   std::string& frame = ThreadScratch<std::string, struct Frames>::Get();
//
// Made by the first call, and also by one that comes when the thread's variables have
// been destroyed, as static objects may do at the end of the process.
template <typename T, typename Owner>
class ThreadScratch {
 public:
  static T& Get() {
    if (scratch_ == nullptr) {
      static thread_local const AtThreadEnd at_thread_end;
      scratch_ = new T;  // of an array, uninitialised
    }
    return *scratch_;
  }

 private:
  struct AtThreadEnd {
    ~AtThreadEnd() { delete std::exchange(scratch_, nullptr); }
  };

  static constinit inline thread_local T* scratch_ = nullptr;
};

}  // namespace grove::hub_internal

#endif  // GROVE_HUB_INTERNAL_THREAD_SCRATCH_H_
