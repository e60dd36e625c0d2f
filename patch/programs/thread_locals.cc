// Thread-local variables of a program that knows nothing of grove: each thread has its
// own, also while others run, whatever they are initialized with. Prints what it saw.

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<int> made = 0, destroyed = 0, key_destroyed = 0, wrong = 0;

struct Counted {
  Counted() : text(100, 'x') { ++made; }
  ~Counted() {
    ++destroyed;
    if (text != std::string(100, 'x')) ++wrong;
  }
  std::string text;
};

thread_local Counted counted;
thread_local int number = 41;
thread_local char large[3000];
__thread long* self_address;
pthread_key_t key;

void Expect(bool right) {
  if (!right) ++wrong;
}

void Work(int n) {
  Expect(number == 41);
  Expect(large[0] == 0 && large[2999] == 0);
  Expect(self_address == nullptr);
  number = n;
  large[0] = large[2999] = static_cast<char>(n);
  self_address = new long(n);
  pthread_setspecific(key, &number);
  for (int round = 0; round < 5; ++round) {
    errno = n;
    usleep(1000);
    Expect(number == n && large[2999] == static_cast<char>(n) && *self_address == n);
    Expect(counted.text.size() == 100);
    // An exception in flight while others run.
    try {
      try {
        throw std::runtime_error(std::to_string(n));
      } catch (const std::exception& outer) {
        usleep(100);
        Expect(outer.what() == std::to_string(n));
        throw;
      }
    } catch (const std::runtime_error& e) {
      usleep(100);
      Expect(e.what() == std::to_string(n));
    }
    Expect(std::uncaught_exceptions() == 0);
    // Memory goes from thread to thread, by one allocator.
    std::vector<std::string> many;
    for (int i = 0; i < 50; ++i) many.emplace_back(static_cast<size_t>(i * 7), 'm');
    usleep(10);
  }
  delete self_address;
}

void All(int threads) {
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) all.emplace_back(Work, i);
  for (std::thread& t : all) t.join();
}

// fork(2) in a thread: the child goes on with that thread's variables.
void Fork() {
  std::thread([] {
    number = 7;
    const pid_t before = getpid();
    const pid_t child = fork();
    if (child == 0) {
      usleep(10);
      std::thread([] { Expect(number == 41); }).join();
      _exit(number == 7 && getpid() != before && wrong == 0 ? 0 : 1);
    }
    int status = -1;
    Expect(waitpid(child, &status, 0) == child && status == 0);
    Expect(number == 7);
  }).join();
}

void DestroyKey(void* value) {
  ++key_destroyed;
  Expect(*static_cast<int*>(value) == number);
}

}  // namespace

int main() {
  pthread_key_create(&key, &DestroyKey);
  number = -1;
  counted.text[0] = 'x';
  for (int i = 0; i < 20; ++i) All(100);
  Fork();
  Expect(number == -1);
  printf("made %d, destroyed %d, keys %d, wrong %d\n", made.load(), destroyed.load(),
         key_destroyed.load(), wrong.load());
  return wrong == 0 ? 0 : 1;
}
