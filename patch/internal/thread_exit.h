#ifndef GROVE_PATCH_INTERNAL_THREAD_EXIT_H_
#define GROVE_PATCH_INTERNAL_THREAD_EXIT_H_

#include <pthread.h>
#include <unwind.h>

#include <memory>

namespace grove::patch::patch_internal {

// Thrown where a thread ends before its function returns.
struct ThreadExit {
  void* result;
};

// ThreadCleanup
//
// What is left to do when a thread ends by pthread_exit(3) or pthread_cancel(3): run the
// handlers of pthread_cleanup_push(3), and the destructors of C++, the innermost first.
// Handlers are such destructors themselves where the compiler knows of exceptions. C
// programs mostly are compiled without: then each of their handlers has saved the place
// where it runs (setjmp(3)), and stands in a list of its thread.
//
// Threads: its thread's, which is a greenlet.
class ThreadCleanup {
 public:
  // By default nothing is below the thread's function: there ThreadExit is caught. The
  // main thread's is called by libc, so `at_bottom` is called instead of its return.
  explicit ThreadCleanup(void (*at_bottom)(void* result) = nullptr)
      : at_bottom_(at_bottom) {}

  // Of the current greenlet; null if it is no thread to the program.
  static ThreadCleanup* OfCurrent();

  void Push(__pthread_unwind_buf_t* handler);
  // False if it is not the newest: libc was told of it, before there was a patch.
  bool Pop(const __pthread_unwind_buf_t* handler);

  // ThreadCleanup::End()
  //
  // Goes to the newest handler, which comes back by EndNext() when it has run; throws
  // ThreadExit if there is none (any more), or goes to the bottom. What handlers wait
  // for, no interrupt ends.
  [[noreturn]] void End(void* result);
  [[noreturn]] void EndNext() { End(ending_->result); }
  // ThreadExit was caught.
  void Ended();

 private:
  [[noreturn]] void GoToNewest();
  [[noreturn]] void GoToBottom();
  [[noreturn]] void Unwind(_Unwind_Stop_Fn at_frame, void* argument);

  void (*const at_bottom_)(void* result);
  __pthread_unwind_buf_t* newest_ = nullptr;
  struct Ending {
    void* result;
    // Apart from the stack that is unwound.
    _Unwind_Exception unwinding;
  };
  std::unique_ptr<Ending> ending_;  // once it goes through handlers
};

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_THREAD_EXIT_H_
