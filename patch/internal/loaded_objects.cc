#include "grove/patch/internal/loaded_objects.h"

#include <elf.h>
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace grove::patch::patch_internal {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kJumpSlot = R_X86_64_JUMP_SLOT;
constexpr uint32_t kGlobalData = R_X86_64_GLOB_DAT;
constexpr uint32_t kAddress = R_X86_64_64;
#elif defined(__aarch64__)
constexpr uint32_t kJumpSlot = R_AARCH64_JUMP_SLOT;
constexpr uint32_t kGlobalData = R_AARCH64_GLOB_DAT;
constexpr uint32_t kAddress = R_AARCH64_ABS64;
#else
#error "patch knows the relocations of x86-64 and aarch64"
#endif

std::string ProgramPath() {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : std::string("program");
}

// What of the dynamic section is needed. glibc has made its pointers absolute, but not
// those of the vDSO, which imports nothing anyway.
struct Dynamic {
  explicit Dynamic(const LoadedObject& object) {
    const auto pointer = [&](const ElfW(Dyn) * d) {
      return d->d_un.d_ptr < object.base ? d->d_un.d_ptr + object.base : d->d_un.d_ptr;
    };
    for (const ElfW(Dyn)* d = object.dynamic; d->d_tag != DT_NULL; ++d) {
      switch (d->d_tag) {
        case DT_SYMTAB:
          symbols = reinterpret_cast<const ElfW(Sym)*>(pointer(d));
          break;
        case DT_STRTAB:
          strings = reinterpret_cast<const char*>(pointer(d));
          break;
        case DT_JMPREL:
          calls.begin = reinterpret_cast<const ElfW(Rela)*>(pointer(d));
          break;
        case DT_PLTRELSZ:
          calls.size = d->d_un.d_val / sizeof(ElfW(Rela));
          break;
        case DT_RELA:
          data.begin = reinterpret_cast<const ElfW(Rela)*>(pointer(d));
          break;
        case DT_RELASZ:
          data.size = d->d_un.d_val / sizeof(ElfW(Rela));
          break;
        default:
          break;
      }
    }
  }

  struct Table {
    const ElfW(Rela) * begin = nullptr;
    size_t size = 0;
  };
  const ElfW(Sym) * symbols = nullptr;
  const char* strings = nullptr;
  Table calls;  // filled by the first call, or all at once (BIND_NOW)
  Table data;   // addresses that are taken, and calls without a PLT
};

// Its slots that hold, or will hold, the address of a function.
void ForEachSlot(
    const LoadedObject& object, const Dynamic& dynamic,
    absl::FunctionRef<void(uint32_t type, const ElfW(Sym) & symbol, void** slot)> fn) {
  if (dynamic.symbols == nullptr || dynamic.strings == nullptr) return;
  for (const Dynamic::Table& table : {dynamic.calls, dynamic.data}) {
    for (size_t i = 0; table.begin != nullptr && i < table.size; ++i) {
      const ElfW(Rela)& r = table.begin[i];
      const auto type = static_cast<uint32_t>(ELF64_R_TYPE(r.r_info));
      if (type != kJumpSlot && type != kGlobalData && type != kAddress) continue;
      if (type == kAddress && r.r_addend != 0) continue;  // not a function's own address
      const ElfW(Sym)& symbol = dynamic.symbols[ELF64_R_SYM(r.r_info)];
      const unsigned char kind = ELF64_ST_TYPE(symbol.st_info);
      if (kind != STT_FUNC && kind != STT_NOTYPE && kind != STT_GNU_IFUNC) continue;
      fn(type, symbol, reinterpret_cast<void**>(object.base + r.r_offset));
    }
  }
}

// Until its first call a slot leads back into the object, to what looks it up.
bool IsFilled(const LoadedObject& object, const ElfW(Sym) & symbol, void* const* slot) {
  const auto at = reinterpret_cast<ElfW(Addr)>(*slot);
  return symbol.st_shndx != SHN_UNDEF || at == 0 || at < object.begin || at >= object.end;
}

}  // namespace

absl::string_view LoadedObject::name() const {
  return absl::string_view(path).substr(path.rfind('/') + 1);
}

void ForEachObject(absl::FunctionRef<void(const LoadedObject& object)> fn) {
  struct State {
    absl::FunctionRef<void(const LoadedObject& object)> fn;
    ElfW(Addr) program_begin = 0;
    ElfW(Addr) program_end = 0;
    bool is_first = true;  // the program, as glibc lists them
  } state{fn};
  const auto add = [](dl_phdr_info* info, size_t, void* to) {
    auto& state = *static_cast<State*>(to);
    LoadedObject object;
    object.is_program = std::exchange(state.is_first, false);
    object.path = object.is_program ? ProgramPath() : info->dlpi_name;
    object.base = info->dlpi_addr;
    object.begin = std::numeric_limits<ElfW(Addr)>::max();
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      const ElfW(Phdr)& segment = info->dlpi_phdr[i];
      const ElfW(Addr) at = info->dlpi_addr + segment.p_vaddr;
      if (segment.p_type == PT_LOAD) {
        object.begin = std::min(object.begin, at);
        object.end = std::max(object.end, at + segment.p_memsz);
      } else if (segment.p_type == PT_DYNAMIC) {
        object.dynamic = reinterpret_cast<const ElfW(Dyn)*>(at);
      } else if (segment.p_type == PT_GNU_RELRO) {
        object.read_only_from = at;
        object.read_only_to = at + segment.p_memsz;
      }
    }
    if (object.is_program) {
      state.program_begin = object.begin;
      state.program_end = object.end;
    }
    object.program_begin = state.program_begin;
    object.program_end = state.program_end;
    // A program that is linked statically has none, and imports nothing.
    if (object.dynamic != nullptr) state.fn(object);
    return 0;
  };
  dl_iterate_phdr(add, &state);
}

uint64_t UnloadedObjects() {
  uint64_t count = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* unloaded) {
        *static_cast<uint64_t*>(unloaded) = info->dlpi_subs;
        return 1;
      },
      &count);
  return count;
}

void ForEachImport(const LoadedObject& object,
                   absl::FunctionRef<void(const Import& import)> fn) {
  const Dynamic dynamic(object);
  ForEachSlot(object, dynamic, [&](uint32_t type, const ElfW(Sym) & symbol, void** slot) {
    fn({.symbol = dynamic.strings + symbol.st_name,
        .slot = slot,
        .is_for_calls = type == kJumpSlot,
        .is_filled = IsFilled(object, symbol, slot)});
  });
}

// Until an object is linked its slots hold nothing, or distances from its beginning. The
// address of a function of the program, if that lies low, may look like one.
bool IsLinked(const LoadedObject& object) {
  if (object.base == 0) return true;
  bool is_linked = true;
  ForEachSlot(object, Dynamic(object),
              [&](uint32_t, const ElfW(Sym) & symbol, void** slot) {
                const auto at = reinterpret_cast<ElfW(Addr)>(*slot);
                if (at >= object.end - object.base) return;
                if (at == 0 && ELF64_ST_BIND(symbol.st_info) == STB_WEAK) return;
                if (at >= object.program_begin && at < object.program_end) return;
                if (symbol.st_shndx == SHN_ABS) return;
                is_linked = false;
              });
  return is_linked;
}

bool IsLazilyBound(const LoadedObject& object) {
  bool is_lazy = false;
  ForEachSlot(object, Dynamic(object),
              [&](uint32_t type, const ElfW(Sym) & symbol, void** slot) {
                is_lazy |= type == kJumpSlot && !IsFilled(object, symbol, slot);
              });
  return is_lazy;
}

bool SetImport(const LoadedObject& object, void** slot, void* function) {
  const auto at = reinterpret_cast<uintptr_t>(slot);
  const auto page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  // The linker makes whole pages read-only: what lies in the last, begun one is not.
  const bool read_only = at >= (object.read_only_from & ~(page_size - 1)) &&
                         at < (object.read_only_to & ~(page_size - 1));
  void* const page = reinterpret_cast<void*>(at & ~(page_size - 1));
  if (read_only && mprotect(page, page_size, PROT_READ | PROT_WRITE) != 0) return false;
  // Other threads may be calling through it.
  __atomic_store_n(slot, function, __ATOMIC_RELEASE);
  return !read_only || mprotect(page, page_size, PROT_READ) == 0;
}

}  // namespace grove::patch::patch_internal
