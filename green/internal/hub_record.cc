#include "grove/green/internal/hub_record.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "grove/green/internal/process_mutex.h"

namespace grove::green_internal {
namespace {

// Never destroyed: hubs may end after static objects.
struct Records {
  ProcessMutex mutex;
  std::vector<std::shared_ptr<HubRecord>> all;
};

Records& TheRecords() {
  static Records* const records = new Records;
  return *records;
}

std::atomic<int> quiet_threads{0};
constinit thread_local bool this_thread_is_a_pools = false;

}  // namespace

HubRecord::HubRecord(Scheduler* s)
    : is_a_pools_(this_thread_is_a_pools),
      scheduler_(s),
      handle_(s->handle()),
      thread_(pthread_self()),
      tid_(gettid()) {}

void HubRecord::ThisThreadIsAPools() { this_thread_is_a_pools = true; }

std::shared_ptr<HubRecord> HubRecord::Add(Scheduler* s) {
  std::shared_ptr<HubRecord> record(new HubRecord(s));
  Records& records = TheRecords();
  std::lock_guard lock(records.mutex);
  records.all.push_back(record);
  return record;
}

void HubRecord::Remove() {
  {
    Records& records = TheRecords();
    std::lock_guard lock(records.mutex);
    std::erase_if(records.all, [this](const auto& r) { return r.get() == this; });
  }
  std::lock_guard lock(mutex_);
  scheduler_ = nullptr;
}

// The parent's records are left as they are: another thread may have been looking at one.
std::shared_ptr<HubRecord> HubRecord::ReplaceAllInChild(Scheduler* self) {
  auto* const of_parent =
      new std::vector<std::shared_ptr<HubRecord>>(std::move(TheRecords().all));
  TheRecords().all.clear();
  quiet_threads = 0;
  if (self == nullptr) return nullptr;
  std::shared_ptr<HubRecord> record = Add(self);
  for (const auto& r : *of_parent) {
    if (r->scheduler_ == self) record->ignored_ = r->ignored_;
  }
  return record;
}

std::vector<std::shared_ptr<HubRecord>> HubRecord::All() {
  Records& records = TheRecords();
  std::lock_guard lock(records.mutex);
  return records.all;
}

void HubRecord::Ignore(const Core* core) {
  std::lock_guard lock(ignoring_);
  ignored_.push_back(core);
}

void HubRecord::StopIgnoring(const Core* core) {
  std::lock_guard lock(ignoring_);
  ignored_.erase(std::find(ignored_.begin(), ignored_.end(), core));
}

bool HubRecord::Ignores(const Core* core) const {
  std::lock_guard lock(ignoring_);
  return std::find(ignored_.begin(), ignored_.end(), core) != ignored_.end();
}

QuietThread::QuietThread() { ++quiet_threads; }
QuietThread::~QuietThread() { --quiet_threads; }
int QuietThread::Count() { return quiet_threads; }

}  // namespace grove::green_internal
