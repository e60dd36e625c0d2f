// What reads streams: fread(3), fgets(3), getline(3), getc(3), scanf(3) and their like.

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <exception>
#include <string>

#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/stream.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

int FGetC(FILE* f);
int GetC(FILE* f);
int IoGetC(FILE* f);
int GetChar();
int FGetCUnlocked(FILE* f);
int GetCUnlocked(FILE* f);
int GetCharUnlocked();
int Uflow(FILE* f);
int Underflow(FILE* f);
size_t FRead(void* to, size_t size, size_t count, FILE* f);
size_t FReadUnlocked(void* to, size_t size, size_t count, FILE* f);
size_t FReadChk(void* to, size_t capacity, size_t size, size_t count, FILE* f);
size_t FReadUnlockedChk(void* to, size_t capacity, size_t size, size_t count, FILE* f);
char* FGetS(char* to, int size, FILE* f);
char* FGetSUnlocked(char* to, int size, FILE* f);
char* FGetSChk(char* to, size_t capacity, int size, FILE* f);
char* FGetSUnlockedChk(char* to, size_t capacity, int size, FILE* f);
ssize_t GetLine(char** line, size_t* capacity, FILE* f);
ssize_t GetDelim(char** line, size_t* capacity, int delimiter, FILE* f);
ssize_t GetDelimInternal(char** line, size_t* capacity, int delimiter, FILE* f);
int VFScanF(FILE* f, const char* format, va_list args);
int VScanF(const char* format, va_list args);
int FScanF(FILE* f, const char* format, ...);
int ScanF(const char* format, ...);
int Iso99VFScanF(FILE* f, const char* format, va_list args);
int Iso99VScanF(const char* format, va_list args);
int Iso99FScanF(FILE* f, const char* format, ...);
int Iso99ScanF(const char* format, ...);

constinit HookOf fgetc_hook("fgetc", Module::kStdio, &FGetC);
constinit HookOf getc_hook("getc", Module::kStdio, &GetC);
constinit HookOf io_getc_hook("_IO_getc", Module::kStdio, &IoGetC);
constinit HookOf getchar_hook("getchar", Module::kStdio, &GetChar);
constinit HookOf fgetc_unlocked_hook("fgetc_unlocked", Module::kStdio, &FGetCUnlocked);
constinit HookOf getc_unlocked_hook("getc_unlocked", Module::kStdio, &GetCUnlocked);
constinit HookOf getchar_unlocked_hook("getchar_unlocked", Module::kStdio,
                                       &GetCharUnlocked);
// What the macros of getc_unlocked() call when the buffer is empty.
constinit HookOf uflow_hook("__uflow", Module::kStdio, &Uflow);
constinit HookOf underflow_hook("__underflow", Module::kStdio, &Underflow);
constinit HookOf fread_hook("fread", Module::kStdio, &FRead);
constinit HookOf fread_unlocked_hook("fread_unlocked", Module::kStdio, &FReadUnlocked);
constinit HookOf fread_chk_hook("__fread_chk", Module::kStdio, &FReadChk);
constinit HookOf fread_unlocked_chk_hook("__fread_unlocked_chk", Module::kStdio,
                                         &FReadUnlockedChk);
constinit HookOf fgets_hook("fgets", Module::kStdio, &FGetS);
constinit HookOf fgets_unlocked_hook("fgets_unlocked", Module::kStdio, &FGetSUnlocked);
constinit HookOf fgets_chk_hook("__fgets_chk", Module::kStdio, &FGetSChk);
constinit HookOf fgets_unlocked_chk_hook("__fgets_unlocked_chk", Module::kStdio,
                                         &FGetSUnlockedChk);
constinit HookOf getline_hook("getline", Module::kStdio, &GetLine);
constinit HookOf getdelim_hook("getdelim", Module::kStdio, &GetDelim);
constinit HookOf getdelim_internal_hook("__getdelim", Module::kStdio, &GetDelimInternal);
constinit HookOf vfscanf_hook("vfscanf", Module::kStdio, &VFScanF);
constinit HookOf vscanf_hook("vscanf", Module::kStdio, &VScanF);
constinit HookOfVariadic fscanf_hook("fscanf", Module::kStdio, &FScanF);
constinit HookOfVariadic scanf_hook("scanf", Module::kStdio, &ScanF);
constinit HookOf iso99_vfscanf_hook("__isoc99_vfscanf", Module::kStdio, &Iso99VFScanF);
constinit HookOf iso99_vscanf_hook("__isoc99_vscanf", Module::kStdio, &Iso99VScanF);
constinit HookOfVariadic iso99_fscanf_hook("__isoc99_fscanf", Module::kStdio,
                                           &Iso99FScanF);
constinit HookOfVariadic iso99_scanf_hook("__isoc99_scanf", Module::kStdio, &Iso99ScanF);

Hook* const hooks[] = {&fgetc_hook,
                       &getc_hook,
                       &io_getc_hook,
                       &getchar_hook,
                       &fgetc_unlocked_hook,
                       &getc_unlocked_hook,
                       &getchar_unlocked_hook,
                       &uflow_hook,
                       &underflow_hook,
                       &fread_hook,
                       &fread_unlocked_hook,
                       &fread_chk_hook,
                       &fread_unlocked_chk_hook,
                       &fgets_hook,
                       &fgets_unlocked_hook,
                       &fgets_chk_hook,
                       &fgets_unlocked_chk_hook,
                       &getline_hook,
                       &getdelim_hook,
                       &getdelim_internal_hook,
                       &vfscanf_hook,
                       &vscanf_hook,
                       &fscanf_hook,
                       &scanf_hook,
                       &iso99_vfscanf_hook,
                       &iso99_vscanf_hook,
                       &iso99_fscanf_hook,
                       &iso99_scanf_hook};

// --- characters ----------------------------------------------------------------------

template <typename Original>
int GetCharacter(Hook& hook, FILE* f, Original original) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr || CanReadAtOnce(f, 1)) {
    if (s != nullptr) hook.CountCall();
    return original();
  }
  Stream stream(*s, hook, f);
  return stream.plain() ? original() : stream.Get();
}

int FGetC(FILE* f) {
  return GetCharacter(fgetc_hook, f, [f] { return fgetc_hook.Original(f); });
}
int GetC(FILE* f) {
  return GetCharacter(getc_hook, f, [f] { return getc_hook.Original(f); });
}
int IoGetC(FILE* f) {
  return GetCharacter(io_getc_hook, f, [f] { return io_getc_hook.Original(f); });
}
int GetChar() {
  return GetCharacter(getchar_hook, stdin, [] { return getchar_hook.Original(); });
}
int FGetCUnlocked(FILE* f) {
  return GetCharacter(fgetc_unlocked_hook, f,
                      [f] { return fgetc_unlocked_hook.Original(f); });
}
int GetCUnlocked(FILE* f) {
  return GetCharacter(getc_unlocked_hook, f,
                      [f] { return getc_unlocked_hook.Original(f); });
}
int GetCharUnlocked() {
  return GetCharacter(getchar_unlocked_hook, stdin,
                      [] { return getchar_unlocked_hook.Original(); });
}
int Uflow(FILE* f) {
  return GetCharacter(uflow_hook, f, [f] { return uflow_hook.Original(f); });
}
int Underflow(FILE* f) {
  Scheduler* s = Cooperating(underflow_hook);
  if (s == nullptr) return underflow_hook.Original(f);
  Stream stream(*s, underflow_hook, f);
  if (stream.plain()) return underflow_hook.Original(f);
  const absl::string_view next = stream.Peek();
  return next.empty() ? EOF : static_cast<unsigned char>(next[0]);
}

// --- blocks --------------------------------------------------------------------------

template <typename Original>
size_t ReadBlock(Hook& hook, void* to, size_t size, size_t count, FILE* f,
                 Original original) {
  Scheduler* s = Cooperating(hook);
  size_t total;
  if (s == nullptr || __builtin_mul_overflow(size, count, &total) || total == 0 ||
      CanReadAtOnce(f, total)) {
    if (s != nullptr) hook.CountCall();
    return original();
  }
  Stream stream(*s, hook, f);
  if (stream.plain()) return original();
  size_t done = 0;
  while (done < total) {
    const absl::string_view next = stream.Peek();
    if (next.empty()) break;
    const size_t n = std::min(next.size(), total - done);
    memcpy(static_cast<char*>(to) + done, next.data(), n);
    stream.Take(n);
    done += n;
  }
  return done / size;
}

size_t FRead(void* to, size_t size, size_t count, FILE* f) {
  return ReadBlock(fread_hook, to, size, count, f,
                   [&] { return fread_hook.Original(to, size, count, f); });
}
size_t FReadUnlocked(void* to, size_t size, size_t count, FILE* f) {
  return ReadBlock(fread_unlocked_hook, to, size, count, f,
                   [&] { return fread_unlocked_hook.Original(to, size, count, f); });
}

// What _FORTIFY_SOURCE makes of them: the original ends the program over a buffer that is
// too small.
bool IsTooMuch(size_t capacity, size_t size, size_t count) {
  size_t total;
  return __builtin_mul_overflow(size, count, &total) || total > capacity;
}
size_t FReadChk(void* to, size_t capacity, size_t size, size_t count, FILE* f) {
  const auto original = [&] {
    return fread_chk_hook.Original(to, capacity, size, count, f);
  };
  if (IsTooMuch(capacity, size, count)) return original();
  return ReadBlock(fread_chk_hook, to, size, count, f, original);
}
size_t FReadUnlockedChk(void* to, size_t capacity, size_t size, size_t count, FILE* f) {
  const auto original = [&] {
    return fread_unlocked_chk_hook.Original(to, capacity, size, count, f);
  };
  if (IsTooMuch(capacity, size, count)) return original();
  return ReadBlock(fread_unlocked_chk_hook, to, size, count, f, original);
}

// --- lines ---------------------------------------------------------------------------

template <typename Original>
char* ReadLineInto(Hook& hook, char* to, int size, FILE* f, Original original) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr || size <= 1 || CanReadLineAtOnce(f, '\n')) {
    if (s != nullptr) hook.CountCall();
    return original();
  }
  Stream stream(*s, hook, f);
  if (stream.plain()) return original();
  // An error is one of this call, not of an earlier one.
  const int error_before = f->_flags & _IO_ERR_SEEN;
  f->_flags &= ~_IO_ERR_SEEN;
  const auto room = static_cast<size_t>(size) - 1;
  size_t done = 0;
  bool ended = false;
  while (done < room && !ended) {
    absl::string_view next = stream.Peek().substr(0, room - done);
    if (next.empty()) break;
    const size_t newline = next.find('\n');
    ended = newline != absl::string_view::npos;
    if (ended) next = next.substr(0, newline + 1);
    memcpy(to + done, next.data(), next.size());
    stream.Take(next.size());
    done += next.size();
  }
  const bool failed = (f->_flags & _IO_ERR_SEEN) != 0 && errno != EAGAIN;
  f->_flags |= error_before;
  if (done == 0 || failed) return nullptr;
  to[done] = '\0';
  return to;
}

char* FGetS(char* to, int size, FILE* f) {
  return ReadLineInto(fgets_hook, to, size, f,
                      [&] { return fgets_hook.Original(to, size, f); });
}
char* FGetSUnlocked(char* to, int size, FILE* f) {
  return ReadLineInto(fgets_unlocked_hook, to, size, f,
                      [&] { return fgets_unlocked_hook.Original(to, size, f); });
}
char* FGetSChk(char* to, size_t capacity, int size, FILE* f) {
  const auto original = [&] { return fgets_chk_hook.Original(to, capacity, size, f); };
  if (size > 0 && static_cast<size_t>(size) > capacity) return original();
  return ReadLineInto(fgets_chk_hook, to, size, f, original);
}
char* FGetSUnlockedChk(char* to, size_t capacity, int size, FILE* f) {
  const auto original = [&] {
    return fgets_unlocked_chk_hook.Original(to, capacity, size, f);
  };
  if (size > 0 && static_cast<size_t>(size) > capacity) return original();
  return ReadLineInto(fgets_unlocked_chk_hook, to, size, f, original);
}

// Room for `size` in a buffer that getline(3) grows.
bool Reserve(char** line, size_t* capacity, size_t size) {
  if (*line != nullptr && *capacity >= size) return true;
  const size_t wanted = std::max<size_t>({size, 2 * *capacity, 120});
  char* const grown = static_cast<char*>(realloc(*line, wanted));
  if (grown == nullptr) return false;
  *line = grown;
  *capacity = wanted;
  return true;
}

template <typename Original>
ssize_t ReadLine(Hook& hook, char** line, size_t* capacity, int delimiter, FILE* f,
                 Original original) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr || line == nullptr || capacity == nullptr ||
      CanReadLineAtOnce(f, delimiter)) {
    if (s != nullptr) hook.CountCall();
    return original();
  }
  Stream stream(*s, hook, f);
  if (stream.plain()) return original();
  if (*line == nullptr) *capacity = 0;
  size_t done = 0;
  for (bool ended = false; !ended;) {
    absl::string_view next = stream.Peek();
    if (next.empty()) break;
    const size_t end = next.find(static_cast<char>(delimiter));
    ended = end != absl::string_view::npos;
    if (ended) next = next.substr(0, end + 1);
    if (next.size() > SSIZE_MAX - done - 1) {
      errno = EOVERFLOW;
      return -1;
    }
    if (!Reserve(line, capacity, done + next.size() + 1)) return -1;
    memcpy(*line + done, next.data(), next.size());
    stream.Take(next.size());
    done += next.size();
  }
  if (done == 0) {
    // There is something to end in any case.
    if (Reserve(line, capacity, 1)) **line = '\0';
    return -1;
  }
  (*line)[done] = '\0';
  return static_cast<ssize_t>(done);
}

ssize_t GetLine(char** line, size_t* capacity, FILE* f) {
  return ReadLine(getline_hook, line, capacity, '\n', f,
                  [&] { return getline_hook.Original(line, capacity, f); });
}
ssize_t GetDelim(char** line, size_t* capacity, int delimiter, FILE* f) {
  return ReadLine(getdelim_hook, line, capacity, delimiter, f,
                  [&] { return getdelim_hook.Original(line, capacity, delimiter, f); });
}
ssize_t GetDelimInternal(char** line, size_t* capacity, int delimiter, FILE* f) {
  return ReadLine(getdelim_internal_hook, line, capacity, delimiter, f, [&] {
    return getdelim_internal_hook.Original(line, capacity, delimiter, f);
  });
}

// --- formats -------------------------------------------------------------------------

// scanf() asks for as many characters as it needs, and looks one ahead. It is given a
// stream of its own, which takes one at a time from the other, as a greenlet.
class OneAtATime {
 public:
  explicit OneAtATime(Stream& from) : from_(from) {
    file_ = fopencookie(
        this, "r", {.read = &Read, .write = nullptr, .seek = nullptr, .close = nullptr});
    if (file_ != nullptr) setvbuf(file_, nullptr, _IONBF, 0);
  }
  ~OneAtATime() {
    if (file_ != nullptr) OriginalClose(file_);
  }
  OneAtATime(const OneAtATime&) = delete;
  OneAtATime& operator=(const OneAtATime&) = delete;

  FILE* file() const { return file_; }

  // A pthread_cancel() while it waited, which libc is not to be unwound by.
  const std::exception_ptr& cancelled() const { return cancelled_; }

  // What was asked for, and then put back.
  std::string Rest() {
    over_ = true;
    std::string rest;
    while (file_->_IO_read_ptr < file_->_IO_read_end) {
      rest.push_back(static_cast<char>(fgetc_hook.Original(file_)));
    }
    return rest;
  }

 private:
  static ssize_t Read(void* self, char* to, size_t size) {
    auto& me = *static_cast<OneAtATime*>(self);
    if (me.over_ || me.cancelled_ || size == 0) return 0;
    absl::string_view next;
    try {
      next = me.from_.Peek();
    } catch (...) {
      me.cancelled_ = std::current_exception();
      return -1;
    }
    if (next.empty()) return me.from_.failed() ? -1 : 0;
    *to = next[0];
    me.from_.Take(1);
    return 1;
  }

  Stream& from_;
  FILE* file_;
  bool over_ = false;
  std::exception_ptr cancelled_;
};

template <typename Original>
int Scan(Hook& hook, FILE* f, const char* format, va_list args, Original& original) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return original.Original(f, format, args);
  Stream stream(*s, hook, f);
  if (stream.plain()) return original.Original(f, format, args);
  OneAtATime source(stream);
  if (source.file() == nullptr) return EOF;
  const int result = original.Original(source.file(), format, args);
  if (source.cancelled()) std::rethrow_exception(source.cancelled());
  const int error = errno;
  const std::string rest = source.Rest();
  for (auto c = rest.rbegin(); c != rest.rend(); ++c) {
    ungetc(static_cast<unsigned char>(*c), f);
  }
  errno = error;
  return result;
}

int VFScanF(FILE* f, const char* format, va_list args) {
  return Scan(vfscanf_hook, f, format, args, vfscanf_hook);
}
int VScanF(const char* format, va_list args) {
  return Scan(vscanf_hook, stdin, format, args, vfscanf_hook);
}
int FScanF(FILE* f, const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int result = Scan(fscanf_hook, f, format, args, vfscanf_hook);
  va_end(args);
  return result;
}
int ScanF(const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int result = Scan(scanf_hook, stdin, format, args, vfscanf_hook);
  va_end(args);
  return result;
}
int Iso99VFScanF(FILE* f, const char* format, va_list args) {
  return Scan(iso99_vfscanf_hook, f, format, args, iso99_vfscanf_hook);
}
int Iso99VScanF(const char* format, va_list args) {
  return Scan(iso99_vscanf_hook, stdin, format, args, iso99_vfscanf_hook);
}
int Iso99FScanF(FILE* f, const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int result = Scan(iso99_fscanf_hook, f, format, args, iso99_vfscanf_hook);
  va_end(args);
  return result;
}
int Iso99ScanF(const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int result = Scan(iso99_scanf_hook, stdin, format, args, iso99_vfscanf_hook);
  va_end(args);
  return result;
}

}  // namespace

int OriginalUnderflow(FILE* f) { return underflow_hook.Original(f); }

absl::Span<Hook* const> StdioReadHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
