#ifndef GROVE_GREEN_INTERNAL_LOCAL_SLOTS_H_
#define GROVE_GREEN_INTERNAL_LOCAL_SLOTS_H_

#include <cstddef>
#include <cstdint>
#include <typeinfo>

#include "grove/green/internal/core.h"
#include "grove/green/spawn_site.h"

namespace grove::green_internal {

// LocalBox
//
// A value of a GreenletLocal: in its slot of its greenlet, in the chain of all that the
// greenlet has, and in the list of all values that the hub's greenlets have in that slot.
struct LocalBox {
  LocalBox() = default;
  LocalBox(const LocalBox&) = delete;
  LocalBox& operator=(const LocalBox&) = delete;
  virtual ~LocalBox() = default;
  virtual const std::type_info& type() const = 0;
  virtual const void* address() const = 0;

  uint64_t serial = 0;  // of its LocalKey
  size_t slot = 0;
  SpawnSite site;
  Core* core = nullptr;
  LocalBox* older = nullptr;  // of the same greenlet
  LocalBox* prev = nullptr;   // of the same slot and hub
  LocalBox* next = nullptr;
};

// LocalKey
//
// A slot, for as long as this exists. Slots are used again: a value that was left behind
// in one, on another hub, is told apart by its serial number.
class LocalKey {
 public:
  explicit LocalKey(SpawnSite site);
  LocalKey(const LocalKey&) = delete;
  LocalKey& operator=(const LocalKey&) = delete;
  // Destroys the values of this thread's hub.
  ~LocalKey();

  LocalBox* Find(const Core* core) const {
    const Extras* extras = core->extras.get();
    if (extras == nullptr || slot_ >= extras->locals.size()) return nullptr;
    LocalBox* box = extras->locals[slot_];
    return box != nullptr && box->serial == serial_ ? box : nullptr;
  }
  // `box` is new; from here on the greenlet owns it.
  void Add(Core* core, LocalBox* box) const;
  void Drop(Core* core) const;

 private:
  const SpawnSite site_;
  uint64_t serial_;
  size_t slot_;
};

// Destroys all that the greenlet has, the last one made first. May block.
void DropLocals(Core* core);

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_LOCAL_SLOTS_H_
