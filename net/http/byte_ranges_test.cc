#include "grove/net/http/internal/byte_ranges.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace grove::http::http_internal {
namespace {

// "0+10 500+1" of two parts, "whole" or "none".
std::string Parse(absl::string_view text, uint64_t size = 1000, size_t most = 16) {
  std::vector<ByteRange> parts;
  switch (ParseRanges(text, size, most, &parts)) {
    case RangeKind::kWhole:
      return "whole";
    case RangeKind::kNone:
      return "none";
    case RangeKind::kParts:
      break;
  }
  std::string all;
  for (const ByteRange& p : parts) {
    absl::StrAppend(&all, all.empty() ? "" : " ", p.first, "+", p.count);
  }
  return all;
}

TEST(ByteRanges, OneRange) {
  EXPECT_EQ(Parse("bytes=0-0"), "0+1");
  EXPECT_EQ(Parse("bytes=0-"), "0+1000");
  EXPECT_EQ(Parse("bytes=990-2000"), "990+10");
  EXPECT_EQ(Parse("bytes=999-999"), "999+1");
  EXPECT_EQ(Parse("bytes=-1"), "999+1");
  EXPECT_EQ(Parse("bytes=-5000"), "0+1000");
  EXPECT_EQ(Parse("BYTES=5-6"), "5+2");
  EXPECT_EQ(Parse("bytes=0-99999999999999999999999"), "0+1000");
  EXPECT_EQ(Parse("bytes=-99999999999999999999999"), "0+1000");
}

TEST(ByteRanges, NoneIsInTheFile) {
  EXPECT_EQ(Parse("bytes=1000-"), "none");
  EXPECT_EQ(Parse("bytes=99999999999999999999999-"), "none");
  EXPECT_EQ(Parse("bytes=-0"), "none");
  EXPECT_EQ(Parse("bytes=0-", 0), "none");
  EXPECT_EQ(Parse("bytes=-5", 0), "none");
  EXPECT_EQ(Parse("bytes=1000-,2000-3000"), "none");
  EXPECT_EQ(Parse("bytes=1000-,5-6"), "5+2");
}

TEST(ByteRanges, WhatIsMalformedIsTheWhole) {
  for (const char* bad :
       {"", "bytes", "bytes=", "bytes=,", "bytes=a-b", "bytes=5", "bytes=-", "bytes=5-4",
        "bytes=0x1-2", "bytes=+1-2", "bytes=1--2", "bytes=1- 2", "lines=1-2",
        "bytes=1-2,x", "bytes=1-2;3-4", "bytes =1-2"}) {
    EXPECT_EQ(Parse(bad), "whole") << bad;
  }
}

TEST(ByteRanges, SeveralStayInTheirOrder) {
  EXPECT_EQ(Parse("bytes=500-509,0-9"), "500+10 0+10");
  EXPECT_EQ(Parse("bytes=0-9 , ,\t900-, -20"), "0+10 900+100");
  EXPECT_EQ(Parse("bytes=0-0,-1"), "0+1 999+1");
}

TEST(ByteRanges, ThoseThatOverlapOrAreNearAreOne) {
  EXPECT_EQ(Parse("bytes=0-9,5-14"), "0+15");
  EXPECT_EQ(Parse("bytes=0-9,10-19"), "0+20");
  EXPECT_EQ(Parse("bytes=0-9,90-99"), "0+100");
  EXPECT_EQ(Parse("bytes=0-9,91-99"), "0+10 91+9");
  // The last one bridges the others.
  EXPECT_EQ(Parse("bytes=0-9,500-509,5-505"), "0+510");
  EXPECT_EQ(Parse("bytes=900-,0-9,400-409,0-"), "0+1000");
}

TEST(ByteRanges, ABombIsNoMoreThanTheFile) {
  std::string bomb = "bytes=0-";
  for (int i = 1; i < 16; ++i) absl::StrAppend(&bomb, ",", i, "-");
  EXPECT_EQ(Parse(bomb), "0+1000");
  EXPECT_EQ(Parse(bomb + ",16-"), "whole");
  for (uint64_t size : {1, 100, 5000}) {
    std::vector<ByteRange> parts;
    ParseRanges("bytes=0-0,100-200,50-60,4000-,2000-2100,-3,1000-3000", size, 16, &parts);
    uint64_t sum = 0;
    for (const ByteRange& p : parts) sum += p.count;
    EXPECT_LE(sum, size);
  }
}

TEST(ByteRanges, NumbersNearTheLargestDoNotWrap) {
  const uint64_t huge = ~uint64_t{0} >> 1;
  EXPECT_EQ(Parse(absl::StrCat("bytes=", huge - 1, "-"), huge),
            absl::StrCat(huge - 1, "+1"));
  EXPECT_EQ(Parse(absl::StrCat("bytes=", huge - 1, "-,0-0"), huge),
            absl::StrCat(huge - 1, "+1 0+1"));
}

}  // namespace
}  // namespace grove::http::http_internal
