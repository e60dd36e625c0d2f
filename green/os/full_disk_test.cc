// What becomes of writes to a disk that is full. The disk is a tmpfs of 256 KiB, in a
// mount namespace of this process's own: main() begins again in one.
#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/buffered.h"
#include "grove/green/os/file.h"
#include "grove/green/os/file_system.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;

constexpr char kDisk[] = "GROVE_FULL_DISK_TEST_DISK";
constexpr size_t kSize = 256 << 10;

class FullDiskTest : public GreenletTest {
 protected:
  void SetUp() override {
    for (const std::string& name : Names()) EXPECT_TRUE(RemoveTree(Path(name)).ok());
    struct statfs fs;
    ASSERT_EQ(statfs(disk_.c_str(), &fs), 0);
    ASSERT_EQ(fs.f_blocks * fs.f_bsize, kSize) << "not the small disk";
  }
  void TearDown() override {}

  std::string Path(absl::string_view name) const {
    return absl::StrCat(disk_, "/", name);
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    const std::vector<DirectoryEntry> entries = *ListDirectory(disk_);
    for (const DirectoryEntry& e : entries) names.push_back(e.name);
    return names;
  }

  const std::string disk_ = getenv(kDisk);
};

GREENLET_TEST_F(FullDiskTest, AWriteSaysHowMuchOfItFitted) {
  absl::StatusOr<File> file = File::Open(Path("file"), OpenMode::kCreate);
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::Status status = file->Write(std::string(2 * kSize, 'x'));
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrnoOf(status), ENOSPC);
  EXPECT_EQ(status.message(),
            absl::StrCat("write to '", Path("file"), "': No space left on device"));
  EXPECT_GT(BytesMoved(status), 0u);
  EXPECT_LE(BytesMoved(status), kSize);
  EXPECT_EQ(*file->Size(), BytesMoved(status));
  EXPECT_EQ(ErrnoOf(file->WriteAt("x", 2 * kSize)), ENOSPC);
}

GREENLET_TEST_F(FullDiskTest, OnceThereIsRoomAgainTheFileGoesOn) {
  ASSERT_EQ(ErrnoOf(WriteFile(Path("filler"), std::string(2 * kSize, 'x'))), ENOSPC);
  absl::StatusOr<File> file = File::Open(Path("file"), OpenMode::kCreate);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(ErrnoOf(file->Write("lost")), ENOSPC);
  ASSERT_TRUE(RemoveFile(Path("filler")).ok());
  EXPECT_TRUE(file->Write("written").ok());
  EXPECT_TRUE(file->Close().ok());
  EXPECT_EQ(*ReadFile(Path("file")), "written");
}

GREENLET_TEST_F(FullDiskTest, AFailedReplacementLeavesTheOldContentAndNothingElse) {
  ASSERT_TRUE(ReplaceFile(Path("state"), "old").ok());
  const absl::Status status = ReplaceFile(Path("state"), std::string(2 * kSize, 'x'));
  EXPECT_EQ(ErrnoOf(status), ENOSPC);
  EXPECT_GT(BytesMoved(status), 0u);
  EXPECT_EQ(*ReadFile(Path("state")), "old");
  EXPECT_THAT(Names(), ElementsAre("state"));
  EXPECT_TRUE(ReplaceFile(Path("state"), std::string(kSize / 2, 'x')).ok())
      << "what the failure had written is free again";
}

GREENLET_TEST_F(FullDiskTest, ABufferedWriterTellsByFlushAndWritesNothingAfterIt) {
  absl::StatusOr<File> file = File::Open(Path("file"), OpenMode::kCreate);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::string record(1000, 'r');
  absl::Status status;
  {
    BufferedWriter writer(*file);
    for (size_t i = 0; i < 2 * kSize && status.ok(); i += record.size()) {
      status = writer.Write(record);
    }
    EXPECT_EQ(ErrnoOf(status), ENOSPC);
    ASSERT_TRUE(file->Truncate(0).ok());
    EXPECT_EQ(ErrnoOf(writer.Flush()), ENOSPC);
  }
  EXPECT_EQ(*file->Size(), 0u);
}

GREENLET_TEST_F(FullDiskTest, NewNamesThatDoNotFitAreErrors) {
  // The disk has 20 inodes.
  absl::Status status;
  for (int i = 0; i < 40 && status.ok(); ++i) {
    status = WriteFile(Path(absl::StrCat("file-", i)), "");
  }
  EXPECT_EQ(ErrnoOf(status), ENOSPC);
  EXPECT_EQ(ErrnoOf(MakeDirectories(Path("folder"))), ENOSPC);
}

// Runs this program again with a disk, where nobody but it sees it.
int BeginAgain(const char* filter) {
  char self[PATH_MAX] = {};
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return 1;
  std::string disk = testing::TempDir() + "/full_disk_XXXXXX";
  if (mkdtemp(disk.data()) == nullptr) return 1;
  setenv(kDisk, disk.c_str(), 1);
  const std::string script =
      absl::StrCat("mount -t tmpfs -o size=256k,nr_inodes=20 none \"$", kDisk,
                   "\" && exec '", self, "' --gtest_filter='", filter, "'");
  execlp("unshare", "unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
         script.c_str(), nullptr);
  fprintf(stderr, "unshare(1), which this test needs, cannot be run\n");
  return 1;
}

}  // namespace
}  // namespace grove

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (getenv(grove::kDisk) == nullptr) {
    return grove::BeginAgain(testing::GTEST_FLAG(filter).c_str());
  }
  return RUN_ALL_TESTS();
}
