#include "grove/net/default_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "grove/green/hub_scope.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/hub/config.h"
#include "grove/net/testing/fake_resolver.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;

GREENLET_TEST(DefaultResolver, IsACacheOfAres) {
  EXPECT_THAT(DefaultResolver().Describe(), HasSubstr("cache of ares"));
  EXPECT_EQ(&DefaultResolver(), &DefaultResolver());
}

GREENLET_TEST(DefaultResolver, CanBeSet) {
  auto fake = std::make_unique<FakeResolver>();
  fake->AddHost("db.test", {"192.0.2.1"});
  EXPECT_EQ(SetDefaultResolver(std::move(fake)), nullptr);
  EXPECT_TRUE(DefaultResolver().LookupHost("db.test").ok());
  const std::unique_ptr<Resolver> old = SetDefaultResolver(nullptr);
  ASSERT_NE(old, nullptr);
  EXPECT_EQ(old->Describe(), "fake");
  EXPECT_THAT(DefaultResolver().Describe(), HasSubstr("ares"));
}

TEST(DefaultResolverOfHubs, EachHasItsOwn) {
  HubScope scope;
  SetDefaultResolver(std::make_unique<FakeResolver>());
  std::thread([] {
    {
      HubScope other;
      EXPECT_THAT(DefaultResolver().Describe(), HasSubstr("ares"));
      SetDefaultResolver(std::make_unique<FakeResolver>());
    }
    HubScope next;  // of the same thread
    EXPECT_THAT(DefaultResolver().Describe(), HasSubstr("ares"));
  }).join();
  EXPECT_EQ(DefaultResolver().Describe(), "fake");
}

GREENLET_TEST(DefaultResolver, NumbersNeedNobody) {
  EXPECT_TRUE(DefaultResolver().LookupHost("127.0.0.1").ok());
  EXPECT_TRUE(DefaultResolver().LookupHost("localhost").ok());
}

TEST(MakeResolver, TakesNamesAndLists) {
  EXPECT_THAT((*MakeResolver("ares"))->Describe(), HasSubstr("ares"));
  EXPECT_EQ((*MakeResolver("thread"))->Describe(), "libc, on threads");
  EXPECT_EQ((*MakeResolver("block , ares"))->Describe(), "libc");
  for (const char* wrong : {"", "dnspython", "ares,", "ares thread"}) {
    const absl::Status s = MakeResolver(wrong).status();
    EXPECT_TRUE(absl::IsInvalidArgument(s)) << wrong;
    EXPECT_THAT(std::string(s.message()), HasSubstr("ares, thread, block"));
  }
}

TEST(ResolverSettings, RefuseWhatIsNone) {
  for (const auto& [name, value] :
       {std::pair{"resolver", "dnspython"}, std::pair{"resolver_servers", "one.test"},
        std::pair{"resolver_servers", "192.0.2.1:x"}, std::pair{"resolver_timeout", "0s"},
        std::pair{"resolver_tries", "0"}, std::pair{"resolver_ndots", "16"},
        std::pair{"resolver_cache", "-1"}}) {
    const absl::Status s = Config::Set(name, value);
    EXPECT_FALSE(s.ok()) << name << "=" << value;
  }
}

TEST(ResolverSettingsDeathTest, AnUnknownNameIsNamed) {
  EXPECT_DEATH(
      {
        setenv("GROVE_RESOLVER", "dnspython", 1);
        HubScope scope;
        DefaultResolver();
      },
      "GROVE_RESOLVER in the environment is 'dnspython'.*ares, thread, block");
}

TEST(ResolverSettingsDeathTest, TheEnvironmentChooses) {
  EXPECT_EXIT(
      {
        setenv("GROVE_RESOLVER", "thread,ares", 1);
        HubScope scope;
        _exit(DefaultResolver().Describe() == "libc, on threads" ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        setenv("GROVE_RESOLVER_SERVERS", "192.0.2.53, [2001:db8::53]:5353", 1);
        setenv("GROVE_RESOLVER_CACHE", "0", 1);
        HubScope scope;
        DefaultResolver().Generation();  // reads what it would ask
        _exit(DefaultResolver().Describe() == "ares (192.0.2.53:53, [2001:db8::53]:5353)"
                  ? 0
                  : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace grove::net
