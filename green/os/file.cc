#include "grove/green/os/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "grove/green/internal/own_hub.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/os/internal/file_calls.h"
#include "grove/green/os/internal/files_pool.h"
#include "grove/green/os/internal/line.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove {

using green_internal::ErrorOf;
using green_internal::Line;
using green_internal::ListedWaiter;
using green_internal::Moved;
using green_internal::OnFilesPool;
using green_internal::Scheduler;

namespace {

int FlagsOf(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY;
    case OpenMode::kReadWrite:
      return O_RDWR;
    case OpenMode::kCreate:
      return O_RDWR | O_CREAT;
    case OpenMode::kTruncate:
      return O_WRONLY | O_CREAT | O_TRUNC;
    case OpenMode::kAppend:
      return O_WRONLY | O_CREAT | O_APPEND;
    case OpenMode::kCreateNew:
      return O_WRONLY | O_CREAT | O_EXCL;
  }
  GROVE_FATAL("no OpenMode: ", static_cast<int>(mode));
}

std::string Doing(const char* operation, const std::string& path) {
  return absl::StrCat(operation, " '", path, "'");
}

class CloseWaiter final : public ListedWaiter {
 public:
  using ListedWaiter::ListedWaiter;
  std::string Describe() const override { return "the end of calls on a file"; }
};

}  // namespace

// Shared with the calls under way: the File may be moved or destroyed meanwhile.
class File::State {
 public:
  State(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (fd_ >= 0) close(fd_);  // where nothing may wait
  }

  // What `call(fd)` moves, on a thread; with `in_turn` after all that came before so.
  absl::StatusOr<size_t> Run(const char* operation, bool in_turn,
                             absl::FunctionRef<Moved(int fd)> call);
  absl::Status Close();
  int Release();

  int fd() const { return fd_; }
  bool closed() const { return closed_; }
  const std::string& path() const { return path_; }

 private:
  absl::Status IsClosed(const char* operation) const {
    return absl::CancelledError(
        absl::StrCat(Doing(operation, path_), ": the file is closed"));
  }
  absl::StatusOr<size_t> RunNow(const char* operation,
                                absl::FunctionRef<Moved(int fd)> call);

  int fd_;
  const std::string path_;
  bool closed_ = false;  // to new calls
  int calls_ = 0;        // under way, or waiting for their turn
  green_internal::OwnHub hub_;
  Line position_;
  green_internal::WaiterList closers_;
};

// --- calls ---------------------------------------------------------------------------

absl::StatusOr<size_t> File::State::Run(const char* operation, bool in_turn,
                                        absl::FunctionRef<Moved(int fd)> call) {
  if (closed_) return IsClosed(operation);
  hub_.Check("a call on a File");
  struct UnderWay {
    explicit UnderWay(State* s) : state(s) { ++state->calls_; }
    ~UnderWay() {
      if (--state->calls_ == 0) state->closers_.NotifyAll();
    }
    State* const state;
  } under_way(this);
  if (!in_turn) return RunNow(operation, call);
  Line::Turn turn(position_);
  return RunNow(operation, call);
}

absl::StatusOr<size_t> File::State::RunNow(const char* operation,
                                           absl::FunctionRef<Moved(int fd)> call) {
  if (closed_) return IsClosed(operation);  // while it waited for its turn
  absl::StatusOr<Moved> moved = OnFilesPool([&] { return call(fd_); });
  if (!moved.ok()) return std::move(moved).status();
  if (moved->error == 0) return moved->bytes;
  return WithBytesMoved(ErrnoStatus(moved->error, Doing(operation, path_)), moved->bytes);
}

absl::Status File::State::Close() {
  if (fd_ < 0) return absl::OkStatus();
  Scheduler& s = hub_.Check("Close() of a File");
  closed_ = true;
  while (calls_ > 0) {
    CloseWaiter waiter(s.current(), &closers_);
    s.Park(&waiter);
  }
  if (fd_ < 0) return absl::OkStatus();  // two that close
  const int fd = std::exchange(fd_, -1);
  absl::StatusOr<int> error;
  {
    // Begun or not, it has to be closed.
    Shield shield;
    error = OnFilesPool([fd] { return close(fd) < 0 ? errno : 0; });
  }
  if (!error.ok()) {  // no thread for it
    close(fd);
    return absl::OkStatus();
  }
  // The descriptor is gone all the same after EINTR, on Linux.
  if (*error == 0 || *error == EINTR) return absl::OkStatus();
  return ErrnoStatus(*error, Doing("close", path_));
}

int File::State::Release() {
  GROVE_CHECK(calls_ == 0, "Release() of the file '", path_, "' while ", calls_,
              " calls on it are under way");
  closed_ = true;
  return std::exchange(fd_, -1);
}

// --- File ----------------------------------------------------------------------------

absl::StatusOr<File> File::Open(std::string path, OpenMode mode, mode_t permissions) {
  const int flags = FlagsOf(mode) | O_CLOEXEC;
  absl::StatusOr<std::pair<int, int>> opened = OnFilesPool([&] {
    int fd = -1;
    const int error =
        ErrorOf([&] { return fd = open(path.c_str(), flags, permissions); });
    return std::pair(fd, error);
  });
  if (!opened.ok()) return std::move(opened).status();
  const auto [fd, error] = *opened;
  if (error != 0) return ErrnoStatus(error, Doing("open", path));
  return Adopt(fd, std::move(path));
}

File File::Adopt(int fd, std::string name) {
  return File(std::make_shared<State>(fd, std::move(name)));
}

File::File(std::shared_ptr<State> state) : state_(std::move(state)) {}

File& File::operator=(File&& other) {
  if (this != &other) {
    CloseAtEnd();
    state_ = std::move(other.state_);
  }
  return *this;
}

File::~File() { CloseAtEnd(); }

void File::CloseAtEnd() {
  const std::shared_ptr<State> state = std::move(state_);
  if (state == nullptr || state->fd() < 0) return;
  const Scheduler* here = Scheduler::GetIfExists();
  // Else what is left is closed with the state.
  if (here == nullptr || here->on_loop_stack()) return;
  Shield shield;
  state->Close().IgnoreError();
}

absl::StatusOr<size_t> File::Run(const char* operation, bool in_turn,
                                 absl::FunctionRef<green_internal::Moved(int)> call) {
  const std::shared_ptr<State> state = state_;
  if (state == nullptr) {
    return absl::CancelledError(absl::StrCat(operation, " a file that is not open"));
  }
  return state->Run(operation, in_turn, call);
}

absl::StatusOr<size_t> File::Read(absl::Span<char> buffer) {
  return Run("read from", /*in_turn=*/true,
             [&](int fd) { return green_internal::ReadSome(fd, buffer); });
}

absl::StatusOr<size_t> File::ReadAt(absl::Span<char> buffer, uint64_t offset) {
  return Run("read from", /*in_turn=*/false,
             [&](int fd) { return green_internal::ReadAllAt(fd, buffer, offset); });
}

absl::Status File::Write(absl::string_view data) {
  return Run("write to", /*in_turn=*/true,
             [&](int fd) { return green_internal::WriteAll(fd, data); })
      .status();
}

absl::Status File::WriteAt(absl::string_view data, uint64_t offset) {
  return Run("write to", /*in_turn=*/false,
             [&](int fd) { return green_internal::WriteAllAt(fd, data, offset); })
      .status();
}

absl::StatusOr<uint64_t> File::SeekBy(int64_t offset, int whence) {
  return Run("seek in", /*in_turn=*/true, [&](int fd) {
    const off_t at = lseek(fd, offset, whence);
    return at < 0 ? Moved{0, errno} : Moved{static_cast<size_t>(at), 0};
  });
}

absl::StatusOr<uint64_t> File::Seek(uint64_t offset) {
  return SeekBy(static_cast<int64_t>(offset), SEEK_SET);
}
absl::StatusOr<uint64_t> File::SeekToEnd() { return SeekBy(0, SEEK_END); }
absl::StatusOr<uint64_t> File::Position() { return SeekBy(0, SEEK_CUR); }

absl::Status File::Truncate(uint64_t size) {
  return Run("truncate", /*in_turn=*/false,
             [&](int fd) {
               return Moved{
                   0, ErrorOf([&] { return ftruncate(fd, static_cast<off_t>(size)); })};
             })
      .status();
}

absl::Status File::Sync() {
  return Run("sync", /*in_turn=*/false,
             [](int fd) {
               return Moved{0, ErrorOf([&] { return fsync(fd); })};
             })
      .status();
}

absl::Status File::SyncData() {
  return Run("sync", /*in_turn=*/false,
             [](int fd) {
               return Moved{0, ErrorOf([&] { return fdatasync(fd); })};
             })
      .status();
}

absl::StatusOr<FileInfo> File::Info() {
  struct stat st {};
  absl::StatusOr<size_t> done = Run("stat", /*in_turn=*/false, [&](int fd) {
    return Moved{0, ErrorOf([&] { return fstat(fd, &st); })};
  });
  if (!done.ok()) return std::move(done).status();
  return green_internal::InfoOf(st);
}

absl::StatusOr<uint64_t> File::Size() {
  absl::StatusOr<FileInfo> info = Info();
  if (!info.ok()) return std::move(info).status();
  return info->size;
}

absl::Status File::Close() {
  const std::shared_ptr<State> state = state_;
  return state == nullptr ? absl::OkStatus() : state->Close();
}

bool File::closed() const { return state_ == nullptr || state_->closed(); }
int File::Release() { return state_ == nullptr ? -1 : state_->Release(); }
int File::fd() const { return state_ == nullptr ? -1 : state_->fd(); }

const std::string& File::path() const {
  static const std::string& none = *new std::string;
  return state_ == nullptr ? none : state_->path();
}

}  // namespace grove
