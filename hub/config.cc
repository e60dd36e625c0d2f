#include "grove/hub/config.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

using Origin = ConfigEntry::Origin;

constexpr absl::string_view kPrefix = "GROVE_";

// Variables of grove's own scripts and of its testing library, which most programs do not
// contain, but inherit all the same.
bool IsForTools(absl::string_view env) {
  return absl::StartsWith(env, "GROVE_TEST_") || env == "GROVE_NO_INSTALL" ||
         env == "GROVE_AARCH64_CACHE";
}

struct Registry {
  std::mutex lock;
  std::map<absl::string_view, AnySetting*> settings;
  bool environment_checked = false;

  static Registry& Get() {
    // Never destroyed: settings are read to the last.
    static Registry* const registry = [] {
      // In a forked child no other thread could release the lock.
      pthread_atfork([] { Get().lock.lock(); }, [] { Get().lock.unlock(); },
                     [] { Get().lock.unlock(); });
      return new Registry;
    }();
    return *registry;
  }
};

// Nothing to a program that runs with more rights than who started it.
const char* FromEnvironment(const char* env) { return secure_getenv(env); }

// How many letters are to be put in, left out or changed, to get from one to the other.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// "; did you mean 'slice'?", or nothing if there is none that resembles it.
std::string Nearest(absl::string_view name, const std::vector<absl::string_view>& all) {
  absl::string_view nearest;
  size_t least = std::max<size_t>(2, name.size() / 3) + 1;
  for (const absl::string_view candidate : all) {
    const size_t distance = Distance(name, candidate);
    if (distance >= least) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?");
}

std::vector<absl::string_view> Names(const Registry& r) {
  std::vector<absl::string_view> names;
  for (const auto& [name, setting] : r.settings) names.push_back(name);
  return names;
}

// A line for each variable that begins as ours do, and means nothing.
std::vector<std::string> UnknownVariables(const Registry& r) {
  std::vector<absl::string_view> known;
  for (const auto& [name, setting] : r.settings) known.push_back(setting->env());
  std::vector<std::string> unknown;
  if (getauxval(AT_SECURE) != 0) return unknown;  // see FromEnvironment()
  for (char** variable = environ; variable && *variable; ++variable) {
    const absl::string_view whole = *variable;
    const absl::string_view env = whole.substr(0, whole.find('='));
    if (!absl::StartsWith(env, kPrefix) || IsForTools(env)) continue;
    if (std::find(known.begin(), known.end(), env) != known.end()) continue;
    unknown.push_back(absl::StrCat("nothing in this program knows ", env,
                                   ", which is in the environment", Nearest(env, known)));
  }
  std::sort(unknown.begin(), unknown.end());
  return unknown;
}

const char* NameOf(Origin origin) {
  switch (origin) {
    case Origin::kDefault:
      return "by default";
    case Origin::kEnvironment:
      return "from the environment";
    case Origin::kApi:
      return "set by the program";
  }
  return "";
}

}  // namespace

// --- Config -------------------------------------------------------------------------

bool Config::Declare(std::initializer_list<AnySetting*> settings) {
  Registry& r = Registry::Get();
  const std::lock_guard guard(r.lock);
  for (AnySetting* setting : settings) {
    GROVE_CHECK(r.settings.emplace(setting->name(), setting).second,
                "two settings are named '", setting->name(), "'");
    GROVE_CHECK(setting->Allows(setting->default_value_), "the default of setting '",
                setting->name(), "', '", setting->default_value_, "', is not ",
                setting->Allowed());
  }
  return true;
}

absl::Status Config::Set(absl::string_view name, absl::string_view value) {
  Registry& r = Registry::Get();
  const std::lock_guard guard(r.lock);
  const auto found = r.settings.find(name);
  if (found == r.settings.end()) {
    return absl::NotFoundError(
        absl::StrCat("there is no setting '", name, "'", Nearest(name, Names(r))));
  }
  AnySetting& s = *found->second;
  if (const char* why = s.ReadOnly()) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", name, "' can be set in the environment only: ", why));
  }
  if (!s.Allows(value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("setting '", name, "' cannot be '", value, "': ", s.Allowed()));
  }
  if (s.used_ != nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("setting '", name, "' is in use already, as '", *s.used_,
                     "': it has to be set before"));
  }
  delete std::exchange(s.set_, new std::string(value));
  return absl::OkStatus();
}

absl::Status Config::CheckEnvironment() {
  Registry& r = Registry::Get();
  const std::lock_guard guard(r.lock);
  r.environment_checked = true;
  std::vector<std::string> wrong = UnknownVariables(r);
  for (const auto& [name, setting] : r.settings) {
    const char* text = FromEnvironment(setting->env());
    if (text == nullptr || setting->Allows(text)) continue;
    wrong.push_back(absl::StrCat(setting->env(), " in the environment is '", text,
                                 "', and has to be ", setting->Allowed()));
  }
  if (wrong.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(wrong, "\n"));
}

std::vector<ConfigEntry> Config::List() {
  Registry& r = Registry::Get();
  const std::lock_guard guard(r.lock);
  std::vector<ConfigEntry> all;
  for (const auto& [name, setting] : r.settings) all.push_back(setting->Entry());
  return all;
}

std::string Config::Help() {
  std::string out;
  for (const ConfigEntry& e : List()) {
    absl::StrAppend(&out, e.name, " = ", e.value.empty() ? "(nothing)" : e.value, ", ",
                    NameOf(e.origin), e.fixed ? ", in use" : "", "\n    ", e.help,
                    "\n    ", e.env, ": ", e.allowed);
    if (e.origin != Origin::kDefault && !e.default_value.empty()) {
      absl::StrAppend(&out, "; by default ", e.default_value);
    }
    out += '\n';
  }
  return out;
}

// --- AnySetting ---------------------------------------------------------------------

ConfigEntry AnySetting::Entry() const {
  ConfigEntry e;
  e.name = name_;
  e.env = env_;
  e.default_value = default_value_;
  e.allowed = Allowed();
  e.help = help_;
  if (used_ != nullptr) {
    e.fixed = true;
    e.value = *used_;
    e.origin = used_from_;
  } else if (set_ != nullptr) {
    e.value = *set_;
    e.origin = Origin::kApi;
  } else if (const char* text = FromEnvironment(env_)) {
    e.value = text;
    e.origin = Origin::kEnvironment;
  } else {
    e.value = default_value_;
  }
  return e;
}

void AnySetting::Fix() {
  Registry& r = Registry::Get();
  std::vector<std::string> unknown;
  {
    const std::lock_guard guard(r.lock);
    if (used_ != nullptr) return;  // another thread was faster
    if (!std::exchange(r.environment_checked, true)) unknown = UnknownVariables(r);
    const ConfigEntry entry = Entry();
    GROVE_CHECK(Allows(entry.value), env_, " in the environment is '", entry.value,
                "', and has to be ", Allowed());
    Keep(entry.value);
    used_ = new std::string(entry.value);
    used_from_ = entry.origin;
  }
  for (const std::string& line : unknown) fprintf(stderr, "grove: %s\n", line.c_str());
}

// --- types --------------------------------------------------------------------------

namespace {

// Of a value that is at least `min` and at most `max`, where these say something.
template <typename T, typename Write>
std::string Between(const char* what, T min, T max, T least, T most, Write write) {
  std::string out = what;
  if (min != least) absl::StrAppend(&out, ", at least ", write(min));
  if (max != most) absl::StrAppend(&out, ", at most ", write(max));
  return out;
}

std::string WriteBytes(size_t n) {
  if (n >= 1024 && n % (size_t{1} << 30) == 0) return absl::StrCat(n >> 30, "gb");
  if (n >= 1024 && n % (size_t{1} << 20) == 0) return absl::StrCat(n >> 20, "mb");
  if (n >= 1024 && n % 1024 == 0) return absl::StrCat(n >> 10, "kb");
  return absl::StrCat(n);
}

}  // namespace

std::string hub_internal::OneOf(const std::vector<const char*>& names) {
  return absl::StrCat("one of ", absl::StrJoin(names, ", "));
}

bool SettingType<bool>::Parse(absl::string_view text, const Limits&, bool* value) {
  for (const char* yes : {"1", "true", "on", "yes"}) {
    if (absl::EqualsIgnoreCase(text, yes)) return *value = true;
  }
  *value = false;
  for (const char* no : {"0", "false", "off", "no", ""}) {
    if (absl::EqualsIgnoreCase(text, no)) return true;
  }
  return false;
}

std::string SettingType<bool>::Allowed(const Limits&) {
  return "1, true, on or yes; or 0, false, off, no or nothing";
}

bool SettingType<int64_t>::Parse(absl::string_view text, const Limits& limits,
                                 int64_t* value) {
  return absl::SimpleAtoi(text, value) && *value >= limits.min && *value <= limits.max;
}

std::string SettingType<int64_t>::Allowed(const Limits& limits) {
  constexpr Limits kAll;
  return Between("a number", limits.min, limits.max, kAll.min, kAll.max,
                 [](int64_t n) { return absl::StrCat(n); });
}

bool SettingType<uint64_t>::Parse(absl::string_view text, const Limits&,
                                  uint64_t* value) {
  return absl::SimpleAtoi(text, value);
}

std::string SettingType<uint64_t>::Allowed(const Limits&) {
  return "a number from 0 to 2^64-1";
}

bool SettingType<Bytes>::Parse(absl::string_view text, const Limits& limits,
                               Bytes* value) {
  int shift = 0;
  if (absl::EndsWithIgnoreCase(text, "kb")) shift = 10;
  if (absl::EndsWithIgnoreCase(text, "mb")) shift = 20;
  if (absl::EndsWithIgnoreCase(text, "gb")) shift = 30;
  if (shift != 0) text.remove_suffix(2);
  uint64_t n;
  if (!absl::SimpleAtoi(text, &n) || n > (std::numeric_limits<size_t>::max() >> shift)) {
    return false;
  }
  value->count = n << shift;
  return value->count >= limits.min && value->count <= limits.max;
}

std::string SettingType<Bytes>::Allowed(const Limits& limits) {
  constexpr Limits kAll;
  return Between("a size in bytes, or with kb, mb or gb", limits.min, limits.max,
                 kAll.min, kAll.max, WriteBytes);
}

bool SettingType<absl::Duration>::Parse(absl::string_view text, const Limits& limits,
                                        absl::Duration* value) {
  return absl::ParseDuration(text, value) && *value >= limits.min && *value <= limits.max;
}

std::string SettingType<absl::Duration>::Allowed(const Limits& limits) {
  return Between("a duration such as 10ms or 1.5s", limits.min, limits.max,
                 -absl::InfiniteDuration(), absl::InfiniteDuration(),
                 absl::FormatDuration);
}

bool SettingType<std::string>::Parse(absl::string_view text, const Limits&,
                                     std::string* value) {
  value->assign(text.data(), text.size());
  return true;
}

std::string SettingType<std::string>::Allowed(const Limits&) { return "text"; }

}  // namespace grove
