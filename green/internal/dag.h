#ifndef GROVE_GREEN_INTERNAL_DAG_H_
#define GROVE_GREEN_INTERNAL_DAG_H_

#include <cstddef>
#include <deque>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/group.h"
#include "grove/green/internal/multi_wait.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"

namespace grove {

// PropagateError
//
// That a key of a DagPool has failed, and by what: an exception of its own function, or
// the PropagateError of a key that it depends on.
//
//   key 'roof' failed: key 'walls' failed: std::runtime_error: no bricks
class PropagateError : public std::runtime_error {
 public:
  PropagateError(std::string key, std::exception_ptr cause);
  // As in messages.
  const std::string& key() const { return key_; }
  std::exception_ptr cause() const { return cause_; }

 private:
  std::string key_;
  std::exception_ptr cause_;
};

namespace green_internal {

template <typename Key>
std::string KeyName(const Key& key) {
  if constexpr (requires { absl::StrCat(key); }) {
    return absl::StrCat(key);
  } else {
    std::ostringstream out;
    out << key;
    return out.str();
  }
}

// DagNode
//
// What a DagPool knows of a key, but for its value. While its greenlet runs, the watch
// has a target.
struct DagNode : EndWatch {
  DagNode() = default;
  ~DagNode() {
    GROVE_CHECK(line.empty() || Scheduler::process_exits(),
                "a DagPool is destroyed while ", line.front()->Who(),
                " waits for its key '", name, "'");
  }

  std::string name;
  bool has_value = false;
  std::exception_ptr failure;  // what the function threw
  std::exception_ptr error;    // the PropagateError
  WaiterList line;

  bool ready() const { return has_value || error != nullptr; }
  bool running() const { return target() != nullptr; }
};

// Dag
//
// The greenlets of a DagPool. At its end, ends those that run.
class Dag final : private Observer {
 public:
  Dag() = default;
  Dag(const Dag&) = delete;
  Dag& operator=(const Dag&) = delete;
  ~Dag();

  // `core` computes `node`'s value.
  void Add(DagNode* node, Core* core) {
    node->Start(core, this);
    group_.Add(AnyGreenlet::FromCore(core, /*add_ref=*/true));
  }
  // A fatal error on another hub.
  void Check(const char* what) { group_.HasCurrent(what); }
  size_t running() const { return group_.size(); }

  static void NotifyAll(DagNode* node) {
    while (ListedWaiter* w = node->line.PopFront()) w->Notify();
  }

 private:
  void Fulfilled(ListedWaiter* w) override;
  std::string Who() const override { return "a DagPool"; }

  Group group_;
};

// DagWait
//
// Some nodes, as they become ready.
class DagWait {
 public:
  DagWait() = default;
  DagWait(const DagWait&) = delete;
  DagWait& operator=(const DagWait&) = delete;
  ~DagWait() {
    for (; !operations_.empty(); operations_.pop_back()) {
      MultiWait::Remove(&operations_.back());
    }
  }

  void Add(DagNode* node) {
    operations_.emplace_back(node);
    wait_.Add(&operations_.back(), operations_.size() - 1);
    ++left_;
  }
  // Null once all have been, or on the deadline. Contract as MultiWait::Next().
  DagNode* Next(Deadline deadline) {
    if (left_ == 0) return nullptr;
    const Operation* done = wait_.Next(deadline);
    if (done == nullptr) return nullptr;
    --left_;
    return operations_[done->tag].node();
  }
  size_t left() const { return left_; }

 private:
  class ReadyOperation final : public Operation {
   public:
    explicit ReadyOperation(DagNode* node) : Operation(&node->line), node_(node) {}
    bool Try() override { return node_->ready(); }
    std::string Describe() const override {
      return absl::StrCat("key '", node_->name, "' of a DagPool");
    }
    DagNode* node() const { return node_; }

   private:
    DagNode* const node_;
  };

  MultiWait wait_;
  std::deque<ReadyOperation> operations_;
  size_t left_ = 0;
};

}  // namespace green_internal
}  // namespace grove

#endif  // GROVE_GREEN_INTERNAL_DAG_H_
