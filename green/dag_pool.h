#ifndef GROVE_GREEN_DAG_POOL_H_
#define GROVE_GREEN_DAG_POOL_H_

#include <cstddef>
#include <exception>
#include <initializer_list>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/dag.h"
#include "grove/green/internal/next_iterator.h"
#include "grove/hub/deadline.h"

namespace grove {

// DagPostOptions
struct DagPostOptions {
  // Whether a value that is there is replaced.
  bool replace = false;
};

// DagItem, DagFailure
//
// A key with its value, or with a PropagateError. They refer into the pool.
template <typename Key, typename Value>
struct DagItem {
  const Key& key;
  const Value& value;
};
template <typename Key>
struct DagFailure {
  const Key& key;
  std::exception_ptr error;
};

// DagPool
//
// Greenlets that compute values from one another's: each has a key, and names the keys
// that it depends on, in any order, also before those are there.
//
//   DagPool<std::string, int> pool;
//   const auto sum = [](const std::string&, auto& inputs) {
//     int total = 1;
//     for (auto& [key, value] : inputs) total += value;  // as they become ready
//     return total;
//   };
//   pool.Spawn("roof", {"walls"}, sum).IgnoreError();
//   pool.Spawn("walls", {"ground"}, sum).IgnoreError();
//   pool.Post("ground", 1).IgnoreError();
//   pool["roof"];  // 3
//
// All greenlets run at once, whether what they need is there or not; going through
// `inputs` is what waits. A function that throws fails its key, and throws a
// PropagateError in whoever asks for that: a greenlet that lets it pass fails as well, so
// that an error names the keys it came through. Keys that depend on each other in a
// circle wait for ever.
//
// A key is used once: a second Spawn() or Post() is refused with kAlreadyExists, since
// keys come from data. At its end, what runs is killed and joined.
//
// Key: has operator<, and absl::StrCat() or operator<< for messages. Value: movable;
// Wait() and Get() copy it. References to values hold as long as the pool, or until
// Post() replaces them.
//
// Threads: belongs to the hub of its first use; use elsewhere is a fatal error.
template <typename Key, typename Value>
class DagPool {
  using Node = green_internal::DagNode;
  struct ValueNode;

 public:
  using Values = std::map<Key, Value>;

  // Keys as they become ready, as input ranges with Next(): DagItems, and DagFailures.
  // Items::All() goes through the rest, and returns a map.
  class Items;
  class Failures;

  // With values that are there already.
  DagPool() = default;
  DagPool(std::initializer_list<std::pair<const Key, Value>> preload)
      : DagPool(Values(preload)) {}
  explicit DagPool(Values preload);
  DagPool(const DagPool&) = delete;
  DagPool& operator=(const DagPool&) = delete;

  // DagPool::Spawn()
  //
  // Computes `key` by fn(key, inputs), in a new greenlet, where `inputs` is an Items of
  // `depends`. Does not block. kAlreadyExists if the key is used already.
  template <typename F>
  absl::Status Spawn(Key key, std::vector<Key> depends, F fn,
                     SpawnSite site = SpawnSite::Here());

  // DagPool::SpawnMany()
  //
  // Spawn() with the same function for each key, with what it depends on. All of them, or
  // none, with kAlreadyExists.
  template <typename F>
  absl::Status SpawnMany(const std::map<Key, std::vector<Key>>& depends, F fn,
                         SpawnSite site = SpawnSite::Here());

  // DagPool::Post()
  //
  // Gives a key its value. kAlreadyExists if it has one, unless that is to be replaced,
  // or if another greenlet computes it; that greenlet itself may, before it ends, and
  // then what it returns is dropped. Does not block.
  absl::Status Post(const Key& key, Value value, DagPostOptions options = {});

  // DagPool::Kill()
  //
  // Kills the greenlet that computes `key`, which fails by that, and waits for its end.
  // kNotFound if there is none.
  //
  // Blocks: until it has ended.
  // Deadline: returns kDeadlineExceeded; the kill stays in force.
  // Kill: throws; the kill stays in force.
  absl::Status Kill(const Key& key, Deadline deadline = {});

  // DagPool::operator[](), DagPool::Get()
  //
  // The value of a key, which need not have been spawned or posted yet. Throws the
  // PropagateError if it has failed.
  //
  // Blocks: until it is there.
  // Deadline: Get() returns kDeadlineExceeded.
  // Kill: throws.
  const Value& operator[](const Key& key) { return Ready(key, {})->Get(); }
  absl::StatusOr<Value> Get(const Key& key, Deadline deadline = {});

  // DagPool::Wait(), DagPool::WaitAll()
  //
  // Waits for some keys, or for all that were spawned or posted before the call, and
  // returns their values. Throws the PropagateError of the first that fails.
  //
  // Blocks: until they are there.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws.
  absl::StatusOr<Values> Wait(const std::vector<Key>& keys, Deadline deadline = {});
  absl::StatusOr<Values> WaitAll(Deadline deadline = {}) {
    return Wait(Known(), deadline);
  }

  // DagPool::WaitEach() and the like
  //
  // Goes through keys as they become ready: WaitEach() throws the PropagateError of one
  // that has failed when it comes to that, and can go on; WaitEachSuccess() leaves those
  // out, and WaitEachFailure() the others. The deadline ends the iteration.
  Items WaitEach(const std::vector<Key>& keys, Deadline deadline = {}) {
    return Items(this, keys, deadline, /*skip=*/false);
  }
  Items WaitEach() { return WaitEach(Known()); }
  Items WaitEachSuccess(const std::vector<Key>& keys, Deadline deadline = {}) {
    return Items(this, keys, deadline, /*skip=*/true);
  }
  Items WaitEachSuccess() { return WaitEachSuccess(Known()); }
  Failures WaitEachFailure(const std::vector<Key>& keys, Deadline deadline = {}) {
    return Failures(this, keys, deadline);
  }
  Failures WaitEachFailure() { return WaitEachFailure(Known()); }

  // Keys that have a value or have failed; those, with their values, that have one.
  std::vector<Key> Keys() const;
  Values Available() const;
  // Keys whose greenlets have not ended, and how many they are.
  std::vector<Key> RunningKeys() const;
  size_t running() const { return dag_.running(); }
  // Of those, how many depend on a key that is not ready.
  size_t waiting() const;
  // Which keys a running one depends on that are not ready.
  std::vector<Key> WaitingFor(const Key& key) const;

 private:
  std::vector<Key> Known() const;
  ValueNode* NodeOf(const Key& key);
  ValueNode* Ready(const Key& key, Deadline deadline);
  bool Used(const Key& key) const;

  std::map<Key, ValueNode> nodes_;
  green_internal::Dag dag_;  // last: ends the greenlets
};

}  // namespace grove

#include "grove/green/internal/dag_pool_inl.h"

#endif  // GROVE_GREEN_DAG_POOL_H_
