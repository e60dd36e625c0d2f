#include "grove/green/os/buffered.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/file.h"
#include "grove/green/os/file_system.h"
#include "grove/green/os/pipe.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Gives what it is told to, piece by piece; then the end.
class Source {
 public:
  explicit Source(std::deque<absl::StatusOr<std::string>> pieces)
      : pieces_(std::move(pieces)) {}
  absl::StatusOr<size_t> Read(absl::Span<char> buffer) {
    ++reads;
    if (pieces_.empty()) return 0;
    absl::StatusOr<std::string> piece = std::move(pieces_.front());
    pieces_.pop_front();
    if (!piece.ok()) return piece.status();
    const size_t n = std::min(buffer.size(), piece->size());
    piece->copy(buffer.data(), n);
    if (n < piece->size()) pieces_.push_front(piece->substr(n));
    return n;
  }
  int reads = 0;

 private:
  std::deque<absl::StatusOr<std::string>> pieces_;
};

// Takes `room` bytes, then fails.
class Sink {
 public:
  absl::Status Write(absl::string_view data) {
    ++writes;
    if (got.size() + data.size() > room) return ErrnoStatus(ENOSPC, "write to a sink");
    got.append(data.data(), data.size());
    return absl::OkStatus();
  }
  size_t room = 1 << 30;
  std::string got;
  int writes = 0;
};

std::vector<std::string> LinesOf(BufferedReader& reader) {
  std::vector<std::string> lines;
  for (absl::string_view line : reader.Lines()) lines.emplace_back(line);
  return lines;
}

// --- reading -------------------------------------------------------------------------

GREENLET_TEST(BufferedReaderTest, LinesAreFoundWhereverTheReadsEnd) {
  Source source({"on", "e\ntwo\n\nth", "ree\r\n", "last"});
  BufferedReader reader(source);
  EXPECT_THAT(LinesOf(reader), ElementsAre("one", "two", "", "three\r", "last"));
  EXPECT_TRUE(reader.status().ok());
  EXPECT_THAT(LinesOf(reader), ElementsAre());
}

GREENLET_TEST(BufferedReaderTest, NoSizeOfTheBufferMakesADifference) {
  std::string text;
  std::vector<std::string> expected;
  for (int i = 0; i < 60; ++i) {
    expected.push_back(std::string(i * 7 % 41, static_cast<char>('a' + i % 26)));
    text += expected.back() + '\n';
  }
  for (size_t size = 1; size < 100; ++size) {
    Source source({text});
    BufferedReader reader(source, size);
    EXPECT_EQ(LinesOf(reader), expected) << size;
  }
}

GREENLET_TEST(BufferedReaderTest, AnEmptyFileHasNoLines) {
  Source source({});
  BufferedReader reader(source);
  EXPECT_EQ(*reader.ReadLine(), std::nullopt);
  Source newline({"\n"});
  BufferedReader one(newline);
  EXPECT_THAT(LinesOf(one), ElementsAre(""));
}

GREENLET_TEST(BufferedReaderTest, ALineLongerThanTheLimitIsAnError) {
  Source source({"12345\n123456\nrest"});
  BufferedReader reader(source, 2);
  EXPECT_EQ(**reader.ReadLine(5), "12345");
  EXPECT_EQ(reader.ReadLine(5).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(reader.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(*reader.ReadAll(), "123456\nrest") << "and nothing is lost";
}

GREENLET_TEST(BufferedReaderTest, AnErrorEndsTheLinesAndLosesNothing) {
  Source source({"one\ntw", ErrnoStatus(EIO, "read from a source"), "o\nthree\n"});
  BufferedReader reader(source);
  EXPECT_THAT(LinesOf(reader), ElementsAre("one"));
  EXPECT_EQ(ErrnoOf(reader.status()), EIO);
  EXPECT_THAT(LinesOf(reader), ElementsAre("two", "three")) << "tried again";
  EXPECT_TRUE(reader.status().ok());
}

GREENLET_TEST(BufferedReaderTest, ReadTakesFromTheBufferFirst) {
  Source source({"line\nabcdef"});
  BufferedReader reader(source);
  EXPECT_EQ(**reader.ReadLine(), "line");
  char buffer[4];
  EXPECT_EQ(*reader.Read(absl::MakeSpan(buffer)), 4u);
  EXPECT_EQ(std::string(buffer, 4), "abcd");
  EXPECT_EQ(*reader.Read(absl::MakeSpan(buffer)), 2u);
  EXPECT_EQ(source.reads, 1);
  EXPECT_EQ(*reader.Read(absl::MakeSpan(buffer)), 0u);
  EXPECT_EQ(*reader.Read(absl::Span<char>()), 0u);
}

GREENLET_TEST(BufferedReaderTest, ReadAllHasALimit) {
  Source source({"12", "345"});
  BufferedReader reader(source);
  EXPECT_EQ(reader.ReadAll(4).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(*reader.ReadAll(5), "12345");
  EXPECT_EQ(*reader.ReadAll(), "");
}

GREENLET_TEST(BufferedReaderTest, LinesComeThroughAPipeAsTheyAreWritten) {
  Pipe pipe = *MakePipe();
  const Greenlet<> writer = Spawn([&] {
    for (const char* piece : {"one\ntw", "o\n", "three"}) {
      EXPECT_TRUE(pipe.writer.Write(piece).ok());
      Sleep(absl::Seconds(1));
    }
    pipe.writer.Close();
  });
  BufferedReader reader(pipe.reader);
  EXPECT_EQ(**reader.ReadLine(), "one");
  EXPECT_TRUE(HasTaken(absl::ZeroDuration())) << "a line that is there does not wait";
  EXPECT_EQ(**reader.ReadLine(), "two");
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  EXPECT_EQ(**reader.ReadLine(), "three");
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
}

GREENLET_TEST(BufferedReaderTest, AKilledReaderLosesNothing) {
  Pipe pipe = *MakePipe();
  BufferedReader reader(pipe.reader);
  ASSERT_TRUE(pipe.writer.Write("hal").ok());
  const Greenlet<> killed = Spawn([&] { reader.ReadLine().IgnoreError(); });
  Sleep(absl::Seconds(1));
  killed.Kill();
  ASSERT_TRUE(pipe.writer.Write("f\n").ok());
  EXPECT_EQ(**reader.ReadLine(), "half");
}

// --- writing -------------------------------------------------------------------------

GREENLET_TEST(BufferedWriterTest, SmallWritesAreCollected) {
  Sink sink;
  BufferedWriter writer(sink, 10);
  ASSERT_TRUE(writer.Write("12345").ok());
  ASSERT_TRUE(writer.Write("67890").ok());
  EXPECT_EQ(sink.writes, 0);
  EXPECT_EQ(writer.buffered(), 10u);
  ASSERT_TRUE(writer.Write("a").ok());
  EXPECT_EQ(sink.got, "1234567890");
  ASSERT_TRUE(writer.Write(" large one").ok());
  EXPECT_EQ(sink.got, "1234567890a large one") << "not through the buffer";
  ASSERT_TRUE(writer.Flush().ok());
  ASSERT_TRUE(writer.Flush().ok());
  EXPECT_EQ(sink.writes, 3);
}

GREENLET_TEST(BufferedWriterTest, TheEndFlushes) {
  Sink sink;
  { EXPECT_TRUE(BufferedWriter(sink).Write("kept").ok()); }
  EXPECT_EQ(sink.got, "kept");
}

GREENLET_TEST(BufferedWriterTest, TheEndOfAKilledGreenletFlushes) {
  Pipe pipe = *MakePipe();
  const Greenlet<> g = Spawn([&] {
    BufferedWriter writer(pipe.writer);
    EXPECT_TRUE(writer.Write("kept").ok());
    Sleep(absl::InfiniteDuration());
  });
  Yield();
  g.Kill();
  char buffer[10];
  EXPECT_EQ(*pipe.reader.Read(absl::MakeSpan(buffer)), 4u);
}

GREENLET_TEST(BufferedWriterTest, AnErrorStays) {
  Sink sink;
  sink.room = 10;
  {
    BufferedWriter writer(sink, 4);
    ASSERT_TRUE(writer.Write("12345678").ok());
    ASSERT_TRUE(writer.Write("9ab").ok());
    EXPECT_EQ(ErrnoOf(writer.Flush()), ENOSPC);
    sink.room = 100;
    EXPECT_EQ(ErrnoOf(writer.Write("c")), ENOSPC);
    EXPECT_EQ(ErrnoOf(writer.Flush()), ENOSPC);
  }
  EXPECT_EQ(sink.got, "12345678") << "nothing after a gap";
}

GREENLET_TEST(BufferedWriterTest, AFailureAtTheEndIsReported) {
  Sink sink;
  sink.room = 0;
  testing::internal::CaptureStderr();
  { EXPECT_TRUE(BufferedWriter(sink).Write("lost").ok()); }
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("4 bytes were lost at the end of a BufferedWriter: "
                        "RESOURCE_EXHAUSTED: write to a sink"));
}

GREENLET_TEST(BufferedWriterTest, AnInterruptedWriteIsAnErrorThatStays) {
  Pipe pipe = *MakePipe(4096);
  BufferedWriter writer(pipe.writer, 100);
  const Greenlet<> killed =
      Spawn([&] { writer.Write(std::string(10000, 'x')).IgnoreError(); });
  Yield();
  killed.Kill();
  EXPECT_EQ(writer.Write("more").code(), StatusCode::kAborted);
  EXPECT_EQ(writer.Flush().code(), StatusCode::kAborted);
}

GREENLET_TEST(BufferedWriterTest, AFileIsWrittenAndReadLineByLine) {
  const std::string path = testing::TempDir() + "/buffered_test_lines";
  {
    absl::StatusOr<File> file = File::Open(path, OpenMode::kTruncate);
    ASSERT_TRUE(file.ok()) << file.status();
    BufferedWriter writer(*file, 1000);
    for (int i = 0; i < 1000; ++i) {
      ASSERT_TRUE(writer.Write(absl::StrCat("line ", i, "\n")).ok());
    }
    ASSERT_TRUE(writer.Flush().ok());
    ASSERT_TRUE(file->Close().ok());
  }
  absl::StatusOr<File> file = File::Open(path);
  BufferedReader reader(*file, 100);
  int n = 0;
  for (absl::string_view line : reader.Lines()) {
    EXPECT_EQ(line, absl::StrCat("line ", n++));
  }
  EXPECT_TRUE(reader.status().ok());
  EXPECT_EQ(n, 1000);
  EXPECT_TRUE(RemoveFile(path).ok());
}

GREENLET_TEST(BufferedWriterTest, AFullDeviceIsToldByFlush) {
  absl::StatusOr<File> full = File::Open("/dev/full", OpenMode::kReadWrite);
  BufferedWriter writer(*full);
  EXPECT_TRUE(writer.Write("x").ok()) << "taken";
  EXPECT_EQ(ErrnoOf(writer.Flush()), ENOSPC);
}

}  // namespace
}  // namespace grove
