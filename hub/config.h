#ifndef GROVE_HUB_CONFIG_H_
#define GROVE_HUB_CONFIG_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

// Settings: what somebody may want to change in a program that is built already, each
// declared, typed, beside the code that it is for. What code passes where it applies (as
// HubOptions) is stronger than any of them. Not for a program's own flags.
//
// In force is the first of
// 1. what the program has said, by Config::Set(),
// 2. the environment: GROVE_SLICE for the setting `slice`,
// 3. the default.
//
// The first use of a setting fixes its value: nothing is read twice, and a change that
// came too late would be one that is silently left out.
namespace grove {

class AnySetting;

// ConfigEntry
//
// A setting, for people.
struct ConfigEntry {
  enum class Origin { kDefault, kEnvironment, kApi };

  std::string name;   // "slice"
  std::string env;    // "GROVE_SLICE"
  std::string value;  // in force, or would be if it were used now
  Origin origin = Origin::kDefault;
  bool fixed = false;  // has been used, and cannot be changed any more
  std::string default_value;
  std::string allowed;  // "a duration such as 10ms, at least 1us"
  std::string help;
};

// Config
//
// All settings of the program.
//
//   if (absl::Status s = Config::CheckEnvironment(); !s.ok()) { ... }
//   Config::Set("slice", "500us").IgnoreError();
//   puts(Config::Help().c_str());
//
// Threads: any.
class Config {
 public:
  // Config::Set()
  //
  // Changes a setting, before it is used: most are with the first hub. kNotFound, with
  // the nearest name, if there is none of that name; kInvalidArgument, with what is
  // allowed, if it cannot have that value; kFailedPrecondition if it has been used.
  static absl::Status Set(absl::string_view name, absl::string_view value);

  // Config::CheckEnvironment()
  //
  // What is wrong with the environment: variables that begin with GROVE_ and mean
  // nothing, and values that are not allowed. A program that does not ask gets the former
  // as a line on stderr when the first setting is used, and dies of the latter, with a
  // message that names them, when that setting is.
  static absl::Status CheckEnvironment();

  // Config::List()
  //
  // All settings, in the order of their names.
  static std::vector<ConfigEntry> List();

  // Config::Help()
  //
  // The same as text: what is in force, where it comes from, what else is allowed.
  static std::string Help();

  // Config::Declare()
  //
  // Makes settings known, when the program starts. Two of one name are a fatal error.
  // Returns true, for
  //
  //   const bool declared = Config::Declare({&max_open, &idle_time});
  static bool Declare(std::initializer_list<AnySetting*> settings);
};

// AnySetting
//
// What all settings have in common. They are constants of the linker's making: usable
// before main() begins, and never destroyed.
class AnySetting {
 public:
  AnySetting(const AnySetting&) = delete;
  AnySetting& operator=(const AnySetting&) = delete;

  const char* name() const { return name_; }
  const char* env() const { return env_; }

 protected:
  constexpr AnySetting(const char* name, const char* env, const char* default_value,
                       const char* help)
      : name_(name), env_(env), default_value_(default_value), help_(help) {}
  ~AnySetting() = default;

  // AnySetting::Fix()
  //
  // Has Keep() take the value in force, once. Dies if that cannot be.
  void Fix();

 private:
  friend class Config;

  // Whether the text is a value that is allowed.
  virtual bool Allows(absl::string_view text) const = 0;
  // Keeps the value, which is allowed, for good. Called once.
  virtual void Keep(absl::string_view text) = 0;
  // "a number from 1 to 10"
  virtual std::string Allowed() const = 0;
  // Why it cannot be set by the program; null if it can.
  virtual const char* ReadOnly() const { return nullptr; }

  ConfigEntry Entry() const;

  const char* const name_;
  const char* const env_;
  const char* const default_value_;
  const char* const help_;
  // Guarded by the registry's lock:
  const std::string* set_ = nullptr;   // by Set()
  const std::string* used_ = nullptr;  // once it is fixed
  ConfigEntry::Origin used_from_ = ConfigEntry::Origin::kDefault;
};

// Bytes
//
// A size. Written "65536", "64kb", "1mb", "2gb"; a kb is 1024 bytes.
struct Bytes {
  size_t count = 0;
};

// Choice
//
// A value of an enumeration, and how it is written.
template <typename T>
struct Choice {
  const char* name;
  T value;
};

// SettingType
//
// How values of a type are written, and what may restrict them. bool: "1", "true", "on",
// "yes", "0", "false", "off", "no" or nothing. absl::Duration: as absl::ParseDuration()
// has it. std::optional<T>: nothing, or a T.
template <typename T>
struct SettingType;

template <>
struct SettingType<bool> {
  struct Limits {};
  static bool Parse(absl::string_view text, const Limits&, bool* value);
  static std::string Allowed(const Limits&);
};

template <>
struct SettingType<int64_t> {
  struct Limits {
    int64_t min = std::numeric_limits<int64_t>::min();
    int64_t max = std::numeric_limits<int64_t>::max();
  };
  static bool Parse(absl::string_view text, const Limits& limits, int64_t* value);
  static std::string Allowed(const Limits& limits);
};

template <>
struct SettingType<uint64_t> {
  struct Limits {};
  static bool Parse(absl::string_view text, const Limits&, uint64_t* value);
  static std::string Allowed(const Limits&);
};

template <>
struct SettingType<Bytes> {
  struct Limits {
    size_t min = 0;
    size_t max = std::numeric_limits<size_t>::max();
  };
  static bool Parse(absl::string_view text, const Limits& limits, Bytes* value);
  static std::string Allowed(const Limits& limits);
};

template <>
struct SettingType<absl::Duration> {
  struct Limits {
    absl::Duration min = absl::ZeroDuration();
    absl::Duration max = absl::InfiniteDuration();
  };
  static bool Parse(absl::string_view text, const Limits& limits, absl::Duration* value);
  static std::string Allowed(const Limits& limits);
};

template <>
struct SettingType<std::string> {
  struct Limits {};
  static bool Parse(absl::string_view text, const Limits&, std::string* value);
  static std::string Allowed(const Limits&);
};

template <typename T>
struct SettingType<std::optional<T>> {
  using Limits = typename SettingType<T>::Limits;
  static bool Parse(absl::string_view text, const Limits& limits, std::optional<T>* v) {
    return text.empty() || SettingType<T>::Parse(text, limits, &v->emplace());
  }
  static std::string Allowed(const Limits& limits) {
    return SettingType<T>::Allowed(limits) + ", or nothing";
  }
};

namespace hub_internal {
std::string OneOf(const std::vector<const char*>& names);
}

template <typename T>
requires std::is_enum_v<T>
struct SettingType<T> {
  struct Limits {
    const Choice<T>* begin;
    const Choice<T>* end;
    template <size_t n>
    constexpr Limits(const Choice<T> (&choices)[n]) : begin(choices), end(choices + n) {}
  };
  static bool Parse(absl::string_view text, const Limits& limits, T* value) {
    for (const Choice<T>* c = limits.begin; c != limits.end; ++c) {
      if (text != c->name) continue;
      *value = c->value;
      return true;
    }
    return false;
  }
  static std::string Allowed(const Limits& limits) {
    std::vector<const char*> names;
    for (const Choice<T>* c = limits.begin; c != limits.end; ++c)
      names.push_back(c->name);
    return hub_internal::OneOf(names);
  }
};

// Setting
//
// One setting. Declared where it is used:
//
//   constinit Setting<absl::Duration> idle_time(
//       "idle_time", "GROVE_IDLE_TIME", "5s",
//       "How long a worker waits for more before it ends.", {.min = absl::Seconds(1)});
//   const bool declared = Config::Declare({&idle_time});
//   ...
//   WaitForWork(idle_time.Get());
//
// The default is written as any value is. Reading costs an atomic load.
//
// Threads: any.
template <typename T>
class Setting final : public AnySetting {
 public:
  using Limits = typename SettingType<T>::Limits;

  constexpr Setting(const char* name, const char* env, const char* default_value,
                    const char* help, Limits limits = {})
      : AnySetting(name, env, default_value, help), limits_(limits) {}

  // Setting::Get()
  //
  // The value, which from now on is fixed.
  const T& Get() {
    const T* value = value_.load(std::memory_order_acquire);
    if (ABSL_PREDICT_FALSE(value == nullptr)) {
      Fix();
      value = value_.load(std::memory_order_acquire);
    }
    return *value;
  }

 private:
  bool Allows(absl::string_view text) const override {
    T value{};
    return SettingType<T>::Parse(text, limits_, &value);
  }
  void Keep(absl::string_view text) override {
    T* value = new T{};
    SettingType<T>::Parse(text, limits_, value);
    value_.store(value, std::memory_order_release);
  }
  std::string Allowed() const override { return SettingType<T>::Allowed(limits_); }

  const Limits limits_;
  std::atomic<const T*> value_{nullptr};
};

// ForeignSetting
//
// A variable of the environment that a library below reads by itself: listed, and neither
// looked at nor changed.
class ForeignSetting final : public AnySetting {
 public:
  constexpr ForeignSetting(const char* env, const char* help, const char* who)
      : AnySetting(env, env, "", help), who_(who) {}

 private:
  bool Allows(absl::string_view) const override { return true; }
  void Keep(absl::string_view) override {}
  std::string Allowed() const override { return who_; }
  const char* ReadOnly() const override { return who_; }

  const char* const who_;  // "what libev knows, which reads it"
};

}  // namespace grove

#endif  // GROVE_HUB_CONFIG_H_
