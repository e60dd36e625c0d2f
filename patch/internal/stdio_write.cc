// What writes streams: fwrite(3), fputs(3), putc(3), printf(3), fflush(3) and their like;
// and fclose(3).

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <memory>

#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/io.h"
#include "grove/patch/internal/stdio_lock.h"
#include "grove/patch/internal/stream.h"
#include "grove/patch/internal/wait.h"

// What _FORTIFY_SOURCE makes of the calls.
extern "C" int __vasprintf_chk(char**, int, const char*, va_list);

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

int FPutC(int c, FILE* f);
int PutC(int c, FILE* f);
int IoPutC(int c, FILE* f);
int PutChar(int c);
int FPutCUnlocked(int c, FILE* f);
int PutCUnlocked(int c, FILE* f);
int PutCharUnlocked(int c);
int Overflow(FILE* f, int c);
size_t FWrite(const void* data, size_t size, size_t count, FILE* f);
size_t FWriteUnlocked(const void* data, size_t size, size_t count, FILE* f);
int FPutS(const char* text, FILE* f);
int FPutSUnlocked(const char* text, FILE* f);
int PutS(const char* text);
int FFlush(FILE* f);
int FFlushUnlocked(FILE* f);
int FClose(FILE* f);
int VFPrintF(FILE* f, const char* format, va_list args);
int VPrintF(const char* format, va_list args);
int FPrintF(FILE* f, const char* format, ...);
int PrintF(const char* format, ...);
int VDPrintF(int fd, const char* format, va_list args);
int DPrintF(int fd, const char* format, ...);
int VFPrintFChk(FILE* f, int flag, const char* format, va_list args);
int VPrintFChk(int flag, const char* format, va_list args);
int FPrintFChk(FILE* f, int flag, const char* format, ...);
int PrintFChk(int flag, const char* format, ...);
int VDPrintFChk(int fd, int flag, const char* format, va_list args);
int DPrintFChk(int fd, int flag, const char* format, ...);

constinit HookOf fputc_hook("fputc", Module::kStdio, &FPutC);
constinit HookOf putc_hook("putc", Module::kStdio, &PutC);
constinit HookOf io_putc_hook("_IO_putc", Module::kStdio, &IoPutC);
constinit HookOf putchar_hook("putchar", Module::kStdio, &PutChar);
constinit HookOf fputc_unlocked_hook("fputc_unlocked", Module::kStdio, &FPutCUnlocked);
constinit HookOf putc_unlocked_hook("putc_unlocked", Module::kStdio, &PutCUnlocked);
constinit HookOf putchar_unlocked_hook("putchar_unlocked", Module::kStdio,
                                       &PutCharUnlocked);
// What the macros of putc_unlocked() call when the buffer is full.
constinit HookOf overflow_hook("__overflow", Module::kStdio, &Overflow);
constinit HookOf fwrite_hook("fwrite", Module::kStdio, &FWrite);
constinit HookOf fwrite_unlocked_hook("fwrite_unlocked", Module::kStdio, &FWriteUnlocked);
constinit HookOf fputs_hook("fputs", Module::kStdio, &FPutS);
constinit HookOf fputs_unlocked_hook("fputs_unlocked", Module::kStdio, &FPutSUnlocked);
constinit HookOf puts_hook("puts", Module::kStdio, &PutS);
constinit HookOf fflush_hook("fflush", Module::kStdio, &FFlush);
constinit HookOf fflush_unlocked_hook("fflush_unlocked", Module::kStdio, &FFlushUnlocked);
constinit HookOf fclose_hook("fclose", Module::kStdio, &FClose);
constinit HookOf vfprintf_hook("vfprintf", Module::kStdio, &VFPrintF);
constinit HookOf vprintf_hook("vprintf", Module::kStdio, &VPrintF);
constinit HookOfVariadic fprintf_hook("fprintf", Module::kStdio, &FPrintF);
constinit HookOfVariadic printf_hook("printf", Module::kStdio, &PrintF);
constinit HookOf vdprintf_hook("vdprintf", Module::kStdio, &VDPrintF);
constinit HookOfVariadic dprintf_hook("dprintf", Module::kStdio, &DPrintF);
constinit HookOf vfprintf_chk_hook("__vfprintf_chk", Module::kStdio, &VFPrintFChk);
constinit HookOf vprintf_chk_hook("__vprintf_chk", Module::kStdio, &VPrintFChk);
constinit HookOfVariadic fprintf_chk_hook("__fprintf_chk", Module::kStdio, &FPrintFChk);
constinit HookOfVariadic printf_chk_hook("__printf_chk", Module::kStdio, &PrintFChk);
constinit HookOf vdprintf_chk_hook("__vdprintf_chk", Module::kStdio, &VDPrintFChk);
constinit HookOfVariadic dprintf_chk_hook("__dprintf_chk", Module::kStdio, &DPrintFChk);

Hook* const hooks[] = {&fputc_hook,
                       &putc_hook,
                       &io_putc_hook,
                       &putchar_hook,
                       &fputc_unlocked_hook,
                       &putc_unlocked_hook,
                       &putchar_unlocked_hook,
                       &overflow_hook,
                       &fwrite_hook,
                       &fwrite_unlocked_hook,
                       &fputs_hook,
                       &fputs_unlocked_hook,
                       &puts_hook,
                       &fflush_hook,
                       &fflush_unlocked_hook,
                       &fclose_hook,
                       &vfprintf_hook,
                       &vprintf_hook,
                       &fprintf_hook,
                       &printf_hook,
                       &vdprintf_hook,
                       &dprintf_hook,
                       &vfprintf_chk_hook,
                       &vprintf_chk_hook,
                       &fprintf_chk_hook,
                       &printf_chk_hook,
                       &vdprintf_chk_hook,
                       &dprintf_chk_hook};

// --- characters, strings, blocks -----------------------------------------------------

template <typename Original>
int PutCharacter(Hook& hook, int c, FILE* f, Original original) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr || CanPutAtOnce(f, 1)) {
    if (s != nullptr) hook.CountCall();
    return original();
  }
  Stream stream(*s, hook, f);
  if (stream.plain()) return original();
  const char byte = static_cast<char>(c);
  return stream.Put({&byte, 1}) ? static_cast<unsigned char>(c) : EOF;
}

int FPutC(int c, FILE* f) {
  return PutCharacter(fputc_hook, c, f, [=] { return fputc_hook.Original(c, f); });
}
int PutC(int c, FILE* f) {
  return PutCharacter(putc_hook, c, f, [=] { return putc_hook.Original(c, f); });
}
int IoPutC(int c, FILE* f) {
  return PutCharacter(io_putc_hook, c, f, [=] { return io_putc_hook.Original(c, f); });
}
int PutChar(int c) {
  return PutCharacter(putchar_hook, c, stdout, [=] { return putchar_hook.Original(c); });
}
int FPutCUnlocked(int c, FILE* f) {
  return PutCharacter(fputc_unlocked_hook, c, f,
                      [=] { return fputc_unlocked_hook.Original(c, f); });
}
int PutCUnlocked(int c, FILE* f) {
  return PutCharacter(putc_unlocked_hook, c, f,
                      [=] { return putc_unlocked_hook.Original(c, f); });
}
int PutCharUnlocked(int c) {
  return PutCharacter(putchar_unlocked_hook, c, stdout,
                      [=] { return putchar_unlocked_hook.Original(c); });
}

int Overflow(FILE* f, int c) {
  Scheduler* s = Cooperating(overflow_hook);
  if (s == nullptr) return overflow_hook.Original(f, c);
  Stream stream(*s, overflow_hook, f);
  if (stream.plain()) return overflow_hook.Original(f, c);
  if (c == EOF) return stream.Flush() ? 0 : EOF;
  const char byte = static_cast<char>(c);
  return stream.Put({&byte, 1}) ? static_cast<unsigned char>(c) : EOF;
}

template <typename Original>
size_t WriteBlock(Hook& hook, const void* data, size_t size, size_t count, FILE* f,
                  Original original) {
  Scheduler* s = Cooperating(hook);
  size_t total;
  if (s == nullptr || __builtin_mul_overflow(size, count, &total) || total == 0 ||
      CanPutAtOnce(f, total)) {
    if (s != nullptr) hook.CountCall();
    return original();
  }
  Stream stream(*s, hook, f);
  if (stream.plain()) return original();
  size_t put = 0;
  if (stream.Put({static_cast<const char*>(data), total}, &put)) return count;
  return put / size;
}

size_t FWrite(const void* data, size_t size, size_t count, FILE* f) {
  return WriteBlock(fwrite_hook, data, size, count, f,
                    [=] { return fwrite_hook.Original(data, size, count, f); });
}
size_t FWriteUnlocked(const void* data, size_t size, size_t count, FILE* f) {
  return WriteBlock(fwrite_unlocked_hook, data, size, count, f,
                    [=] { return fwrite_unlocked_hook.Original(data, size, count, f); });
}

template <typename Original>
int PutString(Hook& hook, const char* text, FILE* f, Original original) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr || CanPutAtOnce(f, strlen(text))) {
    if (s != nullptr) hook.CountCall();
    return original();
  }
  Stream stream(*s, hook, f);
  if (stream.plain()) return original();
  return stream.Put(text) ? 1 : EOF;
}

int FPutS(const char* text, FILE* f) {
  return PutString(fputs_hook, text, f, [=] { return fputs_hook.Original(text, f); });
}
int FPutSUnlocked(const char* text, FILE* f) {
  return PutString(fputs_unlocked_hook, text, f,
                   [=] { return fputs_unlocked_hook.Original(text, f); });
}
int PutS(const char* text) {
  Scheduler* s = Cooperating(puts_hook);
  if (s == nullptr) return puts_hook.Original(text);
  Stream stream(*s, puts_hook, stdout);
  if (stream.plain()) return puts_hook.Original(text);
  if (!stream.Put(text) || !stream.Put("\n")) return EOF;
  return static_cast<int>(std::min<size_t>(strlen(text) + 1, INT_MAX));
}

// --- formats -------------------------------------------------------------------------

struct Free {
  void operator()(char* p) const { free(p); }
};

// Of a text that vasprintf(3) has made, `length` long; negative if it could not.
int PutText(Stream& stream, char* text, int length) {
  const std::unique_ptr<char, Free> owned(length >= 0 ? text : nullptr);
  if (length < 0) return length;
  return stream.Put({text, static_cast<size_t>(length)}) ? length : -1;
}

int Print(Hook& hook, FILE* f, const char* format, va_list args) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return vfprintf_hook.Original(f, format, args);
  Stream stream(*s, hook, f);
  if (stream.plain()) return vfprintf_hook.Original(f, format, args);
  char* text = nullptr;
  const int length = vasprintf(&text, format, args);
  return PutText(stream, text, length);
}

int PrintChk(Hook& hook, FILE* f, int flag, const char* format, va_list args) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return vfprintf_chk_hook.Original(f, flag, format, args);
  Stream stream(*s, hook, f);
  if (stream.plain()) return vfprintf_chk_hook.Original(f, flag, format, args);
  char* text = nullptr;
  const int length = __vasprintf_chk(&text, flag, format, args);
  return PutText(stream, text, length);
}

int VFPrintF(FILE* f, const char* format, va_list args) {
  return Print(vfprintf_hook, f, format, args);
}
int VPrintF(const char* format, va_list args) {
  return Print(vprintf_hook, stdout, format, args);
}
int FPrintF(FILE* f, const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int result = Print(fprintf_hook, f, format, args);
  va_end(args);
  return result;
}
int PrintF(const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int result = Print(printf_hook, stdout, format, args);
  va_end(args);
  return result;
}
int VFPrintFChk(FILE* f, int flag, const char* format, va_list args) {
  return PrintChk(vfprintf_chk_hook, f, flag, format, args);
}
int VPrintFChk(int flag, const char* format, va_list args) {
  return PrintChk(vprintf_chk_hook, stdout, flag, format, args);
}
int FPrintFChk(FILE* f, int flag, const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int result = PrintChk(fprintf_chk_hook, f, flag, format, args);
  va_end(args);
  return result;
}
int PrintFChk(int flag, const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int result = PrintChk(printf_chk_hook, stdout, flag, format, args);
  va_end(args);
  return result;
}

// Has no buffer: is written at once.
int WriteText(Hook& hook, int fd, char* text, int length) {
  const std::unique_ptr<char, Free> owned(length >= 0 ? text : nullptr);
  if (length < 0) return length;
  hook.CountCall();
  for (int done = 0; done < length;) {
    const ssize_t n = WriteAsPatched(fd, text + done, static_cast<size_t>(length - done));
    if (n < 0) return -1;
    done += static_cast<int>(n);
  }
  return length;
}

int PrintTo(Hook& hook, int fd, const char* format, va_list args) {
  if (Cooperating(hook) == nullptr) return vdprintf_hook.Original(fd, format, args);
  char* text = nullptr;
  const int length = vasprintf(&text, format, args);
  return WriteText(hook, fd, text, length);
}
int PrintToChk(Hook& hook, int fd, int flag, const char* format, va_list args) {
  if (Cooperating(hook) == nullptr) {
    return vdprintf_chk_hook.Original(fd, flag, format, args);
  }
  char* text = nullptr;
  const int length = __vasprintf_chk(&text, flag, format, args);
  return WriteText(hook, fd, text, length);
}

int VDPrintF(int fd, const char* format, va_list args) {
  return PrintTo(vdprintf_hook, fd, format, args);
}
int DPrintF(int fd, const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int result = PrintTo(dprintf_hook, fd, format, args);
  va_end(args);
  return result;
}
int VDPrintFChk(int fd, int flag, const char* format, va_list args) {
  return PrintToChk(vdprintf_chk_hook, fd, flag, format, args);
}
int DPrintFChk(int fd, int flag, const char* format, ...) {
  va_list args;
  va_start(args, format);
  const int result = PrintToChk(dprintf_chk_hook, fd, flag, format, args);
  va_end(args);
  return result;
}

// --- the end of what was written -----------------------------------------------------

// Writes out what is in the buffer, where that may take a wait.
bool FlushCooperatively(Scheduler& s, Hook& hook, FILE* f) {
  Stream stream(s, hook, f);
  return stream.plain() || stream.Flush();
}

template <typename Original>
int FlushStream(Hook& hook, FILE* f, Original original) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return original();
  if (f == nullptr) {
    // Of the others, which are libc's to know, libc waits for those that are full.
    const bool ok = FlushCooperatively(*s, hook, stdout);
    return original() == 0 && ok ? 0 : EOF;
  }
  if (!FlushCooperatively(*s, hook, f)) return EOF;
  return original();
}

int FFlush(FILE* f) {
  return FlushStream(fflush_hook, f, [f] { return fflush_hook.Original(f); });
}
int FFlushUnlocked(FILE* f) {
  return FlushStream(fflush_unlocked_hook, f,
                     [f] { return fflush_unlocked_hook.Original(f); });
}

int FClose(FILE* f) {
  Scheduler* s = Cooperating(fclose_hook);
  if (s == nullptr || f == nullptr) return fclose_hook.Original(f);
  const bool ok = FlushCooperatively(*s, fclose_hook, f);
  const int error = errno;
  if (!ok) __fpurge(f);  // the original is not to try once more
  if (f->_fileno >= 0) green_internal::PollSet::Closing(f->_fileno);
  const int result = fclose_hook.Original(f);
  ForgetStream(*s, f);
  if (ok) return result;
  errno = error;
  return EOF;
}

}  // namespace

int OriginalOverflow(FILE* f, int c) { return overflow_hook.Original(f, c); }
int OriginalFlush(FILE* f) { return fflush_unlocked_hook.Original(f); }
int OriginalClose(FILE* f) { return fclose_hook.Original(f); }

absl::Span<Hook* const> StdioWriteHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
