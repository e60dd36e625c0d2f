#include "grove/net/http/content_coding.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace grove::http {
namespace {

class Accepted {
 public:
  explicit Accepted(std::vector<absl::string_view> values) {
    for (absl::string_view v : values) fields_.push_back({"accept-encoding", v});
  }
  AcceptedCodings codings() const {
    return AcceptedCodings(HeaderView(absl::MakeConstSpan(fields_)));
  }
  std::string Best() const {
    const std::vector<absl::string_view> ours = {"br", "gzip", "deflate"};
    return std::string(codings().Best(ours));
  }

 private:
  std::vector<Field> fields_;
};

std::string Best(absl::string_view value) { return Accepted({value}).Best(); }
bool Identity(absl::string_view value) { return Accepted({value}).codings().identity(); }

TEST(AcceptedCodings, WithoutTheFieldNothingIsCoded) {
  EXPECT_EQ(Accepted({}).Best(), "");
  EXPECT_EQ(Best(""), "");
  EXPECT_TRUE(Accepted({}).codings().identity());
}

TEST(AcceptedCodings, TheHighestWeightWins) {
  EXPECT_EQ(Best("gzip"), "gzip");
  EXPECT_EQ(Best("gzip, br"), "br");
  EXPECT_EQ(Best("gzip;q=0.9, br;q=0.8"), "gzip");
  EXPECT_EQ(Best("gzip;q=0.001, br;q=0.002"), "br");
  EXPECT_EQ(Best("DEFLATE"), "deflate");
  EXPECT_EQ(Best("zstd, compress"), "");
  EXPECT_EQ(Best("x-gzip"), "gzip");
  EXPECT_EQ(Accepted({"gzip;q=0.5", "br;q=0.4"}).Best(), "gzip");
}

TEST(AcceptedCodings, AStarIsAllThatIsNotNamed) {
  EXPECT_EQ(Best("*"), "br");
  EXPECT_EQ(Best("br;q=0, *"), "gzip");
  EXPECT_EQ(Best("*;q=0"), "");
  EXPECT_EQ(Best("gzip;q=0.5, *;q=0.4"), "gzip");
  EXPECT_EQ(Best("deflate, *;q=0"), "deflate");
}

TEST(AcceptedCodings, IdentityIsTakenUnlessItIsRefused) {
  EXPECT_TRUE(Identity("gzip"));
  EXPECT_TRUE(Identity("*"));
  EXPECT_FALSE(Identity("identity;q=0"));
  EXPECT_FALSE(Identity("gzip, *;q=0"));
  EXPECT_TRUE(Identity("identity;q=0.1, *;q=0"));
  // Whoever likes it better gets it.
  EXPECT_EQ(Best("gzip;q=0.5, identity"), "");
  EXPECT_EQ(Best("gzip, identity"), "gzip");
}

TEST(AcceptedCodings, WhatIsMalformedCountsForNothing) {
  for (const char* bad :
       {"gzip;q=2", "gzip;q=1.1", "gzip;q=0.1234", "gzip;q=-1", "gzip;q=", "gzip;q",
        "gzip;level=5", "gz ip", "gzip;q=.5", "gzip;q=0,5", ";q=1", "\"gzip\""}) {
    EXPECT_EQ(Best(bad), "") << bad;
    EXPECT_EQ(Best(std::string(bad) + ", br"), "br") << bad;
  }
  EXPECT_EQ(Best(",, gzip ; Q=1.000 ,"), "gzip");
}

TEST(AddVary, AddsANameOnce) {
  HeaderMap headers;
  AddVary(&headers, "Accept-Encoding");
  AddVary(&headers, "accept-encoding");
  AddVary(&headers, "Origin");
  ASSERT_EQ(headers.size(), 2u);
  headers.Set("Vary", "*");
  AddVary(&headers, "Origin");
  EXPECT_EQ(headers.size(), 1u);
}

}  // namespace
}  // namespace grove::http
