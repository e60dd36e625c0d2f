// Linked into a program, has it patched as a call in main() would.

#include "grove/green/hub_scope.h"
#include "grove/patch/patch.h"

namespace {

[[gnu::constructor]] void PatchTheProgram() {
  // For the life of the process.
  static auto* const hub = new grove::HubScope({.name = "patched"});
  (void)hub;
  grove::patch::PatchAll();
}

}  // namespace
