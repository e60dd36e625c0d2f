#include "grove/net/http/preconditions.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "grove/net/http/date.h"

namespace grove::http {
namespace {

constexpr time_t kModified = 784111777;  // Sun, 06 Nov 1994 08:49:37 GMT
constexpr char kThen[] = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr char kBefore[] = "Sun, 06 Nov 1994 08:49:36 GMT";
constexpr char kAfter[] = "Sun, 06 Nov 1994 08:49:38 GMT";

class Asked {
 public:
  explicit Asked(std::vector<Field> fields, absl::string_view method = "GET")
      : fields_(std::move(fields)) {
    request_.Set({.method = method, .fields = fields_});
  }
  const Request& request() const { return request_; }

 private:
  std::vector<Field> fields_;
  Request request_;
};

Precondition Check(std::vector<Field> fields, absl::string_view etag = "\"a\"",
                   absl::string_view method = "GET") {
  return CheckPreconditions(Asked(std::move(fields), method).request(), etag, kModified);
}
bool Range(absl::string_view if_range, absl::string_view etag = "\"a\"",
           time_t now = kModified + 1) {
  return RangeHolds(Asked({{"If-Range", if_range}}).request(), etag, kModified, now);
}

constexpr auto kHolds = Precondition::kHolds;
constexpr auto kNotModified = Precondition::kNotModified;
constexpr auto kFailed = Precondition::kFailed;

TEST(Preconditions, WithoutAnyTheRequestIsAnswered) { EXPECT_EQ(Check({}), kHolds); }

TEST(Preconditions, IfMatchComparesStrongly) {
  EXPECT_EQ(Check({{"If-Match", "\"a\""}}), kHolds);
  EXPECT_EQ(Check({{"If-Match", "\"b\", \"a\""}}), kHolds);
  EXPECT_EQ(Check({{"If-Match", "*"}}), kHolds);
  EXPECT_EQ(Check({{"If-Match", "\"b\""}}), kFailed);
  EXPECT_EQ(Check({{"If-Match", "W/\"a\""}}), kFailed);
  EXPECT_EQ(Check({{"If-Match", "W/\"a\""}}, "W/\"a\""), kFailed);
  EXPECT_EQ(Check({{"If-Match", "\"a\""}}, ""), kFailed);
  EXPECT_EQ(Check({{"If-Match", ""}}), kFailed);
  EXPECT_EQ(Check({{"If-Match", "a"}}), kFailed);
  // In two fields.
  EXPECT_EQ(Check({{"If-Match", "\"b\""}, {"If-Match", "\"a\""}}), kHolds);
}

TEST(Preconditions, IfNoneMatchComparesWeakly) {
  EXPECT_EQ(Check({{"If-None-Match", "\"a\""}}), kNotModified);
  EXPECT_EQ(Check({{"If-None-Match", "W/\"a\""}}), kNotModified);
  EXPECT_EQ(Check({{"If-None-Match", "\"a\""}}, "W/\"a\""), kNotModified);
  EXPECT_EQ(Check({{"If-None-Match", "*"}}), kNotModified);
  EXPECT_EQ(Check({{"If-None-Match", "\"b\",\"c\" , \"a\""}}), kNotModified);
  EXPECT_EQ(Check({{"If-None-Match", "\"b\""}}), kHolds);
  // A comma within a tag makes no two of it.
  EXPECT_EQ(Check({{"If-None-Match", "\"b,\"a\""}}, "\"b,\""), kNotModified);
  EXPECT_EQ(Check({{"If-None-Match", "\"x,a\""}}, "\"a\""), kHolds);
  // Who writes must not.
  EXPECT_EQ(Check({{"If-None-Match", "*"}}, "\"a\"", "PUT"), kFailed);
}

TEST(Preconditions, TimesAreToTheSecond) {
  EXPECT_EQ(Check({{"If-Modified-Since", kThen}}), kNotModified);
  EXPECT_EQ(Check({{"If-Modified-Since", kAfter}}), kNotModified);
  EXPECT_EQ(Check({{"If-Modified-Since", kBefore}}), kHolds);
  EXPECT_EQ(Check({{"If-Modified-Since", "yesterday"}}), kHolds);
  EXPECT_EQ(Check({{"If-Modified-Since", kThen}}, "\"a\"", "PUT"), kHolds);
  EXPECT_EQ(Check({{"If-Unmodified-Since", kThen}}), kHolds);
  EXPECT_EQ(Check({{"If-Unmodified-Since", kBefore}}), kFailed);
  EXPECT_EQ(Check({{"If-Unmodified-Since", "yesterday"}}), kHolds);
}

TEST(Preconditions, TheOrderIsThatOfTheRfc) {
  // A tag beats a time.
  EXPECT_EQ(Check({{"If-Unmodified-Since", kBefore}, {"If-Match", "\"a\""}}), kHolds);
  EXPECT_EQ(Check({{"If-Modified-Since", kThen}, {"If-None-Match", "\"b\""}}), kHolds);
  // 412 comes before 304.
  EXPECT_EQ(Check({{"If-None-Match", "\"a\""}, {"If-Match", "\"b\""}}), kFailed);
  EXPECT_EQ(Check({{"If-None-Match", "\"a\""}, {"If-Unmodified-Since", kBefore}}),
            kFailed);
  EXPECT_EQ(Check({{"If-None-Match", "\"a\""}, {"If-Match", "\"a\""}}), kNotModified);
}

TEST(RangeHolds, OnlyForWhatThereIsNow) {
  EXPECT_TRUE(RangeHolds(Asked({}).request(), "\"a\"", kModified, kModified));
  EXPECT_TRUE(Range("\"a\""));
  EXPECT_FALSE(Range("\"b\""));
  EXPECT_FALSE(Range("W/\"a\""));
  EXPECT_FALSE(Range("W/\"a\"", "W/\"a\""));
  EXPECT_FALSE(Range("\"b\", \"a\""));
  EXPECT_FALSE(Range("*"));
  EXPECT_TRUE(Range(kThen));
  EXPECT_FALSE(Range(kAfter));
  EXPECT_FALSE(Range(kBefore));
  // It may change once more within its second.
  EXPECT_FALSE(Range(kThen, "\"a\"", kModified));
}

}  // namespace
}  // namespace grove::http
