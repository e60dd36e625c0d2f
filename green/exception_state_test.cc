#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <exception>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/main_greenlet_test.h"
#include "grove/green/timeout.h"

// What the C++ runtime and the C library keep per thread belongs to each greenlet: the
// exceptions that are caught and in flight, and errno. A catch block may block.
namespace grove {
namespace {

class ExceptionStateTest : public MainGreenletTest {};

// Throws and catches an exception of its own, and blocks in the middle of that.
void CatchAndBlock(int id, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    try {
      throw id * 1000 + round;
    } catch (int value) {
      const std::exception_ptr before = std::current_exception();
      Yield();
      EXPECT_EQ(value, id * 1000 + round);
      EXPECT_EQ(std::current_exception(), before);
      try {
        throw;  // what this greenlet has caught, and no other's
      } catch (int again) {
        EXPECT_EQ(again, value);
      }
      Yield();
    }
    EXPECT_EQ(std::current_exception(), nullptr);
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  }
}

TEST_F(ExceptionStateTest, TwoGreenletsBlockInTheirCatchBlocks) {
  const Greenlet<> a = Spawn([] { CatchAndBlock(1, 10); });
  const Greenlet<> b = Spawn([] { CatchAndBlock(2, 10); });
  EXPECT_TRUE(a.Get().ok());
  EXPECT_TRUE(b.Get().ok());
}

TEST_F(ExceptionStateTest, AThousandGreenletsBlockInTheirCatchBlocks) {
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 1000; ++i) {
    greenlets.push_back(Spawn([i] { CatchAndBlock(i, 3 + i % 3); }));
  }
  for (const auto& g : greenlets) EXPECT_TRUE(g.Get().ok());
}

TEST_F(ExceptionStateTest, TheMainGreenletBlocksInItsCatchBlock) {
  const Greenlet<> other = Spawn([] { CatchAndBlock(1, 3); });
  CatchAndBlock(2, 3);
  other.Join();
}

TEST_F(ExceptionStateTest, CatchBlocksThatNestAcrossGreenletsEndInAnyOrder) {
  // The first to enter its catch block is the first to leave it: with one stack of caught
  // exceptions for both, each would end the other's.
  std::string order;
  const auto body = [&order](char name, absl::Duration in_catch) {
    return [&order, name, in_catch] {
      try {
        throw std::string(1, name);
      } catch (const std::string& s) {
        order += s;
        Sleep(in_catch);
        order += s;
      }
    };
  };
  const Greenlet<> a = Spawn(body('a', absl::Seconds(1)));
  const Greenlet<> b = Spawn(body('b', absl::Seconds(3)));
  const Greenlet<> c = Spawn(body('c', absl::Seconds(2)));
  a.Join();
  b.Join();
  c.Join();
  EXPECT_EQ(order, "abcacb");
}

TEST_F(ExceptionStateTest, NestedExceptionsAreKeptInOrder) {
  const auto body = [] {
    try {
      throw 1;
    } catch (int outer) {
      try {
        throw 2.5;
      } catch (double inner) {
        Yield();
        EXPECT_EQ(inner, 2.5);
      }
      Yield();
      try {
        throw;
      } catch (int again) {
        EXPECT_EQ(again, 1);
      }
      EXPECT_EQ(outer, 1);
    }
  };
  const Greenlet<> a = Spawn(body);
  const Greenlet<> b = Spawn(body);
  EXPECT_TRUE(a.Get().ok());
  EXPECT_TRUE(b.Get().ok());
}

TEST_F(ExceptionStateTest, ACatchBlockMaySpawnJoinAndGetExceptions) {
  const Greenlet<std::string> g = Spawn([]() -> std::string {
    try {
      throw std::runtime_error("outer");
    } catch (const std::runtime_error& e) {
      SetErrorHandler([](const UnhandledException&) {});
      try {
        (void)Spawn([] { throw std::logic_error("inner"); }).Get();
      } catch (const std::logic_error& inner) {
        return std::string(e.what()) + " " + inner.what();
      }
    }
    return "";
  });
  EXPECT_EQ(*g.Get(), "outer inner");
}

// Blocks in its destructor, and keeps what was in flight before and after.
struct BlocksAtItsEnd {
  int* before;
  int* after;
  ~BlocksAtItsEnd() {
    *before = std::uncaught_exceptions();
    Yield();
    Yield();
    *after = std::uncaught_exceptions();
  }
};

TEST_F(ExceptionStateTest, UncaughtExceptionsAreCountedPerGreenlet) {
  int before = -1;
  int after = -1;
  int seen_by_other = -1;
  const Greenlet<> unwinding = Spawn([&] {
    try {
      BlocksAtItsEnd b{&before, &after};
      throw std::runtime_error("x");
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "x");
    }
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  });
  const Greenlet<> other = Spawn([&] {
    seen_by_other = std::uncaught_exceptions();
    // It can be thrown at, as nothing is in flight here.
    try {
      throw 1;
    } catch (int) {
    }
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  });
  unwinding.Join();
  other.Join();
  EXPECT_EQ(before, 1);
  EXPECT_EQ(after, 1);
  EXPECT_EQ(seen_by_other, 0);
}

TEST_F(ExceptionStateTest, AnotherGreenletCanBeKilledWhileOneUnwinds) {
  // Nothing is thrown into one that unwinds; that is no reason to spare the others.
  int before = -1;
  int after = -1;
  const Greenlet<> victim = Spawn([] { Sleep(absl::InfiniteDuration()); });
  Yield();
  const Greenlet<> unwinding = Spawn([&] {
    try {
      BlocksAtItsEnd b{&before, &after};
      throw 1;
    } catch (int) {
    }
  });
  Yield();
  EXPECT_EQ(before, 1);
  EXPECT_EQ(after, -1) << "in the middle of it";
  victim.Kill();
  EXPECT_TRUE(victim.killed());
  unwinding.Join();
  EXPECT_EQ(after, 1);
}

TEST_F(ExceptionStateTest, TwoUnwindAtOnce) {
  constexpr int kGreenlets = 50;
  std::vector<int> before(kGreenlets, -1);
  std::vector<int> after(kGreenlets, -1);
  int caught = 0;
  for (int i = 0; i < kGreenlets; ++i) {
    Spawn([&, i] {
      try {
        BlocksAtItsEnd b{&before[i], &after[i]};
        throw i;
      } catch (int value) {
        EXPECT_EQ(value, i);
        ++caught;
      }
    });
  }
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(caught, kGreenlets);
  EXPECT_THAT(before, testing::Each(1));
  EXPECT_THAT(after, testing::Each(1));
}

TEST_F(ExceptionStateTest, ANewGreenletStartsWithNothingCaughtOrInFlight) {
  int checks = 0;
  const auto check = [&] {
    EXPECT_EQ(std::current_exception(), nullptr);
    EXPECT_EQ(std::uncaught_exceptions(), 0);
    ++checks;
  };
  const Greenlet<> g = Spawn([&] {
    try {
      throw 1;
    } catch (int) {
      Spawn(check).Join();
    }
    int before;
    int after;
    try {
      Spawn(check);
      BlocksAtItsEnd b{&before, &after};  // in whose Yield() it starts
      throw 2;
    } catch (int) {
    }
  });
  g.Join();
  EXPECT_EQ(checks, 2);
}

TEST_F(ExceptionStateTest, LoopCallbacksSeeNothingOfTheGreenletsThatWait) {
  int checks = 0;
  const Greenlet<> g = Spawn([&] {
    try {
      throw 1;
    } catch (int) {
      ThisHub().RunCallback([&] {
        EXPECT_EQ(std::current_exception(), nullptr);
        try {
          throw 2;
        } catch (int value) {
          EXPECT_EQ(value, 2);
          ++checks;
        }
      });
      Sleep(absl::Seconds(1));
      EXPECT_NE(std::current_exception(), nullptr);
    }
  });
  g.Join();
  EXPECT_EQ(checks, 1);
}

TEST_F(ExceptionStateTest, AnExceptionPointerTravelsBetweenGreenlets) {
  std::exception_ptr shared;
  const Greenlet<> a = Spawn([&] {
    try {
      throw std::runtime_error("shared");
    } catch (...) {
      shared = std::current_exception();
      Sleep(absl::Seconds(1));
    }
  });
  const Greenlet<> b = Spawn([&] {
    try {
      std::rethrow_exception(shared);
    } catch (const std::runtime_error& e) {
      Sleep(absl::Seconds(2));  // the one who threw it has left its catch block
      EXPECT_STREQ(e.what(), "shared");
    }
  });
  a.Join();
  EXPECT_TRUE(b.Get().ok());
}

TEST_F(ExceptionStateTest, ErrnoIsPerGreenlet) {
  std::vector<Greenlet<>> greenlets;
  for (int i = 1; i <= 20; ++i) {
    greenlets.push_back(Spawn([i] {
      for (int round = 0; round < 10; ++round) {
        errno = i;
        Yield();
        EXPECT_EQ(errno, i);
        Sleep(absl::Milliseconds(i % 3));
        EXPECT_EQ(errno, i);
      }
    }));
  }
  errno = EBUSY;
  for (const auto& g : greenlets) g.Join();
  EXPECT_EQ(errno, EBUSY);
}

// --- kills and streams (boostorg/context#61) ---

// Whoever writes to it blocks, as one who writes to a socket may.
class BlockingBuffer : public std::streambuf {
 public:
  int written() const { return written_; }

 protected:
  int_type overflow(int_type c) override {
    Sleep(absl::Seconds(1));
    ++written_;
    return c;
  }
  std::streamsize xsputn(const char*, std::streamsize n) override {
    Sleep(absl::Seconds(1));
    written_ += static_cast<int>(n);
    return n;
  }
  int sync() override {
    Sleep(absl::Seconds(1));
    return 0;
  }

 private:
  int written_ = 0;
};

TEST_F(ExceptionStateTest, AKillThatAStreamSwallowsIsNotLost) {
  // Standard streams catch all that their buffer throws, and only note that they are bad.
  BlockingBuffer buffer;
  bool was_bad = false;
  bool went_on = false;
  const Greenlet<> g = Spawn([&] {
    std::ostream out(&buffer);
    out << "one" << 2;
    out << "three";
    was_bad = out.bad();
    Yield();
    went_on = true;
  });
  Sleep(absl::Milliseconds(2500));  // in the middle of the third
  g.Kill();
  EXPECT_EQ(buffer.written(), 4);
  EXPECT_TRUE(was_bad) << "the stream has swallowed it";
  EXPECT_FALSE(went_on);
  EXPECT_TRUE(g.killed());
}

TEST_F(ExceptionStateTest, AKillPassesThroughAStreamThatThrows) {
  BlockingBuffer buffer;
  bool went_on = false;
  const Greenlet<> g = Spawn([&] {
    std::ostream out(&buffer);
    out.exceptions(std::ios::badbit);
    out << "text" << std::flush;
    went_on = true;
  });
  Sleep(absl::Milliseconds(1500));  // in the flush
  g.Kill();
  EXPECT_FALSE(went_on);
  EXPECT_TRUE(g.killed());
}

TEST_F(ExceptionStateTest, ATimeoutThatAStreamSwallowsIsLost) {
  // A Timeout is thrown once: who writes to streams under one has to look at them. With
  // exceptions() set it comes through, as a kill does.
  BlockingBuffer buffer;
  bool was_bad = false;
  const Greenlet<absl::Status> g = Spawn([&] {
    return WithTimeout(absl::Milliseconds(500), [&] {
      std::ostream out(&buffer);
      out << "text";
      was_bad = out.bad();
      Yield();
    });
  });
  EXPECT_TRUE(g.Get().ok());
  EXPECT_TRUE(was_bad);
  const Greenlet<absl::Status> strict = Spawn([&] {
    return WithTimeout(absl::Milliseconds(500), [&] {
      std::ostream out(&buffer);
      out.exceptions(std::ios::badbit);
      out << "text";
    });
  });
  EXPECT_EQ(strict.Get().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ExceptionStateTest, AKillIsThrownOutOfACatchBlock) {
  // It replaces what was being handled; that is let go.
  auto token = std::make_shared<int>(1);
  struct Holder {
    std::shared_ptr<int> token;
  };
  const Greenlet<> g = Spawn([&] {
    try {
      throw Holder{token};
    } catch (const Holder&) {
      Sleep(absl::InfiniteDuration());
    }
  });
  Yield();
  EXPECT_EQ(token.use_count(), 2);
  g.Kill();
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(token.use_count(), 1);
}

}  // namespace
}  // namespace grove
