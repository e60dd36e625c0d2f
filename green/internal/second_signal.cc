#include "grove/green/internal/second_signal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "grove/green/internal/own_sigaction.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

// What the handler may touch: a signal may arrive in the middle of anything.
std::atomic<const char*> final_text{nullptr};
std::atomic<int> come{0};
struct sigaction before[NSIG];

void OnSignal(int signum, siginfo_t* info, void* context) {
  if (come.fetch_add(1) == 0) {
    const struct sigaction& first = before[signum];
    if (first.sa_flags & SA_SIGINFO) {
      first.sa_sigaction(signum, info, context);
    } else if (first.sa_handler != SIG_DFL && first.sa_handler != SIG_IGN) {
      first.sa_handler(signum);
    }
    return;
  }
  if (const char* text = final_text.load()) {
    [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, text, strlen(text));
  }
  _exit(128 + signum);
}

}  // namespace

SecondSignal::SecondSignal(std::vector<int> signals) : signals_(std::move(signals)) {
  // One that is named twice would find this handler where there was another.
  std::sort(signals_.begin(), signals_.end());
  signals_.erase(std::unique(signals_.begin(), signals_.end()), signals_.end());
  SetText("grove: second signal, ends at once\n");
  come.store(0);
  for (const int signum : signals_) {
    // Known before it may be asked for.
    GROVE_CHECK(OwnSigaction(signum, nullptr, &before[signum]) == 0,
                "there is no signal ", signum);
    struct sigaction action = {};
    action.sa_sigaction = &OnSignal;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    GROVE_CHECK(OwnSigaction(signum, &action, nullptr) == 0, "signal ", signum,
                " cannot be handled: ", strerror(errno));
  }
}

SecondSignal::~SecondSignal() {
  for (const int signum : signals_) OwnSigaction(signum, &before[signum], nullptr);
  final_text.store(nullptr);
}

void SecondSignal::SetText(std::string text) {
  texts_.push_back(std::move(text));
  final_text.store(texts_.back().c_str());
}

}  // namespace grove::green_internal
