#include "grove/patch/internal/registry.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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

// What the program would have called. In a program that is not position-independent, the
// address of a function may be that of the program's own jump to it, through the slot
// that is to be patched (System V ABI, AMD64 supplement, "Function Addresses").
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

// Whether that is the library that has this code, if it is one: what grove itself calls
// is not for patching there. In a program that has it linked in, it is, and is told apart
// by what it asks of the descriptors, which are non-blocking.
bool HasThisCode(const LoadedObject& object) {
  Dl_info info;
  return !object.is_program &&
         dladdr(reinterpret_cast<void*>(&FindOriginal), &info) != 0 &&
         reinterpret_cast<ElfW(Addr)>(info.dli_fbase) == object.base;
}

}  // namespace

std::vector<Hook*> AllHooks() {
  std::vector<Hook*> all;
  for (const auto& hooks :
       {IoHooks(),        SocketHooks(),    SelectHooks(),    TimeHooks(),
        DnsHooks(),       ProcessHooks(),   ThreadHooks(),    CleanupHooks(),
        KeyHooks(),       MutexHooks(),     RwLockHooks(),    SemaphoreHooks(),
        ConditionHooks(), FutexHooks(),     SignalHooks(),    C11Hooks(),
        FileLockHooks(),  IpcHooks(),       SpliceHooks(),    ResolverHooks(),
        StdioLockHooks(), StdioReadHooks(), StdioWriteHooks()}) {
    all.insert(all.end(), hooks.begin(), hooks.end());
  }
  return all;
}

Registry& Registry::Get() {
  // Never destroyed: calls go on while the process ends.
  static Registry* const registry = new Registry;
  return *registry;
}

Registry::Registry() {
  for (Hook* hook : AllHooks()) known_[hook->name] = hook;
  known_[dlopen_hook.name] = &dlopen_hook;
  // All, since hooks call each other's originals.
  for (const auto& [name, hook] : known_) hook->original = FindOriginal(hook->name);
}

bool Registry::Excluded(const LoadedObject& object) const {
  if (HasThisCode(object)) return true;
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

size_t Registry::PatchLocked(const LoadedObject& object, absl::Span<Hook* const> hooks) {
  size_t slots = 0;
  Patched& patched = objects_[object.base];
  if (patched.path != object.path) patched = Patched(object.path);  // another one now
  ForEachImport(object, [&](const char* symbol, void** slot) {
    const auto known = known_.find(absl::string_view(symbol));
    if (known == known_.end()) return;
    Hook* hook = known->second;
    if (hook->original == nullptr ||
        std::find(hooks.begin(), hooks.end(), hook) == hooks.end()) {
      return;
    }
    void* const replacement = hook->replacement();
    if (*slot == replacement) return;
    if (!SetImport(object, slot, replacement)) {
      warnings_.push_back(absl::StrCat("cannot patch ", symbol, " in ", object.path, ": ",
                                       strerror(errno)));
      return;
    }
    ++slots;
    ++slots_[hook];
    ++patched.slots;
    patched.hooks.insert(hook);
  });
  return slots;
}

size_t Registry::Patch(absl::Span<Hook* const> hooks) {
  const std::lock_guard guard(lock_);
  size_t fresh = 0;
  const auto add = [&](Hook* hook) {
    if (std::find(everywhere_.begin(), everywhere_.end(), hook) != everywhere_.end()) {
      return;
    }
    everywhere_.push_back(hook);
    ++fresh;
  };
  for (Hook* hook : hooks) add(hook);
  if (fresh == 0) return 0;
  add(&dlopen_hook);
  for (const LoadedObject& object : LoadedObjects()) {
    if (!Excluded(object)) PatchLocked(object, everywhere_);
  }
  return fresh;
}

void Registry::PatchObject(const LoadedObject& object, absl::Span<Hook* const> hooks) {
  const std::lock_guard guard(lock_);
  if (!Excluded(object)) PatchLocked(object, hooks);
}

void Registry::PatchNewObjects() {
  const std::lock_guard guard(lock_);
  // One that was unloaded and is loaded again, to the same place, has its slots anew.
  const uint64_t unloaded = UnloadedObjects();
  const bool some_are_gone = unloaded != std::exchange(unloaded_, unloaded);
  for (const LoadedObject& object : LoadedObjects()) {
    const auto known = objects_.find(object.base);
    const bool is_known = known != objects_.end() && known->second.path == object.path;
    if (is_known && !some_are_gone) continue;
    if (!Excluded(object)) PatchLocked(object, everywhere_);
  }
}

std::vector<Hook*> Registry::HooksOf(absl::string_view name,
                                     absl::Span<const Replacement> table) {
  std::vector<Hook*> hooks;
  for (const Replacement& r : table) {
    {
      const std::lock_guard guard(lock_);
      if (!known_.contains(r.symbol)) {
        user_names_.push_back(r.symbol);
        Hook& hook = users_.emplace_back(user_names_.back().c_str(), r.function);
        hook.original = FindOriginal(hook.name);
        known_[r.symbol] = &hook;
        hooks.push_back(&hook);
        continue;
      }
    }
    Warn(absl::StrCat("module '", name, "' has ", r.symbol,
                      "(), for which there is a patch already"));
  }
  return hooks;
}

Hook* Registry::Find(const std::string& symbol) {
  const std::lock_guard guard(lock_);
  const auto known = known_.find(symbol);
  return known == known_.end() ? nullptr : known->second;
}

bool Registry::IsPatched(const Hook& hook) {
  const std::lock_guard guard(lock_);
  return std::find(everywhere_.begin(), everywhere_.end(), &hook) != everywhere_.end();
}

bool Registry::IsObjectPatched(absl::string_view object, absl::string_view symbol) {
  const std::lock_guard guard(lock_);
  for (const auto& [base, patched] : objects_) {
    if (patched.path != object &&
        !absl::EndsWith(patched.path, absl::StrCat("/", object))) {
      continue;
    }
    if (symbol.empty()) return patched.slots > 0;
    return std::any_of(patched.hooks.begin(), patched.hooks.end(),
                       [&](const Hook* hook) { return hook->name == symbol; });
  }
  return false;
}

void Registry::Warn(const std::string& warning) {
  fprintf(stderr, "grove: patch: %s\n", warning.c_str());
  const std::lock_guard guard(lock_);
  warnings_.push_back(warning);
}

PatchReport Registry::Report() {
  const std::lock_guard guard(lock_);
  PatchReport report;
  for (const auto& [name, hook] : known_) {
    const auto slots = slots_.find(hook);
    if (slots == slots_.end()) continue;
    report.functions.push_back({.name = name,
                                .module = hook->module,
                                .slots = slots->second,
                                .calls = hook->calls.load(std::memory_order_relaxed),
                                .waits = hook->waits.load(std::memory_order_relaxed)});
  }
  for (const LoadedObject& object : LoadedObjects()) {
    PatchReport::Object line;
    line.path = object.path;
    line.excluded = Excluded(object);
    const auto patched = objects_.find(object.base);
    if (patched != objects_.end()) line.slots = patched->second.slots;
    if (!line.excluded) {
      std::set<std::string> missing;
      ForEachImport(object, [&](const char* symbol, void**) {
        if (MayBlock(symbol) && !known_.contains(absl::string_view(symbol))) {
          missing.insert(symbol);
        }
      });
      line.not_covered.assign(missing.begin(), missing.end());
    }
    report.objects.push_back(std::move(line));
  }
  report.warnings = warnings_;
  if (const std::string why = ThreadStorage::WhyShared(); !why.empty()) {
    report.warnings.push_back(absl::StrCat(
        "thread_local variables are shared by the greenlets of a hub: ", why));
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
