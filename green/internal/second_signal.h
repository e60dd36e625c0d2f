#ifndef GROVE_GREEN_INTERNAL_SECOND_SIGNAL_H_
#define GROVE_GREEN_INTERNAL_SECOND_SIGNAL_H_

#include <signal.h>

#include <deque>
#include <string>
#include <vector>

namespace grove::green_internal {

// SecondSignal
//
// While it lives, the second signal ends the process from within its handler, with exit
// code 128 + signal: also while every hub computes or hangs. The first goes to the
// handler that was there before. One at a time.
class SecondSignal {
 public:
  explicit SecondSignal(std::vector<int> signals);
  SecondSignal(const SecondSignal&) = delete;
  SecondSignal& operator=(const SecondSignal&) = delete;
  // The handlers are those from before.
  ~SecondSignal();

  // SecondSignal::SetText()
  //
  // What is written to stderr at the end.
  void SetText(std::string text);

 private:
  std::vector<int> signals_;
  std::deque<std::string> texts_;  // a handler on another thread may read an old one
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_SECOND_SIGNAL_H_
