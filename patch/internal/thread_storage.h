#ifndef GROVE_PATCH_INTERNAL_THREAD_STORAGE_H_
#define GROVE_PATCH_INTERNAL_THREAD_STORAGE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"

// thread_local and __thread variables of threads that are greenlets.
//
// Such variables lie beside what the FS register points to, the thread control block
// (Drepper, "ELF Handling For Thread-Local Storage", 3.4.6 and 4.3). A thread that is a
// greenlet gets a block of its own, made as glibc makes a thread's, and the register is
// set whenever the greenlet runs. What in it is the kernel's thread's stays so: grove's
// own variables, the allocator's cache of libc, the thread's number.
//
// That takes a processor and a kernel that let a program set the register (FSGSBASE), and
// grove in a library of its own, as under patch/run: within a program, its variables and
// the program's are one block.
namespace grove::patch::patch_internal {

// ThreadStorage
//
// One thread's block.
class ThreadStorage {
 public:
  // Null if neither the program nor a library but grove's and the C and C++ ones has such
  // variables, or where it can't be had.
  static std::unique_ptr<ThreadStorage> Make();

  // Why the greenlets of a hub share these variables though the program has some; empty
  // if they do not.
  static std::string WhyShared();

  ThreadStorage(const ThreadStorage&) = delete;
  ThreadStorage& operator=(const ThreadStorage&) = delete;
  ~ThreadStorage();

  // Calls `fn` with these variables for the current greenlet, and destroys at the end
  // those that have destructors. Nothing may be thrown out of `fn`: what is known of an
  // exception is thread-local, too.
  void Run(absl::FunctionRef<void()> fn);

  // Of a variable that was made just now.
  void AtExit(void (*destructor)(void*), void* object);

 private:
  struct Destructor {
    void (*function)(void*);
    void* object;
  };

  explicit ThreadStorage(void* block) : block_(block) {}

  void* const block_;
  std::vector<Destructor> at_exit_;
};

// HubStorage
//
// A scope in which the current greenlet has the variables of its hub's thread: for calls
// by which libc changes its thread itself, as fork(2).
class HubStorage {
 public:
  HubStorage();
  ~HubStorage();
  HubStorage(const HubStorage&) = delete;
  HubStorage& operator=(const HubStorage&) = delete;

 private:
  void* own_;  // null: had them already
};

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_THREAD_STORAGE_H_
