#include <cstddef>

#include "grove/green/internal/hub_record.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/mailbox.h"

// Where a debugger finds the greenlets of a process that has stopped, or is no more: a
// table of names and offsets, as CPython's _Py_DebugOffsets. Optimized programs have no
// descriptions of types with them, and a core file cannot be asked. Nothing in here runs;
// tools/gdb/grove_gdb.py reads it.

// offsetof() of a class with a base: conditionally supported, and gcc and clang do.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"

namespace grove::green_internal {

constinit Scheduler* Scheduler::first = nullptr;

struct DebuggerEntry {
  const char* name;  // null: behind the last one
  size_t offset;
  const void* address;
};

struct DebuggerTable {
  static const DebuggerEntry kEntries[];
};

static_assert(offsetof(Core, context) == sizeof(WaitNode));  // for Core::Of()

const DebuggerEntry DebuggerTable::kEntries[] = {
    {"first_scheduler", 0, &Scheduler::first},
    {"scheduler.next", offsetof(Scheduler, next_), nullptr},
    {"scheduler.current", offsetof(Scheduler, current_), nullptr},
    {"scheduler.main", offsetof(Scheduler, main_), nullptr},
    {"scheduler.loop", offsetof(Scheduler, loop_), nullptr},
    {"scheduler.all", offsetof(Scheduler, all_), nullptr},
    {"scheduler.record", offsetof(Scheduler, record_), nullptr},
    // A handle is a pointer to the mailbox.
    {"scheduler.mailbox", offsetof(Scheduler, handle_), nullptr},
    {"mailbox.hub_name", offsetof(Mailbox, hub_name_), nullptr},
    {"record.tid", offsetof(HubRecord, tid_), nullptr},
    {"core.next", offsetof(Core, all_next), nullptr},
    {"core.sp", offsetof(Core, context.sp), nullptr},
    {"core.fp", offsetof(Core, context.fp), nullptr},
    {"core.pc", offsetof(Core, context.pc), nullptr},
    {"core.parked", offsetof(Core, parked), nullptr},
    {"core.waiting_on", offsetof(Core, waiting_on), nullptr},
    {"core.started", offsetof(Core, started), nullptr},
    {"core.id", offsetof(Core, id), nullptr},
    {"core.parent_id", offsetof(Core, parent_id), nullptr},
    {"core.site.file", offsetof(Core, site.file), nullptr},
    {"core.site.line", offsetof(Core, site.line), nullptr},
    {"core.extras", offsetof(Core, extras), nullptr},
    {"extras.name", offsetof(Extras, name), nullptr},
    {"waiter.since", offsetof(Waiter, since_), nullptr},
    {nullptr, 0, nullptr},
};

extern "C" {
extern const DebuggerEntry* const grove_debugger_table;
[[gnu::used]] const DebuggerEntry* const grove_debugger_table = DebuggerTable::kEntries;
}

}  // namespace grove::green_internal
