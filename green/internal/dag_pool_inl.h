#ifndef GROVE_GREEN_INTERNAL_DAG_POOL_INL_H_
#define GROVE_GREEN_INTERNAL_DAG_POOL_INL_H_

#include <set>

#include "absl/strings/str_cat.h"
#include "grove/green/dag_pool.h"

// The functions of DagPool, which are long for a header since they are templates.
namespace grove {

template <typename Key, typename Value>
struct DagPool<Key, Value>::ValueNode final : green_internal::DagNode {
  const Value& Get() const {
    if (!value) std::rethrow_exception(error);
    return *value;
  }
  void Set(Value v) {
    value.emplace(std::move(v));
    has_value = true;
  }
  const Key* key = nullptr;  // in the map
  std::optional<Value> value;
  std::vector<const ValueNode*> depends;
};

template <typename Key, typename Value>
class DagPool<Key, Value>::Items {
 public:
  using value_type = DagItem<Key, Value>;

  // Items::Next()
  //
  // The next key that is ready, with its value; nothing once all have been, or on the
  // deadline. Throws the PropagateError of one that has failed, and can be called again.
  //
  // Blocks: until there is one. Kill: throws; none is lost.
  std::optional<value_type> Next() {
    while (green_internal::DagNode* node = wait_.Next(deadline_)) {
      const auto* ready = static_cast<ValueNode*>(node);
      if (skip_failed_ && !ready->value) continue;
      const Value& value = ready->Get();
      return value_type{*ready->key, value};
    }
    return std::nullopt;
  }
  // Blocks, and throws, as Next().
  Values All() {
    Values all;
    while (auto item = Next()) all.emplace(item->key, item->value);
    return all;
  }

  auto begin() { return green_internal::NextIterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class DagPool;
  Items(DagPool* pool, const std::vector<Key>& keys, Deadline deadline, bool skip)
      : deadline_(deadline), skip_failed_(skip) {
    std::set<green_internal::DagNode*> seen;
    for (const Key& key : keys) {
      ValueNode* node = pool->NodeOf(key);
      if (seen.insert(node).second) wait_.Add(node);
    }
  }

  const Deadline deadline_;
  const bool skip_failed_;
  green_internal::DagWait wait_;
};

template <typename Key, typename Value>
class DagPool<Key, Value>::Failures {
 public:
  using value_type = DagFailure<Key>;

  // As Items::Next(), of those that have failed.
  std::optional<value_type> Next() {
    while (green_internal::DagNode* node = wait_.Next(deadline_)) {
      const auto* ready = static_cast<ValueNode*>(node);
      if (!ready->value) return value_type{*ready->key, ready->error};
    }
    return std::nullopt;
  }

  auto begin() { return green_internal::NextIterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class DagPool;
  Failures(DagPool* pool, const std::vector<Key>& keys, Deadline deadline)
      : deadline_(deadline) {
    for (const Key& key : std::set<Key>(keys.begin(), keys.end())) {
      wait_.Add(pool->NodeOf(key));
    }
  }

  const Deadline deadline_;
  green_internal::DagWait wait_;
};

template <typename Key, typename Value>
DagPool<Key, Value>::DagPool(Values preload) {
  while (!preload.empty()) {
    auto first = preload.extract(preload.begin());
    Post(first.key(), std::move(first.mapped())).IgnoreError();
  }
}

template <typename Key, typename Value>
typename DagPool<Key, Value>::ValueNode* DagPool<Key, Value>::NodeOf(const Key& key) {
  dag_.Check("the use of a DagPool");
  auto [at, is_new] = nodes_.try_emplace(key);
  if (is_new) {
    at->second.key = &at->first;
    at->second.name = green_internal::KeyName(key);
  }
  return &at->second;
}

template <typename Key, typename Value>
bool DagPool<Key, Value>::Used(const Key& key) const {
  const auto at = nodes_.find(key);
  return at != nodes_.end() && (at->second.ready() || at->second.running());
}

template <typename Key, typename Value>
template <typename F>
absl::Status DagPool<Key, Value>::Spawn(Key key, std::vector<Key> depends, F fn,
                                        SpawnSite site) {
  ValueNode* node = NodeOf(key);
  if (node->ready() || node->running()) {
    return absl::AlreadyExistsError(
        absl::StrCat("key '", node->name, "' of a DagPool is used already"));
  }
  for (const Key& k : depends) node->depends.push_back(NodeOf(k));
  const AnyGreenlet g = grove::Spawn(
      {.name = "key " + node->name},
      [this, node, depends = std::move(depends), fn = std::move(fn)]() mutable {
        try {
          Items inputs(this, depends, {}, /*skip=*/false);
          Value value = fn(*node->key, inputs);
          if (!node->ready()) node->Set(std::move(value));
        } catch (const GreenletExit&) {
          throw;
        } catch (...) {
          node->failure = std::current_exception();
        }
      },
      site);
  dag_.Add(node, g.core());
  return absl::OkStatus();
}

template <typename Key, typename Value>
template <typename F>
absl::Status DagPool<Key, Value>::SpawnMany(
    const std::map<Key, std::vector<Key>>& depends, F fn, SpawnSite site) {
  std::string used;
  for (const auto& [key, unused] : depends) {
    if (!Used(key)) continue;
    absl::StrAppend(&used, used.empty() ? "" : ", ", green_internal::KeyName(key));
  }
  if (!used.empty()) {
    return absl::AlreadyExistsError(
        absl::StrCat("keys of a DagPool that are used already: ", used));
  }
  for (const auto& [key, on] : depends) Spawn(key, on, fn, site).IgnoreError();
  return absl::OkStatus();
}

template <typename Key, typename Value>
absl::Status DagPool<Key, Value>::Post(const Key& key, Value value,
                                       DagPostOptions options) {
  ValueNode* node = NodeOf(key);
  const bool by_itself =
      node->running() && node->target() == node->target()->scheduler->current();
  if ((node->running() && !by_itself) || (node->ready() && !options.replace)) {
    return absl::AlreadyExistsError(
        absl::StrCat("key '", node->name, "' of a DagPool ",
                     node->running() && !by_itself ? "is being computed" : "is ready"));
  }
  node->Set(std::move(value));
  node->error = nullptr;
  green_internal::Dag::NotifyAll(node);
  return absl::OkStatus();
}

template <typename Key, typename Value>
absl::Status DagPool<Key, Value>::Kill(const Key& key, Deadline deadline) {
  dag_.Check("Kill in a DagPool");
  const auto at = nodes_.find(key);
  if (at == nodes_.end() || !at->second.running()) {
    return absl::NotFoundError(absl::StrCat("key '", green_internal::KeyName(key),
                                            "' of a DagPool is not being computed"));
  }
  const AnyGreenlet g = AnyGreenlet::FromCore(at->second.target(), /*add_ref=*/true);
  g.Kill({.deadline = deadline});
  if (g.ready()) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat(g.name(), " has not ended in time"));
}

template <typename Key, typename Value>
typename DagPool<Key, Value>::ValueNode* DagPool<Key, Value>::Ready(const Key& key,
                                                                    Deadline deadline) {
  ValueNode* node = NodeOf(key);
  if (node->ready()) return node;
  green_internal::DagWait wait;
  wait.Add(node);
  return wait.Next(deadline) ? node : nullptr;
}

template <typename Key, typename Value>
absl::StatusOr<Value> DagPool<Key, Value>::Get(const Key& key, Deadline deadline) {
  const ValueNode* node = Ready(key, deadline);
  if (node != nullptr) return node->Get();
  return absl::DeadlineExceededError(absl::StrCat("key '", green_internal::KeyName(key),
                                                  "' of a DagPool is not ready in time"));
}

template <typename Key, typename Value>
absl::StatusOr<std::map<Key, Value>> DagPool<Key, Value>::Wait(
    const std::vector<Key>& keys, Deadline deadline) {
  Items items(this, keys, deadline, /*skip=*/false);
  Values values = items.All();
  if (items.wait_.left() == 0) return values;
  return absl::DeadlineExceededError(
      absl::StrCat(items.wait_.left(), " keys of a DagPool are not ready in time"));
}

template <typename Key, typename Value>
std::vector<Key> DagPool<Key, Value>::Known() const {
  std::vector<Key> keys;
  for (const auto& [key, node] : nodes_) {
    if (node.ready() || node.running()) keys.push_back(key);
  }
  return keys;
}

template <typename Key, typename Value>
std::vector<Key> DagPool<Key, Value>::Keys() const {
  std::vector<Key> keys;
  for (const auto& [key, node] : nodes_) {
    if (node.ready()) keys.push_back(key);
  }
  return keys;
}

template <typename Key, typename Value>
std::map<Key, Value> DagPool<Key, Value>::Available() const {
  Values values;
  for (const auto& [key, node] : nodes_) {
    if (node.value) values.emplace(key, *node.value);
  }
  return values;
}

template <typename Key, typename Value>
std::vector<Key> DagPool<Key, Value>::RunningKeys() const {
  std::vector<Key> keys;
  for (const auto& [key, node] : nodes_) {
    if (node.running()) keys.push_back(key);
  }
  return keys;
}

template <typename Key, typename Value>
std::vector<Key> DagPool<Key, Value>::WaitingFor(const Key& key) const {
  std::vector<Key> keys;
  const auto at = nodes_.find(key);
  if (at == nodes_.end() || !at->second.running()) return keys;
  for (const ValueNode* node : at->second.depends) {
    if (!node->ready()) keys.push_back(*node->key);
  }
  return keys;
}

template <typename Key, typename Value>
size_t DagPool<Key, Value>::waiting() const {
  size_t n = 0;
  for (const auto& [key, node] : nodes_) {
    bool waits = false;
    for (const ValueNode* other : node.depends) waits |= !other->ready();
    n += node.running() && waits;
  }
  return n;
}

}  // namespace grove

#endif  // GROVE_GREEN_INTERNAL_DAG_POOL_INL_H_
