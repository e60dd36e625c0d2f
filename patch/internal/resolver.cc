// res_query(3) and its like, and lookups of users and groups, on a thread of the pool.

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <resolv.h>
#include <string.h>

#include <algorithm>

#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/on_another_thread.h"

namespace grove::patch::patch_internal {
namespace {

using Bytes = unsigned char;
using State = struct __res_state;

int Query(const char* name, int kind, int type, Bytes* answer, int size);
int Search(const char* name, int kind, int type, Bytes* answer, int size);
int QueryDomain(const char* name, const char* domain, int kind, int type, Bytes* answer,
                int size);
int Send(const Bytes* query, int query_size, Bytes* answer, int size);
int NQuery(State* state, const char* name, int kind, int type, Bytes* answer, int size);
int NSearch(State* state, const char* name, int kind, int type, Bytes* answer, int size);
int NQueryDomain(State* state, const char* name, const char* domain, int kind, int type,
                 Bytes* answer, int size);
int NSend(State* state, const Bytes* query, int query_size, Bytes* answer, int size);
int GetPwNamR(const char* name, passwd* entry, char* buffer, size_t size,
              passwd** result);
int GetPwUidR(uid_t uid, passwd* entry, char* buffer, size_t size, passwd** result);
int GetGrNamR(const char* name, group* entry, char* buffer, size_t size, group** result);
int GetGrGidR(gid_t gid, group* entry, char* buffer, size_t size, group** result);

constinit HookOf query_hook("res_query", Module::kDns, &Query);
constinit HookOf search_hook("res_search", Module::kDns, &Search);
constinit HookOf querydomain_hook("res_querydomain", Module::kDns, &QueryDomain);
constinit HookOf send_hook("res_send", Module::kDns, &Send);
constinit HookOf nquery_hook("res_nquery", Module::kDns, &NQuery);
constinit HookOf nsearch_hook("res_nsearch", Module::kDns, &NSearch);
constinit HookOf nquerydomain_hook("res_nquerydomain", Module::kDns, &NQueryDomain);
constinit HookOf nsend_hook("res_nsend", Module::kDns, &NSend);
// As what was built before glibc 2.34 imports them.
constinit HookOf old_query_hook("__res_query", Module::kDns, &Query);
constinit HookOf old_search_hook("__res_search", Module::kDns, &Search);
constinit HookOf old_querydomain_hook("__res_querydomain", Module::kDns, &QueryDomain);
constinit HookOf old_send_hook("__res_send", Module::kDns, &Send);
constinit HookOf old_nquery_hook("__res_nquery", Module::kDns, &NQuery);
constinit HookOf old_nsearch_hook("__res_nsearch", Module::kDns, &NSearch);
constinit HookOf old_nquerydomain_hook("__res_nquerydomain", Module::kDns, &NQueryDomain);
constinit HookOf old_nsend_hook("__res_nsend", Module::kDns, &NSend);
constinit HookOf getpwnam_r_hook("getpwnam_r", Module::kDns, &GetPwNamR);
constinit HookOf getpwuid_r_hook("getpwuid_r", Module::kDns, &GetPwUidR);
constinit HookOf getgrnam_r_hook("getgrnam_r", Module::kDns, &GetGrNamR);
constinit HookOf getgrgid_r_hook("getgrgid_r", Module::kDns, &GetGrGidR);

Hook* const hooks[] = {
    &query_hook,      &search_hook,      &querydomain_hook,      &send_hook,
    &nquery_hook,     &nsearch_hook,     &nquerydomain_hook,     &nsend_hook,
    &old_query_hook,  &old_search_hook,  &old_querydomain_hook,  &old_send_hook,
    &old_nquery_hook, &old_nsearch_hook, &old_nquerydomain_hook, &old_nsend_hook,
    &getpwnam_r_hook, &getpwuid_r_hook,  &getgrnam_r_hook,       &getgrgid_r_hook};

// h_errno is each thread's own, and so brought back.
template <typename Fn>
int Ask(Hook& hook, Fn fn) {
  int host_error = 0;
  const int n = OnAnotherThread(hook, [&] {
    const int result = fn();
    host_error = h_errno;
    return result;
  });
  if (n < 0) h_errno = host_error;
  return n;
}

// So is the state of the calls without one. The greenlets of this thread may all be at
// it, so each asks with one of its own, that is set as the thread's is.
template <typename Fn>
int AskWithOwnState(Hook& hook, Fn fn) {
  hook.CountCall();
  const State& set = *__res_state();
  State state = {};
  if (res_ninit(&state) != 0) {
    h_errno = NETDB_INTERNAL;
    return -1;
  }
  if ((set.options & RES_INIT) != 0) {
    state.options = set.options;
    state.retrans = set.retrans;
    state.retry = set.retry;
    state.ndots = set.ndots;
    state.nscount = std::min(set.nscount, MAXNS);
    std::copy(std::begin(set.nsaddr_list), std::end(set.nsaddr_list),
              std::begin(state.nsaddr_list));
    memcpy(state.defdname, set.defdname, sizeof state.defdname);
    for (size_t i = 0; i < std::size(state.dnsrch); ++i) {
      // They point into the name of the domain, or to the search list, which is glibc's.
      const char* at = set.dnsrch[i];
      const bool inside = at >= set.defdname && at < set.defdname + sizeof set.defdname;
      state.dnsrch[i] =
          at && inside ? state.defdname + (at - set.defdname) : set.dnsrch[i];
    }
  }
  const int n = Ask(hook, [&] { return fn(&state); });
  res_nclose(&state);
  return n;
}

int Query(const char* name, int kind, int type, Bytes* answer, int size) {
  if (Cooperating(query_hook) == nullptr) {
    return query_hook.Original(name, kind, type, answer, size);
  }
  return AskWithOwnState(query_hook, [&](State* state) {
    return nquery_hook.Original(state, name, kind, type, answer, size);
  });
}

int Search(const char* name, int kind, int type, Bytes* answer, int size) {
  if (Cooperating(search_hook) == nullptr) {
    return search_hook.Original(name, kind, type, answer, size);
  }
  return AskWithOwnState(search_hook, [&](State* state) {
    return nsearch_hook.Original(state, name, kind, type, answer, size);
  });
}

int QueryDomain(const char* name, const char* domain, int kind, int type, Bytes* answer,
                int size) {
  if (Cooperating(querydomain_hook) == nullptr) {
    return querydomain_hook.Original(name, domain, kind, type, answer, size);
  }
  return AskWithOwnState(querydomain_hook, [&](State* state) {
    return nquerydomain_hook.Original(state, name, domain, kind, type, answer, size);
  });
}

int Send(const Bytes* query, int query_size, Bytes* answer, int size) {
  if (Cooperating(send_hook) == nullptr) {
    return send_hook.Original(query, query_size, answer, size);
  }
  return AskWithOwnState(send_hook, [&](State* state) {
    return nsend_hook.Original(state, query, query_size, answer, size);
  });
}

// Whoever brings a state sees to it that nobody else uses it meanwhile.
template <typename Own, typename... Args>
int AskWith(Own& hook, Args... args) {
  if (Cooperating(hook) == nullptr) return hook.Original(args...);
  hook.CountCall();
  return Ask(hook, [&] { return hook.Original(args...); });
}
int NQuery(State* state, const char* name, int kind, int type, Bytes* answer, int size) {
  return AskWith(nquery_hook, state, name, kind, type, answer, size);
}
int NSearch(State* state, const char* name, int kind, int type, Bytes* answer, int size) {
  return AskWith(nsearch_hook, state, name, kind, type, answer, size);
}
int NQueryDomain(State* state, const char* name, const char* domain, int kind, int type,
                 Bytes* answer, int size) {
  return AskWith(nquerydomain_hook, state, name, domain, kind, type, answer, size);
}
int NSend(State* state, const Bytes* query, int query_size, Bytes* answer, int size) {
  return AskWith(nsend_hook, state, query, query_size, answer, size);
}

// --- users and groups, which may be on a server ---

int GetPwNamR(const char* name, passwd* entry, char* buffer, size_t size,
              passwd** result) {
  return AskWith(getpwnam_r_hook, name, entry, buffer, size, result);
}
int GetPwUidR(uid_t uid, passwd* entry, char* buffer, size_t size, passwd** result) {
  return AskWith(getpwuid_r_hook, uid, entry, buffer, size, result);
}
int GetGrNamR(const char* name, group* entry, char* buffer, size_t size, group** result) {
  return AskWith(getgrnam_r_hook, name, entry, buffer, size, result);
}
int GetGrGidR(gid_t gid, group* entry, char* buffer, size_t size, group** result) {
  return AskWith(getgrgid_r_hook, gid, entry, buffer, size, result);
}

}  // namespace

absl::Span<Hook* const> ResolverHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
