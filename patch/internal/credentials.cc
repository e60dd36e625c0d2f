// Who the process is: setuid(2) and its like change all threads, as POSIX asks for and
// the kernel does not do. glibc sends each a signal, but none to the thread that calls,
// which it knows by its control block. That of a thread with variables of its own is no
// kernel thread's: glibc would wait for the hub's to answer, for ever. So they are the
// hub's calls.

#include <grp.h>
#include <unistd.h>

#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/thread_storage.h"

namespace grove::patch::patch_internal {
namespace {

int SetUid(uid_t);
int SetEuid(uid_t);
int SetGid(gid_t);
int SetEgid(gid_t);
int SetReuid(uid_t, uid_t);
int SetRegid(gid_t, gid_t);
int SetResuid(uid_t, uid_t, uid_t);
int SetResgid(gid_t, gid_t, gid_t);
int SetGroups(size_t, const gid_t*);
int InitGroups(const char*, gid_t);

constinit HookOf setuid_hook("setuid", Module::kOs, &SetUid);
constinit HookOf seteuid_hook("seteuid", Module::kOs, &SetEuid);
constinit HookOf setgid_hook("setgid", Module::kOs, &SetGid);
constinit HookOf setegid_hook("setegid", Module::kOs, &SetEgid);
constinit HookOf setreuid_hook("setreuid", Module::kOs, &SetReuid);
constinit HookOf setregid_hook("setregid", Module::kOs, &SetRegid);
constinit HookOf setresuid_hook("setresuid", Module::kOs, &SetResuid);
constinit HookOf setresgid_hook("setresgid", Module::kOs, &SetResgid);
constinit HookOf setgroups_hook("setgroups", Module::kOs, &SetGroups);
constinit HookOf initgroups_hook("initgroups", Module::kOs, &InitGroups);

Hook* const hooks[] = {&setuid_hook,    &seteuid_hook,   &setgid_hook,    &setegid_hook,
                       &setreuid_hook,  &setregid_hook,  &setresuid_hook, &setresgid_hook,
                       &setgroups_hook, &initgroups_hook};

template <typename Hook, typename... Args>
int CallOnHub(Hook& hook, Args... args) {
  if (Cooperating(hook) != nullptr) hook.CountCall();
  const HubStorage of_hub;
  return hook.Original(args...);
}

int SetUid(uid_t a) { return CallOnHub(setuid_hook, a); }
int SetEuid(uid_t a) { return CallOnHub(seteuid_hook, a); }
int SetGid(gid_t a) { return CallOnHub(setgid_hook, a); }
int SetEgid(gid_t a) { return CallOnHub(setegid_hook, a); }
int SetReuid(uid_t a, uid_t b) { return CallOnHub(setreuid_hook, a, b); }
int SetRegid(gid_t a, gid_t b) { return CallOnHub(setregid_hook, a, b); }
int SetResuid(uid_t a, uid_t b, uid_t c) { return CallOnHub(setresuid_hook, a, b, c); }
int SetResgid(gid_t a, gid_t b, gid_t c) { return CallOnHub(setresgid_hook, a, b, c); }
int SetGroups(size_t a, const gid_t* b) { return CallOnHub(setgroups_hook, a, b); }
int InitGroups(const char* a, gid_t b) { return CallOnHub(initgroups_hook, a, b); }

}  // namespace

absl::Span<Hook* const> CredentialsHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
