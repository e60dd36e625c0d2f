#include "grove/green/internal/local_slots.h"

#include <algorithm>
#include <mutex>

#include "grove/green/greenlet.h"
#include "grove/green/internal/process_mutex.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

// The slots of the process; never destroyed, as static GreenletLocals may come later.
struct Slots {
  ProcessMutex mutex;
  std::vector<bool> taken;
  uint64_t last_serial = 0;
};

Slots& AllSlots() {
  static Slots& slots = *new Slots;
  return slots;
}

void Unlink(LocalBox* box) {
  LocalBox*& first = box->core->scheduler->local_lists[box->slot];
  (box->prev ? box->prev->next : first) = box->next;
  if (box->next) box->next->prev = box->prev;
  Extras& extras = *box->core->extras;
  extras.locals[box->slot] = nullptr;
  LocalBox** link = &extras.newest_local;
  while (*link != box) link = &(*link)->older;
  *link = box->older;
}

// By now nothing refers to it. In a function of its own, so that the shield ends first.
void Destroy(LocalBox* box) {
  Shield shield;
  delete box;
}

}  // namespace

LocalKey::LocalKey(SpawnSite site) : site_(site) {
  Slots& slots = AllSlots();
  const std::lock_guard<ProcessMutex> lock(slots.mutex);
  serial_ = ++slots.last_serial;
  // The lowest one, so that greenlets' tables stay small.
  const auto free = std::find(slots.taken.begin(), slots.taken.end(), false);
  slot_ = free - slots.taken.begin();
  if (free == slots.taken.end()) slots.taken.push_back(false);
  slots.taken[slot_] = true;
}

LocalKey::~LocalKey() {
  if (Scheduler::process_exits()) return;
  if (Scheduler* s = Scheduler::GetIfExists(); s && slot_ < s->local_lists.size()) {
    // A destructor may block, and values go with other greenlets' ends meanwhile.
    while (LocalBox* box = s->local_lists[slot_]) {
      Unlink(box);
      Destroy(box);
    }
  }
  Slots& slots = AllSlots();
  const std::lock_guard<ProcessMutex> lock(slots.mutex);
  slots.taken[slot_] = false;
}

void LocalKey::Add(Core* core, LocalBox* box) const {
  Extras& extras = ExtrasOf(core);
  if (extras.locals.size() <= slot_) extras.locals.resize(slot_ + 1);
  LocalBox* left_behind = extras.locals[slot_];
  GROVE_CHECK(left_behind == nullptr || left_behind->serial != serial_,
              "the function that makes the value of the GreenletLocal at ", site_.file,
              ":", site_.line, " uses that GreenletLocal, in ", core->Label());
  if (left_behind) Unlink(left_behind);
  box->serial = serial_;
  box->slot = slot_;
  box->site = site_;
  box->core = core;
  box->older = extras.newest_local;
  extras.newest_local = box;
  extras.locals[slot_] = box;
  auto& lists = core->scheduler->local_lists;
  if (lists.size() <= slot_) lists.resize(slot_ + 1);
  box->next = lists[slot_];
  if (box->next) box->next->prev = box;
  lists[slot_] = box;
  if (left_behind) Destroy(left_behind);
}

void LocalKey::Drop(Core* core) const {
  LocalBox* box = Find(core);
  if (box == nullptr) return;
  Unlink(box);
  Destroy(box);
}

void DropLocals(Core* core) {
  if (!core->extras) return;
  constexpr int kMost = 1'000'000;
  for (int n = 0; LocalBox* box = core->extras->newest_local; ++n) {
    GROVE_CHECK(n < kMost, "destructors of GreenletLocal values of ", core->Label(),
                " make new ones for ever; the last one is that of the GreenletLocal at ",
                box->site.file, ":", box->site.line);
    Unlink(box);
    Destroy(box);
  }
}

}  // namespace grove::green_internal
