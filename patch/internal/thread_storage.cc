#include "grove/patch/internal/thread_storage.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/internal/thread_pointer.h"
#include "grove/hub/internal/per_thread.h"
#include "grove/patch/internal/thread_keys.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Core;
using green_internal::Scheduler;
using green_internal::SetThreadPointer;

// --- what glibc makes such blocks with ---

// Not for everyone, but there since 2.34 at the latest, for debuggers, sanitizers and
// libstdc++: elf/dl-tls.c, nptl_db/structs.def, stdlib/cxa_thread_atexit_impl.c.
struct Glibc {
  void* (*allocate)(void* memory) = nullptr;
  void (*deallocate)(void* block, bool free_memory) = nullptr;
  void (*call_destructors)() = nullptr;
  void* (*malloc)(size_t size) = nullptr;
  void (*free)(void* p) = nullptr;
  // Of struct pthread, what libc knows of a thread: {bits, elements, offset}.
  const uint32_t* size_of_pthread = nullptr;
  const uint32_t* tid = nullptr;
  const uint32_t* key_values = nullptr;  // see KeyTables
  const uint32_t* size_of_key_table = nullptr;
  const ptrdiff_t* rseq_offset = nullptr;

  bool complete() const {
    return allocate && deallocate && call_destructors && malloc && free &&
           size_of_pthread && tid && key_values && size_of_key_table;
  }

  static const Glibc& Get() {
    static const Glibc glibc = [] {
      Glibc g;
      const auto find = [](auto& function, const char* name) {
        function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
            dlsym(RTLD_DEFAULT, name));
      };
      find(g.allocate, "_dl_allocate_tls");
      find(g.deallocate, "_dl_deallocate_tls");
      find(g.call_destructors, "__call_tls_dtors");
      find(g.malloc, "__libc_malloc");
      find(g.free, "__libc_free");
      find(g.size_of_pthread, "_thread_db_sizeof_pthread");
      find(g.tid, "_thread_db_pthread_tid");
      find(g.key_values, "_thread_db_pthread_specific");
      find(g.size_of_key_table, "_thread_db_sizeof_pthread_key_data_level2");
      find(g.rseq_offset, "__rseq_offset");
      return g;
    }();
    return glibc;
  }
};

// struct pthread of a block: it begins with the block, or ends where that begins.
char* PthreadOf(char* block) {
#if defined(__x86_64__)
  return block;
#elif defined(__aarch64__)
  return block - *Glibc::Get().size_of_pthread;
#endif
}

void CopyTid(char* block, char* hub) {
  const uint32_t offset = Glibc::Get().tid[2];
  memcpy(PthreadOf(block) + offset, PthreadOf(hub) + offset, sizeof(pid_t));
}

// Where its list of robust mutexes is, which the kernel has been told; zero if the
// program has told it something else.
size_t RobustListIn(const char* pthread) {
  char* list = nullptr;
  size_t size = 0;
  if (syscall(SYS_get_robust_list, 0, &list, &size) != 0) return 0;
  const auto offset = static_cast<size_t>(list - pthread);
  return offset < *Glibc::Get().size_of_pthread ? offset : 0;
}

// What in there any thread needs; all else is zero, as a new thread has it.
void FillPthread(char* block, char* hub) {
#if defined(__x86_64__)
  struct Head {  // tcbhead_t, which compilers know in part
    void* self;
    void* vectors;  // where the variables of each module lie
    void* self_too;
    char rest[0x80 - 0x18];  // with the guards of stacks and pointers, for one
  };
  auto* const head = reinterpret_cast<Head*>(block);
  head->self = head->self_too = block;
  memcpy(head->rest, reinterpret_cast<Head*>(hub)->rest, sizeof head->rest);
#endif
  CopyTid(block, hub);
  // An empty list of robust mutexes leads to itself.
  static const size_t robust = RobustListIn(PthreadOf(hub));
  if (robust != 0) {
    void* const list = PthreadOf(block) + robust;
    memcpy(list, &list, sizeof list);
  }
}

// KeyTables
//
// The values of keys, pthread_getspecific(3), as objects that are not patched see them:
// an allocator's are how it learns that a thread ends. The first table lies in struct
// pthread.
class KeyTables {
 public:
  explicit KeyTables(char* block)
      : tables_(
            reinterpret_cast<Value**>(PthreadOf(block) + Glibc::Get().key_values[2])) {}

  // Of a new block, where they are where they are in `hub`.
  void Begin(char* block, char* hub) {
    tables_[0] = reinterpret_cast<Value*>(
        block + (reinterpret_cast<char*>(KeyTables(hub).tables_[0]) - hub));
  }

  // Calls the destructors as pthread_key_create(3p) says.
  void Destroy() {
    bool any = true;
    for (int round = 0; any && round < PTHREAD_DESTRUCTOR_ITERATIONS; ++round) {
      any = false;
      for (size_t i = 0; i < count() * size(); ++i) {
        const Value* table = tables_[i / size()];
        if (table == nullptr) {
          i += size() - 1;
        } else if (table[i % size()].value != nullptr) {
          any |= DestroyValueOfLibc(static_cast<pthread_key_t>(i));
        }
      }
    }
  }
  void Free() {
    for (size_t i = 1; i < count(); ++i) free(tables_[i]);
  }

 private:
  struct Value {
    uintptr_t sequence;
    void* value;
  };
  static size_t count() { return Glibc::Get().key_values[0] / 8 / sizeof(Value*); }
  static size_t size() { return *Glibc::Get().size_of_key_table / sizeof(Value); }

  Value** const tables_;
};

// A block as glibc makes a new thread's, that is part of the hub's thread.
char* MakeBlock(char* hub) {
  char* const block = static_cast<char*>(Glibc::Get().allocate(nullptr));
  if (block == nullptr) return nullptr;
  FillPthread(block, hub);
  KeyTables(block).Begin(block, hub);
  if (const ptrdiff_t* rseq = Glibc::Get().rseq_offset) {
    // The kernel writes the processor's number to the hub's only (rseq.h: -1, not known).
    memset(block + *rseq + 4, 0xff, 4);
  }
  Scheduler::CopyCurrent(block - hub);
  const ptrdiff_t to_hub = hub - block;
  memcpy(reinterpret_cast<char*>(&hub_internal::to_kernel_thread) - to_hub, &to_hub,
         sizeof to_hub);
  return block;
}

// --- what of libc's variables stays the hub's ---

// libc's variables of this thread.
struct Segment {
  char* at = nullptr;
  size_t size = 0;
};

bool NameIs(const char* path, absl::string_view name) {
  const absl::string_view whole(path);
  const size_t slash = whole.rfind('/');
  return absl::StartsWith(whole.substr(slash + 1), name);
}

int FindLibc(dl_phdr_info* info, size_t, void* arg) {
  if (!NameIs(info->dlpi_name, "libc.so") || info->dlpi_tls_data == nullptr) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_TLS) continue;
    *static_cast<Segment*>(arg) = {static_cast<char*>(info->dlpi_tls_data),
                                   segment.p_memsz};
  }
  return 1;
}

// Out of line, as all that runs before and after the register is set: the compiler may
// keep the address of a variable for the length of a function.
[[gnu::noinline]] void AllocateWith(char* block, char* hub) {
  SetThreadPointer(block);
  Glibc::Get().free(Glibc::Get().malloc(1));
  SetThreadPointer(hub);
}

using Words = std::vector<ptrdiff_t>;  // offsets from the thread pointer

// By which malloc(3) knows a thread, its cache and its arena: many threads of one hub
// need no more than one of each, and nobody would empty the others. They have no names to
// be found by, but are what the first malloc() of a thread sets.
const Words& AllocatorWords(char* hub) {
  static const Words words = [&] {
    Words found;
    Segment libc;
    dl_iterate_phdr(&FindLibc, &libc);
    char* const block = libc.at == nullptr ? nullptr : MakeBlock(hub);
    if (block == nullptr) return found;
    const char* const variables = block + (libc.at - hub);
    const std::vector<char> before(variables, variables + libc.size);
    AllocateWith(block, hub);
    for (size_t i = 0; i + sizeof(void*) <= libc.size; i += sizeof(void*)) {
      if (memcmp(variables + i, &before[i], sizeof(void*)) != 0) {
        found.push_back(variables + i - block);
      }
    }
    Glibc::Get().deallocate(block, /*free_memory=*/true);
    return found;
  }();
  return words;
}

// --- whether it is to be done ---

void FindOutWhoSetsThePointer() {
#if defined(__x86_64__)
  constexpr unsigned long kFsGsBase = 2;  // HWCAP2_FSGSBASE
  green_internal::thread_pointer_is_the_kernels = (getauxval(AT_HWCAP2) & kFsGsBase) == 0;
#endif
}

// Empty if it can be had.
const char* WhyNot() {
  if (GROVE_ASAN || GROVE_TSAN) return "sanitizers keep their own there";
  [[maybe_unused]] static const bool found_out = (FindOutWhoSetsThePointer(), true);
  return Glibc::Get().complete() ? "" : "this libc does not say how to make some";
}

const void* BaseOf(const void* code) {
  Dl_info info;
  return dladdr(code, &info) != 0 ? info.dli_fbase : nullptr;
}

// Those of libc are no reason to have any; nor are libstdc++'s, the exceptions in flight,
// nor grove's, if it is a library of its own. (The program has no name here.)
int LookForSome(dl_phdr_info* info, size_t, void* arg) {
  const char* const path = info->dlpi_name;
  const auto base = reinterpret_cast<const void*>(info->dlpi_addr);
  if (info->dlpi_tls_modid == 0 || NameIs(path, "libc.so") || NameIs(path, "ld-linux") ||
      NameIs(path, "libstdc++") || NameIs(path, "libabsl_") ||
      (*path != '\0' && base == BaseOf(reinterpret_cast<void*>(&WhyNot)))) {
    return 0;
  }
  *static_cast<bool*>(arg) = true;
  return 1;
}

int CountLoaded(dl_phdr_info* info, size_t, void* arg) {
  *static_cast<uint64_t*>(arg) = info->dlpi_adds;
  return 1;
}

// Whether anything but those has such variables.
bool ProgramHasSome() {
  // Once it has, for good; and else for as long as nothing more is loaded.
  static std::atomic<bool> some = false;
  static std::atomic<uint64_t> looked_at = 0;
  if (some) return true;
  uint64_t loaded = 0;
  dl_iterate_phdr(&CountLoaded, &loaded);
  if (loaded == looked_at) return false;
  bool found = false;
  dl_iterate_phdr(&LookForSome, &found);
  some = found;
  looked_at = loaded;
  return found;
}

// --- running ---

[[gnu::noinline]] void SetErrno(int error) { errno = error; }

[[gnu::noinline]] void BeginThread() {
  // As of a new thread, with the tables of <ctype.h>.
  uselocale(LC_GLOBAL_LOCALE);
}

[[gnu::noinline]] void EndThread(char* block) {
  Glibc::Get().call_destructors();
  DestroyValuesOfKeys();
  KeyTables(block).Destroy();
}

}  // namespace

std::string ThreadStorage::WhyShared() { return ProgramHasSome() ? WhyNot() : ""; }

std::unique_ptr<ThreadStorage> ThreadStorage::Make() {
  if (*WhyNot() != '\0' || !ProgramHasSome()) return nullptr;
  char* const hub = static_cast<char*>(Scheduler::Get().thread_pointer());
  const Words& words = AllocatorWords(hub);
  char* const block = MakeBlock(hub);
  if (block == nullptr) return nullptr;
  for (const ptrdiff_t word : words) memcpy(block + word, hub + word, sizeof(void*));
  return std::unique_ptr<ThreadStorage>(new ThreadStorage(block));
}

ThreadStorage::~ThreadStorage() {
  KeyTables(block_).Free();
  Glibc::Get().deallocate(block_, /*free_memory=*/true);
}

void ThreadStorage::Run(absl::FunctionRef<void()> fn) {
  Scheduler& s = Scheduler::Get();
  Core* const core = s.current();
  core->thread_pointer = block_;
  core->special |= green_internal::kOwnThreadPointer;
  SetThreadPointer(block_);
  BeginThread();
  fn();
  ++core->shields;  // destructors may wait, and are not to be ended by what ends it
  EndThread(block_);
  --core->shields;
  core->special &= ~green_internal::kOwnThreadPointer;
  SetThreadPointer(s.thread_pointer());
  core->thread_pointer = nullptr;
}

HubStorage::HubStorage() : own_(nullptr) {
  Scheduler* const s = Scheduler::GetIfExists();
  if (s == nullptr || !s->current()->has_own_thread_pointer()) return;
  own_ = static_cast<char*>(s->current()->thread_pointer);
  s->current()->special &= ~green_internal::kOwnThreadPointer;
  SetThreadPointer(s->thread_pointer());
}

HubStorage::~HubStorage() {
  if (own_ == nullptr) return;
  Scheduler* const s = Scheduler::GetIfExists();
  // After a fork the thread has another number.
  CopyTid(own_, static_cast<char*>(s->thread_pointer()));
  const int error = errno;
  s->current()->special |= green_internal::kOwnThreadPointer;
  SetThreadPointer(own_);
  SetErrno(error);
}

}  // namespace grove::patch::patch_internal
