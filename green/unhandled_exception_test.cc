#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/greenlet_test_util.h"
#include "grove/green/sleep.h"

namespace grove {
namespace {

using test_util::Oops;
using test_util::SleepForEver;
using test_util::What;
using test_util::Witness;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class UnhandledExceptionTest : public test_util::GreenletTestBase {};

// --- unhandled exceptions (GL-23, GL-27, HB-12) ---

TEST_F(UnhandledExceptionTest, AnExceptionIsReportedOnce) {
  const Greenlet<> g = Spawn({.name = "failing"}, [] { throw std::logic_error("bad"); });
  g.Join();
  EXPECT_THROW((void)g.Get(), std::logic_error);
  EXPECT_THROW((void)g.Get(), std::logic_error);
  EXPECT_THAT(reports_, ElementsAre("failing: bad"));
}

TEST_F(UnhandledExceptionTest, TheHandlerIsGivenTheGreenletAndTheError) {
  AnyGreenlet reported;
  std::exception_ptr error;
  SetErrorHandler([&](const UnhandledException& e) {
    reported = e.greenlet;
    error = e.error;
  });
  const Greenlet<> g = Spawn([] { throw Oops{3}; });
  g.Join();
  EXPECT_EQ(reported, g);
  EXPECT_EQ(error, g.exception());
}

TEST_F(UnhandledExceptionTest, WithoutAHandlerTheErrorIsALineOnStderr) {
  SetErrorHandler({});
  testing::internal::CaptureStderr();
  Spawn({.name = "noisy"}, [] { throw std::runtime_error("what happened"); }).Join();
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("greenlet 'noisy' (#1)"));
  EXPECT_THAT(text, HasSubstr("spawned at green/unhandled_exception_test.cc:"));
  EXPECT_THAT(text, HasSubstr("std::runtime_error: what happened"));
}

TEST_F(UnhandledExceptionTest, AHandlerThatThrowsTakesNobodyWithIt) {
  SetErrorHandler([](const UnhandledException&) { throw std::logic_error("me too"); });
  testing::internal::CaptureStderr();
  Spawn([] { throw std::runtime_error("first"); }).Join();
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("me too"));
  EXPECT_THAT(text, HasSubstr("first"));
  EXPECT_EQ(*Spawn([] { return 1; }).Get(), 1);
}

bool handler_ended = false;

TEST_F(UnhandledExceptionTest, AHandlerMayReplaceItself) {
  // For the first error only. What the handler captured has to live as long as it runs.
  handler_ended = false;
  SetErrorHandler([this, witness = Witness(&handler_ended)](const UnhandledException& e) {
    std::vector<std::string>* reports = &reports_;
    SetErrorHandler(
        [reports](const UnhandledException&) { reports->push_back("second"); });
    EXPECT_FALSE(handler_ended) << "the handler is destroyed while it runs";
    reports->push_back("first: " + What(e.error));
  });
  Spawn([] { throw std::runtime_error("one"); }).Join();
  Spawn([] { throw std::runtime_error("two"); }).Join();
  EXPECT_TRUE(handler_ended);
  EXPECT_THAT(reports_, ElementsAre("first: one", "second"));
}

TEST_F(UnhandledExceptionTest, AKillIsNotReported) {
  const Greenlet<> g = Spawn(&SleepForEver);
  Yield();
  g.Kill();
  Spawn(&SleepForEver).Kill();
  EXPECT_TRUE(reports_.empty());
}

}  // namespace
}  // namespace grove
