#ifndef GROVE_GREEN_TESTING_INTERNAL_LEAKS_H_
#define GROVE_GREEN_TESTING_INTERNAL_LEAKS_H_

#include <cstddef>
#include <map>
#include <string>

// What a test's body has left behind. Each function returns lines for people, and nothing
// if nothing was left.
namespace grove::testing_internal {

// OpenDescriptors
//
// The descriptors of this process that are open when it is made.
class OpenDescriptors {
 public:
  OpenDescriptors() : open_(List()) {}

  // OpenDescriptors::NewOnes()
  //
  // Those that are open now and were not, or stand for something else, each with what it
  // refers to: "  fd 7: socket:[4711]".
  std::string NewOnes() const;

 private:
  static std::map<int, std::string> List();

  const std::map<int, std::string> open_;
};

// How many stacks of this process greenlets have, alive or not, or hubs keep.
size_t StacksInUse();

// The greenlets of this thread's hub but the current one and the main one, with where
// they were spawned and what they wait for.
std::string LiveGreenletLines();

// What is registered on this thread's hub, which had `watchers` active ones at first:
// wakers, watchers that no Descriptor owns, armed timers.
std::string LeftOnHub(int watchers);

// Runs what is ready, what that makes ready and so on, and delivers what was posted.
// Gives up in the end on greenlets that yield for ever.
//
// Blocks: until nothing is ready.
void Settle();

}  // namespace grove::testing_internal

#endif  // GROVE_GREEN_TESTING_INTERNAL_LEAKS_H_
