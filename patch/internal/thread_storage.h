#ifndef GROVE_PATCH_INTERNAL_THREAD_STORAGE_H_
#define GROVE_PATCH_INTERNAL_THREAD_STORAGE_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"

// thread_local and __thread variables of threads that are greenlets.
//
// Such variables lie beside the thread control block, to which a register points: FS on
// x86-64, TPIDR_EL0 on aarch64 (Drepper, "ELF Handling For Thread-Local Storage", 3.4 and
// 4.3). A thread that is a greenlet gets a block of its own, made as glibc makes a
// thread's, and the register is set whenever the greenlet runs. What is the kernel's
// thread's stays so: what libc's allocator keeps of free memory, the thread's number, and
// grove's own variables, which know the way from each block (hub/internal/per_thread.h).
//
// On x86-64 a switch costs a system call where the processor or the kernel does not let a
// program set the register (FSGSBASE).
namespace grove::patch::patch_internal {

// ThreadStorage
//
// One thread's block.
class ThreadStorage {
 public:
  // To be called with the variables of the hub's thread. Null if nothing but libraries
  // that are known to need no such variables has some, or where it can't be had.
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

 private:
  explicit ThreadStorage(char* block) : block_(block) {}

  char* const block_;
};

// HubStorage
//
// A scope in which the current greenlet has the variables of its hub's thread: for calls
// by which libc changes its thread itself, as fork(2), or what the kernel knows of it.
class HubStorage {
 public:
  HubStorage();
  ~HubStorage();
  HubStorage(const HubStorage&) = delete;
  HubStorage& operator=(const HubStorage&) = delete;

 private:
  char* own_;  // null: had them already
};

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_THREAD_STORAGE_H_
