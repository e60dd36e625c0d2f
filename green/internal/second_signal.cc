#include "grove/green/internal/second_signal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <atomic>

#include "grove/green/internal/own_sigaction.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

// What the handler may touch: a signal may arrive in the middle of anything.
std::atomic<const char*> final_text{nullptr};
std::atomic<int> to_ignore{0};

void End(int signum) {
  if (to_ignore.fetch_sub(1) > 0) return;
  if (const char* text = final_text.load()) {
    [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, text, strlen(text));
  }
  _exit(128 + signum);
}

}  // namespace

SecondSignal::SecondSignal(const std::vector<int>& signals, int ignored) {
  SetText("grove: second signal, ends at once\n");
  to_ignore.store(ignored);
  for (const int signum : signals) {
    struct sigaction action = {};
    action.sa_handler = &End;
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    struct sigaction before;
    GROVE_CHECK(OwnSigaction(signum, &action, &before) == 0, "signal ", signum,
                " cannot be handled: ", strerror(errno));
    before_.emplace_back(signum, before);
  }
}

SecondSignal::~SecondSignal() {
  for (const auto& [signum, before] : before_) OwnSigaction(signum, &before, nullptr);
  final_text.store(nullptr);
}

void SecondSignal::SetText(std::string text) {
  texts_.push_back(std::move(text));
  final_text.store(texts_.back().c_str());
}

}  // namespace grove::green_internal
