#ifndef GROVE_HUB_RUN_QUEUE_H_
#define GROVE_HUB_RUN_QUEUE_H_

namespace grove {

// Runnable
//
// Something that a hub can run: a callback, or a greenlet to switch to. The node lies
// in the object itself, so that becoming ready allocates nothing.
struct Runnable {
  using Run = void (*)(Runnable*);

  explicit constexpr Runnable(Run r) : run(r) {}

  // Called on the hub's own stack. Must not throw, and must not block.
  Run run;
  Runnable* next = nullptr;
};

// RunQueue
//
// What is ready to run, first in, first out. Not thread-safe: it belongs to one hub.
class RunQueue {
 public:
  bool empty() const { return head_ == nullptr; }
  Runnable* front() const { return head_; }

  void PushBack(Runnable* r) {
    r->next = nullptr;
    if (head_ == nullptr) {
      head_ = r;
    } else {
      tail_->next = r;
    }
    tail_ = r;
  }

  void PushFront(Runnable* r) {
    r->next = head_;
    if (head_ == nullptr) tail_ = r;
    head_ = r;
  }

  // Puts all of `other` behind all of this.
  void Append(RunQueue* other) {
    if (other->empty()) return;
    (head_ == nullptr ? head_ : tail_->next) = other->head_;
    tail_ = other->tail_;
    other->head_ = nullptr;
  }

  // PopFront() of a queue that is not empty, and PushBack(r) behind it; in one, so that
  // of two that take turns neither reads back what was just written.
  Runnable* Rotate(Runnable* r) {
    Runnable* first = head_;
    r->next = nullptr;
    if (first == tail_) {
      head_ = r;
    } else {
      head_ = first->next;
      tail_->next = r;
    }
    tail_ = r;
    return first;
  }

  // The caller has seen that the queue is not empty.
  Runnable* PopFront() {
    Runnable* r = head_;
    head_ = r->next;
    return r;
  }

 private:
  Runnable* head_ = nullptr;
  Runnable* tail_ = nullptr;
};

}  // namespace grove

#endif  // GROVE_HUB_RUN_QUEUE_H_
