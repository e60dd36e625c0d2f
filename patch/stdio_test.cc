// Streams of stdio over what can block, as any program uses them.

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/patch/patched_test.h"

// What _FORTIFY_SOURCE and the macros of the headers make of the calls.
extern "C" size_t __fread_chk(void*, size_t, size_t, size_t, FILE*);
extern "C" size_t __fread_unlocked_chk(void*, size_t, size_t, size_t, FILE*);
extern "C" char* __fgets_chk(char*, size_t, int, FILE*);
extern "C" char* __fgets_unlocked_chk(char*, size_t, int, FILE*);
extern "C" int __uflow(FILE*);
extern "C" int __overflow(FILE*, int);
extern "C" int __isoc99_fscanf(FILE*, const char*, ...);
extern "C" int __fprintf_chk(FILE*, int, const char*, ...);
extern "C" int __dprintf_chk(int, int, const char*, ...);

namespace grove::patch {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

class PatchedStdio : public PatchedTest {
 protected:
  void TearDown() override {
    for (FILE* f : files_) fclose(f);
  }

  struct Ends {
    FILE* in;  // what is written to `out` is read from `in`
    FILE* out;
  };
  enum class Kind { kPipe, kSocket, kTerminal };
  static constexpr Kind kKinds[] = {Kind::kPipe, Kind::kSocket, Kind::kTerminal};

  Ends Open(Kind kind = Kind::kPipe) {
    int fds[2];
    if (kind == Kind::kTerminal) {
      // Its other end writes what it would hear typed.
      fds[1] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
      EXPECT_EQ(grantpt(fds[1]), 0);
      EXPECT_EQ(unlockpt(fds[1]), 0);
      fds[0] = open(ptsname(fds[1]), O_RDWR | O_NOCTTY | O_CLOEXEC);
      termios raw;
      EXPECT_EQ(tcgetattr(fds[0], &raw), 0);
      cfmakeraw(&raw);
      EXPECT_EQ(tcsetattr(fds[0], TCSANOW, &raw), 0);
    } else if (kind == Kind::kPipe) {
      EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    } else {
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
      const int little = 4096;
      EXPECT_EQ(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &little, sizeof little), 0);
    }
    files_.push_back(fdopen(fds[0], "r"));
    files_.push_back(fdopen(fds[1], "w"));
    return {files_[files_.size() - 2], files_.back()};
  }
  int Close(FILE* f) {
    std::erase(files_, f);
    return fclose(f);
  }
  // So much that a writer has to wait.
  static std::string Much() {
    std::string text;
    for (int i = 0; i < 15'000; ++i) text += std::to_string(i) + "\n";
    return text;
  }
  static void Say(FILE* f, const std::string& text) {
    EXPECT_EQ(fwrite(text.data(), 1, text.size(), f), text.size());
    EXPECT_EQ(fflush(f), 0);
  }
  static std::string ReadToEnd(FILE* f) {
    std::string all;
    for (int c; (c = getc(f)) != EOF;) all.push_back(static_cast<char>(c));
    return all;
  }

 private:
  std::vector<FILE*> files_;
};

// Reads "hello\n".
using Reader = std::string (*)(FILE*);
template <typename Get>
std::string ByCharacters(Get get) {
  std::string text;
  for (int c; (c = get()) != EOF;) {
    text.push_back(static_cast<char>(c));
    if (c == '\n') break;
  }
  return text;
}
struct NamedReader {
  const char* name;
  Reader read;
};
constexpr NamedReader kReaders[] = {
    {"fgetc", [](FILE* f) { return ByCharacters([f] { return fgetc(f); }); }},
    {"getc", [](FILE* f) { return ByCharacters([f] { return (getc)(f); }); }},
    {"fgetc_unlocked",
     [](FILE* f) { return ByCharacters([f] { return (fgetc_unlocked)(f); }); }},
    {"getc_unlocked",
     [](FILE* f) { return ByCharacters([f] { return (getc_unlocked)(f); }); }},
    {"__uflow", [](FILE* f) { return ByCharacters([f] { return __uflow(f); }); }},
    {"fgets",
     [](FILE* f) {
       char line[100];
       return std::string(fgets(line, sizeof line, f));
     }},
    {"fgets_unlocked",
     [](FILE* f) {
       char line[100];
       return std::string(fgets_unlocked(line, sizeof line, f));
     }},
    {"__fgets_chk",
     [](FILE* f) {
       char line[100];
       return std::string(__fgets_chk(line, sizeof line, sizeof line, f));
     }},
    {"__fgets_unlocked_chk",
     [](FILE* f) {
       char line[100];
       return std::string(__fgets_unlocked_chk(line, sizeof line, sizeof line, f));
     }},
    {"getline",
     [](FILE* f) {
       char* line = nullptr;
       size_t capacity = 0;
       const ssize_t n = getline(&line, &capacity, f);
       const std::string text(line, static_cast<size_t>(n));
       free(line);
       return text;
     }},
    {"getdelim",
     [](FILE* f) {
       char* line = nullptr;
       size_t capacity = 0;
       const ssize_t n = getdelim(&line, &capacity, '\n', f);
       const std::string text(line, static_cast<size_t>(n));
       free(line);
       return text;
     }},
    {"fread",
     [](FILE* f) {
       char text[6];
       return std::string(text, fread(text, 1, sizeof text, f));
     }},
    {"fread_unlocked",
     [](FILE* f) {
       char text[6];
       return std::string(text, 2 * fread_unlocked(text, 2, 3, f));
     }},
    {"__fread_chk",
     [](FILE* f) {
       char text[6];
       return std::string(text, __fread_chk(text, sizeof text, 1, sizeof text, f));
     }},
    {"__fread_unlocked_chk",
     [](FILE* f) {
       char text[6];
       return std::string(text,
                          __fread_unlocked_chk(text, sizeof text, 1, sizeof text, f));
     }},
    {"fscanf",
     [](FILE* f) {
       char word[10], end;
       EXPECT_EQ((fscanf)(f, "%9s%c", word, &end), 2);
       return std::string(word) + end;
     }},
    {"__isoc99_fscanf",
     [](FILE* f) {
       char word[10], end;
       EXPECT_EQ(__isoc99_fscanf(f, "%9s%c", word, &end), 2);
       return std::string(word) + end;
     }},
};

GREENLET_TEST_F(PatchedStdio, AReaderWaitsAsAGreenlet) {
  for (const NamedReader& r : kReaders) {
    for (const Kind kind : kKinds) {
      const Ends ends = Open(kind);
      std::string got;
      const Greenlet<> reader = Spawn([&] { got = r.read(ends.in); });
      Yield();
      EXPECT_EQ(got, "") << r.name;
      Say(ends.out, "hel");  // not all of it: it goes on waiting
      Yield();
      EXPECT_EQ(got, "") << r.name;
      Say(ends.out, "lo\n");
      reader.Join();
      EXPECT_EQ(got, "hello\n") << r.name;
    }
  }
}

GREENLET_TEST_F(PatchedStdio, AHundredReadersWaitAtOnce) {
  std::vector<Ends> ends;
  std::vector<Greenlet<>> readers;
  int got = 0;
  for (int i = 0; i < 100; ++i) ends.push_back(Open());
  for (const Ends& e : ends) {
    readers.push_back(Spawn([&, in = e.in] {
      char line[100];
      EXPECT_STREQ(fgets(line, sizeof line, in), "one\n");
      EXPECT_STREQ(fgets(line, sizeof line, in), "two\n");
      ++got;
    }));
  }
  const uint64_t waits = Waits("fgets");
  Yield();
  EXPECT_EQ(Waits("fgets"), waits + 100);
  EXPECT_EQ(got, 0);
  for (const Ends& e : ends) Say(e.out, "one\ntwo\n");
  for (const auto& reader : readers) reader.Join();
  EXPECT_EQ(got, 100);
}

GREENLET_TEST_F(PatchedStdio, TwoReadersOfOneStreamGetWholeLines) {
  const Ends ends = Open();
  std::vector<std::string> got;
  std::vector<Greenlet<>> readers;
  for (int i = 0; i < 2; ++i) {
    readers.push_back(Spawn([&] {
      char line[100];
      ASSERT_NE(fgets(line, sizeof line, ends.in), nullptr);
      got.push_back(line);
    }));
  }
  for (const char* piece : {"a", "b", "\nc", "d\n"}) {
    Yield();
    Say(ends.out, piece);
  }
  for (const auto& reader : readers) reader.Join();
  EXPECT_THAT(got, UnorderedElementsAre("ab\n", "cd\n"));
}

GREENLET_TEST_F(PatchedStdio, TheEndIsTold) {
  const Ends ends = Open();
  const Greenlet<> writer = Spawn([&] {
    Say(ends.out, "no newline");
    Close(ends.out);
  });
  char line[100];
  EXPECT_STREQ(fgets(line, sizeof line, ends.in), "no newline");
  EXPECT_TRUE(feof(ends.in));
  EXPECT_EQ(fgets(line, sizeof line, ends.in), nullptr);
  EXPECT_EQ(getc(ends.in), EOF);
  EXPECT_EQ(fread(line, 1, 10, ends.in), 0u);
  int number;
  EXPECT_EQ(fscanf(ends.in, "%d", &number), EOF);
  char* grown = nullptr;
  size_t capacity = 0;
  EXPECT_EQ(getline(&grown, &capacity, ends.in), -1);
  free(grown);
  EXPECT_FALSE(ferror(ends.in));
  writer.Join();
}

GREENLET_TEST_F(PatchedStdio, PushedBackCharactersComeFirst) {
  const Ends ends = Open();
  Say(ends.out, "world\n");
  EXPECT_EQ(getc(ends.in), 'w');
  EXPECT_EQ(ungetc('W', ends.in), 'W');
  char line[100];
  EXPECT_STREQ(fgets(line, sizeof line, ends.in), "World\n");
  EXPECT_EQ(ungetc('x', ends.in), 'x');
  EXPECT_EQ(getc(ends.in), 'x');  // with nothing behind it
  const Greenlet<> reader = Spawn([&] { EXPECT_EQ(getc(ends.in), 'y'); });
  Yield();
  Say(ends.out, "y");
  reader.Join();
}

GREENLET_TEST_F(PatchedStdio, ScanfTakesWhatItMatchesAndNoMore) {
  const Ends ends = Open();
  int number = 0;
  const Greenlet<> reader = Spawn([&] {
    EXPECT_EQ(fscanf(ends.in, "%d", &number), 1);
    EXPECT_EQ(number, 1234);
    EXPECT_EQ(getc(ends.in), ',');
    EXPECT_EQ(fscanf(ends.in, "%d", &number), 0);  // no number
    EXPECT_EQ(getc(ends.in), 'x');
    double real;
    int count;
    char word[10];
    EXPECT_EQ(fscanf(ends.in, " %lf %9[a-z]%n", &real, word, &count), 2);
    EXPECT_EQ(real, -1.5e3);
    EXPECT_STREQ(word, "abc");
    EXPECT_EQ(count, 11);
    EXPECT_EQ(getc(ends.in), '.');
    char rest[100];
    EXPECT_STREQ(fgets(rest, sizeof rest, ends.in), "!\n");
  });
  for (const char* piece : {"12", "34", ",x ", "-1.", "5e3 a", "bc.", "!\n"}) {
    Yield();
    Say(ends.out, piece);
  }
  reader.Join();
}

GREENLET_TEST_F(PatchedStdio, ScanfSaysWhatLibcsSays) {
  const struct {
    const char* input;
    const char* format;
  } cases[] = {{"12 34", "%d%d"}, {"12 x", "%d%d"},  {"", "%d%d"},    {"0x1f-7", "%i%i"},
               {"12.5", "%d%d"},  {"  -  ", "%d%d"}, {"a1", "a%d"},   {"b1", "a%d"},
               {"1,2", "%d,%d"},  {"1;2", "%d,%d"},  {"12", "%1d%d"}, {"+5+", "%d%d"}};
  for (const auto& c : cases) {
    const std::string all = std::string(c.input) + "|rest";
    int expected[2] = {-1, -1}, got[2] = {-1, -1};
    FILE* memory = fmemopen(const_cast<char*>(all.data()), all.size(), "r");
    const int expected_count = fscanf(memory, c.format, &expected[0], &expected[1]);
    const std::string expected_rest = ReadToEnd(memory);
    fclose(memory);
    const Ends ends = Open();
    Say(ends.out, all);
    Close(ends.out);
    EXPECT_EQ(fscanf(ends.in, c.format, &got[0], &got[1]), expected_count) << c.input;
    EXPECT_THAT(got, ElementsAre(expected[0], expected[1])) << c.input;
    EXPECT_EQ(ReadToEnd(ends.in), expected_rest) << c.input;
  }
}

struct NamedWriter {
  const char* name;
  void (*write)(FILE*, const std::string&);
};
constexpr NamedWriter kWriters[] = {
    {"fwrite",
     [](FILE* f, const std::string& s) {
       EXPECT_EQ(fwrite(s.data(), 1, s.size(), f), s.size());
     }},
    {"fwrite_unlocked",
     [](FILE* f, const std::string& s) {
       EXPECT_EQ(fwrite_unlocked(s.data(), s.size(), 1, f), 1u);
     }},
    {"fputs", [](FILE* f, const std::string& s) { EXPECT_GE(fputs(s.c_str(), f), 0); }},
    {"fputs_unlocked",
     [](FILE* f, const std::string& s) { EXPECT_GE(fputs_unlocked(s.c_str(), f), 0); }},
    {"fprintf",
     [](FILE* f, const std::string& s) {
       EXPECT_EQ(fprintf(f, "%s", s.c_str()), static_cast<int>(s.size()));
     }},
    {"__fprintf_chk",
     [](FILE* f, const std::string& s) {
       EXPECT_EQ(__fprintf_chk(f, 1, "%s", s.c_str()), static_cast<int>(s.size()));
     }},
    {"fputc",
     [](FILE* f, const std::string& s) {
       for (const char c : s) EXPECT_EQ(fputc(c, f), c);
     }},
    {"putc",
     [](FILE* f, const std::string& s) {
       for (const char c : s) EXPECT_EQ((putc)(c, f), c);
     }},
    {"putc_unlocked",
     [](FILE* f, const std::string& s) {
       for (const char c : s) EXPECT_EQ((putc_unlocked)(c, f), c);
     }},
    {"dprintf",
     [](FILE* f, const std::string& s) {
       EXPECT_EQ(dprintf(fileno(f), "%s", s.c_str()), static_cast<int>(s.size()));
     }},
    {"__dprintf_chk",
     [](FILE* f, const std::string& s) {
       EXPECT_EQ(__dprintf_chk(fileno(f), 1, "%s", s.c_str()),
                 static_cast<int>(s.size()));
     }},
};

GREENLET_TEST_F(PatchedStdio, AWriterWaitsAsAGreenlet) {
  const std::string much = Much();
  for (const NamedWriter& w : kWriters) {
    for (const Kind kind : {Kind::kPipe, Kind::kSocket}) {
      for (const int mode : {_IOFBF, _IOLBF, _IONBF}) {
        // One system call for each character is not what is tried here.
        if (mode == _IONBF && strstr(w.name, "putc") != nullptr) continue;
        const Ends ends = Open(kind);
        ASSERT_EQ(setvbuf(ends.out, nullptr, mode, BUFSIZ), 0);
        const Greenlet<> writer = Spawn([&] {
          w.write(ends.out, much);
          EXPECT_EQ(Close(ends.out), 0);
        });
        EXPECT_TRUE(ReadToEnd(ends.in) == much) << w.name << mode;
        writer.Join();
      }
    }
  }
}

GREENLET_TEST_F(PatchedStdio, LinesOfATerminalAreWrittenAtOnce) {
  const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_EQ(grantpt(master), 0);
  ASSERT_EQ(unlockpt(master), 0);
  FILE* terminal = fopen(ptsname(master), "w");
  ASSERT_NE(terminal, nullptr);
  EXPECT_EQ(fprintf(terminal, "one\ntw"), 6);
  char buffer[100];
  EXPECT_EQ(read(master, buffer, sizeof buffer), 5);
  EXPECT_EQ(std::string(buffer, 5), "one\r\n");
  EXPECT_EQ(__fpending(terminal), 2u);
  EXPECT_EQ(fputs("o\n", terminal), 1);
  EXPECT_EQ(read(master, buffer, sizeof buffer), 5);
  EXPECT_EQ(std::string(buffer, 5), "two\r\n");
  EXPECT_EQ(fclose(terminal), 0);
  close(master);
}

GREENLET_TEST_F(PatchedStdio, FullyBufferedWritesWaitForFlush) {
  const Ends ends = Open();
  EXPECT_EQ(fputs("not yet\n", ends.out), 1);
  EXPECT_EQ(__fpending(ends.out), 8u);
  EXPECT_EQ(fflush(ends.out), 0);
  EXPECT_EQ(__fpending(ends.out), 0u);
  char line[100];
  EXPECT_STREQ(fgets(line, sizeof line, ends.in), "not yet\n");
  EXPECT_EQ(putc('x', ends.out), 'x');
  EXPECT_EQ(__overflow(ends.out, 'y'), 'y');
  EXPECT_EQ(fflush(nullptr), 0);
  EXPECT_EQ(getc(ends.in), 'x');
  EXPECT_EQ(getc(ends.in), 'y');
}

GREENLET_TEST_F(PatchedStdio, AKillEndsAReader) {
  const Ends ends = Open();
  const Greenlet<> reader = Spawn([&] {
    char line[100];
    EXPECT_EQ(fgets(line, sizeof line, ends.in), nullptr);
    EXPECT_EQ(errno, ECANCELED);
    EXPECT_TRUE(ferror(ends.in));
    EXPECT_FALSE(feof(ends.in));
    Sleep(absl::InfiniteDuration());
  });
  Yield();
  reader.Kill();
  EXPECT_TRUE(reader.killed());
  clearerr(ends.in);  // others may go on
  Say(ends.out, "z");
  EXPECT_EQ(getc(ends.in), 'z');
}

GREENLET_TEST_F(PatchedStdio, ACancelledThreadLeavesTheStreamToOthers) {
  using Body = void* (*)(void*);
  const Body bodies[] = {[](void* in) -> void* {
                           char line[100];
                           ADD_FAILURE()
                               << fgets(line, sizeof line, static_cast<FILE*>(in));
                           return nullptr;
                         },
                         [](void* in) -> void* {
                           int number;
                           ADD_FAILURE() << fscanf(static_cast<FILE*>(in), "%d", &number);
                           return nullptr;
                         }};
  for (const Body body : bodies) {
    const Ends ends = Open();
    pthread_t thread;
    ASSERT_EQ(pthread_create(&thread, nullptr, body, ends.in), 0);
    Yield();
    ASSERT_EQ(pthread_cancel(thread), 0);
    void* result;
    ASSERT_EQ(pthread_join(thread, &result), 0);
    EXPECT_EQ(result, PTHREAD_CANCELED);
    clearerr(ends.in);
    Say(ends.out, "z");
    const Greenlet<> other = Spawn([&] { EXPECT_EQ(getc(ends.in), 'z'); });
    other.Join();
  }
}

GREENLET_TEST_F(PatchedStdio, AKillEndsAWriter) {
  const Ends ends = Open();
  const Greenlet<> writer = Spawn([&] {
    while (putc('x', ends.out) != EOF) {
    }
    EXPECT_EQ(errno, ECANCELED);
    EXPECT_TRUE(ferror(ends.out));
    EXPECT_EQ(Close(ends.out), EOF);  // and does not wait for what is left
    Sleep(absl::InfiniteDuration());
  });
  Yield();
  writer.Kill();
  EXPECT_TRUE(writer.killed());
}

GREENLET_TEST_F(PatchedStdio, ErrorsAreThoseOfTheCalls) {
  const Ends ends = Open();
  EXPECT_EQ(getc(ends.out), EOF);  // not for reading
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(fputs("x", ends.in), EOF);
  EXPECT_EQ(errno, EBADF);
  clearerr(ends.in);
  ASSERT_EQ(fcntl(fileno(ends.in), F_SETFL, O_NONBLOCK), 0);
  errno = 0;
  EXPECT_EQ(getc(ends.in), EOF);  // the program has asked for it
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_TRUE(ferror(ends.in));
  const Ends sockets = Open(Kind::kSocket);
  const timeval soon = {.tv_sec = 0, .tv_usec = 1000};
  ASSERT_EQ(setsockopt(fileno(sockets.in), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon),
            0);
  errno = 0;
  EXPECT_EQ(getc(sockets.in), EOF);
  EXPECT_EQ(errno, EAGAIN);
}

GREENLET_TEST_F(PatchedStdio, ALockedStreamIsOneGreenlets) {
  const Ends ends = Open();
  flockfile(ends.out);
  flockfile(ends.out);
  std::vector<Greenlet<>> others;
  others.push_back(Spawn([&] { EXPECT_EQ(fputs("second ", ends.out), 1); }));
  others.push_back(Spawn([&] {
    EXPECT_NE(ftrylockfile(ends.out), 0);
    flockfile(ends.out);
    EXPECT_EQ(fputs("third", ends.out), 1);
    funlockfile(ends.out);
  }));
  Yield();
  EXPECT_EQ(fputs("first ", ends.out), 1);
  funlockfile(ends.out);
  Yield();
  EXPECT_EQ(fputs("too ", ends.out), 1);
  funlockfile(ends.out);
  for (const auto& other : others) other.Join();
  EXPECT_EQ(ftrylockfile(ends.out), 0);
  funlockfile(ends.out);
  Close(ends.out);
  EXPECT_EQ(ReadToEnd(ends.in), "first too second third");
}

GREENLET_TEST_F(PatchedStdio, FilesAndMemoryAreLibcs) {
  FILE* file = tmpfile();
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(fprintf(file, "%d %s\n", 7, "seven"), 8);
  rewind(file);
  int number;
  char word[10];
  EXPECT_EQ(fscanf(file, "%d %9s", &number, word), 2);
  EXPECT_EQ(number, 7);
  EXPECT_EQ(getc(file), '\n');
  EXPECT_EQ(fclose(file), 0);

  char* text = nullptr;
  size_t size = 0;
  FILE* memory = open_memstream(&text, &size);
  EXPECT_EQ(fputs("in memory", memory), 1);
  EXPECT_EQ(fclose(memory), 0);
  EXPECT_EQ(std::string(text, size), "in memory");
  free(text);
}

// Threads without a hub have libc's own, on the same streams.
GREENLET_TEST_F(PatchedStdio, OutsideOfGreenletsItIsLibcs) {
  const Ends ends = Open();
  {
    const Unpatched unpatched;
    EXPECT_EQ(fputs("unpatched\n", ends.out), 1);
    EXPECT_EQ(fflush(ends.out), 0);
    char line[100];
    EXPECT_STREQ(fgets(line, sizeof line, ends.in), "unpatched\n");
  }
  Say(ends.out, "patched\n");
  char line[100];
  EXPECT_STREQ(fgets(line, sizeof line, ends.in), "patched\n");
}

GREENLET_TEST_F(PatchedStdio, AStreamForBothDirections) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  FILE* a = fdopen(fds[0], "r+");
  FILE* b = fdopen(fds[1], "r+");
  const Greenlet<> echo = Spawn([b] {
    char line[100];
    while (fgets(line, sizeof line, b) != nullptr) {
      fseek(b, 0, SEEK_CUR);  // as the standard wants it between the two
      EXPECT_EQ(fputs(line, b), 1);
      EXPECT_EQ(fflush(b), 0);
    }
  });
  for (const std::string line : {"one\n", "two\n", "three\n"}) {
    EXPECT_EQ(fputs(line.c_str(), a), 1);
    EXPECT_EQ(fflush(a), 0);
    char got[100];
    EXPECT_STREQ(fgets(got, sizeof got, a), line.c_str());
    fseek(a, 0, SEEK_CUR);
  }
  fclose(a);
  echo.Join();
  fclose(b);
}

}  // namespace
}  // namespace grove::patch
