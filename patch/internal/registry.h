#ifndef GROVE_PATCH_INTERNAL_REGISTRY_H_
#define GROVE_PATCH_INTERNAL_REGISTRY_H_

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/loaded_objects.h"
#include "grove/patch/patch.h"
#include "grove/patch/report.h"

namespace grove::patch::patch_internal {

// Registry
//
// What this process has patched. One lock guards it; events are told without it.
class Registry {
 public:
  static Registry& Get();

  // Patches those hooks in all objects, now and in those that come.
  void Patch(absl::Span<Hook* const> hooks);
  // Where the objects lie that there are.
  std::set<ElfW(Addr)> Bases();
  // In those objects alone that are not in `before`, and in the one at `base`.
  void PatchObjects(const std::set<ElfW(Addr)>& before, ElfW(Addr) base,
                    absl::Span<Hook* const> hooks);
  // What was loaded since.
  void PatchNewObjects();
  void Exclude(absl::Span<const std::string> objects);

  // The hooks of a table, but for those of functions that are patched already, by others:
  // with a warning.
  std::vector<Hook*> HooksOf(absl::string_view name, absl::Span<const Replacement> table);
  // In a fork(): no other thread is in here meanwhile, and so none in the dynamic linker
  // by way of this, where it would have a lock that the child never gets.
  void BeforeFork() { lock_.lock(); }
  void AfterFork() { lock_.unlock(); }
  Hook* Find(const std::string& symbol);
  bool IsPatched(const Hook& hook);
  bool IsObjectPatched(absl::string_view object, absl::string_view symbol);

  void Warn(const std::string& warning);
  PatchReport Report();

  // The subscribers, to be called without the lock.
  std::vector<std::shared_ptr<std::function<void(PatchEvent&)>>> subscribers();
  void Subscribe(std::shared_ptr<std::function<void(PatchEvent&)>> subscriber);

 private:
  Registry();
  bool Excluded(const LoadedObject& object) const;
  bool IsKnown(const LoadedObject& object) const;
  void PatchLocked(const LoadedObject& object, absl::Span<Hook* const> hooks,
                   bool is_new);

  Hook* HookOfUser(const Replacement& replacement, absl::Span<Hook* const> taken);
  bool IsEverywhere(const Hook* hook) const;

  const ElfW(Addr) base_of_this_code_;
  std::mutex lock_;
  std::map<std::string, Hook*, std::less<>> known_;
  std::vector<Hook*> everywhere_;
  std::list<Hook> users_;
  std::list<std::string> user_names_;
  std::vector<std::string> excluded_;
  // By the object's base: its path, and of each hook how many slots lead to it.
  struct Patched {
    std::string path;
    std::map<Hook*, size_t> slots;

    size_t all_slots() const;
  };
  std::map<ElfW(Addr), Patched> objects_;
  uint64_t unloaded_ = 0;  // when objects_ was right
  std::vector<std::string> warnings_;
  std::vector<std::weak_ptr<std::function<void(PatchEvent&)>>> subscribers_;
};

// What may block a hub, and no hook covers.
struct NotCovered {
  const char* title;
  const char* instead;  // what then to do
  std::vector<const char*> calls;
};
const std::vector<NotCovered>& AllNotCovered();
bool MayBlock(absl::string_view symbol);

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_REGISTRY_H_
