#include "grove/green/dag_pool.h"

#include "absl/strings/str_cat.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/outcomes.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

std::string Chain(const std::exception_ptr& cause) {
  try {
    std::rethrow_exception(cause);
  } catch (const PropagateError& e) {
    return e.what();
  } catch (...) {
    return green_internal::DescribeException(cause);
  }
}

}  // namespace

PropagateError::PropagateError(std::string key, std::exception_ptr cause)
    : std::runtime_error(absl::StrCat("key '", key, "' failed: ", Chain(cause))),
      key_(std::move(key)),
      cause_(std::move(cause)) {}

namespace green_internal {

Dag::~Dag() {
  if (group_.empty()) return;
  Shield shield;
  group_.Kill();
}

void Dag::Fulfilled(ListedWaiter* w) {
  DagNode* node = static_cast<DagNode*>(w);
  const Core* core = node->Take();
  if (!node->ready()) {
    std::exception_ptr cause = std::exchange(node->failure, nullptr);
    if (!cause) cause = core->error ? core->error : KilledError(core);
    node->error = std::make_exception_ptr(PropagateError(node->name, cause));
  }
  NotifyAll(node);
}

}  // namespace green_internal
}  // namespace grove
