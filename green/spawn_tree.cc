#include "grove/green/spawn_tree.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/local.h"

namespace grove {
namespace {

using green_internal::Core;
using green_internal::Scheduler;

// Deeper ones stand below one another: a chain of a million spawns is a text still.
constexpr int kMostIndented = 40;

class Tree {
 public:
  Tree(const Scheduler& s, SpawnTreeOptions options) : s_(s), options_(options) {
    // The newest one comes first, so that the oldest of each is at its end.
    s.ForEach([this](Core* c) {
      children_[c->parent_id].push_back(c);
      live_.insert(c->id);
    });
  }

  std::string Format() {
    absl::StrAppend(&out_, "hub '", s_.hub_name(), "', ", s_.live(),
                    s_.live() == 1 ? " greenlet" : " greenlets",
                    " beside the main one\n");
    Below(s_.main(), 0);
    // What is left has lost its parent, or is below such a one.
    std::vector<uint64_t> orphaned;
    for (const auto& [parent, children] : children_) {
      if (live_.count(parent) == 0) orphaned.push_back(parent);
    }
    for (const uint64_t parent : orphaned) {
      absl::StrAppend(&out_, "spawned by #", parent, ", which has ended:\n");
      const std::vector<Core*> children = TakeChildren(parent);
      for (auto c = children.rbegin(); c != children.rend(); ++c) Below(*c, 1);
    }
    return std::move(out_);
  }

 private:
  struct Item {
    Core* core;
    int depth;
  };

  std::vector<Core*> TakeChildren(uint64_t parent) {
    const auto found = children_.find(parent);
    if (found == children_.end()) return {};
    std::vector<Core*> children = std::move(found->second);
    children_.erase(found);
    return children;
  }

  // Not recursive: trees may be deeper than a stack.
  void Below(Core* root, int depth) {
    std::vector<Item> stack{{root, depth}};
    while (!stack.empty()) {
      const Item item = stack.back();
      stack.pop_back();
      Line(item);
      for (Core* c : TakeChildren(item.core->id)) stack.push_back({c, item.depth + 1});
    }
  }

  void Line(const Item& item) {
    const std::string indent(2 * std::min(item.depth, kMostIndented), ' ');
    absl::StrAppend(&out_, indent, s_.Describe(item.core), "\n");
    if (!options_.locals) return;
    ForEachLocal(
        AnyGreenlet::FromCore(item.core, /*add_ref=*/true), [&](const LocalInfo& info) {
          absl::StrAppend(&out_, indent, "  has a ", green_internal::Demangle(info.type),
                          " of the GreenletLocal at ", info.made_at.file, ":",
                          info.made_at.line, "\n");
        });
  }

  const Scheduler& s_;
  const SpawnTreeOptions options_;
  std::map<uint64_t, std::vector<Core*>> children_;
  std::unordered_set<uint64_t> live_;
  std::string out_;
};

}  // namespace

std::string FormatSpawnTree(SpawnTreeOptions options) {
  const Scheduler* s = Scheduler::GetIfExists();
  return s ? Tree(*s, options).Format() : "";
}

}  // namespace grove
