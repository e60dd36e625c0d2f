#include "grove/net/default_resolver.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/config.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/internal/per_thread.h"
#include "grove/net/ares_resolver.h"
#include "grove/net/caching_resolver.h"
#include "grove/net/internal/host_name.h"
#include "grove/net/libc_resolver.h"

namespace grove {
namespace net {
namespace {

// What the settings below hold, once their text is known to be one.
struct ResolverNames {
  std::vector<std::string> names;
};
struct ServerList {
  std::vector<Address> servers;
};

constexpr absl::string_view kAllowedNames =
    "ares, thread, block, or a list of these by preference";

bool ParseNames(absl::string_view text, std::vector<std::string>* names) {
  for (absl::string_view name : absl::StrSplit(text, ',')) {
    name = absl::StripAsciiWhitespace(name);
    if (name != "ares" && name != "thread" && name != "block") return false;
    names->emplace_back(name);
  }
  return true;
}

// "192.0.2.53", "192.0.2.53:5353", "[2001:db8::53]:53", "2001:db8::53"
std::optional<Address> ParseServer(absl::string_view text) {
  constexpr uint16_t kPort = 53;
  if (auto ip = net_internal::ParseNumericHost(text)) return ip->WithPort(kPort);
  absl::StatusOr<Address> address = Address::Parse(text);
  if (!address.ok()) return std::nullopt;
  return *address;
}

}  // namespace
}  // namespace net

template <>
struct SettingType<net::ResolverNames> {
  struct Limits {};
  static bool Parse(absl::string_view text, const Limits&, net::ResolverNames* value) {
    return net::ParseNames(text, &value->names);
  }
  static std::string Allowed(const Limits&) { return std::string(net::kAllowedNames); }
};

template <>
struct SettingType<net::ServerList> {
  struct Limits {};
  static bool Parse(absl::string_view text, const Limits&, net::ServerList* value) {
    for (absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
      const auto server = net::ParseServer(absl::StripAsciiWhitespace(part));
      if (!server) return false;
      value->servers.push_back(*server);
    }
    return true;
  }
  static std::string Allowed(const Limits&) {
    return "a list of addresses, with a port or without, or nothing";
  }
};

namespace net {
namespace {

constinit Setting<ResolverNames> resolver_setting(
    "resolver", "GROVE_RESOLVER", "ares",
    "Who looks names up: c-ares on the hub, libc on threads, or libc right there. Of a "
    "list, the first that can be had.");
constinit Setting<ServerList> servers_setting(
    "resolver_servers", "GROVE_RESOLVER_SERVERS", "",
    "Name servers that the ares resolver asks in place of resolv.conf's.");
constinit Setting<std::optional<absl::Duration>> timeout_setting(
    "resolver_timeout", "GROVE_RESOLVER_TIMEOUT", "",
    "How long the ares resolver waits for one server, per try, in place of what "
    "resolv.conf says.",
    {.min = absl::Milliseconds(1), .max = absl::Seconds(30)});
constinit Setting<std::optional<int64_t>> tries_setting(
    "resolver_tries", "GROVE_RESOLVER_TRIES", "",
    "How often the ares resolver asks each server, in place of what resolv.conf says.",
    {.min = 1, .max = 10});
constinit Setting<std::optional<int64_t>> ndots_setting(
    "resolver_ndots", "GROVE_RESOLVER_NDOTS", "",
    "With how many dots the ares resolver tries a name as it is first, in place of what "
    "resolv.conf says.",
    {.min = 0, .max = 15});
constinit Setting<int64_t> cache_setting(
    "resolver_cache", "GROVE_RESOLVER_CACHE", "10000",
    "How many answers each hub's ares resolver keeps; 0: none.",
    {.min = 0, .max = 100'000'000});
const bool declared =
    Config::Declare({&resolver_setting, &servers_setting, &timeout_setting,
                     &tries_setting, &ndots_setting, &cache_setting});

std::unique_ptr<Resolver> MakeAres() {
  AresResolverOptions options;
  options.servers = servers_setting.Get().servers;
  options.timeout = timeout_setting.Get();
  if (const auto tries = tries_setting.Get()) options.tries = static_cast<int>(*tries);
  if (const auto ndots = ndots_setting.Get()) options.ndots = static_cast<int>(*ndots);
  auto ares = std::make_unique<AresResolver>(std::move(options));
  const int64_t entries = cache_setting.Get();
  if (entries == 0) return ares;
  return std::make_unique<CachingResolver>(
      std::move(ares),
      CachingResolverOptions{.max_entries = static_cast<size_t>(entries)});
}

std::unique_ptr<Resolver> Make(const std::vector<std::string>& names) {
  // Each can be had wherever grove can.
  if (names.front() == "thread") return std::make_unique<ThreadedResolver>();
  if (names.front() == "block") return std::make_unique<BlockingResolver>();
  return MakeAres();
}

// This hub's; it ends with the hub.
constinit thread_local hub_internal::PerThread<std::unique_ptr<Resolver>*> of_hub;

std::unique_ptr<Resolver>& OfHub() {
  green_internal::Scheduler& s = green_internal::Scheduler::Get();
  if (of_hub == nullptr) {
    of_hub = new std::unique_ptr<Resolver>;
    s.AtEnd([] { delete std::exchange(of_hub.get(), nullptr); });
  }
  return *of_hub.get();
}

}  // namespace

Resolver& DefaultResolver() {
  std::unique_ptr<Resolver>& resolver = OfHub();
  if (resolver == nullptr) resolver = Make(resolver_setting.Get().names);
  return *resolver;
}

std::unique_ptr<Resolver> SetDefaultResolver(std::unique_ptr<Resolver> resolver) {
  return std::exchange(OfHub(), std::move(resolver));
}

absl::StatusOr<std::unique_ptr<Resolver>> MakeResolver(absl::string_view names) {
  std::vector<std::string> list;
  if (!ParseNames(names, &list)) {
    return absl::InvalidArgumentError(
        absl::StrCat("no resolver \"", names, "\"; wanted: ", kAllowedNames));
  }
  return Make(list);
}

}  // namespace net
}  // namespace grove
