#include <unordered_set>

#include "grove/patch/internal/registry.h"

// Calls that can block a thread, by their manual pages, and that have no hook.
namespace grove::patch::patch_internal {

const std::vector<NotCovered>& AllNotCovered() {
  static const auto* const all = new std::vector<NotCovered>{
      {"stdio of wide characters, on what can block",
       "its system calls are libc's own: `Blocking()`",
       {"__fgetws_chk",
        "__fgetws_unlocked_chk",
        "__fwprintf_chk",
        "__isoc99_fwscanf",
        "__isoc99_vfwscanf",
        "__isoc99_vwscanf",
        "__isoc99_wscanf",
        "__vfwprintf_chk",
        "__vwprintf_chk",
        "__wprintf_chk",
        "fgetwc_unlocked",
        "fgetws_unlocked",
        "fputwc_unlocked",
        "fputws_unlocked",
        "getwc_unlocked",
        "getwchar_unlocked",
        "putwc_unlocked",
        "putwchar_unlocked",
        "vfwscanf",
        "vwscanf",
        "fgetwc",
        "fgetws",
        "fputwc",
        "fputws",
        "fwprintf",
        "fwscanf",
        "getwc",
        "getwchar",
        "putwc",
        "putwchar",
        "vfwprintf",
        "vwprintf",
        "wprintf",
        "wscanf"}},
      {"what libc prints and asks by itself",
       "where the other end is slow: `Blocking()`",
       {"err", "errx", "error", "getpass", "gets", "getw", "perror", "psiginfo",
        "psignal", "putw", "verr", "verrx", "vwarn", "vwarnx", "warn", "warnx"}},
      {"the system's log",
       "`Blocking()`; the daemon takes it at once, unless its queue is full",
       {"__syslog_chk", "__vsyslog_chk", "syslog", "vsyslog"}},
      {"lookups of users into static buffers",
       "the same with `_r`, or `Blocking()`; where users come from files, they are short",
       {"getgrent", "getgrgid", "getgrnam", "getgrouplist", "getnetbyaddr",
        "getnetbyname", "getprotobyname", "getpwent", "getpwnam", "getpwuid",
        "getservbyname", "getservbyport", "getspnam", "initgroups"}},
      {"lookups of what comes from files, as a rule",
       "`Blocking()`, where nsswitch.conf has them from a server",
       {"getgrent_r", "getnetbyaddr_r", "getnetbyname_r", "getprotobyname_r",
        "getpwent_r", "getservbyname_r", "getservbyport_r", "getspent", "getspnam_r",
        "innetgr"}},
      {"what waits for terminals, and starts others",
       "`Blocking()`; `posix_spawn()` and what is patched of processes",
       {"forkpty", "tcsendbreak", "wordexp"}},
      {"other names of libc's for its own calls",
       "the call itself, which is patched",
       {"__connect", "__nanosleep", "__poll", "__read", "__select", "__send", "__waitpid",
        "__write"}},
      {"waits for I/O of libc's own threads",
       "the blocking calls, which are patched",
       {"aio_suspend", "aio_suspend64", "gai_suspend", "getaddrinfo_a", "lio_listio",
        "lio_listio64"}},
  };
  return *all;
}

bool MayBlock(absl::string_view symbol) {
  static const auto* const names = [] {
    auto* set = new std::unordered_set<std::string>;
    for (const NotCovered& family : AllNotCovered()) {
      set->insert(family.calls.begin(), family.calls.end());
    }
    return set;
  }();
  return names->contains(std::string(symbol));
}

}  // namespace grove::patch::patch_internal
