#include <algorithm>
#include <iterator>

#include "grove/patch/internal/registry.h"

// Calls that can block a thread, by their manual pages, and that have no hook.
namespace grove::patch::patch_internal {
namespace {

constexpr absl::string_view kMayBlock[] = {
    // locks and queues between processes
    "flock", "lockf", "lockf64", "mq_receive", "mq_send", "mq_timedreceive",
    "mq_timedsend", "msgrcv", "msgsnd", "semop", "semtimedop",
    // signals
    "pause", "sigsuspend", "sigtimedwait", "sigwait", "sigwaitinfo",
    // C11 threads, which go to libc's own
    "call_once", "cnd_timedwait", "cnd_wait", "mtx_lock", "mtx_timedlock", "thrd_create",
    "thrd_join",
    // stdio of wide characters, whose system calls are libc's own
    "fgetwc", "fgetws", "fwscanf", "getwc", "getwchar", "wscanf",
    // other lookups, and what waits for terminals and the disk
    "__res_nquery", "__res_nsearch", "__res_query", "__res_search", "getpwnam",
    "getpwnam_r", "getpwuid", "getpwuid_r", "res_nquery", "res_nsearch", "res_query",
    "res_search", "fdatasync", "fsync", "sendfile", "sendfile64", "splice", "sync",
    "syncfs", "tcdrain", "vmsplice", "preadv2", "pwritev2",
    // fork
    "daemon"};

}  // namespace

bool MayBlock(absl::string_view symbol) {
  return std::find(std::begin(kMayBlock), std::end(kMayBlock), symbol) !=
         std::end(kMayBlock);
}

}  // namespace grove::patch::patch_internal
