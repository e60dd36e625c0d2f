#include "grove/hub/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/hub/hub.h"

namespace grove {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Origin = ConfigEntry::Origin;

// Each test has settings of its own: what was read stays for good.
#define SETTING(T, name, ENV, default_value, ...)                                 \
  constinit Setting<T> name(#name, ENV, default_value,                            \
                            "What " #name " is for." __VA_OPT__(, ) __VA_ARGS__); \
  [[maybe_unused]] const bool name##_declared = Config::Declare({&name})

ConfigEntry Entry(absl::string_view name) {
  for (const ConfigEntry& e : Config::List()) {
    if (e.name == name) return e;
  }
  ADD_FAILURE() << "no entry " << name;
  return {};
}

SETTING(int64_t, t_default, "GROVE_T_DEFAULT", "17");

TEST(Config, TheDefaultIsInForceUnlessSomebodySaysOtherwise) {
  EXPECT_EQ(Entry("t_default").value, "17");
  EXPECT_EQ(Entry("t_default").origin, Origin::kDefault);
  EXPECT_FALSE(Entry("t_default").fixed);
  EXPECT_EQ(t_default.Get(), 17);
  EXPECT_TRUE(Entry("t_default").fixed);
}

SETTING(int64_t, t_env, "GROVE_T_ENV", "17");

TEST(Config, TheEnvironmentIsStrongerThanTheDefault) {
  setenv("GROVE_T_ENV", "18", 1);
  EXPECT_EQ(Entry("t_env").value, "18");
  EXPECT_EQ(Entry("t_env").origin, Origin::kEnvironment);
  EXPECT_EQ(t_env.Get(), 18);
  EXPECT_EQ(Entry("t_env").origin, Origin::kEnvironment);
}

SETTING(int64_t, t_api, "GROVE_T_API", "17");

TEST(Config, TheProgramIsStrongerThanTheEnvironment) {
  setenv("GROVE_T_API", "18", 1);
  EXPECT_TRUE(Config::Set("t_api", "19").ok());
  EXPECT_TRUE(Config::Set("t_api", "20").ok()) << "the last one counts";
  EXPECT_EQ(Entry("t_api").origin, Origin::kApi);
  EXPECT_EQ(t_api.Get(), 20);
}

SETTING(int64_t, t_fixed, "GROVE_T_FIXED", "17");

TEST(Config, TheFirstUseFixesTheValue) {
  EXPECT_EQ(t_fixed.Get(), 17);
  setenv("GROVE_T_FIXED", "18", 1);
  const absl::Status late = Config::Set("t_fixed", "19");
  EXPECT_EQ(late.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(late.message()),
              AllOf(HasSubstr("'t_fixed'"), HasSubstr("'17'"), HasSubstr("before")));
  EXPECT_EQ(t_fixed.Get(), 17);
  EXPECT_EQ(Entry("t_fixed").value, "17");
  EXPECT_EQ(Entry("t_fixed").origin, Origin::kDefault);
}

TEST(Config, AnUnknownNameIsAnErrorThatNamesTheNearest) {
  const absl::Status s = Config::Set("slyce", "1ms");
  EXPECT_EQ(s.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(s.message()),
              AllOf(HasSubstr("'slyce'"), HasSubstr("did you mean 'slice'?")));
  EXPECT_THAT(std::string(Config::Set("something_else_entirely", "").message()),
              Not(HasSubstr("did you mean")));
}

SETTING(absl::Duration, t_bad, "GROVE_T_BAD", "5s",
        {.min = absl::Seconds(1), .max = absl::Minutes(1)});

TEST(Config, AValueThatIsNotAllowedIsAnErrorThatSaysWhatIs) {
  for (const char* text : {"", "soon", "10", "999ms", "61s", "inf", "-5s"}) {
    const absl::Status s = Config::Set("t_bad", text);
    EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(s.message()),
                AllOf(HasSubstr("'t_bad'"), HasSubstr(absl::StrCat("'", text, "'")),
                      HasSubstr("a duration such as"), HasSubstr("at least 1s"),
                      HasSubstr("at most 1m")));
  }
  EXPECT_EQ(Entry("t_bad").origin, Origin::kDefault);
  EXPECT_TRUE(Config::Set("t_bad", "1m").ok());
  EXPECT_EQ(t_bad.Get(), absl::Minutes(1));
}

SETTING(bool, t_bool, "GROVE_T_BOOL", "no");
SETTING(int64_t, t_int, "GROVE_T_INT", "0", {.min = -2, .max = 9});
SETTING(Bytes, t_bytes, "GROVE_T_BYTES", "64kb", {.max = size_t{1} << 40});
SETTING(std::string, t_string, "GROVE_T_STRING", "");
SETTING(std::optional<uint64_t>, t_optional, "GROVE_T_OPTIONAL", "");
enum class Colour { kRed, kGreen };
constexpr Choice<Colour> kColours[] = {{"red", Colour::kRed}, {"green", Colour::kGreen}};
SETTING(Colour, t_choice, "GROVE_T_CHOICE", "red", kColours);

TEST(Config, EachTypeTakesWhatItShouldAndNothingElse) {
  const struct {
    const char* name;
    std::vector<const char*> good;
    std::vector<const char*> bad;
  } cases[] = {
      {"t_bool",
       {"1", "true", "on", "yes", "YES", "0", "False", "off", "no", ""},
       {"2", "maybe", " ", "1 0"}},
      {"t_int", {"-2", "9", "0"}, {"", "-3", "10", "1.5", "9223372036854775808", "x"}},
      {"t_bytes",
       {"0", "17", "1kb", "2MB", "1024gb", "1099511627776"},
       {"", "kb", "-1", "1tb", "1.5mb", "1025gb", "99999999999999gb", "12k"}},
      {"t_string", {"", "anything at all"}, {}},
      {"t_optional", {"", "0", "18446744073709551615"}, {"-1", "none", "1kb"}},
      {"t_choice", {"red", "green"}, {"", "Red", "blue"}},
  };
  for (const auto& c : cases) {
    for (const char* text : c.good) {
      EXPECT_TRUE(Config::Set(c.name, text).ok()) << c.name << " " << text;
    }
    for (const char* text : c.bad) {
      EXPECT_EQ(Config::Set(c.name, text).code(), absl::StatusCode::kInvalidArgument)
          << c.name << " " << text;
    }
  }
  ASSERT_TRUE(Config::Set("t_bool", "On").ok());
  EXPECT_TRUE(t_bool.Get());
  ASSERT_TRUE(Config::Set("t_int", "-2").ok());
  EXPECT_EQ(t_int.Get(), -2);
  ASSERT_TRUE(Config::Set("t_bytes", "3Mb").ok());
  EXPECT_EQ(t_bytes.Get().count, 3u << 20);
  ASSERT_TRUE(Config::Set("t_string", "a b").ok());
  EXPECT_EQ(t_string.Get(), "a b");
  EXPECT_EQ(Entry("t_optional").value, "18446744073709551615");
  ASSERT_TRUE(Config::Set("t_optional", "").ok());
  EXPECT_EQ(t_optional.Get(), std::nullopt);
  ASSERT_TRUE(Config::Set("t_choice", "green").ok());
  EXPECT_EQ(t_choice.Get(), Colour::kGreen);
  EXPECT_EQ(Entry("t_choice").allowed, "one of red, green");
}

SETTING(int64_t, t_wrong, "GROVE_T_WRONG", "1", {.min = 1});

// Death tests come first: nothing has been read in the process that they begin as.

TEST(ConfigDeathTest, ABadValueInTheEnvironmentIsFatalAtTheFirstUse) {
  EXPECT_DEATH(
      {
        setenv("GROVE_T_WRONG", "none", 1);
        t_wrong.Get();
      },
      "GROVE_T_WRONG in the environment is 'none', and has to be a number, at least 1");
}

TEST(ConfigDeathTest, TwoSettingsOfOneNameAreFatal) {
  constinit static Setting<bool> again("t_wrong", "GROVE_T_AGAIN", "0", "");
  EXPECT_DEATH(Config::Declare({&again}), "two settings are named 't_wrong'");
}

TEST(ConfigDeathTest, ADefaultThatIsNotAllowedIsFatalWhenTheProgramStarts) {
  constinit static Setting<bool> odd("t_odd", "GROVE_T_ODD", "perhaps", "");
  EXPECT_DEATH(Config::Declare({&odd}), "the default of setting 't_odd', 'perhaps'");
}

SETTING(int64_t, t_early, "GROVE_T_EARLY", "1");

TEST(ConfigDeathTest, UnknownVariablesAreReportedOnceAtTheFirstUse) {
  EXPECT_EXIT(
      {
        setenv("GROVE_T_ERLY", "5", 1);
        setenv("GROVE_TEST_WHATEVER", "5", 1);
        t_early.Get();
        fprintf(stderr, "second use\n");
        t_default.Get();
        _Exit(0);
      },
      ::testing::ExitedWithCode(0),
      "^grove: nothing in this program knows GROVE_T_ERLY, which is in the environment; "
      "did you mean 'GROVE_T_EARLY'\\?\nsecond use\n$");
}

TEST(Config, CheckEnvironmentNamesAllThatIsWrongWithIt) {
  EXPECT_EQ(Config::CheckEnvironment(), absl::OkStatus());
  setenv("GROVE_T_WRONG", "0", 1);
  setenv("GROVE_SLYCE", "1ms", 1);
  const absl::Status s = Config::CheckEnvironment();
  unsetenv("GROVE_T_WRONG");
  unsetenv("GROVE_SLYCE");
  EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      s.message(),
      "nothing in this program knows GROVE_SLYCE, which is in the environment; did "
      "you mean 'GROVE_SLICE'?\n"
      "GROVE_T_WRONG in the environment is '0', and has to be a number, at least 1");
  EXPECT_EQ(Config::CheckEnvironment(), absl::OkStatus());
}

TEST(Config, HelpSaysWhatIsInForceAndWhereItComesFrom) {
  EXPECT_THAT(Config::Help(), AllOf(HasSubstr("\nslice = 1ms, by default"),
                                    HasSubstr("\n    GROVE_SLICE: a duration such as"),
                                    HasSubstr("\nloop_exit = when-certain, by default"),
                                    HasSubstr("one of when-certain, always, never\n")));
  EXPECT_TRUE(Config::Set("t_wrong", "44").ok());
  EXPECT_THAT(
      Config::Help(),
      AllOf(HasSubstr("\nt_wrong = 44, set by the program\n"),
            HasSubstr("    GROVE_T_WRONG: a number, at least 1; by default 1\n")));
}

TEST(Config, ListIsInOrderOfNames) {
  const std::vector<ConfigEntry> all = Config::List();
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.name < b.name;
  }));
  for (const ConfigEntry& e : all) {
    EXPECT_NE(e.help, "") << e.name;
    EXPECT_NE(e.allowed, "") << e.name;
  }
}

TEST(Config, WhatALibraryReadsByItselfIsListedAndCannotBeSet) {
  EXPECT_THAT(Entry("LIBEV_FLAGS").allowed, HasSubstr("libev reads it"));
  const absl::Status s = Config::Set("LIBEV_FLAGS", "4");
  EXPECT_EQ(s.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(s.message()), HasSubstr("in the environment only"));
}

// --- what there is -------------------------------------------------------------------

TEST(ConfigDeathTest, HubsAreMadeAsTheSettingsSay) {
  EXPECT_EXIT(
      {
        setenv("GROVE_OPERATIONS_PER_TURN", "7", 1);
        setenv("GROVE_LOOP_BACKEND", "poll", 1);
        setenv("LIBEV_FLAGS", "4", 1);  // is weaker
        Config::Set("slice", "3ms").IgnoreError();
        Config::Set("loop_exit", "never").IgnoreError();
        const HubOptions given{.slice = absl::Milliseconds(9)};
        Hub hub;
        _Exit(hub.options().operations_per_turn == 7 &&
                      hub.options().slice == absl::Milliseconds(3) &&
                      hub.options().loop_exit == LoopExitPolicy::kNever &&
                      hub.loop().backend() == "poll" &&
                      given.slice == absl::Milliseconds(9)
                  ? 0
                  : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

SETTING(int64_t, t_threads, "GROVE_T_THREADS", "5");

TEST(Config, ManyThreadsReadOneValueForTheFirstTime) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([] { EXPECT_EQ(t_threads.Get(), 5); });
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace
}  // namespace grove
