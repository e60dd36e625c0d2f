// pthread_getspecific(3) and its like: a value for each greenlet.

#include "grove/patch/internal/thread_keys.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "grove/green/local.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/pthread_calls.h"
#include "grove/patch/internal/spin_mutex.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

int KeyCreate(pthread_key_t* key, void (*destructor)(void*));
int KeyDelete(pthread_key_t key);
void* GetSpecific(pthread_key_t key);
int SetSpecific(pthread_key_t key, const void* value);

constinit HookOf key_create_hook("pthread_key_create", Module::kThread, &KeyCreate);
constinit HookOf key_delete_hook("pthread_key_delete", Module::kThread, &KeyDelete);
constinit HookOf getspecific_hook("pthread_getspecific", Module::kThread, &GetSpecific);
constinit HookOf setspecific_hook("pthread_setspecific", Module::kThread, &SetSpecific);

Hook* const hooks[] = {&key_create_hook, &key_delete_hook, &getspecific_hook,
                       &setspecific_hook};

// The destructors of keys that were made before anything was patched (OpenSSL's are: its
// library makes them when it is loaded) are libc's to know. It exports its table for
// debuggers; whether it is what it is thought to be, is tried by a key of our own.
struct LibcKey {
  uintptr_t sequence;
  void (*destructor)(void*);
};

const LibcKey* FindLibcKeys() {
  const auto* keys = static_cast<const LibcKey*>(dlsym(RTLD_DEFAULT, "__pthread_keys"));
  if (keys == nullptr) return nullptr;
  constexpr auto kProbe = [](void*) {};
  void (*const probe)(void*) = kProbe;
  pthread_key_t key;
  if (key_create_hook.Original(&key, probe) != 0) return nullptr;
  const bool found = keys[key].destructor == probe;
  key_delete_hook.Original(key);
  return found ? keys : nullptr;
}

void (*LibcDestructor(pthread_key_t key))(void*) {
  static const LibcKey* const keys = FindLibcKeys();
  return keys ? keys[key].destructor : nullptr;
}

// libc hands out the keys, and is asked for the values of native threads and of the main
// greenlet, which is one.
struct Keys {
  SpinMutex mutex;
  struct Key {
    void (*destructor)(void*) = nullptr;
    unsigned generation = 0;  // a deleted key's number comes again
  };
  Key all[PTHREAD_KEYS_MAX];

  static Keys& Get() {
    static auto* const keys = new Keys;
    return *keys;
  }
};

// Of one greenlet.
class Values {
 public:
  void* Get(pthread_key_t key) const {
    return key < values_.size() &&
                   values_[key].generation == Keys::Get().all[key].generation
               ? values_[key].value
               : nullptr;
  }
  void Set(pthread_key_t key, void* value) {
    if (key >= values_.size()) values_.resize(key + 1);
    values_[key] = {value, Keys::Get().all[key].generation};
  }

  // Calls the destructors, which see the values of other keys, and may set some
  // (pthread_key_create(3p)).
  void Destroy() {
    bool any = true;
    for (int round = 0; any && round < PTHREAD_DESTRUCTOR_ITERATIONS; ++round) {
      any = false;
      for (pthread_key_t key = 0; key < values_.size(); ++key) {
        void* value = Get(key);
        void (*destructor)(void*) = value ? DestructorOf(key) : nullptr;
        if (destructor == nullptr) continue;
        values_[key].value = nullptr;
        any = true;
        destructor(value);
      }
    }
  }

 private:
  static void (*DestructorOf(pthread_key_t key))(void*) {
    Keys& keys = Keys::Get();
    const std::lock_guard guard(keys.mutex);
    void (*const known)(void*) = keys.all[key].destructor;
    return known ? known : LibcDestructor(key);
  }

  struct Value {
    void* value = nullptr;
    unsigned generation = 0;
  };
  std::vector<Value> values_;
};

// What sees to it that the values go when the greenlet does. They lie in its control
// block until then, where they are found while their destructors run.
struct Owner {
  Owner() : values(std::make_unique<Values>()) {
    Scheduler::Get().current()->patched_values = values.get();
  }
  Owner(Owner&&) = default;
  ~Owner() {
    if (values == nullptr) return;
    values->Destroy();
    Scheduler::Get().current()->patched_values = nullptr;
  }
  std::unique_ptr<Values> values;
};
GreenletLocal<Owner>& Owners() {
  static auto* const owners = new GreenletLocal<Owner>;
  return *owners;
}

Values* ValuesOf(const Scheduler* s) {
  return static_cast<Values*>(s->current()->patched_values);
}

bool HasOwnValues(const Scheduler* s) { return s && s->current() != s->main(); }

int KeyCreate(pthread_key_t* key, void (*destructor)(void*)) {
  const int error = key_create_hook.Original(key, destructor);
  if (error != 0) return error;
  Keys& keys = Keys::Get();
  const std::lock_guard guard(keys.mutex);
  keys.all[*key].destructor = destructor;
  ++keys.all[*key].generation;
  return 0;
}

int KeyDelete(pthread_key_t key) {
  const int error = key_delete_hook.Original(key);
  if (error != 0) return error;
  Keys& keys = Keys::Get();
  const std::lock_guard guard(keys.mutex);
  keys.all[key].destructor = nullptr;
  ++keys.all[key].generation;
  return 0;
}

void* GetSpecific(pthread_key_t key) {
  const Scheduler* s = Cooperating(getspecific_hook);
  if (!HasOwnValues(s)) return getspecific_hook.Original(key);
  const Values* values = ValuesOf(s);
  return values && key < PTHREAD_KEYS_MAX ? values->Get(key) : nullptr;
}

int SetSpecific(pthread_key_t key, const void* value) {
  const Scheduler* s = Cooperating(setspecific_hook);
  if (!HasOwnValues(s)) return setspecific_hook.Original(key, value);
  if (key >= PTHREAD_KEYS_MAX) return EINVAL;
  if (ValuesOf(s) == nullptr) {
    if (value == nullptr) return 0;
    Owners().get();
  }
  ValuesOf(s)->Set(key, const_cast<void*>(value));
  return 0;
}

}  // namespace

void DestroyValuesOfKeys() {
  if (Values* values = ValuesOf(Scheduler::GetIfExists())) values->Destroy();
}

bool DestroyValueOfLibc(pthread_key_t key) {
  void* const value = getspecific_hook.Original(key);
  void (*const destructor)(void*) = value ? LibcDestructor(key) : nullptr;
  if (destructor == nullptr) return false;
  setspecific_hook.Original(key, nullptr);
  destructor(value);
  return true;
}

int CreateKey(pthread_key_t* key, void (*destructor)(void*)) {
  return KeyCreate(key, destructor);
}
int DeleteKey(pthread_key_t key) { return KeyDelete(key); }
void* GetValue(pthread_key_t key) { return GetSpecific(key); }
int SetValue(pthread_key_t key, const void* value) { return SetSpecific(key, value); }

absl::Span<Hook* const> KeyHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
