#ifndef GROVE_PATCH_INTERNAL_LOADED_OBJECTS_H_
#define GROVE_PATCH_INTERNAL_LOADED_OBJECTS_H_

#include <link.h>

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

// The objects that are loaded into this process (the program and its shared libraries),
// and the slots through which each calls functions of others. In ELF's terms: the entries
// of the relocation tables that name a function (System V ABI, AMD64 supplement, 4.4; ELF
// for the Arm 64-bit architecture, 5.7), where the dynamic linker has put, or will put,
// its address.
namespace grove::patch::patch_internal {

// LoadedObject
struct LoadedObject {
  std::string path;  // the program's own is what /proc/self/exe points to
  bool is_program = false;
  ElfW(Addr) base = 0;
  // Where its segments lie.
  ElfW(Addr) begin = 0;
  ElfW(Addr) end = 0;
  // And those of the program.
  ElfW(Addr) program_begin = 0;
  ElfW(Addr) program_end = 0;
  const ElfW(Dyn) * dynamic = nullptr;
  // What the dynamic linker makes read-only after it has filled it (RELRO).
  uintptr_t read_only_from = 0;
  uintptr_t read_only_to = 0;

  // "libcurl.so.4"
  absl::string_view name() const;
};

// ForEachObject()
//
// Calls `fn` for each, in the order in which they were loaded. None of them is unloaded
// meanwhile: `fn` must not ask the dynamic linker for anything (dlsym(3), dladdr(3)),
// since another thread may be in there and wait for this to end.
void ForEachObject(absl::FunctionRef<void(const LoadedObject& object)> fn);

// How many have been unloaded, ever: then another may lie where one lay.
uint64_t UnloadedObjects();

// Import
//
// A slot that holds, or will hold, the address of an imported function, or of one of its
// object's own that others may take the place of.
struct Import {
  const char* symbol;
  void** slot;
  bool is_for_calls;  // and for no other use of the address
  bool is_filled;
};

// Calls `fn` for each of the object.
void ForEachImport(const LoadedObject& object,
                   absl::FunctionRef<void(const Import& import)> fn);

// IsLinked()
//
// Whether the dynamic linker has filled the object's slots: else another thread is inside
// of dlopen(3), and what is put there now is overwritten, or worse.
bool IsLinked(const LoadedObject& object);

// IsLazilyBound()
//
// Whether its slots for calls are filled by the first call: for certain if some are still
// to be filled. If all are, the linker may have done so at once (LD_BIND_NOW, ld.so(8)).
bool IsLazilyBound(const LoadedObject& object);

// SetImport()
//
// Puts `function` into a slot, where need be opening the page for that moment. False,
// with errno, if the kernel refuses that.
bool SetImport(const LoadedObject& object, void** slot, void* function);

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_LOADED_OBJECTS_H_
