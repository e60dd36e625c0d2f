"""Greenlets in gdb, of a live process and of a core file.

    (gdb) source tools/gdb/grove_gdb.py
    (gdb) info greenlets [FILTER]           who there is, and what each waits for
    (gdb) greenlet 7 [HUB]                  the stack of greenlet 7: bt, frame, print, ...
    (gdb) greenlet off                      back to the thread
    (gdb) greenlet apply all bt [FILTER]    all stacks; equal ones are told once
    (gdb) greenlet apply 7 COMMAND          one command there

FILTER: words that the line of a greenlet has to have, such as Mutex, or a name.

Reads memory only: nothing of the program runs, and it needs no debug information (with it,
frames have arguments and variables, as any). Where things lie is told by a table in the
program, grove_debugger_table (green/internal/debugger.cc).
"""

import re

import gdb
from gdb.unwinder import Unwinder, register_unwinder

REGISTERS = {"x86-64": ("rsp", "rbp", "rip"), "aarch64": ("sp", "x29", "pc")}


# --- memory -------------------------------------------------------------------------------

def _read(address, size):
    try:
        return gdb.selected_inferior().read_memory(address, size).tobytes()
    except gdb.MemoryError:
        raise gdb.GdbError("grove: cannot read memory at 0x%x" % address)


def _number(address, size):
    return int.from_bytes(_read(address, size), "little")


def _pointer(address):
    return _number(address, 8)


def _c_string(address):
    text = b""
    while address and len(text) < 4096:
        # Not over the end of a page, behind which there may be nothing.
        part = _read(address, 64 - address % 64)
        if b"\0" in part:
            return (text + part[: part.index(b"\0")]).decode(errors="replace")
        text += part
        address += len(part)
    return text.decode(errors="replace")


def _std_string(address):
    """Of libstdc++: a pointer, and a size."""
    return _read(_pointer(address), min(_pointer(address + 8), 4096)).decode(errors="replace")


class Table:
    """What grove_debugger_table says."""

    def __init__(self):
        try:
            at = int(gdb.parse_and_eval("*(unsigned long *)&grove_debugger_table"))
        except gdb.error:
            raise gdb.GdbError(
                "grove: no grove_debugger_table: not a program with greenlets, an older one, "
                "or one without symbols")
        self._entries = {}
        while name := _pointer(at):
            self._entries[_c_string(name)] = (_pointer(at + 8), _pointer(at + 16))
            at += 24

    def _entry(self, name):
        if name not in self._entries:
            raise gdb.GdbError("grove: this program says nothing of %s: take the script of "
                               "the version that it was built with" % name)
        return self._entries[name]

    def address(self, name):
        return self._entry(name)[1]

    def field(self, base, name):
        return base + self._entry(name)[0]


# --- hubs and greenlets -------------------------------------------------------------------

class Greenlet:
    def __init__(self, table, hub, core):
        def field(name):
            return table.field(core, "core." + name)

        self.hub = hub
        self.core = core
        self.id = _pointer(field("id"))
        self.parent_id = _pointer(field("parent_id"))
        self.registers = [_pointer(field(name)) for name in ("sp", "fp", "pc")]
        self.site = "%s:%d" % (_c_string(_pointer(field("site.file"))),
                               _number(field("site.line"), 4))
        extras = _pointer(field("extras"))
        name = _std_string(table.field(extras, "extras.name")) if extras else ""
        self.name = name or "greenlet-%d" % self.id
        self.is_loop = core == hub.loop
        if self.is_loop:
            self.name = "(the loop)"
        self.since = None
        self.waiter = 0
        if core == hub.current:
            self.state = "runs"
        elif _number(field("parked"), 1):
            self.waiter = _pointer(field("waiting_on"))
            self.state = "waits for " + _kind_of(self.waiter)
            self.since = _pointer(table.field(self.waiter, "waiter.since"))
        elif self.is_loop or _number(field("started"), 1):
            self.state = "is ready"
        else:
            self.state = "has not started"

    @property
    def runs(self):
        return self.core == self.hub.current

    def line(self, newest):
        text = "%-6s '%s'" % ("main" if self.core == self.hub.main else
                              "loop" if self.is_loop else "#%d" % self.id, self.name)
        if self.id:
            text += ", spawned at %s by #%d" % (self.site, self.parent_id)
        text += ": " + self.state
        if self.since is not None:
            text += ", since %.3f s" % ((newest - self.since) / 1e9)
        return text


def _kind_of(waiter):
    """The class of a Waiter, by the symbol of its vtable: grove::Mutex::LockOperation."""
    vtable = _pointer(waiter)
    symbol = gdb.execute("info symbol 0x%x" % vtable, to_string=True)
    match = re.match(r"vtable for (.*?)(?: \+ \d+)? in ", symbol + " in ")
    if not match:
        return "0x%x" % waiter
    name = match[1].replace("(anonymous namespace)::", "")
    name = re.sub(r"\bgrove::|\b(?:green|sync|net|hub|os|patch)_internal::", "", name)
    return "%s (0x%x)" % (name, waiter)


class Hub:
    def __init__(self, table, scheduler):
        def pointer(name):
            return _pointer(table.field(scheduler, "scheduler." + name))

        self.name = _std_string(table.field(pointer("mailbox"), "mailbox.hub_name"))
        self.tid = _number(table.field(pointer("record"), "record.tid"), 4)
        self.current = pointer("current")
        self.main = pointer("main")
        self.loop = pointer("loop")
        self.greenlets = [Greenlet(table, self, self.main)]
        core = pointer("all")
        while core:
            gdb_check_interrupt()
            self.greenlets.append(Greenlet(table, self, core))
            core = _pointer(table.field(core, "core.next"))
        self.greenlets.sort(key=lambda g: g.id)
        self.greenlets.append(Greenlet(table, self, self.loop))

    def thread(self):
        for thread in gdb.selected_inferior().threads():
            if self.tid in thread.ptid[1:]:
                return thread
        return None


def gdb_check_interrupt():
    """Lets Ctrl-C end a walk over a million."""
    gdb.parse_and_eval("0")


def hubs():
    """The oldest first."""
    table = Table()
    found = []
    scheduler = _pointer(table.address("first_scheduler"))
    while scheduler:
        found.insert(0, Hub(table, scheduler))
        scheduler = _pointer(table.field(scheduler, "scheduler.next"))
    return found


def _newest(all_hubs):
    """When somebody last began to wait: as near to now as a core file tells."""
    return max((g.since for h in all_hubs for g in h.greenlets if g.since is not None),
               default=0)


def _passes(words, line):
    return all(word in line for word in words)


def _find(word, hub_name=None):
    found = [g for h in hubs() for g in h.greenlets
             if (hub_name is None or h.name == hub_name)
             and (word.lstrip("#") == str(g.id) and not g.is_loop and g.id
                  or word == g.name
                  or word == "main" and g.core == h.main
                  or word == "loop" and g.is_loop)]
    if not found:
        raise gdb.GdbError("grove: there is no greenlet %s%s" %
                           (word, " of hub %s" % hub_name if hub_name else ""))
    if len(found) > 1:
        raise gdb.GdbError("grove: there are %d greenlets %s; say the hub too: %s" %
                           (len(found), word,
                            ", ".join(sorted({g.hub.name for g in found}))))
    return found[0]


# --- stacks -------------------------------------------------------------------------------

class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class GreenletUnwinder(Unwinder):
    """Makes the chosen greenlet's frames those below frame 0, which stays the thread's.

    gdb cannot change the registers of a core file, but asks unwinders for those of a
    frame's caller. Frame 0's caller is, while a greenlet is chosen, where that goes on.
    """

    def __init__(self):
        super().__init__("grove greenlet")
        self.chosen = None  # registers, and the thread for which they stand in

    def __call__(self, pending):
        if self.chosen is None:
            return None
        names, values, thread, real_sp = self.chosen
        if gdb.selected_thread() is None or gdb.selected_thread().ptid != thread:
            return None
        if int(pending.read_register(names[0])) != real_sp:
            return None

        pc = pending.read_register(names[2])
        # Inner to what follows, as gdb wants it.
        sp = gdb.Value(values[0] - 16).cast(pending.read_register(names[0]).type)
        info = pending.create_unwind_info(FrameId(sp, pc))
        for name, value in zip(names, values):
            like = pending.read_register(name)
            info.add_saved_register(name, gdb.Value(value).cast(like.type))
        return info


_unwinder = GreenletUnwinder()
register_unwinder(None, _unwinder, replace=True)


def _leave():
    _unwinder.chosen = None
    gdb.invalidate_cached_frames()


def _names():
    architecture = gdb.selected_frame().architecture().name()
    for part, names in REGISTERS.items():
        if part in architecture:
            return names
    raise gdb.GdbError("grove: no greenlets on %s" % architecture)


def _enter(greenlet):
    """Frames are the greenlet's from now on; returns the number of its first one."""
    _leave()
    if greenlet.runs:
        thread = greenlet.hub.thread()
        if thread is None:
            raise gdb.GdbError("grove: thread %d, on which it runs, is not here" %
                               greenlet.hub.tid)
        thread.switch()
        return 0
    gdb.execute("frame 0", to_string=True)
    names = _names()
    sp = int(gdb.parse_and_eval("$sp"))
    _unwinder.chosen = (names, greenlet.registers, gdb.selected_thread().ptid, sp)
    gdb.invalidate_cached_frames()
    return 1


def _backtrace(greenlet, command="bt"):
    """Of the greenlet's frames only."""
    first = _enter(greenlet)
    try:
        text = gdb.execute(command, to_string=True)
    finally:
        _leave()
    if first == 0:
        return text
    # Without the thread's own frame, which is not the greenlet's.
    lines = text.splitlines(keepends=True)
    begin = next((i for i, line in enumerate(lines) if line.startswith("#1 ")), len(lines))
    return "".join(lines[begin:])


# --- commands -----------------------------------------------------------------------------

class InfoGreenlets(gdb.Command):
    """The greenlets of all hubs, and what each waits for: info greenlets [FILTER]

"since" counts back from when somebody last began to wait."""

    def __init__(self):
        super().__init__("info greenlets", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        all_hubs = hubs()
        newest = _newest(all_hubs)
        if not all_hubs:
            print("No hubs.")
        for hub in all_hubs:
            print("hub '%s', thread %d, %d greenlets beside the main one" %
                  (hub.name, hub.tid, len(hub.greenlets) - 2))
            for greenlet in hub.greenlets:
                line = greenlet.line(newest)
                if _passes(words, line):
                    print("  " + line)


class GreenletCommand(gdb.Command):
    """Chooses a greenlet: greenlet ID [HUB], greenlet NAME [HUB], greenlet off

Frames are its own from then on, from frame 1; frame 0 stays the thread's."""

    def __init__(self):
        super().__init__("greenlet", gdb.COMMAND_STACK, prefix=True)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if not 1 <= len(words) <= 2:
            raise gdb.GdbError("greenlet ID [HUB], or greenlet off")
        if words == ["off"]:
            _leave()
            print("Frames are the thread's.")
            return
        greenlet = _find(*words)
        first = _enter(greenlet)
        print("hub '%s': %s" % (greenlet.hub.name, greenlet.line(_newest([greenlet.hub]))))
        gdb.execute("frame %d" % first)


class GreenletApply(gdb.Command):
    """One command for one greenlet or all: greenlet apply ID|all COMMAND [-- FILTER]

Greenlets for which it prints the same are told once: those with equal stacks."""

    def __init__(self):
        super().__init__("greenlet apply", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        argument, _, filter_text = argument.partition(" -- ")
        whom, _, command = argument.strip().partition(" ")
        if not command:
            raise gdb.GdbError("greenlet apply ID|all COMMAND [-- FILTER]")
        thread = gdb.selected_thread()
        try:
            if whom == "all":
                self._all(command, gdb.string_to_argv(filter_text))
            else:
                print(_backtrace(_find(whom), command), end="")
        finally:
            _leave()
            if thread is not None and thread.is_valid():
                thread.switch()

    @staticmethod
    def _all(command, words):
        all_hubs = hubs()
        newest = _newest(all_hubs)
        for hub in all_hubs:
            groups = {}
            for greenlet in hub.greenlets:
                line = greenlet.line(newest)
                if not _passes(words, line):
                    continue
                text = _backtrace(greenlet, command)
                # Equal but for what lies at other addresses.
                key = re.sub(r"0x[0-9a-f]+", "", text)
                groups.setdefault(key, (text, []))[1].append(line)
            if groups:
                print("hub '%s', thread %d" % (hub.name, hub.tid))
            for text, lines in sorted(groups.values(), key=lambda g: -len(g[1])):
                print("%d greenlet%s:" % (len(lines), "s" if len(lines) > 1 else ""))
                for line in lines[:10]:
                    print("  " + line)
                if len(lines) > 10:
                    print("  and %d more" % (len(lines) - 10))
                print(text)


InfoGreenlets()
GreenletCommand()
GreenletApply()
