#include "grove/patch/internal/thread_storage.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include <cstdint>
#include <mutex>
#include <type_traits>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/internal/thread_pointer.h"
#include "grove/green/os/fork.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/loaded_objects.h"
#include "grove/patch/internal/spin_mutex.h"
#include "grove/patch/internal/thread_keys.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Core;
using green_internal::Scheduler;
using green_internal::SetThreadPointer;

int ThreadAtExit(void (*destructor)(void*), void* object, void* library);

constinit HookOf at_exit_hook("__cxa_thread_atexit_impl", Module::kThread, &ThreadAtExit);
Hook* const hooks[] = {&at_exit_hook};

// --- what glibc makes such blocks with ---

// Not for everyone, but there since 2.2 and used by debuggers and sanitizers:
// elf/dl-tls.c, nptl_db/structs.def, sysdeps/x86_64/nptl/tls.h.
struct Glibc {
  void* (*allocate)(void* memory) = nullptr;
  void (*deallocate)(void* block, bool free_memory) = nullptr;
  void (*static_info)(size_t* size, size_t* align) = nullptr;
  const uint32_t* size_of_pthread = nullptr;
  const uint32_t* tid = nullptr;  // {bits, elements, offset} in struct pthread
  const ptrdiff_t* rseq_offset = nullptr;

  bool complete() const {
    return allocate && deallocate && static_info && size_of_pthread && tid;
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
      find(g.static_info, "_dl_get_tls_static_info");
      find(g.size_of_pthread, "_thread_db_sizeof_pthread");
      find(g.tid, "_thread_db_pthread_tid");
      find(g.rseq_offset, "__rseq_offset");
      return g;
    }();
    return glibc;
  }
};

// The beginning of a thread control block (tcbhead_t).
struct Head {
  void* self;
  struct Vector {
    void* value;
    void* to_free;
  } * vectors;  // by module: where its variables lie
  void* self_too;
};

// --- what goes into one ---

// One library's variables.
struct Part {
  size_t module;
  char* at;  // of the hub's thread
  size_t size;
  bool alias;  // found at the hub's, by whoever asks for them by module and offset
};

struct Plan {
  unsigned long long loaded = 0;  // how many objects had been, when this was made
  const void* hub = nullptr;      // of which thread
  bool needed = false;            // the program has variables of its own
  std::vector<Part> kept;         // what stays the hub's thread's
};

bool NameIs(const char* path, absl::string_view name) {
  const absl::string_view whole(path);
  const size_t slash = whole.rfind('/');
  return absl::StartsWith(whole.substr(slash + 1), name);
}

const void* ThisLibrary() {
  Dl_info info;
  return dladdr(reinterpret_cast<void*>(&ThisLibrary), &info) != 0 ? info.dli_fbase
                                                                   : nullptr;
}

// libc's cache of free memory, its arena, locale and resolver are the kernel's thread's.
// libstdc++'s, the exceptions in flight, are each one's own, and no reason to have any.
int AddToPlan(dl_phdr_info* info, size_t, void* arg) {
  Plan& plan = *static_cast<Plan*>(arg);
  plan.loaded = info->dlpi_adds;
  if (info->dlpi_tls_modid == 0) return 0;
  const char* const path = info->dlpi_name;
  const bool libc = NameIs(path, "libc.so");
  // What grove is made of.
  const bool ours = reinterpret_cast<const void*>(info->dlpi_addr) == ThisLibrary() ||
                    NameIs(path, "libabsl_");
  if (NameIs(path, "libstdc++") || NameIs(path, "ld-linux")) return 0;
  if (!libc && !ours) {
    plan.needed = true;
    return 0;
  }
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_TLS || info->dlpi_tls_data == nullptr) continue;
    plan.kept.push_back({info->dlpi_tls_modid, static_cast<char*>(info->dlpi_tls_data),
                         segment.p_memsz, ours});
  }
  return 0;
}

int CountLoaded(dl_phdr_info* info, size_t, void* arg) {
  *static_cast<unsigned long long*>(arg) = info->dlpi_adds;
  return 1;
}

// Of this thread, with its own thread pointer.
Plan MakePlan() {
  Plan plan;
  dl_iterate_phdr(&AddToPlan, &plan);
  return plan;
}

bool HaveRegister() {
#if defined(__x86_64__)
  return (getauxval(AT_HWCAP2) & 2) != 0;  // HWCAP2_FSGSBASE: it may be set from here
#else
  return false;
#endif
}

bool InLibraryOfItsOwn() {
  for (const LoadedObject& object : LoadedObjects()) {
    if (object.is_program) {
      return reinterpret_cast<const void*>(object.base) != ThisLibrary();
    }
  }
  return false;
}

// Whether libgrove is one library, as for patch/run: in a build of many, each has
// variables.
bool InOneLibrary() {
  Dl_info info;
  return dladdr(reinterpret_cast<void*>(&Fork), &info) != 0 &&
         info.dli_fbase == ThisLibrary();
}

// Empty if it can be had.
const std::string& WhyNot() {
  static const std::string why = [] {
    if (GROVE_ASAN || GROVE_TSAN) {
      return std::string("sanitizers keep their own there");
    }
    if (!HaveRegister()) {
      return std::string("the processor or the kernel lets no program set the register");
    }
    if (!Glibc::Get().complete()) {
      return std::string("this libc does not say how to make some");
    }
    if (!InLibraryOfItsOwn() || !InOneLibrary()) {
      return std::string("grove is linked into the program; use patch/run");
    }
    return std::string();
  }();
  return why;
}

// --- running ---

ThreadStorage* Current() {
  const Scheduler* s = Scheduler::GetIfExists();
  return s ? static_cast<ThreadStorage*>(s->current()->patched_storage) : nullptr;
}

// Out of line, as all that runs before and after the register is set: the compiler may
// keep the address of a variable for the length of a function.
[[gnu::noinline]] void SetErrno(int error) { errno = error; }

int ThreadAtExit(void (*destructor)(void*), void* object, void* library) {
  ThreadStorage* const storage = Current();
  if (storage == nullptr) return at_exit_hook.Original(destructor, object, library);
  at_exit_hook.CountCall();
  storage->AtExit(destructor, object);
  return 0;
}

}  // namespace

std::string ThreadStorage::WhyShared() {
  return WhyNot().empty() || !MakePlan().needed ? "" : WhyNot();
}

std::unique_ptr<ThreadStorage> ThreadStorage::Make() {
  if (!WhyNot().empty()) return nullptr;
  Scheduler& s = Scheduler::Get();
  char* const hub = static_cast<char*>(s.thread_pointer());

  static SpinMutex mutex;
  static auto* const last = new Plan;
  unsigned long long loaded = 0;
  dl_iterate_phdr(&CountLoaded, &loaded);
  Plan plan;
  {
    const std::lock_guard guard(mutex);
    plan = *last;
  }
  if (plan.loaded != loaded || plan.hub != hub) {
    const HubStorage of_hub;
    plan = MakePlan();
    plan.hub = hub;
    const std::lock_guard guard(mutex);
    *last = plan;
  }
  if (!plan.needed) return nullptr;

  const Glibc& glibc = Glibc::Get();
  char* const block = static_cast<char*>(glibc.allocate(nullptr));
  if (block == nullptr) return nullptr;
  auto* const head = reinterpret_cast<Head*>(block);
  memcpy(block + sizeof(Head), hub + sizeof(Head), *glibc.size_of_pthread - sizeof(Head));
  head->self = head->self_too = block;
  if (glibc.rseq_offset) {
    // The kernel writes the processor's number to the hub's only (rseq.h: -1, not known).
    memset(block + *glibc.rseq_offset + 4, 0xff, 4);
  }
  size_t static_size = 0, align = 0;
  glibc.static_info(&static_size, &align);
  for (const Part& part : plan.kept) {
    const ptrdiff_t offset = part.at - hub;
    if (offset < 0 && static_cast<size_t>(-offset) <= static_size) {
      memcpy(block + offset, part.at, part.size);
    }
    if (part.alias) head->vectors[part.module].value = part.at;
  }
  return std::unique_ptr<ThreadStorage>(new ThreadStorage(block));
}

ThreadStorage::~ThreadStorage() { Glibc::Get().deallocate(block_, /*free_memory=*/true); }

void ThreadStorage::AtExit(void (*destructor)(void*), void* object) {
  at_exit_.push_back({destructor, object});
}

void ThreadStorage::Run(absl::FunctionRef<void()> fn) {
  Scheduler& s = Scheduler::Get();
  Core* const core = s.current();
  core->patched_storage = this;
  core->thread_pointer = block_;
  core->own_thread_pointer = true;
  SetThreadPointer(block_);
  SetErrno(0);
  fn();
  // The last one first; a destructor may use others, which are made again then.
  while (!at_exit_.empty()) {
    const Destructor last = at_exit_.back();
    at_exit_.pop_back();
    last.function(last.object);
  }
  DestroyValuesOfKeys();
  core->own_thread_pointer = false;
  SetThreadPointer(s.thread_pointer());
  core->thread_pointer = nullptr;
  core->patched_storage = nullptr;
}

HubStorage::HubStorage() : own_(nullptr) {
  Scheduler* const s = Scheduler::GetIfExists();
  if (s == nullptr || !s->current()->own_thread_pointer) return;
  own_ = s->current()->thread_pointer;
  s->current()->own_thread_pointer = false;
  SetThreadPointer(s->thread_pointer());
}

HubStorage::~HubStorage() {
  if (own_ == nullptr) return;
  Scheduler* const s = Scheduler::GetIfExists();
  // After a fork the thread has another number.
  const uint32_t tid = Glibc::Get().tid[2];
  memcpy(static_cast<char*>(own_) + tid, static_cast<char*>(s->thread_pointer()) + tid,
         sizeof(pid_t));
  const int error = errno;
  s->current()->own_thread_pointer = true;
  SetThreadPointer(own_);
  SetErrno(error);
}

absl::Span<Hook* const> StorageHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
