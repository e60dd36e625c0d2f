// getaddrinfo(3), gethostbyname(3) and their like, in a thread of the pool: what libc
// itself says, with hosts, search lists and plugins (nsswitch.conf(5)) as always.

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>

#include <vector>

#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/on_another_thread.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

int GetAddrInfo(const char* node, const char* service, const addrinfo* hints,
                addrinfo** result);
int GetNameInfo(const sockaddr* address, socklen_t size, char* host, socklen_t host_size,
                char* service, socklen_t service_size, int flags);
hostent* GetHostByName(const char* name);
hostent* GetHostByName2(const char* name, int family);
hostent* GetHostByAddr(const void* address, socklen_t size, int family);
int GetHostByNameR(const char* name, hostent* entry, char* buffer, size_t size,
                   hostent** result, int* error);
int GetHostByName2R(const char* name, int family, hostent* entry, char* buffer,
                    size_t size, hostent** result, int* error);
int GetHostByAddrR(const void* address, socklen_t address_size, int family,
                   hostent* entry, char* buffer, size_t size, hostent** result,
                   int* error);

constinit HookOf getaddrinfo_hook("getaddrinfo", Module::kDns, &GetAddrInfo);
constinit HookOf getnameinfo_hook("getnameinfo", Module::kDns, &GetNameInfo);
constinit HookOf gethostbyname_hook("gethostbyname", Module::kDns, &GetHostByName);
constinit HookOf gethostbyname2_hook("gethostbyname2", Module::kDns, &GetHostByName2);
constinit HookOf gethostbyaddr_hook("gethostbyaddr", Module::kDns, &GetHostByAddr);
constinit HookOf gethostbyname_r_hook("gethostbyname_r", Module::kDns, &GetHostByNameR);
constinit HookOf gethostbyname2_r_hook("gethostbyname2_r", Module::kDns,
                                       &GetHostByName2R);
constinit HookOf gethostbyaddr_r_hook("gethostbyaddr_r", Module::kDns, &GetHostByAddrR);

Hook* const hooks[] = {&getaddrinfo_hook,      &getnameinfo_hook,
                       &gethostbyname_hook,    &gethostbyname2_hook,
                       &gethostbyaddr_hook,    &gethostbyname_r_hook,
                       &gethostbyname2_r_hook, &gethostbyaddr_r_hook};

// Numbers need nobody to be asked.
bool IsNumeric(const char* node) {
  unsigned char address[sizeof(in6_addr)];
  return inet_pton(AF_INET, node, address) == 1 ||
         inet_pton(AF_INET6, node, address) == 1;
}

int GetAddrInfo(const char* node, const char* service, const addrinfo* hints,
                addrinfo** result) {
  Scheduler* s = Cooperating(getaddrinfo_hook);
  if (s != nullptr) getaddrinfo_hook.CountCall();
  if (s == nullptr || node == nullptr || IsNumeric(node) ||
      (hints && (hints->ai_flags & AI_NUMERICHOST))) {
    return getaddrinfo_hook.Original(node, service, hints, result);
  }
  return OnAnotherThread(getaddrinfo_hook, [&] {
    return getaddrinfo_hook.Original(node, service, hints, result);
  });
}

int GetNameInfo(const sockaddr* address, socklen_t size, char* host, socklen_t host_size,
                char* service, socklen_t service_size, int flags) {
  const auto original = [&] {
    return getnameinfo_hook.Original(address, size, host, host_size, service,
                                     service_size, flags);
  };
  Scheduler* s = Cooperating(getnameinfo_hook);
  if (s != nullptr) getnameinfo_hook.CountCall();
  if (s == nullptr || host == nullptr || (flags & NI_NUMERICHOST)) return original();
  return OnAnotherThread(getnameinfo_hook, original);
}

// What gethostbyname(3) points into is one per thread here; its manual page calls it
// static, and says that later calls overwrite it.
template <typename Reentrant>
hostent* IntoStaticBuffer(Hook& hook, Reentrant reentrant) {
  static thread_local std::vector<char> buffer(1024);
  static thread_local hostent entry;
  // Other greenlets of this thread may come here meanwhile.
  std::vector<char> mine(1024);
  hostent found = {};
  hostent* result = nullptr;
  int error = 0;
  for (;;) {
    const int failed = OnAnotherThread(hook, [&] {
      return reentrant(&found, mine.data(), mine.size(), &result, &error);
    });
    if (failed == ERANGE && mine.size() < (size_t{1} << 20)) {
      mine.resize(2 * mine.size());
      continue;
    }
    if (failed != 0 || result == nullptr) {
      h_errno = error;
      return nullptr;
    }
    break;
  }
  // Once more without a switch, for its pointers point into the buffer that was used.
  const auto moved = [&](auto* p) {
    return p == nullptr ? p
                        : reinterpret_cast<decltype(p)>(reinterpret_cast<char*>(p) -
                                                        mine.data() + buffer.data());
  };
  buffer.resize(mine.size());
  memcpy(buffer.data(), mine.data(), mine.size());
  entry = found;
  entry.h_name = moved(found.h_name);
  entry.h_aliases = moved(found.h_aliases);
  entry.h_addr_list = moved(found.h_addr_list);
  for (char** list : {entry.h_aliases, entry.h_addr_list}) {
    for (; list && *list; ++list) *list = moved(*list);
  }
  return &entry;
}

hostent* GetHostByName(const char* name) {
  if (Cooperating(gethostbyname_hook) == nullptr)
    return gethostbyname_hook.Original(name);
  gethostbyname_hook.CountCall();
  return IntoStaticBuffer(gethostbyname_hook, [name](auto... rest) {
    return gethostbyname_r_hook.Original(name, rest...);
  });
}

hostent* GetHostByName2(const char* name, int family) {
  if (Cooperating(gethostbyname2_hook) == nullptr)
    return gethostbyname2_hook.Original(name, family);
  gethostbyname2_hook.CountCall();
  return IntoStaticBuffer(gethostbyname2_hook, [=](auto... rest) {
    return gethostbyname2_r_hook.Original(name, family, rest...);
  });
}

hostent* GetHostByAddr(const void* address, socklen_t size, int family) {
  if (Cooperating(gethostbyaddr_hook) == nullptr) {
    return gethostbyaddr_hook.Original(address, size, family);
  }
  gethostbyaddr_hook.CountCall();
  return IntoStaticBuffer(gethostbyaddr_hook, [=](auto... rest) {
    return gethostbyaddr_r_hook.Original(address, size, family, rest...);
  });
}

int GetHostByNameR(const char* name, hostent* entry, char* buffer, size_t size,
                   hostent** result, int* error) {
  const auto original = [&] {
    return gethostbyname_r_hook.Original(name, entry, buffer, size, result, error);
  };
  if (Cooperating(gethostbyname_r_hook) == nullptr) return original();
  gethostbyname_r_hook.CountCall();
  return OnAnotherThread(gethostbyname_r_hook, original);
}

int GetHostByName2R(const char* name, int family, hostent* entry, char* buffer,
                    size_t size, hostent** result, int* error) {
  const auto original = [&] {
    return gethostbyname2_r_hook.Original(name, family, entry, buffer, size, result,
                                          error);
  };
  if (Cooperating(gethostbyname2_r_hook) == nullptr) return original();
  gethostbyname2_r_hook.CountCall();
  return OnAnotherThread(gethostbyname2_r_hook, original);
}

int GetHostByAddrR(const void* address, socklen_t address_size, int family,
                   hostent* entry, char* buffer, size_t size, hostent** result,
                   int* error) {
  const auto original = [&] {
    return gethostbyaddr_r_hook.Original(address, address_size, family, entry, buffer,
                                         size, result, error);
  };
  if (Cooperating(gethostbyaddr_r_hook) == nullptr) return original();
  gethostbyaddr_r_hook.CountCall();
  return OnAnotherThread(gethostbyaddr_r_hook, original);
}

}  // namespace

absl::Span<Hook* const> DnsHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
