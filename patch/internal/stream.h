#ifndef GROVE_PATCH_INTERNAL_STREAM_H_
#define GROVE_PATCH_INTERNAL_STREAM_H_

#include <stdio.h>

#include <cstddef>
#include <optional>

#include "absl/strings/string_view.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/retry.h"

namespace grove::patch::patch_internal {

// Stream
//
// One call of a greenlet's on a stream of stdio, from its beginning to its end; other
// greenlets' calls on that stream wait for it, as those of threads do.
//
// libc reads and writes descriptors in its own ways, which no import table shows. So its
// buffers are filled and emptied here, when that needs no waiting, in steps that take
// libc's own lock; in between the greenlet waits. The buffers stay libc's, and say at
// each such moment what libc itself would have them say: its public structure of them
// (<bits/types/struct_FILE.h>) is what its macros compile into programs, and so is not
// going to change.
class Stream {
 public:
  Stream(green_internal::Scheduler& s, Hook& hook, FILE* f);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // For the original to do, since it waits for nothing but a disk; or because it is not
  // known here how: a stream of wide characters, or of a program's own functions.
  bool plain() const { return plain_; }

  // What can be read now, after waiting until there is something. Empty at the end and
  // after an error, of which the stream's flags and errno tell.
  absl::string_view Peek();
  void Take(size_t n);
  // Whether the last Peek() that was empty was so after an error.
  bool failed() const { return failed_; }
  // A character, or EOF.
  int Get();

  // Both return false after an error, as above. `put`, if given, is how much was taken.
  bool Put(absl::string_view data, size_t* put = nullptr);
  bool Flush();

 private:
  enum class Step { kDone, kFailed, kWait };
  bool Fill();
  Step FillStep();
  Step PutStep(absl::string_view& data);
  Step FlushStep();
  bool Prepare();
  bool PutAll(absl::string_view& data);
  bool WaitFor(std::optional<Patience>& patience, short events);
  bool FlushStdoutOfReader();

  green_internal::Scheduler& scheduler_;
  Hook& hook_;
  FILE* const f_;
  bool plain_;
  bool failed_ = false;
  std::optional<Patience> reading_, writing_;
};

// libc's own, of the buffer: what their hooks stand for.
int OriginalUnderflow(FILE* f);
int OriginalOverflow(FILE* f, int c);
int OriginalFlush(FILE* f);
int OriginalClose(FILE* f);

// Whether a call for so much may go to the original at once, since the buffer has it, or
// has room for it.
bool CanReadAtOnce(const FILE* f, size_t size);
bool CanReadLineAtOnce(const FILE* f, int delimiter);
bool CanPutAtOnce(const FILE* f, size_t size);

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_STREAM_H_
