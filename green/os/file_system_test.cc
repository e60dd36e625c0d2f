#include "grove/green/os/file_system.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/file.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/thread_pool.h"

namespace grove {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FileSystemTest : public GreenletTest {
 protected:
  FileSystemTest() {
    std::string name = testing::TempDir() + "/file_system_test_XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~FileSystemTest() override {
    if (!folder_.empty()) system(absl::StrCat("rm -rf '", folder_, "'").c_str());
  }
  void SetUp() override {}
  void TearDown() override {}

  std::string Path(absl::string_view name) const {
    return absl::StrCat(folder_, "/", name);
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    absl::StatusOr<std::vector<DirectoryEntry>> entries = ListDirectory(folder_);
    EXPECT_TRUE(entries.ok()) << entries.status();
    for (const DirectoryEntry& e : *entries) names.push_back(e.name);
    return names;
  }
  mode_t PermissionsOf(absl::string_view name) const {
    struct stat st {};
    EXPECT_EQ(stat(Path(name).c_str(), &st), 0);
    return st.st_mode & 07777;
  }

  std::string folder_;
};

// --- whole files ---------------------------------------------------------------------

GREENLET_TEST_F(FileSystemTest, WhatIsWrittenIsRead) {
  std::string data(3 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 + i / 251);
  ASSERT_TRUE(WriteFile(Path("file"), data).ok());
  EXPECT_TRUE(*ReadFile(Path("file")) == data);
  ASSERT_TRUE(WriteFile(Path("file"), "short").ok());
  EXPECT_EQ(*ReadFile(Path("file")), "short") << "emptied before";
  ASSERT_TRUE(AppendFile(Path("file"), "er").ok());
  ASSERT_TRUE(AppendFile(Path("new"), "begun").ok());
  EXPECT_EQ(*ReadFile(Path("file")), "shorter");
  EXPECT_EQ(*ReadFile(Path("new")), "begun");
  ASSERT_TRUE(WriteFile(Path("empty"), "").ok());
  EXPECT_EQ(*ReadFile(Path("empty")), "");
}

GREENLET_TEST_F(FileSystemTest, FilesThatDoNotSayTheirSizeAreReadWhole) {
  const absl::StatusOr<std::string> status = ReadFile("/proc/self/status");
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_THAT(*status, HasSubstr("voluntary_ctxt_switches")) << "near its end";
  // The kernel gives the whole number to the first read, and nothing to a second one.
  int64_t limit = 0;
  std::ifstream("/proc/sys/kernel/pid_max") >> limit;
  ASSERT_GT(limit, 9);
  EXPECT_EQ(*ReadFile("/proc/sys/kernel/pid_max"), absl::StrCat(limit, "\n"));
}

GREENLET_TEST_F(FileSystemTest, AFileLargerThanTheLimitIsAnError) {
  ASSERT_TRUE(WriteFile(Path("file"), "12345").ok());
  EXPECT_EQ(*ReadFile(Path("file"), 5), "12345");
  const absl::Status status = ReadFile(Path("file"), 4).status();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("more than 4 bytes"));
  EXPECT_EQ(ReadFile("/proc/self/status", 10).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadFile("/dev/zero", 100000).status().code(),
            StatusCode::kResourceExhausted);
}

GREENLET_TEST_F(FileSystemTest, ErrorsNameTheOperationAndTheFile) {
  EXPECT_EQ(ReadFile(Path("none")).status().message(),
            absl::StrCat("open '", Path("none"), "': No such file or directory"));
  EXPECT_EQ(ErrnoOf(ReadFile(folder_).status()), EISDIR);
  EXPECT_EQ(ErrnoOf(WriteFile(Path("no/file"), "x")), ENOENT);
  EXPECT_EQ(WriteFile("/dev/full", "x").message(),
            "write to '/dev/full': No space left on device");
}

GREENLET_TEST_F(FileSystemTest, CallsOfSeveralGreenletsRunSideBySide) {
  std::vector<Greenlet<>> writers;
  for (int i = 0; i < 30; ++i) {
    writers.push_back(Spawn([this, i] {
      EXPECT_TRUE(WriteFile(Path(absl::StrCat(i)), absl::StrCat("content ", i)).ok());
    }));
  }
  for (const Greenlet<>& g : writers) g.Join();
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(*ReadFile(Path(absl::StrCat(i))), absl::StrCat("content ", i));
  }
}

// --- ReplaceFile ---------------------------------------------------------------------

GREENLET_TEST_F(FileSystemTest, ReplaceFilePutsTheNewContentInPlace) {
  ASSERT_TRUE(ReplaceFile(Path("state"), "one").ok());
  EXPECT_EQ(*ReadFile(Path("state")), "one");
  absl::StatusOr<File> reader = File::Open(Path("state"));
  ASSERT_TRUE(ReplaceFile(Path("state"), "two").ok());
  ASSERT_TRUE(ReplaceFile(Path("state"), "three", {.sync = false}).ok());
  EXPECT_EQ(*ReadFile(Path("state")), "three");
  char buffer[10];
  EXPECT_EQ(*reader->Read(absl::MakeSpan(buffer)), 3u);
  EXPECT_EQ(std::string(buffer, 3), "one") << "who has it open keeps what there was";
  EXPECT_THAT(Names(), ElementsAre("state"));
}

GREENLET_TEST_F(FileSystemTest, AReaderNeverSeesAPartOfWhatIsReplaced) {
  const std::string a(100000, 'a'), b(200000, 'b');
  ASSERT_TRUE(ReplaceFile(Path("state"), a).ok());
  const Greenlet<> writer = Spawn([&] {
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(ReplaceFile(Path("state"), i % 2 ? a : b, {.sync = false}).ok());
    }
  });
  while (!writer.ready()) {
    const absl::StatusOr<std::string> seen = ReadFile(Path("state"));
    ASSERT_TRUE(seen.ok()) << seen.status();
    EXPECT_TRUE(*seen == a || *seen == b) << seen->size();
  }
}

GREENLET_TEST_F(FileSystemTest, ReplaceFileKeepsPermissions) {
  const mode_t before = umask(022);
  ASSERT_TRUE(ReplaceFile(Path("new"), "x").ok());
  ASSERT_TRUE(ReplaceFile(Path("secret"), "x", {.permissions = 0600}).ok());
  ASSERT_TRUE(ReplaceFile(Path("secret"), "y").ok());
  ASSERT_TRUE(WriteFile(Path("open"), "x").ok());
  ASSERT_EQ(chmod(Path("open").c_str(), 0666), 0);
  ASSERT_TRUE(ReplaceFile(Path("open"), "y").ok());
  umask(before);
  EXPECT_EQ(PermissionsOf("new"), 0644u);
  EXPECT_EQ(PermissionsOf("secret"), 0600u);
  EXPECT_EQ(PermissionsOf("open"), 0666u) << "whatever the umask";
}

GREENLET_TEST_F(FileSystemTest, ReplaceFileFollowsALink) {
  ASSERT_TRUE(MakeDirectories(Path("elsewhere")).ok());
  ASSERT_TRUE(WriteFile(Path("elsewhere/target"), "old").ok());
  ASSERT_EQ(symlink("elsewhere/target", Path("link").c_str()), 0);
  ASSERT_TRUE(ReplaceFile(Path("link"), "new").ok());
  EXPECT_EQ(GetLinkInfo(Path("link"))->kind, FileKind::kSymlink);
  EXPECT_EQ(*ReadFile(Path("elsewhere/target")), "new");
  ASSERT_EQ(symlink("nowhere", Path("dangling").c_str()), 0);
  EXPECT_EQ(ReplaceFile(Path("dangling"), "x").code(), StatusCode::kNotFound);
}

GREENLET_TEST_F(FileSystemTest, AFailedReplacementLeavesWhatWasThereAndNothingElse) {
  ASSERT_TRUE(WriteFile(Path("state"), "old").ok());
  rlimit before;
  const auto ignored = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limit{1000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status status = ReplaceFile(Path("state"), std::string(5000, 'x'));
  const absl::Status fresh = ReplaceFile(Path("fresh"), std::string(5000, 'x'));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, ignored);
  EXPECT_EQ(ErrnoOf(status), EFBIG);
  EXPECT_EQ(BytesMoved(status), 1000u);
  EXPECT_EQ(ErrnoOf(fresh), EFBIG);
  EXPECT_EQ(*ReadFile(Path("state")), "old");
  EXPECT_THAT(Names(), ElementsAre("state"));
  ASSERT_TRUE(MakeDirectories(Path("folder")).ok());
  EXPECT_EQ(ReplaceFile(Path("folder"), "x").code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReplaceFile(Path("none/file"), "x").code(), StatusCode::kNotFound);
  EXPECT_THAT(Names(), ElementsAre("folder", "state"));
}

GREENLET_TEST_F(FileSystemTest, AKilledReplacementIsDoneOrNotBegun) {
  // At whatever moment the kill comes.
  const std::string a(50000, 'a'), b(50000, 'b');
  ASSERT_TRUE(WriteFile(Path("state"), a).ok());
  for (int yields = 0; yields < 50; ++yields) {
    const Greenlet<> g =
        Spawn([&] { ReplaceFile(Path("state"), b, {.sync = false}).IgnoreError(); });
    for (int i = 0; i < yields; ++i) Yield();
    g.Kill();
    const std::string seen = *ReadFile(Path("state"));
    EXPECT_TRUE(seen == a || seen == b);
    EXPECT_THAT(Names(), ElementsAre("state"));
  }
}

// --- names ---------------------------------------------------------------------------

GREENLET_TEST_F(FileSystemTest, AListingIsSortedAndSaysKinds) {
  ASSERT_TRUE(WriteFile(Path("b"), "").ok());
  ASSERT_TRUE(WriteFile(Path("a"), "").ok());
  ASSERT_TRUE(WriteFile(Path(".hidden"), "").ok());
  ASSERT_TRUE(MakeDirectories(Path("folder")).ok());
  ASSERT_EQ(symlink("nowhere", Path("link").c_str()), 0);
  ASSERT_EQ(mkfifo(Path("queue").c_str(), 0600), 0);
  const absl::StatusOr<std::vector<DirectoryEntry>> entries = ListDirectory(folder_);
  ASSERT_TRUE(entries.ok()) << entries.status();
  std::vector<std::pair<std::string, FileKind>> seen;
  for (const DirectoryEntry& e : *entries) seen.emplace_back(e.name, e.kind);
  EXPECT_THAT(seen, ElementsAre(std::pair(".hidden", FileKind::kRegular),
                                std::pair("a", FileKind::kRegular),
                                std::pair("b", FileKind::kRegular),
                                std::pair("folder", FileKind::kDirectory),
                                std::pair("link", FileKind::kSymlink),
                                std::pair("queue", FileKind::kFifo)));
  EXPECT_TRUE(ListDirectory(Path("folder"))->empty());
  EXPECT_EQ(ListDirectory(Path("none")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ErrnoOf(ListDirectory(Path("a")).status()), ENOTDIR);
}

GREENLET_TEST_F(FileSystemTest, InfoFollowsLinksAndLinkInfoDoesNot) {
  ASSERT_TRUE(WriteFile(Path("file"), "12345", 0640).ok());
  ASSERT_EQ(symlink("file", Path("link").c_str()), 0);
  EXPECT_EQ(GetFileInfo(Path("link"))->size, 5u);
  EXPECT_EQ(GetFileInfo(Path("link"))->inode, GetFileInfo(Path("file"))->inode);
  EXPECT_EQ(GetLinkInfo(Path("link"))->kind, FileKind::kSymlink);
  EXPECT_EQ(GetFileInfo(folder_)->kind, FileKind::kDirectory);
  EXPECT_EQ(GetFileInfo("/dev/null")->kind, FileKind::kDevice);
  EXPECT_EQ(GetFileInfo(Path("none")).status().code(), StatusCode::kNotFound);
  const timespec then[2] = {{1000000, 0}, {1000000, 500}};
  ASSERT_EQ(utimensat(AT_FDCWD, Path("file").c_str(), then, 0), 0);
  EXPECT_EQ(GetFileInfo(Path("file"))->modified,
            absl::FromUnixSeconds(1000000) + absl::Nanoseconds(500));
}

GREENLET_TEST_F(FileSystemTest, FoldersAreMadeWithThoseAboveThem) {
  EXPECT_TRUE(MakeDirectories(Path("a/b/c")).ok());
  EXPECT_TRUE(MakeDirectories(Path("a/b/c")).ok()) << "there already";
  EXPECT_EQ(GetFileInfo(Path("a/b/c"))->kind, FileKind::kDirectory);
  ASSERT_TRUE(WriteFile(Path("file"), "").ok());
  EXPECT_EQ(ErrnoOf(MakeDirectories(Path("file/below"))), ENOTDIR);
  EXPECT_FALSE(MakeDirectories(Path("file")).ok());
}

GREENLET_TEST_F(FileSystemTest, NamesAreChangedAndRemoved) {
  ASSERT_TRUE(WriteFile(Path("a"), "a").ok());
  ASSERT_TRUE(WriteFile(Path("b"), "b").ok());
  EXPECT_TRUE(RenameFile(Path("a"), Path("b")).ok());
  EXPECT_EQ(*ReadFile(Path("b")), "a");
  const absl::Status none = RenameFile(Path("a"), Path("c"));
  EXPECT_EQ(none.message(), absl::StrCat("rename '", Path("a"), "' to '", Path("c"),
                                         "': No such file or directory"));
  EXPECT_TRUE(RemoveFile(Path("b")).ok());
  EXPECT_EQ(RemoveFile(Path("b")).code(), StatusCode::kNotFound);
  ASSERT_TRUE(MakeDirectories(Path("folder/below")).ok());
  EXPECT_EQ(ErrnoOf(RemoveDirectory(Path("folder"))), ENOTEMPTY);
  EXPECT_EQ(ErrnoOf(RemoveFile(Path("folder"))), EISDIR);
  EXPECT_TRUE(RemoveDirectory(Path("folder/below")).ok());
  EXPECT_THAT(Names(), ElementsAre("folder"));
}

GREENLET_TEST_F(FileSystemTest, ATreeIsRemovedAndWhatItsLinksNameIsNot) {
  ASSERT_TRUE(MakeDirectories(Path("tree/a/b")).ok());
  ASSERT_TRUE(WriteFile(Path("tree/a/file"), "x").ok());
  ASSERT_TRUE(WriteFile(Path("kept"), "x").ok());
  ASSERT_EQ(symlink("../kept", Path("tree/link").c_str()), 0);
  EXPECT_EQ(*RemoveTree(Path("tree")), 5u);
  EXPECT_EQ(*RemoveTree(Path("tree")), 0u);
  EXPECT_THAT(Names(), ElementsAre("kept"));
}

}  // namespace
}  // namespace grove
