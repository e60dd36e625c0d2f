#ifndef GROVE_PATCH_PATCH_H_
#define GROVE_PATCH_PATCH_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/green/internal/unpatched.h"
#include "grove/patch/module.h"

// Makes existing libraries cooperative: their blocking calls stop the greenlet that makes
// them, and not the hub. As gevent replaces functions in modules, this replaces them in
// the import tables of the objects that are loaded: the program, its shared libraries,
// and those that dlopen() adds later.
//
//   int main() {
//     grove::patch::PatchAll();
//     for (const Url& url : urls) {
//       grove::Spawn([&] { DownloadByLibcurl(url); });  // all at once, on one thread
//     }
//     grove::JoinHub();
//   }
//
// Patch first: before there are other threads, and before the calls are used. A greenlet
// is what cooperates: on threads without a hub, and in callbacks of the loop, the
// original is called.
//
// What a patched call returns, and its errno, are what its manual page says, with two
// additions. A wait that is ended by a kill or by an expired Timeout fails with
// ECANCELED; nothing is thrown through code that was not written for it: the next
// blocking call of grove itself throws. And a wait whose descriptor another greenlet of
// the hub closes fails with EBADF.
//
// docs/patching.md has what is covered, what is not, and what then to do.
namespace grove::patch {

// PatchOptions
struct PatchOptions {
  bool os = true;
  bool thread = true;
  bool time = true;
  bool socket = true;
  bool dns = true;
  bool select = true;
  bool subprocess = true;
  bool signal = true;
  bool stdio = true;
  // Objects to be left alone, as file names or the beginnings of such: "libpq.so". libc
  // itself, libev, the sanitizers' runtimes and GoogleTest always are.
  std::vector<std::string> exclude = {};
};

// What became of a call.
enum class PatchResult {
  kPatched,
  kNothingNew,  // all of it had been patched before
  kVetoed,      // a subscriber has said so
};

// PatchAll()
//
// Patches the modules of the options, in all objects that are loaded or will be. What
// later calls ask for is added; nothing is ever taken back. Warns, on stderr and in the
// report, if it comes too late to be safe.
//
// Does not block. Threads: any, one at a time.
PatchResult PatchAll(const PatchOptions& options = {});

// As PatchAll() with that one module.
PatchResult PatchOs();
PatchResult PatchThread();
PatchResult PatchTime();
PatchResult PatchSocket();
PatchResult PatchDns();
PatchResult PatchSelect();
PatchResult PatchSubprocess();
PatchResult PatchSignal();
PatchResult PatchStdio();

// Replacement
//
// One function of a table of a user's own.
struct Replacement {
  std::string symbol;  // as it is imported: "fchmod"
  void* function;      // of the same type
};

// PatchModule()
//
// As PatchAll(), by that table. A function that is patched already is left alone, with a
// warning. GetOriginal() has what was there before.
PatchResult PatchModule(absl::string_view name, absl::Span<const Replacement> table);

// ImportPatched()
//
// Loads a library as dlopen(3) with RTLD_NOW does, and patches that library alone, with
// those of its dependencies that nobody had loaded before. Returns dlopen's handle.
// kNotFound, with what dlerror(3) says, if that fails.
//
// Does not block, other than for the disk.
absl::StatusOr<void*> ImportPatched(const std::string& library,
                                    const PatchOptions& options = {});

bool IsModulePatched(Module module);
// Whether anything in that object is: "libcurl.so.4", or a whole path.
bool IsObjectPatched(absl::string_view object);
// Whether the calls of that object to that function are.
bool IsObjectPatched(absl::string_view object, absl::string_view symbol);

// GetOriginal()
//
// The function itself; null if there is none of that name.
//
//   auto* real_sleep = GetOriginal<unsigned(unsigned)>("sleep");
void* GetOriginal(const std::string& symbol);
template <typename Function>
Function* GetOriginal(const std::string& symbol) {
  return reinterpret_cast<Function*>(GetOriginal(symbol));
}

// Unpatched
//
// While one exists, this greenlet's calls are the originals: they block its hub.
class Unpatched {
 public:
  Unpatched() = default;

 private:
  green_internal::Unpatched scope_;
};

// PatchEvent
//
// What subscribers are told, in this order: kWillPatchAll, then for each module
// kWillPatchModule and kDidPatchModule, then kDidPatchAll.
class PatchEvent {
 public:
  enum class Kind { kWillPatchAll, kWillPatchModule, kDidPatchModule, kDidPatchAll };

  PatchEvent(Kind kind, Module module, absl::string_view name)
      : kind_(kind), module_(module), name_(name) {}

  Kind kind() const { return kind_; }
  Module module() const { return module_; }  // of the events of a module
  // The module's, of the events of a module: "socket", or what PatchModule() was given.
  absl::string_view name() const { return name_; }

  // Of kWillPatch...: not this module; or nothing at all.
  void DoNotPatch() { vetoed_ = true; }
  bool vetoed() const { return vetoed_; }

 private:
  const Kind kind_;
  const Module module_;
  const std::string name_;
  bool vetoed_ = false;
};

// Subscribe()
//
// Has `subscriber` told of all that is patched, until what this returns is destroyed. It
// may call PatchModule() to add what is its own. Threads: any.
class [[nodiscard]] Subscription {
 public:
  explicit Subscription(std::shared_ptr<void> life) : life_(std::move(life)) {}

 private:
  std::shared_ptr<void> life_;
};
Subscription Subscribe(std::function<void(PatchEvent&)> subscriber);

}  // namespace grove::patch

#endif  // GROVE_PATCH_PATCH_H_
