#ifndef GROVE_GREEN_TESTING_INTERNAL_TIME_LIMIT_H_
#define GROVE_GREEN_TESTING_INTERNAL_TIME_LIMIT_H_

#include <time.h>

#include <string>

#include "absl/time/time.h"

namespace grove::testing_internal {

// TimeLimit
//
// Ends the process, with who waits on what, if the object lives longer than it may in
// real time. By a signal to this thread (SIGRTMAX - 2), since a thread of its own would
// be one that could post to a hub, for all that hub knows. The report is made by this
// thread's hub if it comes to its mail within two seconds, else by the signal handler, as
// well as that goes. One object at a time, on a thread that has a hub.
class TimeLimit {
 public:
  // An infinite one is none.
  TimeLimit(absl::Duration limit, const std::string& test);
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;
  ~TimeLimit();

 private:
  bool armed_ = false;
  timer_t timer_ = {};
};

}  // namespace grove::testing_internal

#endif  // GROVE_GREEN_TESTING_INTERNAL_TIME_LIMIT_H_
