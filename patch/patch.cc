#include "grove/patch/patch.h"

#include <dirent.h>
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "grove/green/internal/scheduler.h"
#include "grove/patch/internal/registry.h"

namespace grove::patch {

using patch_internal::Hook;
using patch_internal::Registry;

namespace {

constexpr Module kAll[] = {Module::kOs,         Module::kThread, Module::kTime,
                           Module::kSocket,     Module::kDns,    Module::kSelect,
                           Module::kSubprocess, Module::kSignal, Module::kStdio};

std::vector<Hook*> HooksOf(Module module) {
  std::vector<Hook*> hooks = patch_internal::AllHooks();
  std::erase_if(hooks, [module](const Hook* hook) { return hook->module != module; });
  return hooks;
}

bool Asked(const PatchOptions& options, Module module) {
  switch (module) {
    case Module::kOs:
      return options.os;
    case Module::kThread:
      return options.thread;
    case Module::kTime:
      return options.time;
    case Module::kSocket:
      return options.socket;
    case Module::kDns:
      return options.dns;
    case Module::kSelect:
      return options.select;
    case Module::kSubprocess:
      return options.subprocess;
    case Module::kSignal:
      return options.signal;
    case Module::kStdio:
      return options.stdio;
    case Module::kUser:
      break;
  }
  return false;
}

// False if somebody has said DoNotPatch().
bool Tell(PatchEvent::Kind kind, Module module = Module::kUser,
          absl::string_view name = "") {
  PatchEvent event(kind, module, name);
  for (const auto& subscriber : Registry::Get().subscribers()) (*subscriber)(event);
  return !event.vetoed();
}

int CountThreads() {
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return 1;
  int count = 0;
  while (const dirent* entry = readdir(tasks)) count += entry->d_name[0] != '.';
  closedir(tasks);
  return count;
}

void WarnIfLate() {
  const int threads = CountThreads();
  if (threads <= 1) return;
  Registry::Get().Warn(absl::StrCat(
      "the process has ", threads,
      " threads already: calls that they are inside of are "
      "not patched, and what they have locked is not known. Patch first, in main()."));
}

// One module, with its events. `hooks` may be none of it.
PatchResult PatchOne(Module module, absl::string_view name,
                     absl::Span<Hook* const> hooks) {
  Registry& registry = Registry::Get();
  if (std::all_of(hooks.begin(), hooks.end(),
                  [&](const Hook* hook) { return registry.IsPatched(*hook); })) {
    return PatchResult::kNothingNew;
  }
  if (!Tell(PatchEvent::Kind::kWillPatchModule, module, name))
    return PatchResult::kVetoed;
  registry.Patch(hooks);
  Tell(PatchEvent::Kind::kDidPatchModule, module, name);
  return PatchResult::kPatched;
}

PatchResult PatchOnly(Module module) {
  PatchOptions options = {.os = false,
                          .thread = false,
                          .time = false,
                          .socket = false,
                          .dns = false,
                          .select = false,
                          .subprocess = false,
                          .signal = false,
                          .stdio = false};
  options.os = module == Module::kOs;
  options.thread = module == Module::kThread;
  options.time = module == Module::kTime;
  options.socket = module == Module::kSocket;
  options.dns = module == Module::kDns;
  options.select = module == Module::kSelect;
  options.subprocess = module == Module::kSubprocess;
  options.signal = module == Module::kSignal;
  options.stdio = module == Module::kStdio;
  return PatchAll(options);
}

}  // namespace

const char* NameOf(Module module) {
  switch (module) {
    case Module::kOs:
      return "os";
    case Module::kThread:
      return "thread";
    case Module::kTime:
      return "time";
    case Module::kSocket:
      return "socket";
    case Module::kDns:
      return "dns";
    case Module::kSelect:
      return "select";
    case Module::kSubprocess:
      return "subprocess";
    case Module::kSignal:
      return "signal";
    case Module::kStdio:
      return "stdio";
    case Module::kUser:
      return "user";
  }
  return "";
}

PatchResult PatchAll(const PatchOptions& options) {
  Registry& registry = Registry::Get();
  const auto is_new = [&](Module module) {
    return Asked(options, module) && !IsModulePatched(module);
  };
  if (std::none_of(std::begin(kAll), std::end(kAll), is_new)) {
    return PatchResult::kNothingNew;
  }
  if (!Tell(PatchEvent::Kind::kWillPatchAll)) return PatchResult::kVetoed;
  if (std::any_of(std::begin(kAll), std::end(kAll), &IsModulePatched)) {
    registry.Warn("patched once more: what is new is added, nothing is taken back");
  }
  WarnIfLate();
  registry.Exclude(options.exclude);
  PatchResult result = PatchResult::kVetoed;
  for (const Module module : kAll) {
    if (is_new(module) &&
        PatchOne(module, NameOf(module), HooksOf(module)) == PatchResult::kPatched) {
      result = PatchResult::kPatched;
    }
  }
  Tell(PatchEvent::Kind::kDidPatchAll);
  return result;
}

PatchResult PatchOs() { return PatchOnly(Module::kOs); }
PatchResult PatchThread() { return PatchOnly(Module::kThread); }
PatchResult PatchTime() { return PatchOnly(Module::kTime); }
PatchResult PatchSocket() { return PatchOnly(Module::kSocket); }
PatchResult PatchDns() { return PatchOnly(Module::kDns); }
PatchResult PatchSelect() { return PatchOnly(Module::kSelect); }
PatchResult PatchSubprocess() { return PatchOnly(Module::kSubprocess); }
PatchResult PatchSignal() { return PatchOnly(Module::kSignal); }
PatchResult PatchStdio() { return PatchOnly(Module::kStdio); }

PatchResult PatchModule(absl::string_view name, absl::Span<const Replacement> table) {
  const std::vector<Hook*> hooks = Registry::Get().HooksOf(name, table);
  return PatchOne(Module::kUser, name, hooks);
}

absl::StatusOr<void*> ImportPatched(const std::string& library,
                                    const PatchOptions& options) {
  Registry& registry = Registry::Get();
  const std::set<ElfW(Addr)> before = registry.Bases();
  void* handle =
      GetOriginal<void*(const char*, int)>("dlopen")(library.c_str(), RTLD_NOW);
  if (handle == nullptr) {
    return absl::NotFoundError(absl::StrCat("import ", library, ": ", dlerror()));
  }
  const link_map* map = nullptr;
  dlinfo(handle, RTLD_DI_LINKMAP, &map);
  registry.Exclude(options.exclude);
  std::vector<Hook*> hooks;
  for (const Module module : kAll) {
    if (!Asked(options, module)) continue;
    const std::vector<Hook*> more = HooksOf(module);
    hooks.insert(hooks.end(), more.begin(), more.end());
  }
  registry.PatchObjects(before, map->l_addr, hooks);
  return handle;
}

bool IsModulePatched(Module module) {
  const std::vector<Hook*> hooks = HooksOf(module);
  return !hooks.empty() && Registry::Get().IsPatched(*hooks.front());
}

bool IsObjectPatched(absl::string_view object) { return IsObjectPatched(object, ""); }
bool IsObjectPatched(absl::string_view object, absl::string_view symbol) {
  return Registry::Get().IsObjectPatched(object, symbol);
}

void* GetOriginal(const std::string& symbol) {
  const Hook* hook = Registry::Get().Find(symbol);
  return hook ? hook->original : dlsym(RTLD_DEFAULT, symbol.c_str());
}

Subscription Subscribe(std::function<void(PatchEvent&)> subscriber) {
  auto shared = std::make_shared<std::function<void(PatchEvent&)>>(std::move(subscriber));
  Registry::Get().Subscribe(shared);
  return Subscription(std::move(shared));
}

}  // namespace grove::patch
