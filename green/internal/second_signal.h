#ifndef GROVE_GREEN_INTERNAL_SECOND_SIGNAL_H_
#define GROVE_GREEN_INTERNAL_SECOND_SIGNAL_H_

#include <signal.h>

#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace grove::green_internal {

// SecondSignal
//
// While it lives, signals end the process from within their handler, with exit code
// 128 + signal: also while every hub computes or hangs. One at a time.
class SecondSignal {
 public:
  // The first `ignored` of them are let pass.
  SecondSignal(const std::vector<int>& signals, int ignored);
  SecondSignal(const SecondSignal&) = delete;
  SecondSignal& operator=(const SecondSignal&) = delete;
  // The handlers are those from before.
  ~SecondSignal();

  // SecondSignal::SetText()
  //
  // What is written to stderr at the end.
  void SetText(std::string text);

 private:
  std::vector<std::pair<int, struct sigaction>> before_;
  std::deque<std::string> texts_;  // a handler on another thread may read an old one
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_SECOND_SIGNAL_H_
