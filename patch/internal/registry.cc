#include "grove/patch/internal/registry.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grove/hub/internal/check.h"
#include "grove/patch/internal/thread_storage.h"

namespace grove::patch::patch_internal {
namespace {

void* DlOpen(const char* path, int flags);
// What brings new objects; patched wherever anything is.
constinit HookOf dlopen_hook("dlopen", Module::kUser, &DlOpen);

void* DlOpen(const char* path, int flags) {
  void* handle = dlopen_hook.Original(path, flags);
  if (handle != nullptr) Registry::Get().PatchNewObjects();
  return handle;
}

// Those that must call what they call: libc by itself, the hub's loop, what catches calls
// for its own purposes; and allocators, which are called where nothing may wait, hold
// their locks for some instructions, and keep what is the kernel's thread's.
constexpr absl::string_view kAlwaysExcluded[] = {
    "ld-linux",  "libc.so",     "libpthread.so", "libdl.so",   "librt.so",   "libm.so",
    "libgcc_s",  "libresolv",   "libnss_",       "libev.so",   "libasan",    "libtsan",
    "libubsan",  "liblsan",     "libclang_rt",   "libanl",     "linux-vdso", "libgtest.",
    "libgmock.", "libjemalloc", "libtcmalloc",   "libmimalloc"};

// What has been called before it was patched, and matters: who has it locked, or whose
// value it is, is libc's to know.
bool LeavesSomething(absl::string_view symbol) {
  constexpr absl::string_view kNames[] = {
      "mtx_lock",
      "mtx_trylock",
      "pthread_barrier_init",
      "pthread_key_create",
      "pthread_mutex_clocklock",
      "pthread_mutex_lock",
      "pthread_mutex_timedlock",
      "pthread_mutex_trylock",
      "pthread_rwlock_rdlock",
      "pthread_rwlock_tryrdlock",
      "pthread_rwlock_trywrlock",
      "pthread_rwlock_wrlock",
      "pthread_spin_lock",
      "pthread_spin_trylock",
      "tss_create",
  };
  return std::find(std::begin(kNames), std::end(kNames), symbol) != std::end(kNames);
}

// What the program would have called. Not with the registry's lock: libraries'
// constructors that call dlopen() have the dynamic linker's, and wait for ours. In a
// program that is not position-independent, the address of a function may be that of the
// program's own jump to it, through the slot that is to be patched (System V ABI, AMD64
// supplement, "Function Addresses").
void* FindOriginal(const char* name) {
  void* found = dlsym(RTLD_DEFAULT, name);
  Dl_info info;
  const ElfW(Sym)* symbol = nullptr;
  if (found &&
      dladdr1(found, &info, reinterpret_cast<void**>(const_cast<ElfW(Sym)**>(&symbol)),
              RTLD_DL_SYMENT) != 0 &&
      symbol != nullptr && symbol->st_shndx == SHN_UNDEF) {
    found = dlsym(RTLD_NEXT, name);
  }
  return found;
}

// Where the library lies that has this code, if it is one: what grove itself calls is not
// for patching there. In a program that has it linked in, it is, and is told apart by
// what it asks of the descriptors, which are non-blocking.
ElfW(Addr) BaseOfThisCode() {
  Dl_info info;
  return dladdr(reinterpret_cast<void*>(&FindOriginal), &info) != 0
             ? reinterpret_cast<ElfW(Addr)>(info.dli_fbase)
             : 0;
}

}  // namespace

std::vector<Hook*> AllHooks() {
  std::vector<Hook*> all;
  for (const auto& hooks :
       {IoHooks(),        SocketHooks(),    SelectHooks(),     TimeHooks(),
        DnsHooks(),       ProcessHooks(),   ThreadHooks(),     CleanupHooks(),
        KeyHooks(),       MutexHooks(),     RwLockHooks(),     SemaphoreHooks(),
        ConditionHooks(), FutexHooks(),     SignalHooks(),     C11Hooks(),
        FileLockHooks(),  IpcHooks(),       SpliceHooks(),     ResolverHooks(),
        StdioLockHooks(), StdioReadHooks(), StdioWriteHooks(), CredentialsHooks()}) {
    all.insert(all.end(), hooks.begin(), hooks.end());
  }
  return all;
}

Registry& Registry::Get() {
  // Never destroyed: calls go on while the process ends.
  static Registry* const registry = new Registry;
  return *registry;
}

Registry::Registry() : base_of_this_code_(BaseOfThisCode()) {
  for (Hook* hook : AllHooks()) known_[hook->name] = hook;
  known_[dlopen_hook.name] = &dlopen_hook;
  GROVE_CHECK(known_.size() < PassedCalls::kMostHooks, "more hooks than can be counted");
  size_t number = 0;
  for (const auto& [name, hook] : known_) {
    // All, since hooks call each other's originals.
    hook->original = FindOriginal(hook->name);
    hook->number = ++number;  // 0 is for those of users, which count for themselves
  }
  pthread_atfork([] { Get().BeforeFork(); }, [] { Get().AfterFork(); },
                 [] { Get().AfterFork(); });
}

bool Registry::Excluded(const LoadedObject& object) const {
  if (!object.is_program && object.base == base_of_this_code_) return true;
  const auto begins = [&](absl::string_view prefix) {
    return absl::StartsWith(object.name(), prefix);
  };
  return std::any_of(std::begin(kAlwaysExcluded), std::end(kAlwaysExcluded), begins) ||
         std::any_of(excluded_.begin(), excluded_.end(), begins);
}

void Registry::Exclude(absl::Span<const std::string> objects) {
  const std::lock_guard guard(lock_);
  excluded_.insert(excluded_.end(), objects.begin(), objects.end());
}

size_t Registry::Patched::all_slots() const {
  size_t sum = 0;
  for (const auto& [hook, count] : slots) sum += count;
  return sum;
}

bool Registry::IsKnown(const LoadedObject& object) const {
  const auto known = objects_.find(object.base);
  return known != objects_.end() && known->second.path == object.path;
}

void Registry::PatchLocked(const LoadedObject& object, absl::Span<Hook* const> hooks,
                           bool is_new) {
  if (is_new && !IsLinked(object)) return;  // its own dlopen() comes here in the end
  std::map<Hook*, size_t> slots;
  std::set<std::string> used;
  std::optional<bool> is_lazy;
  ForEachImport(object, [&](const Import& import) {
    const auto known = known_.find(absl::string_view(import.symbol));
    if (known == known_.end() || known->second->original == nullptr) return;
    Hook* const hook = known->second;
    void* const replacement = hook->replacement();
    if (*import.slot != replacement) {
      if (std::find(hooks.begin(), hooks.end(), hook) == hooks.end()) return;
      if (import.is_for_calls && import.is_filled && object.base != base_of_this_code_ &&
          LeavesSomething(import.symbol)) {
        if (!is_lazy) is_lazy = IsLazilyBound(object);
        if (*is_lazy) used.insert(import.symbol);
      }
      if (!SetImport(object, import.slot, replacement)) {
        warnings_.push_back(absl::StrCat("cannot patch ", import.symbol, " in ",
                                         object.path, ": ", strerror(errno)));
        return;
      }
    }
    ++slots[hook];
  });
  if (!used.empty()) {
    warnings_.push_back(absl::StrCat(
        object.path, " has called ", absl::StrJoin(used, ", "),
        " before that was patched: what it holds or made is the native thread's. "
        "Patch first, in main()."));
  }
  objects_[object.base] = {object.path, std::move(slots)};
}

void Registry::Patch(absl::Span<Hook* const> hooks) {
  const std::lock_guard guard(lock_);
  const size_t before = everywhere_.size();
  const auto add = [&](Hook* hook) {
    if (IsEverywhere(hook)) return;
    everywhere_.push_back(hook);
    hook->everywhere = true;
  };
  for (Hook* hook : hooks) add(hook);
  if (everywhere_.size() == before) return;
  add(&dlopen_hook);
  ForEachObject([&](const LoadedObject& object) {
    if (!Excluded(object)) PatchLocked(object, everywhere_, !IsKnown(object));
  });
}

std::set<ElfW(Addr)> Registry::Bases() {
  const std::lock_guard guard(lock_);
  std::set<ElfW(Addr)> bases;
  ForEachObject([&](const LoadedObject& object) { bases.insert(object.base); });
  return bases;
}

void Registry::PatchObjects(const std::set<ElfW(Addr)>& before, ElfW(Addr) base,
                            absl::Span<Hook* const> hooks) {
  const std::lock_guard guard(lock_);
  ForEachObject([&](const LoadedObject& object) {
    if (before.contains(object.base) && object.base != base) return;
    if (!Excluded(object)) PatchLocked(object, hooks, true);
  });
}

void Registry::PatchNewObjects() {
  const std::lock_guard guard(lock_);
  // One that was unloaded and is loaded again, to the same place, has its slots anew.
  const uint64_t unloaded = UnloadedObjects();
  const bool some_are_gone = unloaded != std::exchange(unloaded_, unloaded);
  ForEachObject([&](const LoadedObject& object) {
    if (IsKnown(object) && !some_are_gone) return;
    if (!Excluded(object)) PatchLocked(object, everywhere_, true);
  });
}

std::vector<Hook*> Registry::HooksOf(absl::string_view name,
                                     absl::Span<const Replacement> table) {
  std::vector<Hook*> hooks;
  for (const Replacement& r : table) {
    if (Hook* hook = HookOfUser(r, hooks)) {
      hooks.push_back(hook);
    } else {
      Warn(absl::StrCat("module '", name, "' has ", r.symbol,
                        "(), for which there is a patch already"));
    }
  }
  return hooks;
}

Hook* Registry::HookOfUser(const Replacement& r, absl::Span<Hook* const> taken) {
  void* const original = FindOriginal(r.symbol.c_str());
  const std::lock_guard guard(lock_);
  Hook*& hook = known_[r.symbol];
  if (hook == nullptr) {
    user_names_.push_back(r.symbol);
    hook = &users_.emplace_back(user_names_.back().c_str(), r.function);
    hook->original = original;
  } else if (hook->module != Module::kUser || hook == &dlopen_hook ||
             std::find(taken.begin(), taken.end(), hook) != taken.end()) {
    return nullptr;
  } else if (!IsEverywhere(hook)) {  // its module was vetoed
    hook->user_function = r.function;
    hook->original = original;
  } else if (hook->user_function != r.function) {
    return nullptr;
  }
  return hook;
}

Hook* Registry::Find(const std::string& symbol) {
  const std::lock_guard guard(lock_);
  const auto known = known_.find(symbol);
  return known == known_.end() ? nullptr : known->second;
}

bool Registry::IsEverywhere(const Hook* hook) const {
  return std::find(everywhere_.begin(), everywhere_.end(), hook) != everywhere_.end();
}

bool Registry::IsPatched(const Hook& hook) {
  const std::lock_guard guard(lock_);
  return IsEverywhere(&hook);
}

bool Registry::IsObjectPatched(absl::string_view object, absl::string_view symbol) {
  const std::lock_guard guard(lock_);
  for (const auto& [base, patched] : objects_) {
    if (patched.path != object &&
        !absl::EndsWith(patched.path, absl::StrCat("/", object))) {
      continue;
    }
    if (symbol.empty()) return !patched.slots.empty();
    return std::any_of(patched.slots.begin(), patched.slots.end(),
                       [&](const auto& slot) { return slot.first->name == symbol; });
  }
  return false;
}

void Registry::Warn(const std::string& warning) {
  fprintf(stderr, "grove: patch: %s\n", warning.c_str());
  const std::lock_guard guard(lock_);
  warnings_.push_back(warning);
}

PatchReport Registry::Report() {
  // Asks the dynamic linker.
  const std::string why_shared = ThreadStorage::WhyShared();
  const std::lock_guard guard(lock_);
  PatchReport report;
  std::map<Hook*, size_t> slots;
  ForEachObject([&](const LoadedObject& object) {
    PatchReport::Object line;
    line.path = object.path;
    line.excluded = Excluded(object);
    const auto patched = objects_.find(object.base);
    if (patched != objects_.end() && patched->second.path == object.path) {
      line.slots = patched->second.all_slots();
      for (const auto& [hook, count] : patched->second.slots) slots[hook] += count;
    }
    if (!line.excluded) {
      std::set<std::string> missing;
      ForEachImport(object, [&](const Import& import) {
        const auto known = known_.find(absl::string_view(import.symbol));
        const bool is_covered =
            known != known_.end() &&
            (known->second->module != Module::kUser || IsEverywhere(known->second));
        if (MayBlock(import.symbol) && !is_covered) missing.insert(import.symbol);
      });
      line.not_covered.assign(missing.begin(), missing.end());
    }
    report.objects.push_back(std::move(line));
  });
  for (const auto& [name, hook] : known_) {
    const auto count = slots.find(hook);
    if (count == slots.end()) continue;
    report.functions.push_back({.name = name,
                                .module = hook->module,
                                .slots = count->second,
                                .calls = hook->calls.load(std::memory_order_relaxed),
                                .waits = hook->waits.load(std::memory_order_relaxed),
                                .passed = PassedCalls::Of(hook->number)});
  }
  report.warnings = warnings_;
  if (!why_shared.empty()) {
    report.warnings.push_back(absl::StrCat(
        "thread_local variables are shared by the greenlets of a hub: ", why_shared));
  }
  return report;
}

std::vector<std::shared_ptr<std::function<void(PatchEvent&)>>> Registry::subscribers() {
  const std::lock_guard guard(lock_);
  std::vector<std::shared_ptr<std::function<void(PatchEvent&)>>> all;
  std::erase_if(subscribers_, [](const auto& s) { return s.expired(); });
  for (const auto& s : subscribers_) {
    if (auto alive = s.lock()) all.push_back(std::move(alive));
  }
  return all;
}

void Registry::Subscribe(std::shared_ptr<std::function<void(PatchEvent&)>> subscriber) {
  const std::lock_guard guard(lock_);
  subscribers_.push_back(subscriber);
}

}  // namespace grove::patch::patch_internal
